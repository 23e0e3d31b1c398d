package providersim

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What the simulated Keycloak knows from the start. Id and secret are ones that a
// Basic header without form encoding would spoil (RFC 6749 §2.3.1).
const (
	KeycloakRealm        = "demo-realm"
	KeycloakClientID     = "demo:service"
	KeycloakClientSecret = "demo+secret %41&more="
)

const (
	// keycloakMaxAge is the client's "Max expiration": 60 seconds unless set otherwise.
	keycloakMaxAge = time.Minute
	// keycloakSkew is what the server forgives a client that signs for itself.
	keycloakSkew = 15 * time.Second
	// keycloakClusterAge is the most for a token of a Kubernetes identity provider.
	keycloakClusterAge = time.Hour
)

// Keycloak is a realm whose clients have service accounts. Each client proves itself
// in one way: the one that was set last.
//
// By the server administration guide (Confidential client credentials; Kubernetes
// identity providers) and the server's sources (AbstractBaseJWTValidator,
// JWTClientValidator, FederatedJWTClientValidator, ClientIdAndSecretAuthenticator,
// X509ClientAuthenticator): aud is the realm's or the token endpoint's URL, and the
// realm's only for a token of somebody else; one audience; iss is sub; a jti once, but
// not for tokens of a cluster, which may be used again; iat at most 15 s ahead and 60 s
// ago (an hour for a cluster's tokens, and no leeway); client_id, if it is sent at all,
// is sub, also when sub is a ServiceAccount's name; Basic is form-encoded; a wrong
// secret is 401 unauthorized_client, an unknown client 401 invalid_client, a wrong
// assertion 400 invalid_client. The answer has no refresh token.
//
// Stricter than the server: fields and claims that it does not know are refused, as
// are two proofs in one request (RFC 6749 §2.3) and a typ other than JWT. Not documented,
// and so a guess: the status for a cluster's token with a bad signature (401).
type Keycloak struct {
	*Host
	clients map[string]keycloakClient
	issuers trusted
	seen    spent
	signer  signer
}

// keycloakClient has one of these.
type keycloakClient struct {
	secret          string
	keys            keyring
	issuer, subject string
	roots           *x509.CertPool
	subjectDN       string
}

func newKeycloak(h *Host) *Keycloak {
	p := &Keycloak{
		Host:    h,
		clients: map[string]keycloakClient{KeycloakClientID: {secret: KeycloakClientSecret}},
		issuers: trusted{},
		seen:    spent{},
	}
	p.signer = newSigner(p.Issuer())
	// The server's option https-client-auth has the value request.
	h.clientAuth = tls.RequestClientCert
	h.answer, h.kindOf = p.judgeToken, kindOfGrant
	return p
}

// TokenURL is the token endpoint.
func (p *Keycloak) TokenURL() string { return p.Issuer() + "/protocol/openid-connect/token" }

// Issuer is the realm's URL, which is also the audience of a cluster's tokens.
func (p *Keycloak) Issuer() string { return p.at("/realms/" + KeycloakRealm) }

// SetCredentials lets a client prove itself by "Client ID and Secret".
func (p *Keycloak) SetCredentials(clientID, clientSecret string) {
	p.set(clientID, keycloakClient{secret: clientSecret})
}

// SetKey lets a client prove itself by "Signed JWT", with the private key that belongs to this one.
func (p *Keycloak) SetKey(clientID, keyID string, key crypto.PublicKey) {
	p.set(clientID, keycloakClient{keys: keyring{keyID: key}})
}

// SetFederation lets a client prove itself by "Signed JWT - Federated": a token of that
// issuer for that subject.
func (p *Keycloak) SetFederation(clientID, issuer, subject string) {
	p.set(clientID, keycloakClient{issuer: issuer, subject: subject})
}

// SetSubjectDN lets a client prove itself by "X509 Certificate": one that the authority
// signed, with that subject.
func (p *Keycloak) SetSubjectDN(clientID string, authority *x509.Certificate, subjectDN string) {
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	p.set(clientID, keycloakClient{roots: roots, subjectDN: subjectDN})
}

