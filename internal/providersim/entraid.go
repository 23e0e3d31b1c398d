package providersim

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What the simulated tenant knows from the start.
const (
	EntraIDTenant       = "0b5e1f2a-7c3d-4e8f-9a1b-2c3d4e5f6a7b"
	EntraIDClientID     = "535fb089-9ff3-47b6-9bfb-4f1264799865"
	EntraIDClientSecret = "demo8Q~with.tilde_and-dash+plus%41&more=z"
	// EntraIDScope is the one of Microsoft Graph; EntraIDAPIScope that of an API of the tenant.
	EntraIDScope    = "https://graph.microsoft.com/.default"
	EntraIDAPIScope = "api://demo-api/.default"
	// EntraIDExchange is the audience that the documentation recommends for tokens of others.
	EntraIDExchange = "api://AzureADTokenExchange"
)

// entraMaxLife is the documentation's advice: "5-10 minutes after nbf at most".
const entraMaxLife = 10 * time.Minute

// EntraID is a tenant's v2.0 token endpoint with one application, which proves itself by
// its secret, by a certificate, or by a token of an issuer that it trusts.
//
// By learn.microsoft.com/entra/identity-platform, "OAuth 2.0 client credentials flow"
// (the form's fields, all three cases with client_id; scope is one resource with
// /.default; Basic is supported too; the error object), "Certificate credentials"
// (alg PS256, typ JWT, x5t#S256; aud is the tenant's token endpoint; iss and sub are the
// client; jti) and "Create a trust relationship" (issuer, subject and audience of a
// federated credential are matched exactly, one audience). The sentences of the errors
// are those of Microsoft's error reference and of what users quote; their status is
// documented as 400 or 401 without saying which is which: 401 for invalid_client.
//
// Stricter than the real one: it "doesn't place restrictions on the exp time currently",
// refused here beyond the advised ten minutes; a jti counts once; unknown fields and
// claims are refused. nbf and iat, which the page lists, may be left out: it does not say
// that they are required, and widely used libraries send one of the two.
type EntraID struct {
	*Host
	secrets      map[string]string
	certificates map[string]map[string]crypto.PublicKey // by client and thumbprint
	federated    []entraFederation
	issuers      trusted
	seen         spent
	signer       signer
}

type entraFederation struct{ client, issuer, subject, audience string }

func newEntraID(h *Host) *EntraID {
	p := &EntraID{
		Host:         h,
		secrets:      map[string]string{EntraIDClientID: EntraIDClientSecret},
		certificates: map[string]map[string]crypto.PublicKey{},
		issuers:      trusted{},
		seen:         spent{},
		signer:       newSigner("https://login.microsoftonline.com/" + EntraIDTenant + "/v2.0"),
	}
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *EntraID) TokenURL() string { return p.at("/" + EntraIDTenant + "/oauth2/v2.0/token") }

// SetCredentials adds an application with a secret, or changes it.
func (p *EntraID) SetCredentials(clientID, clientSecret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[clientID] = clientSecret
}

// AddCertificate uploads a certificate of an application.
func (p *EntraID) AddCertificate(clientID string, certificate *x509.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.certificates[clientID] == nil {
		p.certificates[clientID] = map[string]crypto.PublicKey{}
	}
	sum := sha256.Sum256(certificate.Raw)
	p.certificates[clientID][base64.RawURLEncoding.EncodeToString(sum[:])] = certificate.PublicKey
}

// AddFederatedCredential lets an application prove itself by a token of that issuer, for
// that subject and audience; the issuer signs with the private key of this one.
func (p *EntraID) AddFederatedCredential(clientID, issuer, subject, audience, keyID string, key crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issuers.add(issuer, keyID, key)
	p.federated = append(p.federated, entraFederation{clientID, issuer, subject, audience})
}

