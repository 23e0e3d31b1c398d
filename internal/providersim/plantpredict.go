package providersim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Credentials that the simulated PlantPredict knows from the start.
const (
	PlantPredictClientID     = "4hq1v8k0demo7r3t5plantpred"
	PlantPredictClientSecret = "1k7n2demo9c4v8x3b6plantpredict5m0q2w4e6r8t1y3u5i7o9"
)

const plantPredictTokenPath = "/oauth2/token"

// PlantPredict is an Amazon Cognito user pool's token endpoint with the client
// credentials grant.
type PlantPredict struct {
	*Host
	clients       map[string]string
	scopes        []string
	refusalStatus int
	signer        signer
}

func newPlantPredict(h *Host) *PlantPredict {
	p := &PlantPredict{
		Host:          h,
		clients:       map[string]string{PlantPredictClientID: PlantPredictClientSecret},
		scopes:        []string{"transactions/post", "transactions/get"},
		refusalStatus: http.StatusBadRequest,
		signer:        newSigner("https://cognito-idp.us-west-2.amazonaws.com/us-west-2_Simulated"),
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *PlantPredict) TokenURL() string { return p.at(plantPredictTokenPath) }

// SetCredentials adds a client, or changes its secret.
func (p *PlantPredict) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[clientID] = clientSecret
}

// RefuseWith sets the status of invalid_client: 400 as a rule, sometimes 401.
func (p *PlantPredict) RefuseWith(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusalStatus = status
}

// TooManyRequests is how Cognito throttles: with a 400, and no Retry-After.
func TooManyRequests() Script {
	return JSON(http.StatusBadRequest, `{"error":"TooManyRequestsException"}`)
}

func (p *PlantPredict) judgeToken(q request) reply {
	if q.URL.Path != plantPredictTokenPath {
		return refusal(http.StatusNotFound, "<html><body>Not Found</body></html>")
	}
	if q.Method != http.MethodPost || !q.isForm() {
		return refusal(http.StatusMethodNotAllowed, "")
	}
	if q.URL.RawQuery != "" || q.URL.ForceQuery {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	form, ok := q.form()
	if !ok || !only(form, "grant_type", "scope", "client_id", "client_secret") {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if known, ok := p.clients[id]; !ok || known != secret {
		return oauthError(p.refusalStatus, "invalid_client", "")
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return p.grantToken(q, id, form.Get("scope"))
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	case "authorization_code", "refresh_token":
		return oauthError(http.StatusBadRequest, "unauthorized_client", "")
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "")
	}
}

func (p *PlantPredict) grantToken(q request, id, scope string) reply {
	granted := strings.Fields(scope)
	if scope == "" {
		granted = p.scopes
	}
	for _, s := range granted {
		if !slices.Contains(p.scopes, s) {
			return oauthError(http.StatusBadRequest, "invalid_scope", "")
		}
	}
	token, expires, err := p.signer.sign(q.now, p.lifetime, jwt.MapClaims{
		"sub": id, "client_id": id, "token_use": "access", "version": 2, "scope": strings.Join(granted, " "),
	})
	if err != nil {
		return refusal(http.StatusInternalServerError, "")
	}
	p.book(q, token, grant{expires: expires})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": seconds(p.lifetime),
	})
}
