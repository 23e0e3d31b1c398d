package providersim

import (
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// What the simulated Salesforce org knows from the start. The app has no certificate
// until SetCertificate gives it one.
const (
	SalesforceConsumerKey    = "3MVG9demo.consumer_key"
	SalesforceConsumerSecret = "DEMO0123456789ABCDEF+secret"
	SalesforceUsername       = "integration@example.com"
)

const (
	salesforceTokenPath = "/services/oauth2/token"
	// salesforceLifetime is the shortest session timeout that an org can set.
	salesforceLifetime = 15 * time.Minute
	// salesforceMaxAhead is "within 3 minutes".
	salesforceMaxAhead = 3 * time.Minute
)

// Salesforce is an org's token endpoint, at its My Domain unless OnLoginHost says otherwise.
//
// By help.salesforce.com, "OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration":
// the form's grant_type and assertion; RS256; iss is the consumer key, sub the username,
// aud the login server and not the token endpoint; exp within three minutes; the members
// of the answer, among them no expires_in. By "OAuth 2.0 Client Credentials Flow for
// Server-to-Server Integration": the consumer's key and secret in the body or in a Basic
// header, at the org's own domain only. By "OAuth 2.0 Authorization Errors": the codes,
// all with status 400. Descriptions are those that clients' issues quote
// (pozil/pub-sub-api-node-client#58). That no scope can be asked for is Salesforce's
// "scope parameter not supported". The documentation is silent on jti, on iat, and on
// fields beside the documented ones: jti and iat are taken (iat not from the future),
// a client_id that repeats iss too, all other fields are refused.
type Salesforce struct {
	*Host
	certificate *rsa.PublicKey
	secrets     map[string]string
	users       []string
	loginHost   bool
}

func newSalesforce(h *Host) *Salesforce {
	p := &Salesforce{
		Host:    h,
		secrets: map[string]string{SalesforceConsumerKey: SalesforceConsumerSecret},
		users:   []string{SalesforceUsername},
	}
	h.answer, h.kindOf = p.judgeToken, kindByWire
	return p
}

// TokenURL is the token endpoint.
func (p *Salesforce) TokenURL() string { return p.at(salesforceTokenPath) }

// SetCertificate gives the app the public key that its assertions are verified with.
func (p *Salesforce) SetCertificate(key *rsa.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.certificate = key
}

// SetCredentials adds an app, or changes its secret.
func (p *Salesforce) SetCredentials(consumerKey, consumerSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[consumerKey] = consumerSecret
}

// OnLoginHost makes this login.salesforce.com, which knows no client credentials.
func (p *Salesforce) OnLoginHost(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loginHost = on
}

func (p *Salesforce) judgeToken(q request) reply {
	if q.URL.Path != salesforceTokenPath {
		return refusal(http.StatusNotFound, "<html><body>URL No Longer Exists</body></html>")
	}
	form, ok := q.form()
	if q.Method != http.MethodPost || !q.isForm() || !ok || q.hasQuery() {
		return oauthError(http.StatusBadRequest, "invalid_request", "must use HTTP POST")
	}
	if form.Has("scope") {
		return oauthError(http.StatusBadRequest, "invalid_request", "scope parameter not supported")
	}
	switch form.Get("grant_type") {
	case string(KindJWTBearer):
		return p.judgeAssertion(q)
	case string(KindClientCredentials):
		return p.judgeClient(q)
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "grant type not supported")
	}
}

func (p *Salesforce) judgeAssertion(q request) reply {
	form, ok := q.form()
	if !ok || !only(form, "grant_type", "assertion", "client_id") || q.Header.Get("Authorization") != "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "unexpected parameter")
	}
	a, ok := readAssertion(form.Get("assertion"))
	if !ok || !a.headed("kid") || !a.has([]string{"iss", "sub", "aud", "exp"}, []string{"iat", "jti"}) {
		return invalidGrant("invalid assertion")
	}
	if _, known := p.secrets[a.text("iss")]; !known || (form.Has("client_id") && form.Get("client_id") != a.text("iss")) {
		return oauthError(http.StatusBadRequest, "invalid_client_id", "client identifier invalid")
	}
	if p.certificate == nil || !a.signedBy(p.certificate) {
		return invalidGrant("invalid assertion")
	}
	if !slices.Contains([]string{"https://login.salesforce.com", "https://test.salesforce.com"}, a.text("aud")) {
		return invalidGrant("audience is invalid")
	}
	expires, ok := a.instant("exp")
	if !ok || !q.now.Before(expires) || expires.After(q.now.Add(salesforceMaxAhead)) {
		return invalidGrant("expired authorization code")
	}
	if _, stated := a.claims["iat"]; stated {
		if issued, ok := a.instant("iat"); !ok || issued.After(q.now) {
			return invalidGrant("invalid assertion")
		}
	}
	if !slices.Contains(p.users, a.text("sub")) {
		return invalidGrant("user hasn't approved this consumer")
	}
	return p.grantToken(q, nil)
}

func (p *Salesforce) judgeClient(q request) reply {
	form, ok := q.form()
	if !ok || !only(form, "grant_type", "client_id", "client_secret") {
		return oauthError(http.StatusBadRequest, "invalid_request", "unexpected parameter")
	}
	if p.loginHost {
		return invalidGrant("request not supported on this domain")
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_request", "multiple authentication methods")
	}
	known, exists := p.secrets[id]
	if !exists {
		return oauthError(http.StatusBadRequest, "invalid_client_id", "client identifier invalid")
	}
	if known != secret {
		return oauthError(http.StatusBadRequest, "invalid_client", "invalid client credentials")
	}
	return p.grantToken(q, map[string]any{
		"signature": "c2lnbmF0dXJl", "issued_at": strconv.FormatInt(q.now.UnixMilli(), 10),
	})
}

func (p *Salesforce) grantToken(q request, more map[string]any) reply {
	token := "00Ddemo!" + rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	fields := map[string]any{
		"access_token": token, "scope": "api", "instance_url": "https://" + p.address,
		"id": p.at("/id/00Ddemo/005demo"), "token_type": "Bearer",
	}
	maps.Copy(fields, more)
	return jsonReply(http.StatusOK, fields)
}
