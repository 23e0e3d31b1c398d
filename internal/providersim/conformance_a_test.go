package providersim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/token"
)

// Clients that the providers get to know in introduceA, each with a key of its own kind.
const (
	signingClient = "demo-signing-client"
	tlsClient     = "demo-tls-client"
	workload      = "demo-workload-client"
	signingKeyID  = "demo-signing-key-2026"
	clusterKeyID  = "demo-cluster-key-2026"
	clusterIssuer = "https://kubernetes.default.svc.cluster.local"
	clusterUser   = "system:serviceaccount:team:minter"
	entraClient   = "97e0a5b7-d745-40b6-94fe-5f77d35c6e05"
	entraWorkload = "11111111-2222-4333-8444-555555555555"
)

// keysA are made once: an RSA key takes its time.
type keysA struct {
	client, stranger, cluster *rsa.PrivateKey
	elliptic                  *ecdsa.PrivateKey
	authority, otherAuthority certified
	// certificate and its impostor hold the same key and name; another authority signed the latter.
	certificate, impostor certified
	// namesake has another name, and all else.
	namesake certified
}

type certified struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var demoKeysA = sync.OnceValue(func() keysA {
	k := keysA{client: newRSA(), stranger: newRSA(), cluster: newRSA(), elliptic: newEC()}
	k.authority, k.otherAuthority = newCA(1), newCA(2)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: tlsClient, Organization: []string{"Demo"}},
		NotBefore: start().Add(-time.Hour), NotAfter: start().Add(1000 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	// One RSA key, so that the same certificate serves Entra ID, which has no other.
	k.certificate = certified{certificate: certify(leaf, &k.client.PublicKey, k.authority)}
	k.impostor = certified{certificate: certify(leaf, &k.client.PublicKey, k.otherAuthority)}
	leaf.Subject.CommonName = "another-client"
	k.namesake = certified{certificate: certify(leaf, &k.client.PublicKey, k.authority)}
	return k
})

func newRSA() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newEC() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newCA(serial int64) certified {
	key := newEC()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "clients' authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: start().Add(-time.Hour), NotAfter: start().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	return certified{certificate: certify(template, &key.PublicKey, certified{certificate: template, key: key}), key: key}
}

func certify(template *x509.Certificate, key any, by certified) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key, by.key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return certificate
}

// privatePEM is PKCS #8.
func privatePEM(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func certificatePEM(c certified) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.certificate.Raw}))
}

// clusterToken is a ServiceAccount's token as a cluster issues it: audiences are a list.
func clusterToken(key *rsa.PrivateKey, audience string, edits ...func(jwt.MapClaims)) string {
	issued := start().Add(-10 * time.Minute)
	claims := jwt.MapClaims{
		"iss": clusterIssuer, "sub": clusterUser, "aud": []string{audience}, "jti": "8f1c9a2e-cluster",
		"iat": issued.Unix(), "nbf": issued.Unix(), "exp": issued.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": "team", "serviceaccount": map[string]any{"name": "minter", "uid": "u"}},
	}
	for _, edit := range edits {
		edit(claims)
	}
	unsigned := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	unsigned.Header = map[string]any{"alg": "RS256", "kid": clusterKeyID}
	signed, err := unsigned.SignedString(key)
	if err != nil {
		panic(err)
	}
	return signed
}

// introduceA tells the identity providers whom to trust.
func (b *bench) introduceA() {
	k := demoKeysA()
	b.Keycloak.SetKey(signingClient, signingKeyID, &k.elliptic.PublicKey)
	b.Keycloak.SetSubjectDN(tlsClient, k.authority.certificate, "CN="+tlsClient+",O=Demo")
	b.Keycloak.SetFederation(workload, clusterIssuer, clusterUser)
	b.Keycloak.TrustIssuer(clusterIssuer, clusterKeyID, &k.cluster.PublicKey)
	b.Auth0.SetKey(signingClient, signingKeyID, &k.client.PublicKey)
	b.Okta.SetKey(signingClient, signingKeyID, &k.client.PublicKey)
	b.EntraID.AddCertificate(entraClient, k.certificate.certificate)
	b.EntraID.AddFederatedCredential(entraWorkload, clusterIssuer, clusterUser, providersim.EntraIDExchange, clusterKeyID, &k.cluster.PublicKey)
	b.Zitadel.SetKey(providersim.ZitadelUserID, providersim.ZitadelKeyID, &k.client.PublicKey)
}

func (b *bench) hostsA() []*providersim.Host {
	return []*providersim.Host{b.Auth0.Host, b.Cognito.Host, b.EntraID.Host, b.Keycloak.Host, b.Okta.Host, b.Zitadel.Host}
}

// federated stands for a token that a cluster issues for the one audience that the
// provider's address makes, which is known only when it runs.
const federated = "a ServiceAccount's token"

