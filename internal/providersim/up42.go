package providersim

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Credentials that the simulated UP42 knows from the start.
const (
	UP42Username = "demo@example.com"
	UP42Password = "pass:word+with%41 and=more&"
	UP42ClientID = "up42-api"
)

const (
	up42TokenPath = "/realms/public/protocol/openid-connect/token"
	// up42RefreshFactor is how much longer than an access token a refresh token lives: 1800 s to 300 s.
	up42RefreshFactor = 6
	// up42SessionMax is how long a session lasts however often it is refreshed.
	up42SessionMax = 10 * time.Hour
)

// Lockout is Keycloak's brute-force detection, one user at a time. A locked user
// is told exactly what a wrong password is told, even with the right one.
type Lockout struct {
	// Failures in a row that lock the user; 0 switches detection off.
	Failures int
	// Quick locks the user on two failures that are less than this apart.
	Quick time.Duration
	// Wait is how long the user stays locked.
	Wait time.Duration
}

// UP42 is a Keycloak realm with a public client, the password grant, sessions
// and refresh tokens.
type UP42 struct {
	*Host
	users          map[string]*up42User
	sessions       map[string]*up42Session
	refreshTokens  map[string]*up42Refresh
	lockout        Lockout
	rotation       bool
	hideExpiry     bool
	refusalStatus  int
	refreshLife    time.Duration // 0: up42RefreshFactor × lifetime
	sessionsOpened int
	failedLogins   int
	signer         signer
}

type up42User struct {
	password    string
	failures    int // in a row
	lastFailure time.Time
	lockedUntil time.Time
	wasLocked   bool
}

type up42Session struct {
	id, user       string
	idle, deadline time.Time
	killed         bool
}

func (s *up42Session) alive(now time.Time) bool {
	return !s.killed && now.Before(s.idle) && now.Before(s.deadline)
}

type up42Refresh struct {
	session *up42Session
	expires time.Time
	used    bool
}

func newUP42(h *Host) *UP42 {
	p := &UP42{
		Host:          h,
		users:         map[string]*up42User{UP42Username: {password: UP42Password}},
		sessions:      map[string]*up42Session{},
		refreshTokens: map[string]*up42Refresh{},
		lockout:       Lockout{Failures: 30, Quick: time.Second, Wait: time.Minute},
		refusalStatus: http.StatusUnauthorized,
		signer:        newSigner(h.at("/realms/public")),
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *UP42) TokenURL() string { return p.at(up42TokenPath) }

// SetLogin adds a user, or changes the password. A lock stays.
func (p *UP42) SetLogin(username, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u, ok := p.users[username]; ok {
		u.password = password
		return
	}
	p.users[username] = &up42User{password: password}
}

// SetLockout replaces the brute-force detection; it begins with Keycloak's
// defaults (30 failures, or 2 within a second; one minute).
func (p *UP42) SetLockout(l Lockout) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lockout = l
}

// RotateRefreshTokens makes refresh tokens single-use: the second use of one kills its session.
func (p *UP42) RotateRefreshTokens(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rotation = on
}

// HideRefreshExpiry answers refresh_expires_in: 0, "not stated".
func (p *UP42) HideRefreshExpiry(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hideExpiry = on
}

// SetRefreshLifetime is how long a refresh token and an unused session live; six
// times an access token's lifetime if never set. A session ends after ten hours.
func (p *UP42) SetRefreshLifetime(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refreshLife = d
}

// RefuseWith sets the status of a bad login: 401, or 400 in other versions of Keycloak.
func (p *UP42) RefuseWith(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusalStatus = status
}

// KillSessions logs everybody out: refresh tokens and access tokens die with their session.
func (p *UP42) KillSessions() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		s.killed = true
	}
}

// Sessions is the number of sessions that are alive.
func (p *UP42) Sessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, n := p.now(), 0
	for _, s := range p.sessions {
		if s.alive(now) {
			n++
		}
	}
	return n
}

// SessionsOpened is the number of sessions that were ever opened: one for each login.
func (p *UP42) SessionsOpened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessionsOpened
}

// FailedLogins is the number of password logins that were refused.
func (p *UP42) FailedLogins() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failedLogins
}

// Locked tells whether the user is locked now.
func (p *UP42) Locked(username string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.users[username]
	return ok && p.now().Before(u.lockedUntil)
}

// WasLocked tells whether the user was ever locked.
func (p *UP42) WasLocked(username string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.users[username]
	return ok && u.wasLocked
}

func (p *UP42) judgeToken(q request) reply {
	if q.URL.Path != up42TokenPath {
		return oauthError(http.StatusNotFound, "HTTP 404 Not Found", "")
	}
	if q.Method != http.MethodPost {
		return oauthError(http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed", "").with("Allow", http.MethodPost)
	}
	if !q.isForm() {
		return oauthError(http.StatusUnsupportedMediaType, "HTTP 415 Unsupported Media Type", "")
	}
	form, ok := q.form()
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_request", "duplicated parameter")
	}
	if form.Get("grant_type") == "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing form parameter: grant_type")
	}
	if q.URL.RawQuery != "" || q.URL.ForceQuery {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if q.Header.Get("Authorization") != "" || form.Get("client_id") != UP42ClientID {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Invalid client or Invalid client credentials")
	}
	return p.judgeGrant(q, form)
}

