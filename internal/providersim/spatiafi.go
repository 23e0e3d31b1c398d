package providersim

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Credentials that the simulated SpatiaFi knows from the start. The password is
// one that a form-encoded Basic header would spoil; the secret is shorter than
// RFC 7518 §3.2 wants a key for HS256 to be.
const (
	SpatiaFiUsername     = "demo@example.com"
	SpatiaFiPassword     = "pass:word+with%41 and=more&"
	SpatiaFiClientID     = "demo-app-client"
	SpatiaFiClientSecret = "short-demo-secret"
)

const (
	spatiaFiLoginPath   = "/api/v1/auth/jwt/token/basic"
	spatiaFiTokenPath   = "/api/v1/auth/jwt/token"
	spatiaFiClientsPath = "/api/v1/clients/"
)

// SpatiaFi has three ways in: a login for a short token, a login token for
// permanent app credentials, and a signed assertion for an app token.
type SpatiaFi struct {
	*Host
	users        map[string]string
	clients      map[string]string
	provisioned  []string
	jtis         map[string]time.Time // until when a replay must be refused
	failedLogins int
	expiresAt    bool
}

func newSpatiaFi(h *Host) *SpatiaFi {
	p := &SpatiaFi{
		Host:    h,
		users:   map[string]string{SpatiaFiUsername: SpatiaFiPassword},
		clients: map[string]string{SpatiaFiClientID: SpatiaFiClientSecret},
		jtis:    map[string]time.Time{},
	}
	h.answer, h.kindOf = p.judgeAny, spatiaFiKind
	return p
}

func spatiaFiKind(r *http.Request, form url.Values) Kind {
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case spatiaFiLoginPath:
		return KindLogin
	case strings.TrimSuffix(spatiaFiClientsPath, "/"):
		return KindProvision
	default:
		return kindOfGrant(r, form)
	}
}

// LoginURL takes username and password, and gives a login token.
func (p *SpatiaFi) LoginURL() string { return p.at(spatiaFiLoginPath) }

// TokenURL takes a client assertion (RFC 7523), and gives an app token.
func (p *SpatiaFi) TokenURL() string { return p.at(spatiaFiTokenPath) }

// ClientsURL takes a login token, and gives new app credentials, once.
func (p *SpatiaFi) ClientsURL() string { return p.at(spatiaFiClientsPath) }

// SetLogin adds a user, or changes the password.
func (p *SpatiaFi) SetLogin(username, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[username] = password
}

// SetCredentials adds an app's client, or changes its secret.
func (p *SpatiaFi) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[clientID] = clientSecret
}

// AnswerExpiresAt lets app tokens come with expires_at (epoch seconds) in place
// of expires_in: which of the two the real provider sends is not known.
func (p *SpatiaFi) AnswerExpiresAt(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expiresAt = on
}

// Provisioned lists the client ids that were handed out at ClientsURL. All of
// them stay for ever: more than one for one user are orphans.
func (p *SpatiaFi) Provisioned() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.provisioned)
}

// FailedLogins is the number of logins with a wrong username or password.
func (p *SpatiaFi) FailedLogins() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failedLogins
}

func (p *SpatiaFi) judgeAny(q request) reply {
	switch q.URL.Path {
	case spatiaFiLoginPath:
		return p.judgeLogin(q)
	case spatiaFiClientsPath:
		return p.judgeProvision(q)
	case spatiaFiTokenPath:
		return p.judgeToken(q)
	case strings.TrimSuffix(spatiaFiClientsPath, "/"):
		return refusal(http.StatusTemporaryRedirect, "").with("Location", p.at(spatiaFiClientsPath))
	default:
		return detail(http.StatusNotFound, "Not Found")
	}
}