// signs tells whether the request holds a signed assertion, which has an instant of its own.
func (d dialect) signs() bool {
	return d.method == "AppToken" || (d.credentials["private_key"] != "" && d.method != "TLS")
}

// spoiled is a credential that the provider does not know.
func (d dialect) spoiled() string {
	k := demoKeysA()
	switch {
	case d.wrong == "certificate":
		return certificatePEM(k.impostor)
	case d.wrong == "private_key" && d.credentials[d.wrong] == privatePEM(k.elliptic):
		return privatePEM(newEC())
	case d.wrong == "private_key":
		return privatePEM(k.stranger)
	case d.wrong == "client_assertion":
		return clusterToken(k.stranger, providersim.EntraIDExchange)
	}
	return d.credentials[d.wrong] + "x"
}

func dialectsA() []dialect {
	expiring := func(life time.Duration, scopes ...string) token.Token {
		return token.Token{Type: "Bearer", IssuedAt: start(), ExpiresAt: start().Add(life), ExpirySource: token.ExpiresIn, Scopes: scopes}
	}
	k := demoKeysA()
	all := keycloakDialects(k, expiring(5*time.Minute, "email", "profile"))
	all = append(all, entraDialects(k, expiring(3599*time.Second))...)
	all = append(all, oktaDialects(k, expiring(time.Hour, providersim.OktaScope), expiring(time.Hour, providersim.OktaCustomScope))...)
	auth0 := dialect{
		entry: "Auth0", freeHost: true, audience: providersim.Auth0Audience,
		host:       func(b *bench) *providersim.Host { return b.Auth0.Host },
		tokenURL:   func(b *bench) string { return b.Auth0.TokenURL() },
		parameters: func(b *bench) map[string]string { return map[string]string{"domain": b.Auth0.Address()} },
		urls: map[string]string{
			"domain=acme.eu.auth0.com": "https://acme.eu.auth0.com/oauth/token",
			"domain=login.acme.com":    "https://login.acme.com/oauth/token",
		},
		kind: providersim.KindClientCredentials, want: expiring(24*time.Hour, providersim.Auth0Scope),
	}
	zitadel := dialect{
		entry: "Zitadel", freeHost: true,
		host:       func(b *bench) *providersim.Host { return b.Zitadel.Host },
		tokenURL:   func(b *bench) string { return b.Zitadel.TokenURL() },
		parameters: func(b *bench) map[string]string { return map[string]string{"host": b.Zitadel.Address()} },
		urls:       map[string]string{"host=acme-x1y2z3.zitadel.cloud": "https://acme-x1y2z3.zitadel.cloud/oauth/v2/token"},
		want:       expiring(43199 * time.Second),
	}
	return append(all,
		auth0.way("Secret", "client_secret", provider.Error{Kind: provider.Denied, Code: "access_denied", Status: 401}, map[string]string{
			"client_id": providersim.Auth0ClientID, "client_secret": providersim.Auth0ClientSecret,
		}),
		auth0.way("PrivateKeyJWT", "private_key", provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401}, map[string]string{
			"client_id": signingClient, "private_key": privatePEM(k.client), "key_id": signingKeyID,
		}),
		// What Zitadel says of a JWT that it does not believe.
		zitadel.of("urn:ietf:params:oauth:grant-type:jwt-bearer").
			way("PrivateKeyJWT", "private_key", provider.Error{Kind: provider.Unavailable, Code: "server_error", Status: 500}, map[string]string{
				"user_id": providersim.ZitadelUserID, "private_key": privatePEM(k.client), "key_id": providersim.ZitadelKeyID,
			}),
		zitadel.of(providersim.KindClientCredentials).
			way("Secret", "client_secret", provider.Error{Kind: provider.Denied, Code: "invalid_request", Status: 400}, map[string]string{
				"client_id": providersim.ZitadelClientID, "client_secret": providersim.ZitadelClientSecret,
			}),
		dialect{
			entry: "Cognito", freeHost: true,
			urls: map[string]string{
				"prefix=acme,region=eu-central-1": "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/token",
			},
			credentials: map[string]string{"client_id": providersim.CognitoClientID, "client_secret": providersim.CognitoClientSecret},
			wrong:       "client_secret",
			host:        func(b *bench) *providersim.Host { return b.Cognito.Host },
			tokenURL:    func(b *bench) string { return b.Cognito.TokenURL() },
			kind:        providersim.KindClientCredentials,
			denied:      provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400},
			want:        expiring(time.Hour),
		},
	)
}

func (d dialect) of(kind providersim.Kind) dialect {
	d.kind = kind
	return d
}

// way is one of several into the same entry.
func (d dialect) way(method, wrong string, denied provider.Error, credentials map[string]string) dialect {
	d.method, d.wrong, d.denied, d.credentials = method, wrong, denied, credentials
	return d
}

