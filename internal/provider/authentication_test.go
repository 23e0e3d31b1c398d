package provider

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/token"
)

const (
	bearerGrant   = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
	exchangeGrant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
	assertedAs    = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
	jwtType       = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"
)

// with is the plain definition with changes.
func with(change func(*Definition)) Definition {
	d := plain()
	change(&d)
	return d
}

func jsonHeader(more ...string) http.Header {
	h := form(more...)
	h["Content-Type"] = []string{"application/json"}
	return h
}

// request is the one that a definition makes of what the input holds.
func request(t *testing.T, d Definition, parameters map[string]string, in RequestInput) (Request, error) {
	t.Helper()
	r, err := d.Resolve(parameters, func(name string) bool { return !in.Credentials[name].IsZero() })
	if err != nil {
		t.Fatalf("resolving: %v", err)
	}
	return r.NewRequest(in)
}

func TestEveryGrantIsWhatItsDocumentSaysByteForByte(t *testing.T) {
	client := creds(CredClientID, "id", CredClientSecret, "s3cret")
	and := func(more ...string) Credentials {
		c := creds(more...)
		c[CredClientID], c[CredClientSecret] = client[CredClientID], client[CredClientSecret]
		return c
	}
	refreshing := with(func(d *Definition) { d.Grant, d.FormParameters = RefreshToken, map[string]string{"v": "2"} })
	bearer := with(func(d *Definition) { d.Grant, d.ClientAuthentication = JWTBearer, None })
	exchange := with(func(d *Definition) { d.Grant = TokenExchange })
	zoom := with(func(d *Definition) {
		d.Grant, d.GrantType = Custom, "account_credentials"
		d.ExtraCredentials = []ExtraCredential{{Name: "account_id"}}
		d.FormParameters = map[string]string{"account_id": "{account_id}", "json": `{ "a": {} }`}
	})
	inJSON := with(func(d *Definition) {
		d.ClientAuthentication, d.Scopes = SecretPost, []string{"a", "b"}
		d.Parameters = []Parameter{{Name: "realm"}}
		d.ExtraCredentials = []ExtraCredential{{Name: "org"}}
		d.Request = RequestFormat{Body: JSONBody, Headers: map[string]string{"X-Realm": "{realm}:{client_id}"}, JSON: map[string]any{
			"z": []any{"{realm}", 1.5, true, nil, map[string]any{"<&>": "{org}/{realm}"}}, "audience": "default", "resource": "default"}}
		d.FormParameters = map[string]string{"tenant": "{realm}"}
	})
	tests := []struct {
		name       string
		definition Definition
		parameters map[string]string
		in         RequestInput
		want       golden
	}{
		{"a refresh token is the credential", refreshing, nil,
			RequestInput{Credentials: and(CredRefreshToken, "r/1"), Scopes: []string{"a"}},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("id", "s3cret")),
				"grant_type=refresh_token&refresh_token=r%2F1&scope=a&v=2", RefreshToken}},
		{"its successor stands for it", refreshing, nil,
			RequestInput{Credentials: and(CredRefreshToken, "r1"), RefreshToken: token.NewSecret("r2")},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("id", "s3cret")),
				"grant_type=refresh_token&refresh_token=r2&v=2", RefreshToken}},
		{"an assertion that is ready-made", bearer, nil,
			RequestInput{Credentials: creds(CredAssertion, "a.b.c"), Audience: "x"},
			golden{"POST", "https://sso.example.com/token", form(), "grant_type=" + bearerGrant + "&assertion=a.b.c&audience=x", JWTBearer}},
		{"an assertion of a public client", bearer, nil,
			RequestInput{Credentials: creds(CredAssertion, "a.b.c", CredClientID, "id")},
			golden{"POST", "https://sso.example.com/token", form(), "grant_type=" + bearerGrant + "&assertion=a.b.c&client_id=id", JWTBearer}},
		{"an exchange", exchange, nil,
			RequestInput{Credentials: and(CredSubjectToken, "a.b.c")},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("id", "s3cret")),
				"grant_type=" + exchangeGrant + "&subject_token=a.b.c&subject_token_type=" + jwtType, TokenExchange}},
		{"an exchange for somebody else, of other types", with(func(d *Definition) {
			d.Grant, d.ClientAuthentication = TokenExchange, None
			d.TokenExchange = TokenExchangeFormat{SubjectTokenType: "urn:s", ActorTokenType: "urn:a", RequestedTokenType: "urn:r"}
		}), nil,
			RequestInput{Credentials: creds(CredSubjectToken, "s", CredActorToken, "a"), Scopes: []string{"x"}, Resources: []string{"urn:1"}},
			golden{"POST", "https://sso.example.com/token", form(),
				"grant_type=" + exchangeGrant + "&subject_token=s&subject_token_type=urn%3As&actor_token=a&actor_token_type=urn%3Aa&requested_token_type=urn%3Ar&scope=x&resource=urn%3A1", TokenExchange}},
		{"a grant of the provider's own", zoom, nil,
			RequestInput{Credentials: and("account_id", "a&b=ü")},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("id", "s3cret")),
				"grant_type=account_credentials&account_id=a%26b%3D%C3%BC&json=%7B+%22a%22%3A+%7B%7D+%7D", Custom}},
		{"a body of JSON", inJSON, map[string]string{"realm": "r"},
			RequestInput{Credentials: and("org", `o"{realm}`), Resources: []string{"urn:1", "urn:2"}},
			golden{"POST", "https://sso.example.com/token", jsonHeader("X-Realm", "r:id"),
				`{"grant_type":"client_credentials","scope":"a b","client_id":"id","client_secret":"s3cret","resource":["urn:1","urn:2"],"tenant":"r",` +
					`"audience":"default","z":["r",1.5,true,null,{"<&>":"o\"{realm}/r"}]}`, ClientCredentials}},
		{"what a user asks for replaces a member", inJSON, map[string]string{"realm": "r"},
			RequestInput{Credentials: and("org", "o"), Audience: "mine", Resources: []string{"urn:1"}, Scopes: []string{}},
			golden{"POST", "https://sso.example.com/token", jsonHeader("X-Realm", "r:id"),
				`{"grant_type":"client_credentials","client_id":"id","client_secret":"s3cret","audience":"mine","resource":"urn:1","tenant":"r",` +
					`"z":["r",1.5,true,null,{"<&>":"o/r"}]}`, ClientCredentials}},
		{"a refresh is in JSON too, without the members of a login", inJSON, map[string]string{"realm": "r"},
			RequestInput{Credentials: and("org", "o"), RefreshToken: token.NewSecret("r1")},
			golden{"POST", "https://sso.example.com/token", jsonHeader("X-Realm", "r:id"),
				`{"grant_type":"refresh_token","refresh_token":"r1","client_id":"id","client_secret":"s3cret"}`, RefreshToken}},
		{"an assertion in the header, and nothing else", with(func(d *Definition) {
			d.Grant, d.ClientAuthentication, d.ClientID = JWTBearer, None, "app"
			d.Request.Assertion, d.Request.Body = AssertionInHeader, JSONBody
		}), nil,
			RequestInput{Credentials: creds(CredAssertion, "a.b.c")},
			golden{"POST", "https://sso.example.com/token", http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer a.b.c"}}, "", JWTBearer}},
		{"an assertion in the header of a GET", with(func(d *Definition) {
			d.Grant, d.ClientAuthentication = JWTBearer, None
			d.Request.Assertion, d.Request.Method = AssertionInHeader, "GET"
		}), nil,
			RequestInput{Credentials: creds(CredAssertion, "a.b.c")},
			golden{"GET", "https://sso.example.com/token", http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer a.b.c"}}, "", JWTBearer}},
		{"an assertion in the header, beside a body", with(func(d *Definition) {
			d.Grant, d.ClientAuthentication = JWTBearer, None
			d.Request.Assertion, d.Request.Body, d.Request.JSON = AssertionInHeader, JSONBody, map[string]any{"permissions": map[string]any{"contents": "read"}}
		}), nil,
			RequestInput{Credentials: creds(CredAssertion, "a.b.c")},
			golden{"POST", "https://sso.example.com/token", jsonHeader("Authorization", "Bearer a.b.c"), `{"permissions":{"contents":"read"}}`, JWTBearer}},
		{"a client that somebody else speaks for", with(func(d *Definition) { d.ClientAuthentication = FederatedJWT }), nil,
			RequestInput{Credentials: creds(CredClientAssertion, "a.b.c", CredClientID, "id")},
			golden{"POST", "https://sso.example.com/token", form(),
				"grant_type=client_credentials&client_id=id&" + assertedAs + "&client_assertion=a.b.c", ClientCredentials}},
		{"a client without a name that somebody else speaks for", with(func(d *Definition) { d.ClientAuthentication = FederatedJWT }), nil,
			RequestInput{Credentials: creds(CredClientAssertion, "a.b.c")},
			golden{"POST", "https://sso.example.com/token", form(),
				"grant_type=client_credentials&" + assertedAs + "&client_assertion=a.b.c", ClientCredentials}},
		{"a refresh of such a client", with(func(d *Definition) { d.ClientAuthentication, d.ClientID = FederatedJWT, "id" }), nil,
			RequestInput{Credentials: creds(CredClientAssertion, "a.b.c"), RefreshToken: token.NewSecret("r")},
			golden{"POST", "https://sso.example.com/token", form(),
				"grant_type=refresh_token&refresh_token=r&client_id=id&" + assertedAs + "&client_assertion=a.b.c", RefreshToken}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := request(t, tt.definition, tt.parameters, tt.in)
			if err != nil {
				t.Fatal(err)
			}
			got := golden{req.Method, req.URL, req.Header, req.Body.Reveal(), req.Grant}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if req.Certificate != nil {
				t.Error("it would show a certificate")
			}
		})
	}
}

// asserted takes a JWT apart and verifies it.
func asserted(t *testing.T, text string, key any) (header, claims map[string]any) {
	t.Helper()
	parsed, err := jwt.NewParser(jwt.WithoutClaimsValidation()).Parse(text, func(*jwt.Token) (any, error) { return key, nil })
	if err != nil {
		t.Fatalf("the assertion %q does not verify: %v", text, err)
	}
	body, _ := parsed.Claims.(jwt.MapClaims)
	return parsed.Header, body
}

func fields(t *testing.T, req Request) url.Values {
	t.Helper()
	values, err := url.ParseQuery(req.Body.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// stands is what an assertion says where the definition says nothing.
func stands(more ...any) map[string]any {
	claims := map[string]any{
		"iss": "id", "sub": "id", "aud": "https://sso.example.com/token",
		"iat": float64(sent().Unix() - 10), "exp": float64(sent().Unix() + 60), "jti": "fresh",
	}
	for i := 0; i < len(more); i += 2 {
		name, _ := more[i].(string)
		if claims[name] = more[i+1]; more[i+1] == nil {
			delete(claims, name)
		}
	}
	return claims
}

func TestClientsProveThemselvesWithTheirKeys(t *testing.T) {
	chain := chainOf(rsaKey(), sent().Add(time.Hour))
	own, _ := pem.Decode([]byte(chain))
	sum := sha256.Sum256(own.Bytes)
	tests := []struct {
		name   string
		change func(*Definition)
		more   []string
		key    string
		public any
		header map[string]any
		claims map[string]any
	}{
		{"RSA", nil, nil, pkcs8(rsaKey()), rsaKey().Public(), map[string]any{"alg": "RS256", "typ": "JWT"}, stands()},
		{"RSA with PSS", func(d *Definition) { d.Assertion.Algorithm = "PS256" }, nil, pkcs8(rsaKey()), rsaKey().Public(),
			map[string]any{"alg": "PS256", "typ": "JWT"}, stands()},
		{"P-256 of a JWK with a name", nil, nil, jwk(p256Key(), "kid", "k1"), p256Key().Public(),
			map[string]any{"alg": "ES256", "typ": "JWT", "kid": "k1"}, stands()},
		{"P-384 with a name beside it", nil, []string{CredKeyID, "k2"}, jwk(p384Key(), "kid", "k1"), p384Key().Public(),
			map[string]any{"alg": "ES384", "typ": "JWT", "kid": "k2"}, stands()},
		{"P-521 with the definition's name", func(d *Definition) { d.Assertion.KeyID = "of {client_id}" }, []string{CredKeyID, "k2"}, pkcs8(p521Key()), p521Key().Public(),
			map[string]any{"alg": "ES512", "typ": "JWT", "kid": "of id"}, stands()},
		{"Ed25519", nil, nil, pkcs8(ed25519Key()), ed25519Key().Public(), map[string]any{"alg": "EdDSA", "typ": "JWT"}, stands()},
		{"a thumbprint", func(d *Definition) { d.Assertion.Thumbprint = true }, []string{CredCertificate, chain}, pkcs8(rsaKey()), rsaKey().Public(),
			map[string]any{"alg": "RS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}, stands()},
		{"other claims", func(d *Definition) {
			d.Assertion = AssertionFormat{Issuer: "i {client_id}", Subject: "s", Audience: "https://aud/{username}", Claims: map[string]string{"act": "{extra}"},
				Lifetime: Duration{5 * time.Minute}, Backdate: Duration{time.Minute}}
			d.ExtraCredentials = []ExtraCredential{{Name: "extra"}}
		}, []string{CredUsername, "u", "extra", "e"}, pkcs8(rsaKey()), rsaKey().Public(), map[string]any{"alg": "RS256", "typ": "JWT"},
			stands("iss", "i id", "sub", "s", "aud", "https://aud/u", "act", "e", "iat", float64(sent().Unix()-60), "exp", float64(sent().Unix()+300))},
		{"no subject", func(d *Definition) { d.Assertion.Subject = "-" }, nil, pkcs8(rsaKey()), rsaKey().Public(),
			map[string]any{"alg": "RS256", "typ": "JWT"}, stands("sub", nil)},
		{"a subject that is the issuer", func(d *Definition) { d.Assertion.Issuer = "i" }, nil, pkcs8(rsaKey()), rsaKey().Public(),
			map[string]any{"alg": "RS256", "typ": "JWT"}, stands("iss", "i", "sub", "i")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := with(func(d *Definition) { d.ClientAuthentication = PrivateKeyJWT })
			if tt.change != nil {
				tt.change(&d)
			}
			held := creds(append([]string{CredClientID, "id", CredPrivateKey, tt.key}, tt.more...)...)
			for _, in := range []RequestInput{{}, {RefreshToken: token.NewSecret("r")}} {
				in.Credentials, in.Now, in.ID = held, sent(), "fresh"
				req, err := request(t, d, nil, in)
				if err != nil {
					t.Fatal(err)
				}
				values := fields(t, req)
				header, claims := asserted(t, values.Get("client_assertion"), tt.public)
				if diff := cmp.Diff(tt.header, header) + cmp.Diff(tt.claims, claims); diff != "" {
					t.Error(diff)
				}
				values.Del("client_assertion")
				want := url.Values{"grant_type": {"client_credentials"}, "client_id": {"id"}, "client_assertion_type": {assertionType}}
				if !in.RefreshToken.IsZero() {
					want["grant_type"], want["refresh_token"] = []string{"refresh_token"}, []string{"r"}
				}
				if diff := cmp.Diff(want, values); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestSecretsSignWithTheAlgorithmThatIsAskedFor(t *testing.T) {
	for asked, want := range map[string]string{"": "HS256", "HS384": "HS384", "HS512": "HS512"} {
		d := with(func(d *Definition) { d.ClientAuthentication, d.Assertion.Algorithm = SecretJWT, asked })
		req, err := request(t, d, nil, RequestInput{Credentials: creds(CredClientID, "id", CredClientSecret, "s", CredKeyID, "k"), Now: sent(), ID: "fresh"})
		if err != nil {
			t.Fatal(err)
		}
		values := fields(t, req)
		header, claims := asserted(t, values.Get("client_assertion"), []byte("s"))
		if diff := cmp.Diff(map[string]any{"alg": want, "typ": "JWT", "kid": "k"}, header) + cmp.Diff(stands(), claims); diff != "" {
			t.Error(diff)
		}
		if values.Has("client_id") || values.Has("client_secret") {
			t.Errorf("the body says more than the assertion: %s", req.Body.Reveal())
		}
	}
}

func TestAssertionsOfTheGrantAreSigned(t *testing.T) {
	d := with(func(d *Definition) {
		d.Grant, d.ClientAuthentication, d.Scopes = JWTBearer, None, []string{"a", "b"}
		d.Request.Scopes = ScopesInAssertion
		d.Assertion = AssertionFormat{Issuer: "{client_email}", Subject: "{username}", Audience: "https://{region}.example.com"}
		d.ExtraCredentials, d.Parameters = []ExtraCredential{{Name: "client_email"}}, []Parameter{{Name: "region"}}
	})
	held := creds("client_email", "me@example.com", CredUsername, "you", CredPrivateKey, pkcs8(rsaKey()))
	in := RequestInput{Credentials: held, Now: sent(), ID: "fresh"}
	req, err := request(t, d, map[string]string{"region": "eu"}, in)
	if err != nil {
		t.Fatal(err)
	}
	values := fields(t, req)
	_, claims := asserted(t, values.Get("assertion"), rsaKey().Public())
	want := stands("iss", "me@example.com", "sub", "you", "aud", "https://eu.example.com", "scope", "a b")
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
	values.Del("assertion")
	if diff := cmp.Diff(url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}}, values); diff != "" {
		t.Error(diff)
	}

	in.Scopes = []string{"c"}
	req, err = request(t, d, map[string]string{"region": "eu"}, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, claims = asserted(t, fields(t, req).Get("assertion"), rsaKey().Public()); claims["scope"] != "c" {
		t.Errorf("got the scope %v, want what the user asks for", claims["scope"])
	}

	d.Request.Assertion = AssertionInHeader
	if req, err = request(t, d, map[string]string{"region": "eu"}, in); err != nil {
		t.Fatal(err)
	}
	bearer, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	asserted(t, bearer, rsaKey().Public())
	if !req.Body.IsZero() || req.Header.Get("Content-Type") != "" {
		t.Errorf("got a body too: %s", req.Body.Reveal())
	}
}

func TestGrantAndClientEachHaveAnAssertion(t *testing.T) {
	public := rsaKey().Public()
	for name, tt := range map[string]struct {
		auth ClientAuthentication
		key  any
		alg  string
	}{
		"by key":    {PrivateKeyJWT, public, "PS256"},
		"by secret": {SecretJWT, []byte("s"), "HS256"},
	} {
		t.Run(name, func(t *testing.T) {
			d := with(func(d *Definition) {
				d.Grant, d.ClientAuthentication = JWTBearer, tt.auth
				d.Assertion = AssertionFormat{Algorithm: "PS256", Subject: "{username}", Audience: "urn:both", Claims: map[string]string{"x": "y"}}
			})
			held := creds(CredClientID, "id", CredClientSecret, "s", CredUsername, "u", CredPrivateKey, pkcs8(rsaKey()))
			req, err := request(t, d, nil, RequestInput{Credentials: held, Now: sent(), ID: "fresh"})
			if err != nil {
				t.Fatal(err)
			}
			values := fields(t, req)
			_, grant := asserted(t, values.Get("assertion"), public)
			header, client := asserted(t, values.Get("client_assertion"), tt.key)
			if diff := cmp.Diff(stands("sub", "u", "aud", "urn:both", "x", "y"), grant); diff != "" {
				t.Errorf("the grant's: %s", diff)
			}
			if diff := cmp.Diff(stands("aud", "urn:both", "jti", "fresh-client"), client); diff != "" || header["alg"] != tt.alg {
				t.Errorf("the client's, with %v: %s", header, diff)
			}
		})
	}
}

func TestACertificateIsShownInTheHandshake(t *testing.T) {
	d := with(func(d *Definition) { d.ClientAuthentication = TLS })
	for name, tt := range map[string]struct {
		key    string
		signer crypto.Signer
	}{
		"in PEM": {pkcs8(rsaKey()), rsaKey()},
		"a JWK":  {jwk(p256Key()), p256Key()},
	} {
		for _, in := range []RequestInput{{}, {RefreshToken: token.NewSecret("r")}} {
			t.Run(name, func(t *testing.T) {
				in.Credentials = creds(CredClientID, "id", CredCertificate, "comment\n"+chainOf(tt.signer, sent().Add(time.Hour)), CredPrivateKey, tt.key)
				in.Now = sent()
				req, err := request(t, d, nil, in)
				if err != nil {
					t.Fatal(err)
				}
				if req.Certificate == nil || strings.Contains(req.Certificate.Chain, "comment") {
					t.Fatal("it would show no certificate, or more")
				}
				pair, err := tls.X509KeyPair([]byte(req.Certificate.Chain), []byte(req.Certificate.Key.Reveal()))
				if err != nil || len(pair.Certificate) != 2 {
					t.Errorf("got a chain of %d (%v), want 2", len(pair.Certificate), err)
				}
				values := fields(t, req)
				if values.Get("client_id") != "id" || values.Has("client_assertion") || req.Header.Get("Authorization") != "" {
					t.Errorf("got %s", req.Body.Reveal())
				}
				if strings.Contains(strings.ReplaceAll(req.String(), "\n", ""), "PRIVATE") {
					t.Error("it prints the key")
				}
			})
		}
	}
}

func TestRequestsThatCannotBeMadeSayWhy(t *testing.T) {
	const canary = "hunter2"
	key := pkcs8(rsaKey())
	byKey := func(d *Definition) { d.ClientAuthentication = PrivateKeyJWT }
	byCertificate := func(d *Definition) { d.ClientAuthentication = TLS }
	bearer := func(d *Definition) { d.Grant, d.ClientAuthentication = JWTBearer, None }
	header := func(d *Definition) { d.Request.Headers = map[string]string{"X-Key": "{username}"} }
	tests := []struct {
		name     string
		change   func(*Definition)
		in       RequestInput
		mentions []string
	}{
		{"no key", byKey, RequestInput{}, []string{"private_key (or tls.key)", "missing or empty"}},
		{"a key of words", byKey, RequestInput{Credentials: creds(CredPrivateKey, canary)}, []string{"private_key (or tls.key)", "neither PEM nor a JWK"}},
		{"a weak key", byKey, RequestInput{Credentials: creds(CredPrivateKey, pkcs8(weakRSAKey()))}, []string{"2048 bits"}},
		{"an algorithm that does not fit", func(d *Definition) { byKey(d); d.Assertion.Algorithm = "ES256" }, RequestInput{Credentials: creds(CredPrivateKey, key)}, []string{"cannot sign with ES256"}},
		{"a key's name with a newline", byKey, RequestInput{Credentials: creds(CredPrivateKey, key, CredKeyID, canary+"\n")}, []string{"key_id", "newline"}},
		{"a thumbprint of nothing", func(d *Definition) { byKey(d); d.Assertion.Thumbprint = true }, RequestInput{Credentials: creds(CredPrivateKey, key)}, []string{"certificate (or tls.crt)", "missing"}},
		{"another's certificate", byCertificate, RequestInput{Credentials: creds(CredPrivateKey, key, CredCertificate, chainOf(p256Key(), sent().Add(time.Hour)))},
			[]string{"certificate (or tls.crt) and private_key (or tls.key) do not belong together"}},
		{"an expired certificate", byCertificate, RequestInput{Credentials: creds(CredPrivateKey, key, CredCertificate, chainOf(rsaKey(), sent().Add(-time.Hour)))},
			[]string{"expired at 2026-03-01T11:00:00Z", "renew it"}},
		{"a certificate without its key", byCertificate, RequestInput{Credentials: creds(CredCertificate, chainOf(rsaKey(), sent().Add(time.Hour)))}, []string{"private_key", "missing"}},
		{"no certificate", byCertificate, RequestInput{Credentials: creds(CredPrivateKey, key)}, []string{"certificate", "missing"}},
		{"an assertion with a newline", bearer, RequestInput{Credentials: creds(CredAssertion, canary+"\n")}, []string{"assertion", "newline"}},
		{"an issuer that is missing", func(d *Definition) { bearer(d); d.Assertion.Issuer = "{username}" }, RequestInput{Credentials: creds(CredPrivateKey, key)}, []string{"username", "missing"}},
		{"a claim that is missing", func(d *Definition) { bearer(d); d.Assertion.Claims = map[string]string{"a": "{username}"} },
			RequestInput{Credentials: creds(CredPrivateKey, key)}, []string{"username", "missing"}},
		{"no subject token", func(d *Definition) { d.Grant, d.ClientAuthentication = TokenExchange, None }, RequestInput{}, []string{"subject_token", "missing"}},
		{"an actor token that cannot be sent", func(d *Definition) { d.Grant, d.ClientAuthentication = TokenExchange, None },
			RequestInput{Credentials: creds(CredSubjectToken, "s", CredActorToken, canary+"ü")}, []string{"actor_token", "cannot be sent"}},
		{"no client assertion", func(d *Definition) { d.ClientAuthentication = FederatedJWT }, RequestInput{}, []string{"client_assertion", "missing"}},
		{"no refresh token", func(d *Definition) { d.Grant, d.ClientAuthentication = RefreshToken, None }, RequestInput{}, []string{"refresh_token", "missing"}},
		{"a refresh token with a newline", func(d *Definition) { d.Grant, d.ClientAuthentication = RefreshToken, None },
			RequestInput{RefreshToken: token.NewSecret(canary + "\n")}, []string{"refresh_token", "newline"}},
		{"a header with another line", header, RequestInput{Credentials: creds(CredUsername, canary+"\r\nX: y")}, []string{"username", "cannot be sent"}},
		{"a header beyond ASCII", header, RequestInput{Credentials: creds(CredUsername, canary+"ü")}, []string{"X-Key", "printable ASCII"}},
		{"a header with a space behind", header, RequestInput{Credentials: creds(CredUsername, canary+" ")}, []string{"X-Key"}},
		{"a header without its credential", header, RequestInput{}, []string{"username", "missing"}},
		{"a field without its credential", func(d *Definition) { d.FormParameters = map[string]string{"a": "{username}"} }, RequestInput{}, []string{"username", "missing"}},
		{"a member without its credential", func(d *Definition) {
			d.Request.Body, d.Request.JSON = JSONBody, map[string]any{"a": []any{"{username}"}}
		},
			RequestInput{}, []string{"username", "missing"}},
		{"scopes where there are none", func(d *Definition) { d.Request.Scopes = NoScopes }, RequestInput{Scopes: []string{"a"}}, []string{"takes no scopes"}},
		{"scopes in an assertion that is ready-made", func(d *Definition) { bearer(d); d.Request.Scopes = ScopesInAssertion },
			RequestInput{Credentials: creds(CredAssertion, "a"), Scopes: []string{"a"}}, []string{"ready-made"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			held := creds(CredClientID, "id", CredClientSecret, "s")
			maps.Copy(held, tt.in.Credentials)
			tt.in.Credentials, tt.in.Now, tt.in.ID = held, sent(), "fresh"
			r, err := with(tt.change).Resolve(nil, func(name string) bool { return name != CredAssertion || !held[CredAssertion].IsZero() })
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.NewRequest(tt.in)
			wantKind(t, err, Input)
			wantText(t, err, tt.mentions...)
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%q shows a credential", err)
			}
		})
	}
}

// A body of JSON must say the same to every reader: what goes in comes out.
func FuzzJSONBodyCannotBeSmuggledInto(f *testing.F) {
	f.Add("id", `s","grant_type":"password`, "aud\u2028", `{client_secret}`)
	f.Fuzz(func(t *testing.T, id, secret, audience, extra string) {
		d := with(func(d *Definition) {
			d.ClientAuthentication = SecretPost
			d.ExtraCredentials = []ExtraCredential{{Name: "extra"}}
			d.Request = RequestFormat{Body: JSONBody, JSON: map[string]any{"nested": map[string]any{"a": "-{extra}-"}}}
		})
		req, err := resolve(t, d, nil).NewRequest(RequestInput{Credentials: creds(CredClientID, id, CredClientSecret, secret, "extra", extra), Audience: audience})
		if err != nil {
			wantKind(t, err, Input)
			return
		}
		got := map[string]any{}
		if err := json.Unmarshal([]byte(req.Body.Reveal()), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"grant_type": "client_credentials", "client_id": id, "client_secret": secret, "nested": map[string]any{"a": "-" + extra + "-"}}
		if audience != "" {
			want["audience"] = audience
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
