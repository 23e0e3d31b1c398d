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

// What the simulated Auth0 tenant knows from the start.
const (
	Auth0ClientID     = "demoM2MclientAbCdEfGhIjKlMnOpQrS"
	Auth0ClientSecret = "demo-secret_0123456789-abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMN"
	// Auth0Audience is the identifier of an API that the client is authorized for.
	Auth0Audience = "https://api.demo.example/v1"
	// Auth0Scope is one that the client has been granted there.
	Auth0Scope = "read:demo"
)

const (
	auth0TokenPath = "/oauth/token"
	// auth0MaxLife is the documentation's "maximum of 5 minutes for the lifetime of a token".
	auth0MaxLife = 5 * time.Minute
	// auth0Skew is the documentation's "clock skew of up to 10 seconds".
	auth0Skew = 10 * time.Second
	// auth0MaxText is how long iss, sub and jti may be.
	auth0MaxText = 64
)

// Auth0 is a tenant's token endpoint with an API, and applications that may use it.
// Each application proves itself in one way: by its secret, or by its key.
//
// By auth0.com/docs, "Call Your API Using the Client Credentials Flow" (a form with
// grant_type, client_id, client_secret and audience) and "Authenticate with Private Key
// JWT" (RS256, RS384 or PS256; kid may be left out; aud is the tenant's URL with the
// trailing slash; exp at most five minutes ahead; a jti once; 64 characters at most).
// The words for a missing audience, for scopes and for a wrong secret are those that
// users of Auth0 quote. The documentation is silent on how a bad assertion is refused
// (401 invalid_client here), and on client_id beside an assertion, which is taken if it is
// the same. It takes JSON bodies too, which this one does not: the entry sends a form.
type Auth0 struct {
	*Host
	secrets map[string]string
	keys    map[string]keyring
	seen    spent
}

func newAuth0(h *Host) *Auth0 {
	p := &Auth0{
		Host:    h,
		secrets: map[string]string{Auth0ClientID: Auth0ClientSecret},
		keys:    map[string]keyring{},
		seen:    spent{},
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *Auth0) TokenURL() string { return p.at(auth0TokenPath) }

// SetCredentials adds an application with a secret, or changes it.
func (p *Auth0) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[clientID] = clientSecret
	delete(p.keys, clientID)
}

// SetKey makes an application prove itself by the private key that belongs to this one.
func (p *Auth0) SetKey(clientID, keyID string, key crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[clientID] = keyring{keyID: key}
	delete(p.secrets, clientID)
}

func (p *Auth0) judgeToken(q request) reply {
	if q.URL.Path != auth0TokenPath {
		return refusal(http.StatusNotFound, "Not Found")
	}
	if q.Method != http.MethodPost {
		return refusal(http.StatusNotFound, "Not Found")
	}
	form, ok := q.form()
	if !q.isForm() || !ok || q.URL.RawQuery != "" || q.URL.ForceQuery {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if !form.Has("grant_type") {
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing required parameter: grant_type")
	}
	if !only(form, "grant_type", "client_id", "client_secret", "client_assertion_type", "client_assertion", "audience", "scope") {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(http.StatusForbidden, "unauthorized_client", "Grant type '"+form.Get("grant_type")+"' not allowed for the client.")
	}
	if refused := p.authenticate(q, form); refused != nil {
		return *refused
	}
	return p.judgeTarget(q, form)
}

func (p *Auth0) authenticate(q request, form url.Values) *reply {
	unauthorized := oauthError(http.StatusUnauthorized, "access_denied", "Unauthorized")
	if q.Header.Get("Authorization") != "" || (proofAsked(form.Has) && form.Has("client_secret")) {
		// The application's method is client_secret_post or private_key_jwt, and no other.
		return &unauthorized
	}
	if proofAsked(form.Has) {
		return p.judgeProof(q, form)
	}
	if known, ok := p.secrets[form.Get("client_id")]; !ok || known != form.Get("client_secret") {
		return &unauthorized
	}
	return nil
}

func (p *Auth0) judgeProof(q request, form url.Values) *reply {
	refused := func(why string) *reply {
		r := oauthError(http.StatusUnauthorized, "invalid_client", why)
		return &r
	}
	shown, ok := readProof(form.Get("client_assertion"))
	if !ok || form.Get("client_assertion_type") != clientAssertionType {
		return refused("client_assertion is missing or malformed")
	}
	id := shown.text("iss")
	if id != shown.text("sub") || (form.Has("client_id") && form.Get("client_id") != id) {
		return refused(string(flawIssuer))
	}
	kid, ok := shown.keyID()
	key, found := p.keys[id].find(kid)
	if !ok || !found {
		return refused("no credential of the client has this kid")
	}
	required, optional := ownClaims()
	t := terms{
		header: map[string]string{"typ": "JWT"}, optionalKeyID: true, required: required, optional: optional,
		audiences: []string{p.at("/")}, leeway: auth0Skew, maxLife: auth0MaxLife,
	}
	if f := judgeBoth(shown, key, []string{"RS256", "RS384", "PS256"}, t, q.now); f != flawless {
		return refused(string(f))
	}
	jti := shown.text("jti")
	if len(id) > auth0MaxText || len(jti) > auth0MaxText || !p.seen.spend(id, jti, q.now, q.now.Add(2*auth0MaxLife)) {
		return refused(string(flawReplay))
	}
	return nil
}

func (p *Auth0) judgeTarget(q request, form url.Values) reply {
	denied := func(why string) reply { return oauthError(http.StatusForbidden, "access_denied", why) }
	if !form.Has("audience") {
		return denied("No audience parameter was provided, and no default audience has been configured")
	}
	if form.Get("audience") != Auth0Audience {
		return denied("Service not found: " + form.Get("audience"))
	}
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if !slices.Contains([]string{Auth0Scope}, scope) {
			return denied("Client has not been granted scopes: " + scope)
		}
	}
	token := rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": seconds(p.lifetime), "scope": Auth0Scope,
	})
}
