package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest pause that a provider can ask for.
const maxRetryAfter = time.Hour

// refusal returns what the provider refused and why; nil when it did not.
func (r Resolved) refusal(req Request, a Answer, document object) *Error {
	code, stated := r.statedError(document)
	if !stated && a.Status >= 200 && a.Status <= 299 {
		return nil
	}
	f := finding{
		grant: req.Grant, behind: r.Grant != RefreshToken,
		status: a.Status, code: code, paused: a.Header.Get("Retry-After") != "",
	}
	e := &Error{Kind: f.kind(), Code: code, Status: a.Status, RetryAfter: retryAfter(a), SentMaybe: true}
	problem, fix := r.explain(e)
	e.Problem, e.Fix = problem+because(e), fix
	return e
}

// statedError finds out whether the body says that something is wrong, and with
// which known code. Empty, false, zero and null members say that nothing is.
func (r Resolved) statedError(document object) (code string, stated bool) {
	// Slack's way; its error member may be missing.
	stated = document["ok"] == false
	for _, pointer := range r.Response.Error {
		found, is := errorCode(lookup(document, pointer))
		stated = stated || is
		if code == "" {
			code = found
		}
	}
	return code, stated
}

func errorCode(value any) (code string, stated bool) {
	switch v := value.(type) {
	case string:
		return knownCode(v), v != ""
	case bool:
		return "", v
	case json.Number:
		n, err := v.Float64()
		return "", n != 0 || err != nil
	case object:
		return codeInObject(v), len(v) > 0
	case []any:
		if len(v) == 0 {
			return "", false
		}
		code, _ = errorCode(v[0])
		return code, true
	}
	return "", false
}

// codeInObject reads an error that is an object, such as Facebook's {"type", "code"}.
func codeInObject(members object) string {
	for _, name := range []string{"code", "type", "error", "status"} {
		s, _ := members[name].(string)
		if code := knownCode(s); code != "" {
			return code
		}
	}
	return ""
}

// knownCode returns the code if it is on the list, and nothing otherwise: what a
// provider sends is not shown to anybody. AWS puts a name space before a '#'.
func knownCode(s string) string {
	s = s[strings.LastIndexByte(s, '#')+1:]
	if meaningOf(s) == unknown {
		return ""
	}
	return s
}

// meaning is what an error code says, whoever sent it.
type meaning int

const (
	unknown meaning = iota
	// credentialRefused: whoever logs in is refused.
	credentialRefused
	// clientRefused: the client cannot prove who it is.
	clientRefused
	// askRefused: the client is who it is, but may not have what it asks for.
	askRefused
	throttled
	unavailable
)

// meaningOf is the list of codes that are known: RFC 6749 §4.1.2.1 and §5.2, RFC
// 6750 §3.1, RFC 8628 §3.5, RFC 8707 §2, OpenID Connect Core §3.1.2.6, and those
// that Cognito, Slack, GitHub, Facebook, Auth0 and Salesforce send.
func meaningOf(code string) meaning {
	switch code {
	case "invalid_grant", "access_denied", "invalid_token", "expired_token",
		"login_required", "interaction_required", "consent_required", "account_selection_required", "mfa_required",
		"NotAuthorizedException", "UserNotFoundException", "UserNotConfirmedException", "PasswordResetRequiredException",
		"account_inactive", "OAuthException", "bad_refresh_token":
		return credentialRefused
	case "invalid_client", "invalid_client_id", "bad_client_secret", "incorrect_client_credentials":
		return clientRefused
	case "invalid_request", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
		"invalid_scope", "insufficient_scope", "invalid_target", "invalid_app_access":
		return askRefused
	case "slow_down", "ratelimited", "rate_limited", "rate_limit_exceeded", "too_many_requests",
		"TooManyRequestsException", "LimitExceededException", "ThrottlingException":
		return throttled
	case "server_error", "temporarily_unavailable", "InternalErrorException":
		return unavailable
	}
	return unknown
}