// forced is a way that only the parameter method leads to.
func (d dialect) forced() dialect {
	urls := map[string]string{}
	for parameters, url := range d.urls {
		urls["method="+d.method+","+parameters] = url
	}
	d.urls = urls
	return d
}

func keycloakDialects(k keysA, want token.Token) []dialect {
	d := dialect{
		entry: "Keycloak", freeHost: true,
		host:     func(b *bench) *providersim.Host { return b.Keycloak.Host },
		tokenURL: func(b *bench) string { return b.Keycloak.TokenURL() },
		parameters: func(b *bench) map[string]string {
			return map[string]string{"host": b.Keycloak.Address(), "realm": providersim.KeycloakRealm}
		},
		urls: map[string]string{
			"host=sso.example.com,realm=demo":      "https://sso.example.com/realms/demo/protocol/openid-connect/token",
			"host=sso.example.com:8443,realm=a_B.": "https://sso.example.com:8443/realms/a_B./protocol/openid-connect/token",
		},
		kind: providersim.KindClientCredentials, want: want,
	}
	unauthorized := provider.Error{Kind: provider.Denied, Code: "unauthorized_client", Status: 401}
	invalid := provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401}
	badProof := provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400}
	secret := map[string]string{"client_id": providersim.KeycloakClientID, "client_secret": providersim.KeycloakClientSecret}
	return []dialect{
		d.way("SecretBasic", "client_secret", unauthorized, secret),
		d.way("SecretPost", "client_secret", unauthorized, secret).forced(),
		d.way("PrivateKeyJWT", "private_key", badProof, map[string]string{
			"client_id": signingClient, "private_key": privatePEM(k.elliptic), "key_id": signingKeyID,
		}),
		d.way("TLS", "certificate", invalid, map[string]string{
			"client_id": tlsClient, "certificate": certificatePEM(k.certificate), "private_key": privatePEM(k.client),
		}),
		d.way("FederatedJWT", "client_assertion", invalid, map[string]string{"client_assertion": federated}),
	}
}

func entraDialects(k keysA, want token.Token) []dialect {
	const path = "/" + providersim.EntraIDTenant + "/oauth2/v2.0/token"
	d := dialect{
		entry:    "EntraID",
		host:     func(b *bench) *providersim.Host { return b.EntraID.Host },
		tokenURL: func(b *bench) string { return b.EntraID.TokenURL() },
		urls: map[string]string{
			"tenant=" + providersim.EntraIDTenant:                         "https://login.microsoftonline.com" + path,
			"tenant=" + providersim.EntraIDTenant + ",cloud=Public":       "https://login.microsoftonline.com" + path,
			"tenant=" + providersim.EntraIDTenant + ",cloud=USGovernment": "https://login.microsoftonline.us" + path,
			"tenant=" + providersim.EntraIDTenant + ",cloud=China":        "https://login.partner.microsoftonline.cn" + path,
			"tenant=acme.onmicrosoft.com":                                 "https://login.microsoftonline.com/acme.onmicrosoft.com/oauth2/v2.0/token",
		},
		kind: providersim.KindClientCredentials, want: want,
	}
	denied := provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401}
	return []dialect{
		d.way("Secret", "client_secret", denied, map[string]string{
			"client_id": providersim.EntraIDClientID, "client_secret": providersim.EntraIDClientSecret,
		}),
		d.way("Certificate", "certificate", denied, map[string]string{
			"client_id": entraClient, "certificate": certificatePEM(k.certificate), "private_key": privatePEM(k.client),
		}),
		d.way("FederatedJWT", "client_assertion", denied, map[string]string{
			"client_id": entraWorkload, "client_assertion": clusterToken(k.cluster, providersim.EntraIDExchange),
		}),
	}
}

func oktaDialects(k keysA, org, custom token.Token) []dialect {
	d := dialect{
		entry: "Okta", freeHost: true,
		host: func(b *bench) *providersim.Host { return b.Okta.Host },
		kind: providersim.KindClientCredentials,
	}
	denied := provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401}
	key := map[string]string{"client_id": signingClient, "private_key": privatePEM(k.client), "key_id": signingKeyID}
	own := d
	own.scopes, own.want = []string{providersim.OktaScope}, org
	own.tokenURL = func(b *bench) string { return b.Okta.OrgTokenURL() }
	own.parameters = func(b *bench) map[string]string { return map[string]string{"domain": b.Okta.Address()} }
	own.urls = map[string]string{"domain=acme.okta.com": "https://acme.okta.com/oauth2/v1/token"}
	d.scopes, d.want = []string{providersim.OktaCustomScope}, custom
	d.tokenURL = func(b *bench) string { return b.Okta.TokenURL(providersim.OktaServer) }
	d.parameters = func(b *bench) map[string]string {
		return map[string]string{"domain": b.Okta.Address(), "authorizationServer": providersim.OktaServer}
	}
	d.urls = map[string]string{
		"domain=acme.okta.com":                                "https://acme.okta.com/oauth2/default/v1/token",
		"domain=id.acme.com,authorizationServer=aus9s3ydktg5": "https://id.acme.com/oauth2/aus9s3ydktg5/v1/token",
	}
	return []dialect{
		own.way("OrgPrivateKeyJWT", "private_key", denied, key),
		d.way("PrivateKeyJWT", "private_key", denied, key).forced(),
		d.way("Secret", "client_secret", denied, map[string]string{
			"client_id": providersim.OktaClientID, "client_secret": providersim.OktaClientSecret,
		}),
	}
}