func (p *UP42) judgeGrant(q request, form url.Values) reply {
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if !slices.Contains([]string{"openid", "email", "profile"}, scope) {
			return oauthError(http.StatusBadRequest, "invalid_scope", "Invalid scopes: "+form.Get("scope"))
		}
	}
	switch form.Get("grant_type") {
	case "password":
		if !only(form, "grant_type", "client_id", "username", "password", "scope") || !form.Has("username") || !form.Has("password") {
			return oauthError(http.StatusBadRequest, "invalid_request", "")
		}
		return p.judgeLogin(q, form.Get("username"), form.Get("password"))
	case "refresh_token":
		if !only(form, "grant_type", "client_id", "refresh_token", "scope") || !form.Has("refresh_token") {
			return oauthError(http.StatusBadRequest, "invalid_request", "No refresh token")
		}
		return p.judgeRefresh(q, form.Get("refresh_token"))
	case "client_credentials":
		return oauthError(http.StatusUnauthorized, "unauthorized_client", "Public client not allowed to retrieve service account")
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type")
	}
}

func (p *UP42) judgeLogin(q request, username, password string) reply {
	if !p.login(q.now, username, password) {
		p.failedLogins++
		return oauthError(p.refusalStatus, "invalid_grant", "Invalid user credentials")
	}
	s := &up42Session{id: rand.Text(), user: username, deadline: q.now.Add(up42SessionMax)}
	p.sessions[s.id] = s
	p.sessionsOpened++
	return p.grantToken(q, s)
}

// login checks the password and keeps the brute-force detector's books.
func (p *UP42) login(now time.Time, username, password string) bool {
	u, ok := p.users[username]
	if !ok || now.Before(u.lockedUntil) {
		return false
	}
	if u.password == password {
		u.failures, u.lastFailure = 0, time.Time{}
		return true
	}
	quick := !u.lastFailure.IsZero() && now.Sub(u.lastFailure) < p.lockout.Quick
	u.failures++
	u.lastFailure = now
	if p.lockout.Failures > 0 && (quick || u.failures >= p.lockout.Failures) {
		u.lockedUntil, u.wasLocked = now.Add(p.lockout.Wait), true
	}
	return false
}

func (p *UP42) judgeRefresh(q request, token string) reply {
	refused := func(why string) reply { return oauthError(http.StatusBadRequest, "invalid_grant", why) }
	r, ok := p.refreshTokens[token]
	if !ok {
		return refused("Invalid refresh token")
	}
	if !r.session.alive(q.now) {
		return refused("Session not active")
	}
	if p.rotation && r.used {
		r.session.killed = true
		return refused("Maximum allowed refresh token reuse exceeded")
	}
	if !q.now.Before(r.expires) {
		return refused("Token is not active")
	}
	r.used = true
	return p.grantToken(q, r.session)
}

func (p *UP42) grantToken(q request, s *up42Session) reply {
	idle := p.refreshLife
	if idle == 0 {
		idle = up42RefreshFactor * p.lifetime
	}
	idle = min(idle, s.deadline.Sub(q.now).Truncate(time.Second))
	access, expires, err := p.signer.sign(q.now, min(p.lifetime, idle), jwt.MapClaims{
		"sub": s.user, "typ": "Bearer", "azp": UP42ClientID, "sid": s.id, "scope": "email profile",
	})
	if err != nil {
		return refusal(http.StatusInternalServerError, "")
	}
	refresh, refreshExpires, err := p.signer.sign(q.now, idle, jwt.MapClaims{"typ": "Refresh", "azp": UP42ClientID, "sid": s.id})
	if err != nil {
		return refusal(http.StatusInternalServerError, "")
	}
	s.idle = refreshExpires
	p.refreshTokens[refresh] = &up42Refresh{session: s, expires: refreshExpires}
	p.book(q, access, grant{expires: expires, alive: s.alive})
	p.sweep(q.now)
	stated := seconds(idle)
	if p.hideExpiry {
		stated = 0
	}
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": access, "expires_in": seconds(min(p.lifetime, idle)), "refresh_expires_in": stated, "refresh_token": refresh,
		"token_type": "Bearer", "not-before-policy": 0, "session_state": s.id, "scope": "email profile",
	})
}

func (p *UP42) sweep(now time.Time) {
	if len(p.refreshTokens)%sweepEvery != 0 {
		return
	}
	maps.DeleteFunc(p.refreshTokens, func(_ string, r *up42Refresh) bool { return !r.session.alive(now) })
	maps.DeleteFunc(p.sessions, func(_ string, s *up42Session) bool { return !s.alive(now) })
}