// finding is all that decides what a refusal means.
type finding struct {
	grant Grant
	// behind tells that there are primary credentials behind a refresh token.
	behind bool
	status int
	code   string
	// paused tells that there is a Retry-After.
	paused bool
}

// kind goes by the code where it is known, since providers differ and change in the
// status that they send with it, and by the status otherwise.
func (f finding) kind() Kind {
	if f.status == http.StatusTooManyRequests || (f.status == http.StatusServiceUnavailable && f.paused) {
		return Throttled
	}
	if f.status >= 300 && f.status <= 399 {
		return Misconfigured
	}
	switch meaningOf(f.code) {
	case throttled:
		return Throttled
	case unavailable:
		return Unavailable
	case clientRefused:
		return Denied
	case credentialRefused:
		return f.credentialDenied()
	case askRefused:
		return f.askDenied()
	default:
		return f.kindOfStatus()
	}
}

func (f finding) kindOfStatus() Kind {
	switch {
	case f.status < 200, f.status >= 500,
		f.status == http.StatusRequestTimeout, f.status == http.StatusTooEarly:
		return Unavailable
	case wrongEndpoint(f.status) && !f.fallsBack():
		return Misconfigured
	case f.status == http.StatusForbidden && f.paused && f.grant != Password:
		// GitHub's secondary rate limit. A login is not repeated on such a word: what
		// it may mean is a locked account.
		return Throttled
	}
	return f.credentialDenied()
}