// issued fills in the token that is meant for the provider's own address.
func (d dialect) issued(b *bench) map[string]string {
	credentials := maps.Clone(d.credentials)
	for name, value := range credentials {
		if value == federated {
			credentials[name] = clusterToken(demoKeysA().cluster, b.Keycloak.Issuer())
		}
	}
	return credentials
}

// wire is one request as it arrived, with the client's assertion taken apart.
type wire struct {
	Method, Path, Query string
	ContentType, Accept string
	Authorization       []string
	Form                url.Values
	Header, Claims      map[string]any
}

// note writes down what the next request is, and lets it pass.
func note(t *testing.T, into *wire) providersim.Script {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			t.Error(err)
		}
		*into = wire{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Form: form, Authorization: r.Header["Authorization"],
			ContentType: strings.Join(r.Header["Content-Type"], "|"), Accept: strings.Join(r.Header["Accept"], "|"),
		}
		for _, name := range []string{"client_assertion", "assertion"} {
			if into.Form.Has(name) {
				into.Header, into.Claims = takenApart(t, into.Form.Get(name))
				into.Form.Set(name, "…")
			}
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		next(w, r)
	}
}

func takenApart(t *testing.T, compact string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		t.Errorf("%s is no JWT", compact)
		return nil, nil
	}
	for i, into := range []*map[string]any{&header, &claims} {
		content, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Error(err)
		}
		if err := json.Unmarshal(content, into); err != nil {
			t.Error(err)
		}
	}
	return header, claims
}

