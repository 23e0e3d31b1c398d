package providersim

import (
	"crypto/rand"
	"net/http"
)

// The Server-to-Server OAuth app that is there from the start. Its secret is one that
// a form-encoded Basic header would spoil.
const (
	ZoomAccountID    = "demoAccount_-1"
	ZoomClientID     = "demoZoomClient"
	ZoomClientSecret = "demo+Secret/with%41:colon"
)

const zoomTokenPath = "/oauth/token"

// Zoom is Zoom's token endpoint for Server-to-Server OAuth apps.
//
// By developers.zoom.us/docs/internal-apps/s2s-oauth: POST with a form of grant_type
// and account_id, "Basic" with the Base64 of "client ID:client secret", an hour, no refresh
// token, and the members of the answer. The errors are those of
// developers.zoom.us/blog/s2s-token-generation-troubleshoot and of JubaerHossain/zoom-laravel#3
// and #4, status 400 with reason and error. The documentation is silent on what an unknown
// account is told (400 "Bad Request" here, as in Jericho/ZoomNet#272), on scope, which is
// refused, and on other methods.
type Zoom struct {
	*Host
	secrets map[string]string
}

func newZoom(h *Host) *Zoom {
	p := &Zoom{Host: h, secrets: map[string]string{ZoomClientID: ZoomClientSecret}}
	h.answer, h.kindOf = p.judgeToken, kindByWire
	return p
}

// TokenURL is the token endpoint.
func (p *Zoom) TokenURL() string { return p.at(zoomTokenPath) }

// SetCredentials adds an app of the same account, or changes its secret.
func (p *Zoom) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[clientID] = clientSecret
}

func (p *Zoom) judgeToken(q request) reply {
	if q.URL.Path != zoomTokenPath {
		return refusal(http.StatusNotFound, "<html><body>Not Found</body></html>")
	}
	if q.Method != http.MethodPost {
		return refusal(http.StatusMethodNotAllowed, "").with("Allow", http.MethodPost)
	}
	form, ok := q.form()
	if !ok || !q.isForm() || q.hasQuery() {
		return zoomError("Bad Request", "invalid_request")
	}
	id, secret, ok := q.rawBasic()
	if known, exists := p.secrets[id]; !ok || !exists || known != secret {
		return zoomError("Invalid client_id or client_secret", "invalid_client")
	}
	if form.Get("grant_type") != string(KindAccountCredentials) {
		return zoomError("unsupported grant type", "unsupported_grant_type")
	}
	if form, ok = q.exactly("grant_type", "account_id"); !ok || form.Get("account_id") != ZoomAccountID {
		return zoomError("Bad Request", "invalid_request")
	}
	token := rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "token_type": "bearer", "expires_in": seconds(p.lifetime),
		"scope": "meeting:read:admin user:read:admin", "api_url": "https://api.zoom.us",
	})
}

func zoomError(reason, code string) reply {
	return jsonReply(http.StatusBadRequest, map[string]any{"reason": reason, "error": code})
}