// wrongEndpoint claims that the status is about how the request is made or where it
// went, not about who made it.
func wrongEndpoint(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusProxyAuthRequired, http.StatusGone, http.StatusLengthRequired,
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType,
		http.StatusExpectationFailed, http.StatusMisdirectedRequest, http.StatusUpgradeRequired,
		http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

// credentialDenied is also for refusals without a reason: a login that was refused
// for whatever reason must not be tried again and again, since a locked account
// is worse than a pause; and a refresh token that does not work has the primary
// credentials behind it.
func (f finding) credentialDenied() Kind {
	switch f.grant {
	case Password:
		return LoginDenied
	case RefreshToken:
		return RefreshDenied
	default:
		return Denied
	}
}

// askDenied: what a refresh may not have, the primary credentials may.
func (f finding) askDenied() Kind {
	if f.fallsBack() {
		return RefreshDenied
	}
	return Denied
}

// fallsBack claims that a refresh was refused and the primary credentials are next.
func (f finding) fallsBack() bool { return f.grant == RefreshToken && f.behind }

// explain words the refusal, and what to do about it, for people.
func (r Resolved) explain(e *Error) (problem, fix string) {
	switch e.Kind {
	case LoginDenied:
		return "the token endpoint refused the username or password",
			"correct username and password in the credential Secret, and check that the account is not locked"
	case RefreshDenied:
		if r.Grant == RefreshToken {
			return "the token endpoint refused the refresh token",
				fmt.Sprintf("authorize the client anew, and put the new refresh token under %s in the credential Secret", r.called(CredRefreshToken))
		}
		return "the token endpoint refused the refresh token", ""
	case Throttled:
		return "the provider asks for a pause",
			"if this lasts, ask the provider for a higher limit, or need fewer tokens of it"
	case Misconfigured:
		return explainStatus(e.Status)
	case Unavailable:
		return "the token endpoint failed", "check whether the provider has an outage"
	default:
		return r.explainDenied(e)
	}
}

func (r Resolved) explainDenied(e *Error) (problem, fix string) {
	switch e.Code {
	case "invalid_scope", "insufficient_scope":
		return "the provider does not grant these scopes", "correct scopes, or ask the provider to grant them"
	case "invalid_target":
		return "the provider does not know this audience or resource", "correct audience and resources"
	case "invalid_app_access":
		return "the provider does not let this user use this client", "ask the provider to allow it"
	case "unauthorized_client":
		// Keycloak's word for a wrong secret too, with the status of invalid_client.
		if e.Status != http.StatusUnauthorized {
			return "the provider does not let this client use this grant", "ask the provider to allow it"
		}
	case "access_denied":
		// Auth0 knows the client then, and the API or the scope is not the client's.
		if e.Status == http.StatusForbidden {
			return "the provider does not let this client have what it asks for", "correct audience and scopes, or ask the provider to grant them"
		}
	case "unsupported_grant_type":
		return "the provider does not support this grant", "correct grant in the provider's definition"
	case "invalid_request":
		return "the provider did not understand the request", "check the provider's definition"
	}
	if meaningOf(e.Code) != clientRefused {
		switch r.Grant {
		case JWTBearer:
			return "the token endpoint refused the assertion", r.explainAssertion()
		case TokenExchange:
			return "the token endpoint refused the subject token", fmt.Sprintf(
				"check %s, and that the provider trusts whoever issued it for this audience", r.called(CredSubjectToken))
		default: // it is the client that was refused
		}
	}
	return r.explainClient()
}

func (r Resolved) explainAssertion() string {
	if r.ReadyMade {
		return fmt.Sprintf("check %s, and that the provider trusts whoever issued it for this audience", r.called(CredAssertion))
	}
	return fmt.Sprintf("correct %s in the credential Secret, and check that the provider knows its public half and allows issuer and subject",
		r.called(CredPrivateKey))
}

// explainClient names what the client proves itself with.
func (r Resolved) explainClient() (problem, fix string) {
	problem = "the token endpoint refused the client's credentials"
	switch r.ClientAuthentication {
	case PrivateKeyJWT:
		return problem, fmt.Sprintf("correct %s and %s in the credential Secret, and check that the provider knows the key's public half",
			r.called(CredClientID), r.called(CredPrivateKey))
	case FederatedJWT:
		return problem, fmt.Sprintf("check %s, and that the provider trusts whoever issued it for this client and audience", r.called(CredClientAssertion))
	case TLS:
		return problem, fmt.Sprintf("correct %s, and check that the provider knows this certificate or its authority",
			r.allCalled([]string{CredClientID, CredCertificate, CredPrivateKey}))
	case None:
		if wanted := r.RequiredCredentials(); r.Grant == Custom && len(wanted) > 0 {
			return problem, fmt.Sprintf("correct %s in the credential Secret", r.allCalled(wanted))
		}
		return "the token endpoint refused the client", "check the client of the provider's definition"
	default: // by a secret
	}
	if r.Grant == Password {
		return "the token endpoint refused the client", "check the client of the provider's definition"
	}
	wanted := []string{CredClientID, CredClientSecret}
	for _, extra := range r.ExtraCredentials {
		wanted = append(wanted, extra.Name)
	}
	return problem, fmt.Sprintf("correct %s in the credential Secret", r.allCalled(wanted))
}

func explainStatus(status int) (problem, fix string) {
	switch {
	case status >= 300 && status <= 399:
		return "the token endpoint redirects, which is never followed", "set tokenURL to where it redirects, if that is to be trusted"
	case status == http.StatusNotFound, status == http.StatusGone:
		return "the token endpoint does not exist", "correct tokenURL, or the parameters that are part of it"
	case status == http.StatusProxyAuthRequired:
		return "a proxy wants to be authenticated to", "correct the operator's egress proxy"
	}
	return "the token endpoint does not take this kind of request", "check tokenURL and request in the provider's definition"
}

// because is the code if there is a known one, else the status.
func because(e *Error) string {
	if e.Code != "" {
		return " (" + e.Code + ")"
	}
	return fmt.Sprintf(" (HTTP %d)", e.Status)
}

// retryAfter reads Retry-After (RFC 9110 §10.2.3), an instant as seen by the
// provider's clock. It is between zero and maxRetryAfter.
func retryAfter(a Answer) time.Duration {
	value := strings.TrimSpace(a.Header.Get("Retry-After"))
	if at, err := http.ParseTime(value); err == nil {
		return max(0, min(at.Sub(serverNow(a)), maxRetryAfter))
	}
	// More seconds than fit into an integer come back as the largest one, with an error.
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil && seconds == 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