func thumbprint() string {
	sum := sha256.Sum256(demoKeysA().certificate.certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestConformanceIdentityProvidersGetWhatTheirDocumentationShows(t *testing.T) {
	t.Parallel()
	const (
		keycloakPath = "/realms/" + providersim.KeycloakRealm + "/protocol/openid-connect/token"
		entraPath    = "/" + providersim.EntraIDTenant + "/oauth2/v2.0/token"
		proofType    = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	)
	encoded := func(id, secret string) []string {
		return []string{basic(url.QueryEscape(id), url.QueryEscape(secret))}
	}
	// by is a client assertion of a client, for a minute unless told otherwise.
	by := func(client, audience string, life time.Duration) map[string]any {
		return map[string]any{
			"iss": client, "sub": client, "aud": audience, "jti": "first",
			"iat": float64(start().Add(-10 * time.Second).Unix()), "exp": float64(start().Add(life).Unix()),
		}
	}
	form := func(pairs ...string) url.Values {
		values := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(pairs); i += 2 {
			values.Set(pairs[i], pairs[i+1])
		}
		return values
	}
	for name, want := range map[string]func(*bench) wire{
		"Keycloak/SecretBasic": func(*bench) wire {
			return wire{Path: keycloakPath, Form: form(), Authorization: encoded(providersim.KeycloakClientID, providersim.KeycloakClientSecret)}
		},
		"Keycloak/SecretPost": func(*bench) wire {
			return wire{Path: keycloakPath, Form: form("client_id", providersim.KeycloakClientID, "client_secret", providersim.KeycloakClientSecret)}
		},
		"Keycloak/PrivateKeyJWT": func(b *bench) wire {
			return wire{
				Path: keycloakPath, Form: form("client_id", signingClient, "client_assertion_type", proofType, "client_assertion", "…"),
				Header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": signingKeyID},
				Claims: by(signingClient, b.Keycloak.Issuer(), 50*time.Second),
			}
		},
		"Keycloak/TLS": func(*bench) wire { return wire{Path: keycloakPath, Form: form("client_id", tlsClient)} },
		"Keycloak/FederatedJWT": func(b *bench) wire {
			header, claims := takenApart(t, clusterToken(demoKeysA().cluster, b.Keycloak.Issuer()))
			// No client_id: Keycloak refuses one that is not the token's subject.
			return wire{
				Path: keycloakPath, Form: form("client_assertion_type", proofType, "client_assertion", "…"), Header: header, Claims: claims,
			}
		},
		"Auth0/Secret": func(*bench) wire {
			return wire{Path: "/oauth/token", Form: form(
				"client_id", providersim.Auth0ClientID, "client_secret", providersim.Auth0ClientSecret, "audience", providersim.Auth0Audience)}
		},
		"Auth0/PrivateKeyJWT": func(b *bench) wire {
			return wire{
				Path: "/oauth/token", Form: form("client_id", signingClient, "client_assertion_type", proofType, "client_assertion", "…",
					"audience", providersim.Auth0Audience),
				Header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": signingKeyID},
				Claims: by(signingClient, "https://"+b.Auth0.Address()+"/", time.Minute),
			}
		},
		"Okta/OrgPrivateKeyJWT": func(b *bench) wire {
			return wire{
				Path: "/oauth2/v1/token", Form: form("scope", providersim.OktaScope, "client_id", signingClient,
					"client_assertion_type", proofType, "client_assertion", "…"),
				Header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": signingKeyID},
				Claims: by(signingClient, b.Okta.OrgTokenURL(), time.Minute),
			}
		},
		"Okta/PrivateKeyJWT": func(b *bench) wire {
			return wire{
				Path: "/oauth2/" + providersim.OktaServer + "/v1/token", Form: form("scope", providersim.OktaCustomScope, "client_id", signingClient,
					"client_assertion_type", proofType, "client_assertion", "…"),
				Header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": signingKeyID},
				Claims: by(signingClient, b.Okta.TokenURL(providersim.OktaServer), time.Minute),
			}
		},
		"Okta/Secret": func(*bench) wire {
			return wire{
				Path: "/oauth2/" + providersim.OktaServer + "/v1/token", Form: form("scope", providersim.OktaCustomScope),
				Authorization: encoded(providersim.OktaClientID, providersim.OktaClientSecret),
			}
		},
		"EntraID/Secret": func(*bench) wire {
			return wire{Path: entraPath, Form: form("scope", providersim.EntraIDScope,
				"client_id", providersim.EntraIDClientID, "client_secret", providersim.EntraIDClientSecret)}
		},
		"EntraID/Certificate": func(b *bench) wire {
			return wire{
				Path: entraPath, Form: form("scope", providersim.EntraIDScope, "client_id", entraClient,
					"client_assertion_type", proofType, "client_assertion", "…"),
				Header: map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint()},
				Claims: by(entraClient, b.EntraID.TokenURL(), time.Minute),
			}
		},
		"EntraID/FederatedJWT": func(*bench) wire {
			header, claims := takenApart(t, clusterToken(demoKeysA().cluster, providersim.EntraIDExchange))
			return wire{
				Path: entraPath, Form: form("scope", providersim.EntraIDScope, "client_id", entraWorkload,
					"client_assertion_type", proofType, "client_assertion", "…"), Header: header, Claims: claims,
			}
		},
		"Cognito": func(*bench) wire {
			return wire{Path: "/oauth2/token", Form: form(), Authorization: encoded(providersim.CognitoClientID, providersim.CognitoClientSecret)}
		},
		"Zitadel/PrivateKeyJWT": func(b *bench) wire {
			return wire{
				Path:   "/oauth/v2/token",
				Form:   url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"…"}, "scope": {"openid"}},
				Header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": providersim.ZitadelKeyID},
				Claims: by(providersim.ZitadelUserID, "https://"+b.Zitadel.Address(), time.Minute),
			}
		},
		"Zitadel/Secret": func(*bench) wire {
			return wire{
				Path: "/oauth/v2/token", Form: form("scope", "openid"),
				Authorization: encoded(providersim.ZitadelClientID, providersim.ZitadelClientSecret),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, d := newBench(t, providersim.Options{}), dialectOf(t, name)
			var got wire
			d.host(b).Next(note(t, &got))
			b.userOf(t, d).mustFetch(t)
			expected := want(b)
			expected.Method, expected.ContentType, expected.Accept = http.MethodPost, "application/x-www-form-urlencoded", "application/json"
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConformanceAMissingKeyOfAnIdentityProviderIsNamedByAllItsNames(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string][]string{
		"Keycloak": {
			"client_assertion for FederatedJWT", "client_id, certificate (or tls.crt) and private_key (or tls.key) for TLS", "for PrivateKeyJWT",
			"client_id and client_secret for SecretBasic", "client_id and client_secret for SecretPost",
		},
		"Auth0":   {"client_id and private_key", "for PrivateKeyJWT", "client_id and client_secret for Secret"},
		"Okta":    {"client_id and private_key", "for OrgPrivateKeyJWT", "for PrivateKeyJWT", "client_id and client_secret for Secret"},
		"EntraID": {"client_assertion", "for FederatedJWT", "private_key", "certificate", "for Certificate", "client_id and client_secret for Secret"},
		"Cognito": {"client_id and client_secret"},
		"Zitadel": {
			"user_id (or key.json#/userId)", "key_id (or key.json#/keyId)", "key.json#/key", "for PrivateKeyJWT", "client_id and client_secret for Secret",
		},
	} {
		definition, _ := catalog(t).Get(entry)
		_, err := definition.Resolve(nil, func(string) bool { return false })
		got := failure(token.Token{}, err)(t)
		for _, words := range want {
			if got.Kind != provider.Input || !strings.Contains(got.Error(), words) {
				t.Errorf("%s: %q does not say %q", entry, got.Error(), words)
			}
		}
	}
}

func TestConformanceParametersOfIdentityProvidersAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect    string
		parameters map[string]string
		want       string
	}{
		"Keycloak needs a host":                    {"Keycloak/SecretBasic", map[string]string{"realm": "x"}, "host"},
		"and a realm":                              {"Keycloak/SecretBasic", map[string]string{"host": "sso.example.com"}, "realm"},
		"a host has no path":                       {"Keycloak/SecretBasic", map[string]string{"host": "sso.example.com/x", "realm": "x"}, "host"},
		"a host has no user":                       {"Keycloak/SecretBasic", map[string]string{"host": "a@sso.example.com", "realm": "x"}, "host"},
		"a realm is one segment":                   {"Keycloak/SecretBasic", map[string]string{"host": "sso.example.com", "realm": "a/../b"}, "realm"},
		"Auth0 needs a domain":                     {"Auth0/Secret", nil, "domain"},
		"Okta needs a domain":                      {"Okta/Secret", nil, "domain"},
		"an authorization server is one segment":   {"Okta/Secret", map[string]string{"domain": "a.okta.com", "authorizationServer": ".."}, "authorizationServer"},
		"Entra ID needs a tenant":                  {"EntraID/Secret", nil, "tenant"},
		"a tenant is one segment":                  {"EntraID/Secret", map[string]string{"tenant": "a?b"}, "tenant"},
		"a cloud is one of three":                  {"EntraID/Secret", map[string]string{"tenant": "a", "cloud": "evil.example"}, "cloud"},
		"Cognito needs a prefix":                   {"Cognito", map[string]string{"region": "eu-central-1"}, "prefix"},
		"a prefix is one label":                    {"Cognito", map[string]string{"prefix": "evil.example", "region": "eu-central-1"}, "prefix"},
		"a region is one label":                    {"Cognito", map[string]string{"prefix": "a", "region": "x.evil.example"}, "region"},
		"Zitadel needs a host":                     {"Zitadel/Secret", nil, "host"},
		"a method is one of the entry's":           {"Zitadel/Secret", map[string]string{"method": "Password", "host": "a.example"}, "PrivateKeyJWT, Secret"},
		"a parameter that nobody knows is refused": {"Auth0/Secret", map[string]string{"domain": "a.auth0.com", "tenant": "x"}, "tenant"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialectOf(t, c.dialect)
			definition, _ := catalog(t).Get(d.entry)
			_, err := definition.Resolve(c.parameters, func(name string) bool { return d.credentials[name] != "" })
			if got := failure(token.Token{}, err)(t); got.Kind != provider.Input || !strings.Contains(got.Error(), c.want) {
				t.Errorf("got %v", got.Error())
			}
		})
	}
}

