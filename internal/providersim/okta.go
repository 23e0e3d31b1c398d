package providersim

import (
	"crypto"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What the simulated Okta org knows from the start.
const (
	OktaClientID     = "0oademo4xWRTGvUCo357"
	OktaClientSecret = "demo-okta_secret-0123456789abcdefABCDEF0"
	// OktaServer is the id of a custom authorization server, beside "default".
	OktaServer = "ausdemo9kZ1xY2wV3u4t"
	// OktaScope is a scope of Okta's own APIs, which the org authorization server grants.
	OktaScope = "okta.users.read"
	// OktaCustomScope is one of the custom authorization servers.
	OktaCustomScope = "demo.read"
)

const (
	oktaOrgPath = "/oauth2/v1/token"
	// oktaMaxLife is the documentation's "maximum of only an hour in the future".
	oktaMaxLife = time.Hour
)

// Okta is an org: its own authorization server, and two custom ones.
//
// By developer.okta.com, "Implement OAuth for Okta with a service app" (the org server
// takes private_key_jwt only and grants okta.* scopes; aud is the full URL of the token
// endpoint, exp at most an hour ahead, jti and iat may be left out, iss and sub are the
// client_id) and "Client credentials flow" (custom servers, Basic, scope); the sentences
// of the errors are those that users quote, among them the two shapes: error and
// error_description, but errorCode and errorSummary for an unknown client and for what
// never reaches an authorization server. A jti is demanded here, to see that it is fresh.
// Silent: the clock skew that is forgiven (none here), kid where there is one key (may be
// left out here), client_id beside an assertion (taken if it is the same).
type Okta struct {
	*Host
	secrets map[string]string
	keys    map[string]keyring
	seen    spent
}

func newOkta(h *Host) *Okta {
	p := &Okta{
		Host:    h,
		secrets: map[string]string{OktaClientID: OktaClientSecret},
		keys:    map[string]keyring{},
		seen:    spent{},
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// OrgTokenURL is the token endpoint of the org authorization server.
func (p *Okta) OrgTokenURL() string { return p.at(oktaOrgPath) }

// TokenURL is the token endpoint of a custom authorization server.
func (p *Okta) TokenURL(server string) string { return p.at("/oauth2/" + server + "/v1/token") }

// SetCredentials adds a client with a secret, or changes it.
func (p *Okta) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[clientID] = clientSecret
	delete(p.keys, clientID)
}

// SetKey makes a client prove itself by the private key that belongs to this one.
func (p *Okta) SetKey(clientID, keyID string, key crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[clientID] = keyring{keyID: key}
	delete(p.secrets, clientID)
}

func (p *Okta) judgeToken(q request) reply {
	endpoint := p.at(q.URL.Path)
	if !slices.Contains([]string{p.OrgTokenURL(), p.TokenURL("default"), p.TokenURL(OktaServer)}, endpoint) {
		return oktaError(http.StatusNotFound, "E0000007", "Not found: Resource not found")
	}
	if q.Method != http.MethodPost {
		return oktaError(http.StatusMethodNotAllowed, "E0000022", "The endpoint does not support the provided HTTP method")
	}
	if !q.isForm() {
		return oktaError(http.StatusUnsupportedMediaType, "E0000021", "Bad request.  Accept and/or Content-Type headers are likely not set.")
	}
	form, ok := q.form()
	if !ok || q.URL.RawQuery != "" || q.URL.ForceQuery {
		return oauthError(http.StatusBadRequest, "invalid_request", "The request is malformed.")
	}
	if !only(form, "grant_type", "scope", "client_id", "client_secret", "client_assertion_type", "client_assertion") {
		return oauthError(http.StatusBadRequest, "invalid_request", "The request has a parameter that is not known.")
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
	}
	if refused := p.authenticate(q, form, endpoint); refused != nil {
		return *refused
	}
	return p.judgeScopes(q, form.Get("scope"), endpoint == p.OrgTokenURL())
}

func (p *Okta) authenticate(q request, form url.Values, endpoint string) *reply {
	refused := func(why string) *reply {
		r := oauthError(http.StatusUnauthorized, "invalid_client", why)
		return &r
	}
	if proofAsked(form.Has) {
		if form.Has("client_secret") || q.Header.Get("Authorization") != "" {
			return refused("Cannot supply multiple client credentials. Use one of the following: credentials in the Authorization header, credentials in the post body, or a client_assertion in the post body.")
		}
		return p.judgeProof(q, form, endpoint)
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok {
		return refused("Cannot supply multiple client credentials. Use one of the following: credentials in the Authorization header, credentials in the post body, or a client_assertion in the post body.")
	}
	if id == "" {
		r := oauthError(http.StatusBadRequest, "invalid_client", "A client_id must be provided in the request.")
		return &r
	}
	known, ok := p.secrets[id]
	if !ok {
		r := oktaError(http.StatusUnauthorized, "invalid_client", "Invalid value for 'client_id' parameter.")
		return &r
	}
	if known != secret {
		return refused("The client secret supplied for a confidential client is invalid.")
	}
	if endpoint == p.OrgTokenURL() {
		return refused("Client Credentials requests to the Org Authorization Server must use the private_key_jwt token_endpoint_auth_method.")
	}
	return nil
}

func (p *Okta) judgeProof(q request, form url.Values, endpoint string) *reply {
	refused := func(why string) *reply {
		r := oauthError(http.StatusUnauthorized, "invalid_client", why)
		return &r
	}
	if form.Get("client_assertion_type") != clientAssertionType {
		return refused("The client_assertion_type is invalid.")
	}
	shown, ok := readProof(form.Get("client_assertion"))
	if !ok {
		return refused("The parsing of the client_assertion failed.")
	}
	id := shown.text("iss")
	if id == "" || id != shown.text("sub") || (form.Has("client_id") && form.Get("client_id") != id) {
		return refused("The issuer and subject of the client_assertion must be the client_id.")
	}
	keys, known := p.keys[id]
	if !known {
		r := oktaError(http.StatusUnauthorized, "invalid_client", "Invalid value for 'client_id' parameter.")
		return &r
	}
	kid, ok := shown.keyID()
	key, found := keys.find(kid)
	if !ok || !found {
		return refused("The JWKS of the client has no key with the kid of the client_assertion.")
	}
	required, optional := ownClaims()
	t := terms{
		header: map[string]string{"typ": "JWT"}, optionalKeyID: true, required: required, optional: optional,
		audiences: []string{endpoint}, maxLife: oktaMaxLife,
	}
	algorithms := []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"}
	if f := judgeBoth(shown, key, algorithms, t, q.now); f != flawless {
		return refused(oktaWords(f))
	}
	if !p.seen.spend(id, shown.text("jti"), q.now, q.now.Add(oktaMaxLife)) {
		return refused("The client_assertion token has already been used.")
	}
	return nil
}

func oktaWords(f flaw) string {
	switch f {
	case flawAudience:
		return "The audience claim for client_assertion must be the endpoint invoked for the request."
	case flawSignature, flawAlgorithm:
		return "The client_assertion signature is invalid."
	case flawExpired:
		return "The client_assertion token is expired."
	case flawDistant:
		return "The client_assertion token has an expiration too far into the future."
	default:
		return "The client_assertion is invalid: " + string(f)
	}
}

func (p *Okta) judgeScopes(q request, scope string, org bool) reply {
	refused := func(why string) reply { return oauthError(http.StatusBadRequest, "invalid_scope", why) }
	if scope == "" {
		return refused("The authorization server resource does not have any configured default scopes, 'scope' must be provided.")
	}
	granted := OktaCustomScope
	if org {
		granted = OktaScope
	}
	for s := range strings.FieldsSeq(scope) {
		if org && !strings.HasPrefix(s, "okta.") {
			return refused("Custom scopes are not allowed for this request.")
		}
		if s != granted {
			return refused("One or more scopes are not configured for the authorization server resource.")
		}
	}
	token := rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	return jsonReply(http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": seconds(p.lifetime), "access_token": token, "scope": scope,
	})
}

// oktaError is the shape of Okta's own APIs.
func oktaError(status int, code, summary string) reply {
	return jsonReply(status, map[string]any{
		"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae" + rand.Text(), "errorCauses": []any{},
	})
}