func (p *Keycloak) set(clientID string, c keycloakClient) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[clientID] = c
}

// TrustIssuer adds an identity provider of the kind Kubernetes, with one of its keys.
func (p *Keycloak) TrustIssuer(issuer, keyID string, key crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issuers.add(issuer, keyID, key)
}

func (p *Keycloak) judgeToken(q request) reply {
	if !strings.HasPrefix(q.URL.Path, "/realms/"+KeycloakRealm+"/") {
		return oauthError(http.StatusNotFound, "Realm does not exist", "For more on this error consult the server log.")
	}
	if p.at(q.URL.Path) != p.TokenURL() || q.URL.RawPath != "" {
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
	if !form.Has("grant_type") {
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing form parameter: grant_type")
	}
	fields := []string{"grant_type", "scope", "client_id", "client_secret", "client_assertion_type", "client_assertion"}
	if q.URL.RawQuery != "" || q.URL.ForceQuery || !only(form, fields...) {
		return oauthError(http.StatusBadRequest, "invalid_request", "")
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type")
	}
	id, refused := p.authenticate(q, form)
	if refused != nil {
		return *refused
	}
	return p.grantToken(q, id, form.Get("scope"))
}

// authenticate finds out which client it is, by the one proof that there may be.
func (p *Keycloak) authenticate(q request, form url.Values) (id string, refused *reply) {
	inHeader, inBody, asserted := q.Header.Get("Authorization") != "", form.Has("client_secret"), proofAsked(form.Has)
	if (inHeader && inBody) || (inHeader && asserted) || (inBody && asserted) {
		return "", p.invalidClient(http.StatusBadRequest, "more than one way of client authentication")
	}
	if asserted {
		return p.authenticateByProof(q, form)
	}
	id, secret, ok := q.clientCredentials(form)
	if !ok || id == "" {
		return "", p.invalidClient(http.StatusBadRequest, "Missing client_id parameter")
	}
	c, known := p.clients[id]
	if !known {
		return "", p.invalidClient(http.StatusUnauthorized, "Invalid client or Invalid client credentials")
	}
	if c.roots != nil && secret == "" {
		return id, p.judgeCertificate(q, c)
	}
	if secret == "" || c.secret != secret {
		r := oauthError(http.StatusUnauthorized, "unauthorized_client", "Invalid client or Invalid client credentials")
		return "", &r
	}
	return id, nil
}

func (p *Keycloak) invalidClient(status int, description string) *reply {
	r := oauthError(status, "invalid_client", description)
	return &r
}

func (p *Keycloak) judgeCertificate(q request, c keycloakClient) *reply {
	refused := p.invalidClient(http.StatusUnauthorized, "Invalid client or Invalid client credentials")
	if q.TLS == nil || len(q.TLS.PeerCertificates) == 0 {
		return refused
	}
	chain := q.TLS.PeerCertificates
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: intermediates, CurrentTime: q.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil || chain[0].Subject.String() != c.subjectDN {
		return refused
	}
	return nil
}

func (p *Keycloak) authenticateByProof(q request, form url.Values) (id string, refused *reply) {
	if kind := form.Get("client_assertion_type"); kind != clientAssertionType {
		return "", p.invalidClient(http.StatusBadRequest, "Parameter client_assertion_type is missing, or not "+clientAssertionType)
	}
	shown, ok := readProof(form.Get("client_assertion"))
	if !ok {
		return "", p.invalidClient(http.StatusBadRequest, keycloakWords(flawForm))
	}
	if shown.text("sub") == "" {
		return "", p.invalidClient(http.StatusBadRequest, "Token sub claim is required")
	}
	if form.Has("client_id") && form.Get("client_id") != shown.text("sub") {
		return "", p.invalidClient(http.StatusBadRequest, "client_id parameter does not match sub claim")
	}
	if shown.text("iss") == shown.text("sub") {
		return p.judgeOwnProof(q, shown)
	}
	return p.judgeFederatedProof(q, shown)
}

// judgeOwnProof is for "Signed JWT": the client signed it.
func (p *Keycloak) judgeOwnProof(q request, shown proof) (id string, refused *reply) {
	id = shown.text("sub")
	c, known := p.clients[id]
	if !known || c.keys == nil {
		return "", p.invalidClient(http.StatusUnauthorized, "Invalid client or Invalid client credentials")
	}
	kid, ok := shown.keyID()
	key, found := c.keys.find(kid)
	if !ok || !found {
		return "", p.invalidClient(http.StatusBadRequest, "Unable to load public key")
	}
	required, optional := ownClaims()
	t := terms{
		header: map[string]string{"typ": "JWT"}, optionalKeyID: true, required: required, optional: optional,
		audiences: []string{p.Issuer(), p.TokenURL()}, leeway: keycloakSkew, maxAge: keycloakMaxAge,
	}
	if _, there := shown.claims["iat"]; !there {
		t.maxLife = keycloakMaxAge
	}
	if f := judgeBoth(shown, key, asymmetric(), t, q.now); f != flawless {
		return "", p.invalidClient(http.StatusBadRequest, keycloakWords(f))
	}
	if !p.seen.spend(id, shown.text("jti"), q.now, q.now.Add(2*keycloakMaxAge)) {
		return "", p.invalidClient(http.StatusBadRequest, keycloakWords(flawReplay))
	}
	return id, nil
}

// judgeFederatedProof is for "Signed JWT - Federated": somebody else signed it. The
// client is found by issuer and subject.
func (p *Keycloak) judgeFederatedProof(q request, shown proof) (id string, refused *reply) {
	for name, c := range p.clients {
		if c.issuer != "" && c.issuer == shown.text("iss") && c.subject == shown.text("sub") {
			id = name
		}
	}
	if id == "" || p.issuers.verify(shown, asymmetric()) != flawless {
		return "", p.invalidClient(http.StatusUnauthorized, "Invalid client or Invalid client credentials")
	}
	t := terms{
		header: map[string]string{}, optionalKeyID: true, required: []string{"iss", "sub", "aud", "exp"}, anyClaim: true,
		audiences: []string{p.Issuer()}, listed: true, maxAge: keycloakClusterAge,
	}
	if _, typed := shown.header["typ"]; typed {
		t.header["typ"] = "JWT"
	}
	if f := t.judge(shown, q.now); f != flawless {
		return "", p.invalidClient(http.StatusBadRequest, keycloakWords(f))
	}
	return id, nil
}

// judgeBoth looks at the signature first.
func judgeBoth(shown proof, key crypto.PublicKey, algorithms []string, t terms, now time.Time) flaw {
	if f := shown.verify(key, algorithms); f != flawless {
		return f
	}
	return t.judge(shown, now)
}

func keycloakWords(f flaw) string {
	switch f {
	case flawAlgorithm:
		return "Invalid signature algorithm"
	case flawSignature:
		return "Client authentication with signed JWT failed: Signature on JWT token failed validation"
	case flawAudience:
		return "Invalid token audience"
	case flawExpired:
		return "Token is not active"
	case flawEarly:
		return "Token was issued in the future"
	case flawOld:
		return "Token was issued too far in the past to be used now"
	case flawDistant:
		return "Token expiration is too far in the future and iat claim not present in token"
	case flawReplay:
		return "Token reuse detected"
	default:
		return "Client authentication with signed JWT failed: " + string(f)
	}
}

func (p *Keycloak) grantToken(q request, id, scope string) reply {
	for s := range strings.FieldsSeq(scope) {
		if !slices.Contains([]string{"profile", "email", "openid"}, s) {
			return oauthError(http.StatusBadRequest, "invalid_scope", "Invalid scopes: "+scope)
		}
	}
	token, expires, err := p.signer.sign(q.now, p.lifetime, jwt.MapClaims{"typ": "Bearer", "azp": id, "sub": rand.Text(), "scope": "profile email"})
	if err != nil {
		return refusal(http.StatusInternalServerError, "")
	}
	p.book(q, token, grant{expires: expires})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "expires_in": seconds(p.lifetime), "refresh_expires_in": 0,
		"token_type": "Bearer", "not-before-policy": 0, "scope": "profile email",
	})
}
