package providersim

import (
	"net/http"

	"github.com/golang-jwt/jwt/v5"
)

// Credentials that the simulated UP42 project API knows from the start. The key
// is one that a form-encoded Basic header would spoil.
const (
	UP42ProjectID  = "8ba7b810-9dad-11d1-80b4-00c04fd430c8"
	UP42ProjectKey = "demo+Key/with%41:colon.and=more"
)

const up42ProjectTokenPath = "/oauth/token"

// UP42Project is UP42's older API: a project id and its key for a token of five minutes.
type UP42Project struct {
	*Host
	projects map[string]string
	topLevel bool
	signer   signer
}

func newUP42Project(h *Host) *UP42Project {
	p := &UP42Project{
		Host:     h,
		projects: map[string]string{UP42ProjectID: UP42ProjectKey},
		signer:   newSigner("https://api.up42.com"),
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *UP42Project) TokenURL() string { return p.at(up42ProjectTokenPath) }

// SetCredentials adds a project, or changes its key.
func (p *UP42Project) SetCredentials(projectID, projectKey string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.projects[projectID] = projectKey
}

// AlsoTopLevel lets answers carry access_token and token_type beside data, as
// later versions of the API do.
func (p *UP42Project) AlsoTopLevel(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topLevel = on
}

func (p *UP42Project) judgeToken(q request) reply {
	if q.URL.Path != up42ProjectTokenPath {
		return up42Error(http.StatusNotFound, "Not Found")
	}
	if q.Method != http.MethodPost {
		return up42Error(http.StatusMethodNotAllowed, "Method Not Allowed").with("Allow", http.MethodPost)
	}
	form, ok := q.form()
	if !q.isForm() || !ok || form.Get("grant_type") == "" {
		return up42Error(http.StatusUnsupportedMediaType, "Unsupported Media Type")
	}
	if q.URL.RawQuery != "" || q.URL.ForceQuery || !only(form, "grant_type") || form.Get("grant_type") != "client_credentials" {
		return up42Error(http.StatusBadRequest, "Bad Request")
	}
	id, key, ok := q.rawBasic()
	if known, exists := p.projects[id]; !ok || !exists || known != key {
		return up42Error(http.StatusUnauthorized, "Unauthorized").with("WWW-Authenticate", `Basic realm="up42"`)
	}
	return p.grantToken(q, id)
}

func (p *UP42Project) grantToken(q request, id string) reply {
	token, expires, err := p.signer.sign(q.now, p.lifetime, jwt.MapClaims{"sub": id})
	if err != nil {
		return up42Error(http.StatusInternalServerError, "Internal Server Error")
	}
	p.book(q, token, grant{expires: expires})
	fields := map[string]any{"error": nil, "data": map[string]any{"accessToken": token}}
	if p.topLevel {
		fields["access_token"], fields["token_type"] = token, "bearer"
	}
	return jsonReply(http.StatusOK, fields)
}

// up42Error is an error that is an object, not a code as in RFC 6749 §5.2.
func up42Error(status int, message string) reply {
	return jsonReply(status, map[string]any{
		"data":  nil,
		"error": map[string]any{"code": status, "message": message, "details": nil},
	})
}