func (p *EntraID) judgeToken(q request) reply {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(q.URL.Path, "/"), "/")
	if rest != "oauth2/v2.0/token" {
		return refusal(http.StatusNotFound, "")
	}
	if tenant != EntraIDTenant {
		return p.error(q, http.StatusBadRequest, "invalid_request", 90002, "Tenant '"+tenant+"' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.")
	}
	if q.Method != http.MethodPost {
		return p.error(q, http.StatusBadRequest, "invalid_request", 900561, "The endpoint only accepts POST requests. Received a "+q.Method+" request.")
	}
	form, ok := q.form()
	if !q.isForm() || !ok || q.URL.RawQuery != "" || q.URL.ForceQuery {
		return p.error(q, http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'grant_type'.")
	}
	for _, name := range []string{"grant_type", "scope"} {
		if !form.Has(name) {
			return p.error(q, http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: '"+name+"'.")
		}
	}
	if !only(form, "grant_type", "scope", "client_id", "client_secret", "client_assertion_type", "client_assertion") {
		return p.error(q, http.StatusBadRequest, "invalid_request", 9002313, "Invalid request. Request is malformed or invalid.")
	}
	if form.Get("grant_type") != "client_credentials" {
		return p.error(q, http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '"+form.Get("grant_type")+"'.")
	}
	id, refused := p.authenticate(q, form)
	if refused != nil {
		return *refused
	}
	return p.judgeScope(q, id, form.Get("scope"))
}

func (p *EntraID) authenticate(q request, form url.Values) (id string, refused *reply) {
	fail := func(status int, code string, number int, why string) (string, *reply) {
		r := p.error(q, status, code, number, why)
		return "", &r
	}
	asserted := proofAsked(form.Has)
	if asserted && (form.Has("client_secret") || q.Header.Get("Authorization") != "") {
		return fail(http.StatusBadRequest, "invalid_request", 90023, "More than one way of client authentication.")
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok || id == "" {
		return fail(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'client_id'.")
	}
	if !p.knows(id) {
		return fail(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '"+id+"' was not found in the directory 'Demo'.")
	}
	if asserted {
		if f := p.judgeProof(q, form, id); f != flawless {
			number, why := entraWords(f)
			return fail(http.StatusUnauthorized, "invalid_client", number, why)
		}
		return id, nil
	}
	if secret == "" {
		return fail(http.StatusUnauthorized, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	}
	if known, ok := p.secrets[id]; !ok || known != secret {
		return fail(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '"+id+"'.")
	}
	return id, nil
}

func (p *EntraID) knows(id string) bool {
	_, secret := p.secrets[id]
	_, certificate := p.certificates[id]
	return secret || certificate || slices.ContainsFunc(p.federated, func(f entraFederation) bool { return f.client == id })
}

func (p *EntraID) judgeProof(q request, form url.Values, id string) flaw {
	if form.Get("client_assertion_type") != clientAssertionType {
		return flawForm
	}
	shown, ok := readProof(form.Get("client_assertion"))
	if !ok {
		return flawForm
	}
	if shown.text("iss") == id {
		return p.judgeOwnProof(q, shown, id)
	}
	return p.judgeFederatedProof(q, shown, id)
}

func (p *EntraID) judgeOwnProof(q request, shown proof, id string) flaw {
	if shown.text("sub") != id {
		return flawIssuer
	}
	thumbprint, _ := shown.header["x5t#S256"].(string)
	key, ok := p.certificates[id][thumbprint]
	if !ok {
		return flawSignature
	}
	if _, ok := shown.keyID(); !ok {
		return flawHeader
	}
	required, optional := ownClaims()
	t := terms{
		header: map[string]string{"typ": "JWT", "x5t#S256": ""}, optionalKeyID: true, required: required, optional: optional,
		audiences: []string{p.TokenURL()}, maxLife: entraMaxLife,
	}
	if f := judgeBoth(shown, key, []string{"PS256"}, t, q.now); f != flawless {
		return f
	}
	if !p.seen.spend(id, shown.text("jti"), q.now, q.now.Add(2*entraMaxLife)) {
		return flawReplay
	}
	return flawless
}

// judgeFederatedProof takes the same token any number of times, as a cluster hands it out.
func (p *EntraID) judgeFederatedProof(q request, shown proof, id string) flaw {
	i := slices.IndexFunc(p.federated, func(f entraFederation) bool {
		return f.client == id && f.issuer == shown.text("iss") && f.subject == shown.text("sub")
	})
	if i < 0 {
		return flawIssuer
	}
	if f := p.issuers.verify(shown, []string{"RS256"}); f != flawless {
		return f
	}
	t := terms{
		header: map[string]string{}, optionalKeyID: true, required: []string{"iss", "sub", "aud", "exp"}, anyClaim: true,
		audiences: []string{p.federated[i].audience}, listed: true,
	}
	if _, typed := shown.header["typ"]; typed {
		t.header["typ"] = "JWT"
	}
	return t.judge(shown, q.now)
}

func entraWords(f flaw) (number int, why string) {
	switch f {
	case flawForm, flawClaims, flawHeader:
		return 50027, "JWT token is invalid or malformed."
	case flawIssuer:
		return 700213, "No matching federated identity record found for presented assertion subject."
	case flawAudience:
		return 700212, "No matching federated identity record found for presented assertion audience."
	case flawExpired, flawEarly, flawDistant:
		return 700024, "Client assertion is not within its valid time range."
	default:
		return 700027, "Client assertion failed signature validation."
	}
}

func (p *EntraID) judgeScope(q request, id, scope string) reply {
	resource, suffixed := strings.CutSuffix(scope, "/.default")
	if !suffixed || strings.Contains(scope, " ") {
		return p.error(q, http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope "+scope+" is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).")
	}
	if scope != EntraIDScope && scope != EntraIDAPIScope {
		return p.error(q, http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named "+resource+" was not found in the tenant named Demo.")
	}
	token, expires, err := p.signer.sign(q.now, p.lifetime, jwt.MapClaims{"appid": id, "aud": resource, "tid": EntraIDTenant})
	if err != nil {
		return refusal(http.StatusInternalServerError, "")
	}
	p.book(q, token, grant{expires: expires})
	return jsonReply(http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": seconds(p.lifetime), "ext_expires_in": seconds(p.lifetime), "access_token": token,
	})
}

// error is the object of "Error response": the number stands in three of its members.
func (p *EntraID) error(q request, status int, code string, number int, why string) reply {
	trace, correlation, stamp := rand.Text(), rand.Text(), q.now.UTC().Format("2006-01-02 15:04:05Z")
	return jsonReply(status, map[string]any{
		"error": code,
		"error_description": fmt.Sprintf("AADSTS%d: %s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s",
			number, why, trace, correlation, stamp),
		"error_codes": []int{number}, "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", number),
	})
}
