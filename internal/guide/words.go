package guide

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/provider"
)

// Grant words the grant in the terms of the RFCs.
func (w Way) Grant() string {
	r := w.Resolved
	if r.Grant == provider.Password && r.Request.Login == provider.LoginInBasicHeader {
		return "username and password in a Basic header as they are (RFC 7617); no `grant_type`"
	}
	switch r.Grant {
	case provider.Password:
		return "resource owner password credentials (RFC 6749 §4.3)"
	case provider.RefreshToken:
		return "refresh token (RFC 6749 §6)"
	case provider.JWTBearer:
		if r.Request.Assertion == provider.AssertionInHeader {
			return "a signed JWT as Bearer token in the `Authorization` header; no `grant_type`"
		}
		return "JWT bearer assertion (RFC 7523 §2.1)"
	case provider.TokenExchange:
		return "token exchange (RFC 8693)"
	case provider.Custom:
		return "the provider's own: `grant_type=" + r.GrantType + "`"
	default:
		return "client credentials (RFC 6749 §4.4)"
	}
}

// Authentication words the client authentication in the terms of RFC 7591 §2.
func (w Way) Authentication() string {
	switch w.Resolved.ClientAuthentication {
	case provider.SecretPost:
		return "`client_secret_post` (RFC 6749 §2.3.1)"
	case provider.SecretJWT:
		return "`client_secret_jwt` (RFC 7523 §2.2)"
	case provider.PrivateKeyJWT:
		return "`private_key_jwt` (RFC 7523 §2.2)"
	case provider.FederatedJWT:
		return "`private_key_jwt` with an assertion that somebody else signed (RFC 7521 §4.2)"
	case provider.TLS:
		return "`tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2)"
	case provider.None:
		if w.Resolved.ClientID != "" {
			return "`none`, as the public client `" + w.Resolved.ClientID + "`"
		}
		return "`none`"
	default:
		if w.Resolved.Request.BasicEncoding == provider.Raw {
			return "`client_secret_basic`, with both as they are (RFC 7617) instead of form-encoded"
		}
		return "`client_secret_basic` (RFC 6749 §2.3.1)"
	}
}

// Assertion words what is signed.
func (w Way) Assertion() string {
	a := w.Resolved.Assertion
	issuer := or(a.Issuer, "{client_id}")
	text := "`iss` is " + named(issuer)
	switch {
	case a.Subject == "-":
		text += ", no `sub`"
	case a.Subject != "":
		text += ", `sub` is " + named(a.Subject)
	default:
		text += " and `sub` too"
	}
	text += ", `aud` is " + or(code(a.Audience), "the token endpoint")
	algorithm := a.Algorithm
	if algorithm == "" {
		algorithm = "by the key's type"
		if w.Resolved.ClientAuthentication == provider.SecretJWT {
			algorithm = "HS256"
		}
	}
	text += fmt.Sprintf("; signed %s; lives %s", algorithm, period(a.Lifetime.Duration))
	if a.Thumbprint {
		text += "; with the certificate's `x5t#S256`"
	}
	return text
}

// named says where a text of one hole comes from.
func named(hole string) string {
	if strings.HasPrefix(hole, "{") && strings.HasSuffix(hole, "}") {
		return "the `" + strings.Trim(hole, "{}") + "`"
	}
	return code(hole)
}

// Scopes says which scopes are asked for.
func (w Way) Scopes() string {
	r := w.Resolved
	switch {
	case r.Request.Scopes == provider.NoScopes || r.Request.Method == http.MethodGet:
		return "none can be asked for"
	case len(r.Scopes) > 0:
		return Codes(r.Scopes) + ", unless `spec.scopes` names others"
	case r.Request.Scopes == provider.ScopesInAssertion:
		return "those of `spec.scopes`, in the assertion's claim `scope`"
	default:
		return "those of `spec.scopes`, if any"
	}
}

