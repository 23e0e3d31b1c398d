package providersim

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"time"
)

// The app that is there from the start. Its secret is one that a form-encoded Basic
// header would spoil.
const (
	PayPalClientID     = "AdemoPayPal-Client_ID"
	PayPalClientSecret = "EdemoPayPal-Secret+with%41:colon"
)

const (
	payPalTokenPath = "/v1/oauth2/token"
	// payPalLifetime is the documentation's example, somewhat less than nine hours.
	payPalLifetime = 31668 * time.Second
)

// PayPal is PayPal's token endpoint, live or sandbox.
//
// By developer.paypal.com/api/rest/authentication: POST with the form
// grant_type=client_credentials, a Basic header by RFC 2617 (curl -u), and the members
// of the answer. By developer.paypal.com/reference/guidelines/rate-limiting: 429 with
// RATE_LIMIT_REACHED, and that tokens are to be reused. The refusal of a client, 401
// invalid_client "Client Authentication failed", is in PayPal's own SDKs' issues. The
// documentation names no other form field, so that all others are refused, scope too.
type PayPal struct {
	*Host
	secrets  map[string]string
	asString bool
}

func newPayPal(h *Host) *PayPal {
	p := &PayPal{Host: h, secrets: map[string]string{PayPalClientID: PayPalClientSecret}}
	h.answer, h.kindOf = p.judgeToken, kindByWire
	return p
}

// TokenURL is the token endpoint.
func (p *PayPal) TokenURL() string { return p.at(payPalTokenPath) }

// SetCredentials adds an app, or changes its secret.
func (p *PayPal) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[clientID] = clientSecret
}

// ExpiresInAsString lets expires_in be a string of digits, as PayPal once sent it.
func (p *PayPal) ExpiresInAsString(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asString = on
}

// PayPalRateLimit is how PayPal throttles.
func PayPalRateLimit() Script {
	return JSON(http.StatusTooManyRequests,
		`{"name":"RATE_LIMIT_REACHED","message":"Too many requests. Blocked due to rate limiting.","debug_id":"82314f17885c7","links":[]}`)
}

func (p *PayPal) judgeToken(q request) reply {
	if q.URL.Path != payPalTokenPath {
		return payPalError(http.StatusNotFound, "RESOURCE_NOT_FOUND")
	}
	if q.Method != http.MethodPost {
		return payPalError(http.StatusMethodNotAllowed, "METHOD_NOT_SUPPORTED")
	}
	if !q.isForm() {
		return payPalError(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE")
	}
	id, secret, ok := q.rawBasic()
	if known, exists := p.secrets[id]; !ok || !exists || known != secret {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client Authentication failed").
			with("WWW-Authenticate", `Basic realm="api.paypal.com"`)
	}
	form, ok := q.form()
	if !ok || q.hasQuery() || form.Get("grant_type") == "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing or repeated parameter")
	}
	if form.Get("grant_type") != string(KindClientCredentials) {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Grant Type is NULL or unsupported")
	}
	if !only(form, "grant_type") {
		return oauthError(http.StatusBadRequest, "invalid_request", "Unexpected parameter")
	}
	token := "A21AA" + rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	fields := map[string]any{
		"scope":        "https://uri.paypal.com/services/invoicing openid",
		"access_token": token, "token_type": "Bearer", "app_id": "APP-80W284485P519543T",
		"expires_in": seconds(p.lifetime), "nonce": q.now.UTC().Format(time.RFC3339) + "demo",
	}
	if p.asString {
		fields["expires_in"] = strconv.FormatInt(seconds(p.lifetime), 10)
	}
	return jsonReply(http.StatusOK, fields)
}

func payPalError(status int, name string) reply {
	return jsonReply(status, map[string]any{"name": name, "message": http.StatusText(status), "debug_id": "82314f17885c7"})
}
