package providersim

import (
	"crypto"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What the simulated Zitadel instance knows from the start.
const (
	// ZitadelClientID is a service account's user name, for client credentials.
	ZitadelClientID     = "demo-service@demo"
	ZitadelClientSecret = "demoSecretWith+plus/and=equals%41"
	// ZitadelUserID is a service account's id, for the JWT profile.
	ZitadelUserID = "163840776835432705"
	ZitadelKeyID  = "163840776835432999"
)

const (
	zitadelTokenPath = "/oauth/v2/token"
	// zitadelMaxAge is how old iat may be.
	zitadelMaxAge = time.Hour
	// zitadelSkew is what is forgiven a clock.
	zitadelSkew = time.Second
	jwtBearer   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Zitadel is an instance's token endpoint with two service accounts.
//
// By zitadel.com/docs, "Configure private key JWT authentication for service accounts"
// and "Grant types" (the fields grant_type, scope and assertion; header alg RS256 and kid;
// iss and sub are the user's id, aud is the instance's URL; exp at most an hour ahead),
// "Client credentials" (Basic, form-encoded, as "Authentication methods" has it), and the
// server's sources (token_jwt_profile.go, client_credentials.go, error.go; zitadel/oidc's
// op.VerifyJWTAssertion): iat at most an hour old and a second ahead; a request without a
// scope is refused, an unknown scope is dropped; an assertion that does not verify for
// whatever reason is 500 server_error, and a wrong secret is 400 invalid_request.
//
// Stricter than the server: unknown fields and claims are refused; a jti, which it does
// not look at, is demanded and counts once. Its answer for an unknown client's status is
// a guess (400, the default of the library's WriteError).
type Zitadel struct {
	*Host
	secrets map[string]string
	keys    map[string]keyring
	seen    spent
}

func newZitadel(h *Host) *Zitadel {
	p := &Zitadel{
		Host:    h,
		secrets: map[string]string{ZitadelClientID: ZitadelClientSecret},
		keys:    map[string]keyring{},
		seen:    spent{},
	}
	h.answer, h.kindOf = p.judgeToken, zitadelKind
	return p
}

func zitadelKind(r *http.Request, form url.Values) Kind {
	if form.Get("grant_type") == jwtBearer {
		return jwtBearer
	}
	return kindOfGrant(r, form)
}

// TokenURL is the token endpoint.
func (p *Zitadel) TokenURL() string { return p.at(zitadelTokenPath) }

// SetCredentials adds a service account with a secret, or changes it.
func (p *Zitadel) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[clientID] = clientSecret
}

// SetKey adds a service account with a key, or changes it.
func (p *Zitadel) SetKey(userID, keyID string, key crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[userID] = keyring{keyID: key}
}

func (p *Zitadel) judgeToken(q request) reply {
	if q.URL.Path != zitadelTokenPath {
		return refusal(http.StatusNotFound, "404 page not found")
	}
	if q.Method != http.MethodPost {
		return refusal(http.StatusMethodNotAllowed, "").with("Allow", http.MethodPost)
	}
	form, ok := q.form()
	if !q.isForm() || !ok || q.URL.RawQuery != "" || q.URL.ForceQuery {
		return oauthError(http.StatusBadRequest, "invalid_request", "error parsing form")
	}
	switch form.Get("grant_type") {
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "grant_type missing")
	case "client_credentials":
		return p.judgeSecret(q, form)
	case jwtBearer:
		return p.judgeAssertion(q, form)
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", form.Get("grant_type")+" not supported")
	}
}

func (p *Zitadel) judgeSecret(q request, form url.Values) reply {
	if !only(form, "grant_type", "scope", "client_id", "client_secret") {
		return oauthError(http.StatusBadRequest, "invalid_request", "error decoding form")
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok || id == "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "client_id or client_assertion must be provided")
	}
	known, ok := p.secrets[id]
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_client", "client not found")
	}
	if known != secret {
		return oauthError(http.StatusBadRequest, "invalid_request", "Errors.User.Machine.Secret.Invalid")
	}
	return p.grantToken(q, form.Get("scope"))
}

func (p *Zitadel) judgeAssertion(q request, form url.Values) reply {
	if q.Header.Get("Authorization") != "" || !only(form, "grant_type", "scope", "assertion") {
		return oauthError(http.StatusBadRequest, "invalid_request", "error decoding form")
	}
	if p.verify(q, form.Get("assertion")) != flawless {
		return oauthError(http.StatusInternalServerError, "server_error", "Errors.Internal")
	}
	return p.grantToken(q, form.Get("scope"))
}

func (p *Zitadel) verify(q request, assertion string) flaw {
	shown, ok := readProof(assertion)
	if !ok {
		return flawForm
	}
	id := shown.text("iss")
	if id != shown.text("sub") {
		return flawIssuer
	}
	kid, _ := shown.keyID()
	key, found := p.keys[id][kid] // there is no other way to find it
	if !found {
		return flawSignature
	}
	t := terms{
		header: map[string]string{"typ": "JWT", "kid": ""}, required: []string{"iss", "sub", "aud", "iat", "exp", "jti"},
		audiences: []string{p.at("")}, leeway: zitadelSkew, maxLife: time.Hour, maxAge: zitadelMaxAge,
	}
	if f := judgeBoth(shown, key, []string{"RS256"}, t, q.now); f != flawless {
		return f
	}
	if !p.seen.spend(id, shown.text("jti"), q.now, q.now.Add(zitadelMaxAge)) {
		return flawReplay
	}
	return flawless
}

func (p *Zitadel) grantToken(q request, scope string) reply {
	if strings.TrimSpace(scope) == "" {
		return oauthError(http.StatusBadRequest, "invalid_request",
			"The scope of your request is missing. Please ensure some scopes are requested. If you have any questions, you may contact the administrator of the application.")
	}
	token := rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": seconds(p.lifetime),
	})
}
