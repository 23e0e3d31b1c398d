package providersim

// What the simulated user pool knows from the start. Cognito makes ids and secrets of
// lower-case letters and digits.
const (
	CognitoClientID     = "7c9demo2v5k8q1r4t6y3cognito"
	CognitoClientSecret = "5p2demo8s1d4f7g0h3j6k9l2z5x8c1v4b7n0m3cognito6q9w2e5"
	CognitoScope        = "demo-resource-server/read"
)

// Cognito is any user pool's token endpoint, as PlantPredict's is.
//
// By docs.aws.amazon.com/cognito, "The token issuer endpoint": a form; client_secret_basic
// or client_secret_post; scope may be left out, and is then all that the client has;
// 400 with error invalid_request, invalid_client, unauthorized_client,
// unsupported_grant_type or invalid_scope; no refresh token for client credentials.
type Cognito struct{ *PlantPredict }

func newCognito(h *Host) *Cognito {
	p := newPlantPredict(h)
	p.clients = map[string]string{CognitoClientID: CognitoClientSecret}
	p.scopes = []string{CognitoScope, "demo-resource-server/write"}
	return &Cognito{PlantPredict: p}
}