// Expiry says how it is known how long a token lives.
func (w Way) Expiry() string {
	var members []string
	for _, pointer := range slices.Concat(w.Resolved.Response.ExpiresIn, w.Resolved.Response.ExpiresAt) {
		members = append(members, strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", "."))
	}
	text := "what the answer says (" + Codes(members) + "), or the token itself where it is a JWT"
	if l := w.Resolved.TokenLifetime.Duration; l != 0 {
		text += "; " + period(l) + " where both are silent"
	}
	return text
}

// period is a duration for people: "5m", not "5m0s".
func period(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Allowed says what a parameter may be.
func (Way) Allowed(p provider.Parameter) string {
	var text string
	switch {
	case len(p.Values) > 0:
		text = Codes(Choices(p))
	case p.Format == provider.HostFormat:
		text = "a host name, with `:port` unless it is 443"
	case p.Format == provider.SegmentFormat:
		text = "letters, digits, `.`, `-` and `_`, at most 128"
	default:
		text = "lower-case letters, digits and hyphens, at most 63"
	}
	if p.Default == "" {
		return text + "; required"
	}
	return text + "; `" + p.Default + "` when left out"
}

// Refresh says what becomes of refresh tokens.
func (w Way) Refresh() string {
	if w.Resolved.UseRefreshToken == provider.Never {
		return "not used"
	}
	return "used when one comes along; the credentials again when it is refused"
}

// Limits says how often the provider is asked at most.
func (w Way) Limits() string {
	l := w.Definition.Limits
	if l == (provider.Limits{}) {
		return "the operator's own (8 requests in flight and 20 begun a second for each host)"
	}
	var parts []string
	if l.Concurrency > 0 {
		parts = append(parts, fmt.Sprintf("%d requests in flight", l.Concurrency))
	}
	if l.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%d begun a second", l.PerSecond))
	}
	return strings.Join(parts, " and ") + " for each host"
}

// Destination says where the credentials go.
func (w Way) Destination() string {
	if w.Resolved.FreeHost {
		return "what the parameters say, so the credential Secret must name the host in its annotation `providertoken.dev/allowed-hosts`"
	}
	return Codes(w.Hosts())
}

// Endpoint says what is asked, and where.
func (w Way) Endpoint() string {
	if w.Definition.TokenURL == "" {
		return "told by the metadata of the issuer `" + w.Definition.IssuerURL + "` (RFC 8414)"
	}
	return "`" + w.Resolved.Request.Method + " " + w.Definition.TokenURL + "`"
}

// Meaning says what a canonical credential is.
func (w Way) Meaning(name string) string {
	for _, extra := range w.Definition.ExtraCredentials {
		if extra.Name == name {
			return extra.Description
		}
	}
	switch name {
	case provider.CredClientID:
		return "the client's identifier"
	case provider.CredClientSecret:
		return "its secret"
	case provider.CredUsername:
		return "the account's name"
	case provider.CredPassword:
		return "its password"
	case provider.CredRefreshToken:
		return "a refresh token, got by a person who logged in"
	case provider.CredPrivateKey:
		return "the key that signs: PEM (PKCS #8, PKCS #1 or SEC 1) or a JWK"
	case provider.CredKeyID:
		return "that key's identifier, sent as `kid`"
	case provider.CredCertificate:
		return "the certificate chain in PEM"
	case provider.CredAssertion:
		return "a JWT that somebody else signed"
	case provider.CredClientAssertion:
		return "a JWT that somebody else signed for this client"
	case provider.CredSubjectToken:
		return "the token to exchange"
	case provider.CredActorToken:
		return "the token of whoever acts"
	}
	return ""
}

// Keys lists where in the Secret a credential may be.
func (w Way) Keys(name string) string {
	var all []string
	for _, key := range w.Definition.Keys(name) {
		file, pointer, isDocument := strings.Cut(key, "#")
		if isDocument {
			member := strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
			all = append(all, code(file)+", a JSON document with "+code(member))
			continue
		}
		all = append(all, code(key))
	}
	return strings.Join(all, " or ")
}

// code marks a word as code, in Markdown.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// Codes lists words as code, in Markdown.
func Codes(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, word := range words {
		quoted = append(quoted, code(word))
	}
	return strings.Join(quoted, ", ")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