func (p *SpatiaFi) judgeLogin(q request) reply {
	if q.Method != http.MethodGet {
		return detail(http.StatusMethodNotAllowed, "Method Not Allowed").with("Allow", http.MethodGet)
	}
	if !q.bare() {
		return unprocessable()
	}
	user, password, ok := q.rawBasic()
	if !ok {
		return detail(http.StatusUnauthorized, "Not authenticated").with("WWW-Authenticate", "Basic")
	}
	if known, exists := p.users[user]; !exists || known != password {
		p.failedLogins++
		return detail(http.StatusBadRequest, "LOGIN_BAD_CREDENTIALS")
	}
	token, expires := rand.Text()+rand.Text(), q.now.Truncate(time.Second).Add(p.lifetime)
	p.book(q, token, grant{expires: expires, login: true})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "token_type": "bearer", "expires_at": expires.Unix(),
	})
}

func (p *SpatiaFi) judgeProvision(q request) reply {
	if q.Method != http.MethodPost {
		return detail(http.StatusMethodNotAllowed, "Method Not Allowed").with("Allow", http.MethodPost)
	}
	if !q.bare() {
		return unprocessable()
	}
	scheme, token := q.authorization()
	g := p.tokens[token]
	if !strings.EqualFold(scheme, "Bearer") || !g.login || !g.valid(q.now) {
		return detail(http.StatusUnauthorized, "Unauthorized").with("WWW-Authenticate", "Bearer")
	}
	id, secret := strings.ToLower(rand.Text()), rand.Text()
	p.clients[id] = secret
	p.provisioned = append(p.provisioned, id)
	return jsonReply(http.StatusCreated, map[string]any{"client_id": id, "client_secret": secret})
}

func (p *SpatiaFi) judgeToken(q request) reply {
	if q.Method != http.MethodPost {
		return detail(http.StatusMethodNotAllowed, "Method Not Allowed").with("Allow", http.MethodPost)
	}
	fields := []string{"grant_type", "client_assertion_type", "client_assertion"}
	form, ok := q.form()
	if !q.isForm() || !ok || len(form) != len(fields) || !only(form, fields...) {
		return unprocessable()
	}
	if q.URL.RawQuery != "" || q.URL.ForceQuery || q.Header.Get("Authorization") != "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "")
	}
	if form.Get("client_assertion_type") != clientAssertionType || !p.acceptAssertion(q, form.Get("client_assertion")) {
		return oauthError(http.StatusBadRequest, "invalid_client", "")
	}
	return p.grantToken(q)
}

// acceptAssertion uses up the assertion's jti.
func (p *SpatiaFi) acceptAssertion(q request, assertion string) bool {
	a, err := verifyAssertion(assertion, p.TokenURL(), q.now, p.clients)
	if err != nil {
		return false
	}
	for jti, until := range p.jtis {
		if !q.now.Before(until) {
			delete(p.jtis, jti)
		}
	}
	if _, replayed := p.jtis[a.ID]; replayed {
		return false
	}
	p.jtis[a.ID] = a.expires.Add(assertionLeeway)
	return true
}

func (p *SpatiaFi) grantToken(q request) reply {
	token, expires := rand.Text()+rand.Text(), q.now.Truncate(time.Second).Add(p.lifetime)
	p.book(q, token, grant{expires: expires})
	fields := map[string]any{"access_token": token, "token_type": "bearer"}
	if p.expiresAt {
		fields["expires_at"] = expires.Unix()
	} else {
		fields["expires_in"] = seconds(p.lifetime)
	}
	return jsonReply(http.StatusOK, fields)
}

// bare tells whether the request has neither query nor body.
func (q request) bare() bool {
	return len(q.body) == 0 && q.URL.RawQuery == "" && !q.URL.ForceQuery
}

// detail is an error as FastAPI words it.
func detail(status int, message string) reply {
	return jsonReply(status, map[string]any{"detail": message})
}

// unprocessable is FastAPI's refusal of fields that it does not expect, or misses.
func unprocessable() reply {
	return jsonReply(http.StatusUnprocessableEntity, map[string]any{"detail": []any{
		map[string]any{"loc": []string{"body"}, "msg": "invalid request", "type": "value_error"},
	}})
}