func TestConformanceTheKeysThatAreThereChooseTheWayIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entry, keys, want string
		parameters        map[string]string
	}{
		{"Keycloak", "client_id client_secret", "SecretBasic", map[string]string{"host": "a.example", "realm": "x"}},
		{"Keycloak", "client_id private_key", "PrivateKeyJWT", map[string]string{"host": "a.example", "realm": "x"}},
		{"Keycloak", "client_id private_key certificate", "TLS", map[string]string{"host": "a.example", "realm": "x"}},
		{"Keycloak", "client_assertion", "FederatedJWT", map[string]string{"host": "a.example", "realm": "x"}},
		{"Auth0", "client_id private_key client_secret", "PrivateKeyJWT", map[string]string{"domain": "a.auth0.com"}},
		{"Auth0", "client_id client_secret", "Secret", map[string]string{"domain": "a.auth0.com"}},
		{"Okta", "client_id private_key", "OrgPrivateKeyJWT", map[string]string{"domain": "a.okta.com"}},
		{"Okta", "client_id client_secret", "Secret", map[string]string{"domain": "a.okta.com"}},
		{"EntraID", "client_id client_secret", "Secret", map[string]string{"tenant": "x"}},
		{"EntraID", "client_id private_key certificate client_secret", "Certificate", map[string]string{"tenant": "x"}},
		{"EntraID", "client_id client_assertion", "FederatedJWT", map[string]string{"tenant": "x"}},
		{"Zitadel", "user_id key_id private_key", "PrivateKeyJWT", map[string]string{"host": "a.example"}},
		{"Zitadel", "client_id client_secret", "Secret", map[string]string{"host": "a.example"}},
	} {
		definition, _ := catalog(t).Get(c.entry)
		got, err := definition.Resolve(c.parameters, func(name string) bool { return strings.Contains(" "+c.keys+" ", " "+name+" ") })
		if err != nil || got.Method != c.want {
			t.Errorf("%s with %s: got %q (%v), want %s", c.entry, c.keys, got.Method, err, c.want)
		}
	}
}

