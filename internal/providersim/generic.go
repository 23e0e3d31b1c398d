package providersim

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials that the generic provider knows from the start. They are ones that
// a Basic header without form encoding would spoil (RFC 6749 §2.3.1).
const (
	GenericClientID     = "demo:client"
	GenericClientSecret = "demo+secret %41&more="
)

const genericTokenPath = "/token"

// Generic is a plain RFC 6749 token endpoint with the client credentials grant,
// for custom definitions. It takes client_secret_basic and client_secret_post.
type Generic struct {
	*Host
	clients map[string]string
	scopes  []string
	extra   []string
	answers genericAnswer
	reuse   bool
	current issuedToken
	// documents are JSON texts at paths of their own, such as an issuer's metadata.
	documents map[string]string
}

// genericAnswer is what a granted request is told; the zero value is RFC 6749 §5.1.
type genericAnswer struct{ contentType, body string }

type issuedToken struct {
	value   string
	expires time.Time
}

func newGeneric(h *Host) *Generic {
	p := &Generic{
		Host:    h,
		clients: map[string]string{GenericClientID: GenericClientSecret},
		scopes:  []string{"a", "b"},
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *Generic) TokenURL() string { return p.at(genericTokenPath) }

// SetCredentials adds a client, or changes its secret.
func (p *Generic) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[clientID] = clientSecret
}

// AllowScopes replaces the scopes that may be asked for: a and b from the start.
func (p *Generic) AllowScopes(scopes ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scopes = scopes
}

// AllowFields permits further form fields, beside those of RFC 6749, audience
// and resource (RFC 8707).
func (p *Generic) AllowFields(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.extra = names
}

// SetAnswer replaces what a granted request is told, always with status 200. In
// body, {token} is the access token, {expires_in} its remaining life in seconds,
// {expires_at} its end in epoch seconds, {expires_at_rfc3339} the same for people.
func (p *Generic) SetAnswer(contentType, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = genericAnswer{contentType: contentType, body: body}
}

// ReuseTokens hands out the same token with less and less left until it has expired.
func (p *Generic) ReuseTokens(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reuse = on
}

// IssuerURL is an issuer whose metadata are wherever SetDocument puts them.
func (p *Generic) IssuerURL() string { return p.at("/realm") }

// SetDocument serves a JSON text at a path, for GET; an empty one takes it away.
func (p *Generic) SetDocument(path, json string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.documents == nil {
		p.documents = map[string]string{}
	}
	p.documents[path] = json
}

// document answers for one of SetDocument's; false when there is none.
func (p *Generic) document(q request) (reply, bool) {
	text := p.documents[q.URL.Path]
	if text == "" || q.Method != http.MethodGet || len(q.body) > 0 || q.Header.Get("Authorization") != "" {
		return reply{}, false
	}
	return reply{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: text}, true
}

func (p *Generic) judgeToken(q request) reply {
	if found, ok := p.document(q); ok {
		return found
	}
	if q.URL.Path != genericTokenPath {
		return refusal(http.StatusNotFound, "<html><body>Not Found</body></html>")
	}
	if q.Method != http.MethodPost {
		return refusal(http.StatusMethodNotAllowed, "").with("Allow", http.MethodPost)
	}
	if !q.isForm() {
		return refusal(http.StatusUnsupportedMediaType, "")
	}
	form, ok := q.form("resource")
	fields := append([]string{"grant_type", "scope", "client_id", "client_secret", "audience", "resource"}, p.extra...)
	if !ok || !only(form, fields...) || q.URL.RawQuery != "" || q.URL.ForceQuery {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if known, exists := p.clients[id]; !exists || known != secret {
		return oauthError(http.StatusUnauthorized, "invalid_client", "").with("WWW-Authenticate", `Basic realm="generic"`)
	}
	return p.judgeGrant(q, form)
}

func (p *Generic) judgeGrant(q request, form url.Values) reply {
	switch form.Get("grant_type") {
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	case "client_credentials":
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "")
	}
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if !slices.Contains(p.scopes, scope) {
			return oauthError(http.StatusBadRequest, "invalid_scope", "")
		}
	}
	token := p.token(q)
	left := seconds(token.expires.Sub(q.now))
	if p.answers.body != "" {
		return p.answers.reply(token, left)
	}
	fields := map[string]any{"access_token": token.value, "token_type": "Bearer", "expires_in": left}
	if form.Has("scope") {
		fields["scope"] = form.Get("scope")
	}
	return jsonReply(http.StatusOK, fields)
}

func (p *Generic) token(q request) issuedToken {
	if p.reuse && q.now.Before(p.current.expires) {
		return p.current
	}
	p.current = issuedToken{value: rand.Text() + rand.Text(), expires: q.now.Add(p.lifetime)}
	p.book(q, p.current.value, grant{expires: p.current.expires})
	return p.current
}

func (a genericAnswer) reply(token issuedToken, left int64) reply {
	body := strings.NewReplacer(
		"{token}", token.value,
		"{expires_in}", strconv.FormatInt(left, 10),
		"{expires_at}", strconv.FormatInt(token.expires.Unix(), 10),
		"{expires_at_rfc3339}", token.expires.UTC().Format(time.RFC3339),
	).Replace(a.body)
	return reply{status: http.StatusOK, header: http.Header{"Content-Type": {a.contentType}}, body: body}
}