func TestConformanceAClustersTokenIsMeantForWhomTheProviderSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entry, want string
		parameters  map[string]string
	}{
		{"Keycloak", "https://sso.example.com/realms/demo", map[string]string{"host": "sso.example.com", "realm": "demo"}},
		{"EntraID", "api://AzureADTokenExchange", map[string]string{"tenant": "x"}},
	} {
		definition, _ := catalog(t).Get(c.entry)
		c.parameters["method"] = "FederatedJWT"
		got, err := definition.Resolve(c.parameters, func(string) bool { return true })
		if err != nil || got.IdentityAudience() != c.want {
			t.Errorf("%s: got %q (%v), want %s", c.entry, got.IdentityAudience(), err, c.want)
		}
		if diff := cmp.Diff([]string{"client_assertion"}, got.FederatedCredentials()); diff != "" {
			t.Errorf("%s: what a cluster's token stands for (-want +got):\n%s", c.entry, diff)
		}
	}
}

func TestZitadelReadsTheKeyFile(t *testing.T) {
	t.Parallel()
	b, d := newBench(t, providersim.Options{}), dialectOf(t, "Zitadel/PrivateKeyJWT")
	file, err := json.Marshal(map[string]string{
		"type": "serviceaccount", "keyId": providersim.ZitadelKeyID, "key": privatePEM(demoKeysA().client), "userId": providersim.ZitadelUserID,
	})
	if err != nil {
		t.Fatal(err)
	}
	definition := d.definition(t, b)
	found := map[string]string{}
	for _, name := range definition.CredentialNames() {
		value, ok := definition.Find(name, func(key string) ([]byte, bool) { return file, key == "key.json" })
		if ok {
			found[name] = value.Reveal()
		}
	}
	if len(found) != 3 {
		t.Errorf("got %d credentials from the file, want user_id, key_id and private_key", len(found))
	}
	u := b.userWith(t, definition, d.parameters(b), found)
	if got := u.mustFetch(t); !b.Zitadel.Accepts(got.Access.Reveal()) {
		t.Error("the token is refused")
	}
}

func TestIdentityProvidersSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect string
		edit    func(*user)
		want    provider.Error
	}{
		"Auth0, an audience":              {"Auth0/Secret", func(u *user) { u.input.Audience = "" }, provider.Error{Kind: provider.Denied, Code: "access_denied", Status: 403}},
		"Auth0, an API that is none":      {"Auth0/Secret", func(u *user) { u.input.Audience = "https://nobody.example" }, provider.Error{Kind: provider.Denied, Code: "access_denied", Status: 403}},
		"Auth0, a scope":                  {"Auth0/Secret", func(u *user) { u.input.Scopes = []string{"write:demo"} }, provider.Error{Kind: provider.Denied, Code: "access_denied", Status: 403}},
		"Okta, a scope":                   {"Okta/Secret", func(u *user) { u.input.Scopes = nil }, provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"Okta, a custom scope of the org": {"Okta/OrgPrivateKeyJWT", func(u *user) { u.input.Scopes = []string{providersim.OktaCustomScope} }, provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"Okta, a client":                  {"Okta/Secret", unknownClient, provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401}},
		"Keycloak, a client":              {"Keycloak/SecretBasic", unknownClient, provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401}},
		"Keycloak, a scope":               {"Keycloak/SecretBasic", func(u *user) { u.input.Scopes = []string{"nothing"} }, provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"Keycloak, a client_id beside a cluster's token": {"Keycloak/FederatedJWT", func(u *user) {
			u.input.Credentials["client_id"] = token.NewSecret(workload)
		}, provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400}},
		"Entra ID, an application": {"EntraID/Secret", unknownClient, provider.Error{Kind: provider.Denied, Code: "unauthorized_client", Status: 400}},
		"Entra ID, /.default":      {"EntraID/Secret", func(u *user) { u.input.Scopes = []string{"https://graph.microsoft.com/Mail.Read"} }, provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"Entra ID, one resource only": {"EntraID/Secret", func(u *user) {
			u.input.Scopes = []string{providersim.EntraIDScope, providersim.EntraIDAPIScope}
		}, provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"Entra ID, a client_id beside a cluster's token": {"EntraID/FederatedJWT", func(u *user) {
			delete(u.input.Credentials, "client_id")
		}, provider.Error{Kind: provider.Denied, Code: "invalid_request", Status: 400}},
		"Cognito, a scope":   {"Cognito", func(u *user) { u.input.Scopes = []string{"nothing/here"} }, provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"Zitadel, any scope": {"Zitadel/Secret", func(u *user) { u.input.Scopes = []string{} }, provider.Error{Kind: provider.Denied, Code: "invalid_request", Status: 400}},
		"Zitadel, a client":  {"Zitadel/Secret", unknownClient, provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newBench(t, providersim.Options{}).userOf(t, dialectOf(t, c.dialect))
			c.edit(u)
			if diff := cmp.Diff(c.want, told(u.mustFail(t))); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

func unknownClient(u *user) { u.input.Credentials["client_id"] = token.NewSecret("nobody") }

func TestAnAssertionIsFreshEachTimeAndAClustersTokenNeedNotBe(t *testing.T) {
	t.Parallel()
	for _, d := range dialectsA() {
		t.Run(d.name(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			u := b.userOf(t, d)
			u.mustFetch(t)
			if !d.signs() {
				u.mustFetch(t)
				return
			}
			if got := u.mustFail(t); got.Kind != d.denied.Kind {
				t.Errorf("a replayed assertion: got %#v", got)
			}
			u.input.ID = "second"
			u.mustFetch(t)
		})
	}
}

func TestSecretsOfIdentityProvidersGoOverTheWireAsTheyAre(t *testing.T) {
	t.Parallel()
	const nasty = `a+b%41 c&d=e:f"g'h/i\j?k#l`
	for name, learn := range map[string]func(b *bench){
		"Keycloak/SecretBasic": func(b *bench) { b.Keycloak.SetCredentials(nasty, nasty) },
		"Keycloak/SecretPost":  func(b *bench) { b.Keycloak.SetCredentials(nasty, nasty) },
		"Auth0/Secret":         func(b *bench) { b.Auth0.SetCredentials(nasty, nasty) },
		"Okta/Secret":          func(b *bench) { b.Okta.SetCredentials(nasty, nasty) },
		"EntraID/Secret":       func(b *bench) { b.EntraID.SetCredentials(nasty, nasty) },
		"Cognito":              func(b *bench) { b.Cognito.SetCredentials(nasty, nasty) },
		"Zitadel/Secret":       func(b *bench) { b.Zitadel.SetCredentials(nasty, nasty) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, d := newBench(t, providersim.Options{}), dialectOf(t, name)
			learn(b)
			d.credentials = map[string]string{"client_id": nasty, "client_secret": nasty}
			b.userOf(t, d).mustFetch(t)
		})
	}
}

func TestARefusalIsExplainedByWhatTheProviderMeansByIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect string
		edit    func(*user)
		want    string
	}{
		"Keycloak calls a wrong secret unauthorized_client":    {"Keycloak/SecretBasic", wrongSecret, "correct client_id and client_secret"},
		"Entra ID calls an unknown application the same":       {"EntraID/Secret", unknownClient, "ask the provider to allow it"},
		"Auth0 denies access to whoever has a wrong secret":    {"Auth0/Secret", wrongSecret, "correct client_id and client_secret"},
		"and to whoever asks for something that is not theirs": {"Auth0/Secret", func(u *user) { u.input.Audience = "" }, "correct audience and scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newBench(t, providersim.Options{}).userOf(t, dialectOf(t, c.dialect))
			c.edit(u)
			if got := u.mustFail(t); !strings.Contains(got.Fix, c.want) {
				t.Errorf("got %q, want advice to %s", got.Fix, c.want)
			}
		})
	}
}

func wrongSecret(u *user) { u.input.Credentials["client_secret"] = token.NewSecret("wrong") }

func TestNoIdentityProviderIsAskedWithARefreshToken(t *testing.T) {
	t.Parallel()
	for _, d := range dialectsA() {
		b := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.input.RefreshToken = token.NewSecret("from somewhere")
		if got := u.mustFail(t); got.Kind != provider.Input || len(d.host(b).Calls()) != 0 {
			t.Errorf("%s: got %#v", d.name(), got)
		}
	}
}

func TestCognitoThrottlesInEveryFormThatAWSHas(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"error":"TooManyRequestsException"}`,
		`{"__type":"com.amazonaws#TooManyRequestsException"}`,
		`{"code":"TooManyRequestsException"}`,
	} {
		b := newBench(t, providersim.Options{})
		b.Cognito.Next(providersim.JSON(400, body))
		if got := b.userOf(t, dialectOf(t, "Cognito")).mustFail(t); got.Kind != provider.Throttled {
			t.Errorf("%s: got %#v", body, got)
		}
	}
}

func TestAKeyThatTheProviderCannotHaveIsRefusedBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Zitadel/PrivateKeyJWT", "EntraID/Certificate"} {
		b, d := newBench(t, providersim.Options{}), dialectOf(t, name)
		u := b.userOf(t, d)
		u.input.Credentials["private_key"] = token.NewSecret(privatePEM(demoKeysA().elliptic))
		if got := u.mustFail(t); got.Kind != provider.Input || len(d.host(b).Calls()) != 0 {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}
