package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: sent()}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// provisioned is a definition whose client is made with a login.
func provisioned() Definition {
	return Definition{
		TokenURL:   "https://{region}.example.com/token",
		Parameters: []Parameter{{Name: "region", Default: "eu"}},
		Methods: []Method{
			{Name: "A", Definition: Definition{Grant: Password, ClientAuthentication: None}},
			{Name: "B", Definition: Definition{ClientAuthentication: SecretPost}},
		},
		Provisioning: &ProvisioningStep{From: "A", To: "B", URL: "https://{region}.example.com/clients/",
			Credentials: map[string][]string{"client_id": {"/id"}, "client_secret": {"/secret"}}},
	}
}

func TestValidateTakesWhatCanWork(t *testing.T) {
	bundle := certificate(t)
	tests := map[string]func(*Definition){
		"the least":                        func(*Definition) {},
		"a query that says nothing secret": func(d *Definition) { d.TokenURL = "https://a.example.com/t?tenant=1" },
		"a port":                           func(d *Definition) { d.TokenURL = "https://a.example.com:65535" },
		"a bundle with comments":           func(d *Definition) { d.CABundle = "# one\n" + bundle + "# two\n" + bundle },
		"any common header":                func(d *Definition) { d.Request.Headers = map[string]string{"X-Api-Key-Id": "1", "Accept": "*/*"} },
		"the longest lifetime":             func(d *Definition) { d.TokenLifetime = Duration{maxLifetime} },
		"the longest assertion":            func(d *Definition) { d.Assertion.Lifetime = Duration{time.Hour} },
		"scopes that look like paths":      func(d *Definition) { d.Scopes = []string{"transactions/post", "https://a/b.c:d"} },
		"an audience in the form":          func(d *Definition) { d.FormParameters = map[string]string{"audience": "ü"} },
		"keys in the provider's words":     func(d *Definition) { d.CredentialKeys = map[string][]string{"client_id": {"app.id", "APP_ID-1"}} },
		"a parameter with a default":       func(d *Definition) { *d = tenant() },
		"an issuer alone":                  func(d *Definition) { *d = hosted() },
		"a refresh token of a public one":  func(d *Definition) { d.Grant, d.ClientAuthentication = RefreshToken, None },
		"any grant by any authentication":  func(d *Definition) { d.Grant, d.ClientAuthentication = TokenExchange, TLS },
		"a made client":                    func(d *Definition) { *d = provisioned() },
		"one key of two documents":         func(d *Definition) { d.CredentialKeys = map[string][]string{"private_key": {"k.json#/a", "k.json#/b"}} },
		"braces that are no holes":         func(d *Definition) { d.FormParameters = map[string]string{"q": `{"a": {}}`} },
		"an assertion in JSON": func(d *Definition) {
			d.Grant, d.ClientAuthentication = JWTBearer, None
			d.Request = RequestFormat{Assertion: AssertionInHeader, Body: JSONBody, Scopes: NoScopes, JSON: map[string]any{"a": map[string]any{"b": 1}}}
			d.Assertion = AssertionFormat{Algorithm: "RS256", Subject: "-", Backdate: Duration{time.Minute}}
		},
		"a secret that signs beside a key": func(d *Definition) {
			d.Grant, d.ClientAuthentication, d.Assertion.Algorithm = JWTBearer, SecretJWT, "ES256"
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			d := plain()
			change(&d)
			if err := d.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateRefusesWhatCannotWorkOrWouldBeASecurityHole(t *testing.T) {
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	mislabelled := strings.ReplaceAll(certificate(t), "CERTIFICATE", "X509 CRL")
	parameter := func(p ...Parameter) func(*Definition) {
		return func(d *Definition) { d.TokenURL, d.Parameters = "https://{p}.example.com/", p }
	}
	url := func(u string) func(*Definition) { return func(d *Definition) { d.TokenURL = u } }
	header := func(name, value string) func(*Definition) {
		return func(d *Definition) { d.Request.Headers = map[string]string{name: value} }
	}
	field := func(name, value string) func(*Definition) {
		return func(d *Definition) { d.FormParameters = map[string]string{name: value} }
	}
	extra := func(names ...string) func(*Definition) {
		return func(d *Definition) {
			for _, name := range names {
				d.ExtraCredentials = append(d.ExtraCredentials, ExtraCredential{Name: name})
			}
		}
	}
	keys := func(name string, all ...string) func(*Definition) {
		return func(d *Definition) { d.CredentialKeys = map[string][]string{name: all} }
	}
	provisioning := func(change func(*ProvisioningStep)) func(*Definition) {
		return func(d *Definition) {
			*d = provisioned()
			change(d.Provisioning)
		}
	}
	methods := func(m ...Method) func(*Definition) { return func(d *Definition) { d.Methods = m } }
	tests := []struct {
		name    string
		change  func(*Definition)
		mention string
	}{
		{"no URL", url(""), "tokenURL is missing"},
		{"http", url("http://a.example.com/"), "https://"},
		{"https in capitals", url("HTTPS://a.example.com/"), "https://"},
		{"a user", url("https://u:p@a.example.com/"), "user"},
		{"a fragment", url("https://a.example.com/#x"), "fragment"},
		{"an empty fragment", url("https://a.example.com/#"), "fragment"},
		{"no host", url("https:///token"), "host"},
		{"an empty label", url("https://a..example.com/"), "host"},
		{"a dot at the end", url("https://a.example.com./"), "host"},
		{"an underscore in the host", url("https://a_b.example.com/"), "host"},
		{"an escape in the host", url("https://%61.example.com/"), "not a URL"},
		{"a host that is too long", url("https://" + strings.Repeat("a.", 130) + "com/"), "host"},
		{"a zone", url("https://[fe80::1%25eth0]/"), "host"},
		{"an empty port", url("https://a.example.com:/"), "port"},
		{"port 0", url("https://a.example.com:0/"), "port"},
		{"a port with a leading zero", url("https://a.example.com:0443/"), "port"},
		{"a port that is too large", url("https://a.example.com:65536/"), "port"},
		{"a port in words", url("https://a.example.com:https/"), "not a URL"},
		{"a backslash", url(`https://a.example.com\@evil.com/`), "not a URL"},
		{"a space", url("https://a.example.com/ x"), "not a URL"},
		{"a letter beyond ASCII", url("https://ä.example.com/"), "not a URL"},
		{"a secret in the query", url("https://a.example.com/?Client_Secret=x"), "client_secret"},
		{"a malformed query", url("https://a.example.com/?a=%zz"), "query"},
		{"a hole that nobody declared", url("https://a.example.com/{x}"), "declared"},

		{"a parameter without a hole", func(d *Definition) { d.Parameters = []Parameter{{Name: "p"}} }, "does not occur"},
		{"a parameter without a name", parameter(Parameter{Name: ""}), "name"},
		{"a parameter that is called method", parameter(Parameter{Name: "method"}), "name"},
		{"a parameter twice", parameter(Parameter{Name: "p"}, Parameter{Name: "p"}), "twice"},
		{"a parameter in the port", func(d *Definition) { d.TokenURL, d.Parameters = "https://a:{p}/", []Parameter{{Name: "p"}} }, "port"},
		{"a parameter in the query", func(d *Definition) { d.TokenURL, d.Parameters = "https://a/?{p}", []Parameter{{Name: "p"}} }, "query"},
		{"a parameter in the fragment", func(d *Definition) { d.TokenURL, d.Parameters = "https://a/#{p}", []Parameter{{Name: "p"}} }, "fragment"},
		{"a value with a slash", parameter(Parameter{Name: "p", Values: map[string]string{"a": "x/y"}}), "URL"},
		{"a value of dots", parameter(Parameter{Name: "p", Values: map[string]string{"a": ".."}}), "URL"},
		{"an empty value", parameter(Parameter{Name: "p", Values: map[string]string{"a": ""}}), "URL"},
		{"an empty choice", parameter(Parameter{Name: "p", Values: map[string]string{"": "x"}}), "URL"},
		{"a value that makes no host", parameter(Parameter{Name: "p", Values: map[string]string{"a": "-x"}}), "host"},
		{"a default that is no choice", parameter(Parameter{Name: "p", Default: "b", Values: map[string]string{"a": "x"}}), "p"},
		{"a default that is no label", parameter(Parameter{Name: "p", Default: "B"}), "DNS label"},

		{"an unknown grant", func(d *Definition) { d.Grant = "password" }, "grant"},
		{"an unknown client authentication", func(d *Definition) { d.ClientAuthentication = "Basic" }, "clientAuthentication"},
		{"an unknown method of HTTP", func(d *Definition) { d.Request.Method = "PUT" }, "request.method"},
		{"an unknown encoding", func(d *Definition) { d.Request.BasicEncoding = "raw" }, "request.basicEncoding"},
		{"an unknown place", func(d *Definition) { d.Request.Login = "Header" }, "request.login"},
		{"an unknown use", func(d *Definition) { d.UseRefreshToken = "Always" }, "useRefreshToken"},

		{"a client that proves nothing", func(d *Definition) { d.ClientAuthentication = None }, "RFC 6749 §4.4"},
		{"a login in the header without a login", func(d *Definition) { d.Request.Login = LoginInBasicHeader }, "request.login"},
		{"a login in the header next to a client", func(d *Definition) { d.Grant, d.Request.Login = Password, LoginInBasicHeader }, "Basic header"},
		{"a GET with a login in the body", func(d *Definition) { *d = person(); d.Request.Method = "GET" }, "GET"},
		{"a GET with a secret in the body", func(d *Definition) { d.Request.Method, d.ClientAuthentication = "GET", SecretPost }, "GET"},
		{"a GET with scopes", func(d *Definition) { d.Request.Method, d.Scopes = "GET", []string{"a"} }, "GET"},
		{"a GET with form fields", func(d *Definition) { d.Request.Method, d.FormParameters = "GET", map[string]string{"a": "b"} }, "GET"},

		{"a custom grant without a type", func(d *Definition) { d.Grant = Custom }, "needs a grantType"},
		{"a custom grant that cannot be sent", func(d *Definition) { d.Grant, d.GrantType = Custom, "ü" }, "needs a grantType"},
		{"a type without a custom grant", func(d *Definition) { d.GrantType = "x" }, "grant Custom"},
		{"a login in disguise", func(d *Definition) { d.Grant, d.GrantType = Custom, "PASSWORD" }, "name of its own; set grant to Password"},
		{"an exchange in disguise", func(d *Definition) { d.Grant, d.GrantType = Custom, "urn:ietf:params:oauth:grant-type:token-exchange" }, "TokenExchange"},
		{"a refresh token that is never used", func(d *Definition) { d.Grant, d.UseRefreshToken = RefreshToken, Never }, "successor"},
		{"a token type that is no URI", func(d *Definition) { d.Grant, d.TokenExchange.ActorTokenType = TokenExchange, "jwt" }, "actorTokenType"},
		{"an unknown algorithm", func(d *Definition) { d.Assertion.Algorithm = "none" }, "assertion.algorithm"},
		{"an unknown place of an assertion", func(d *Definition) { d.Request.Assertion = "Header" }, "request.assertion"},
		{"an unknown place of scopes", func(d *Definition) { d.Request.Scopes = "Header" }, "request.scopes"},
		{"an unknown body", func(d *Definition) { d.Request.Body = "XML" }, "request.body"},
		{"an assertion in the header without one", func(d *Definition) { d.Request.Assertion = AssertionInHeader }, "grant JWTBearer"},
		{"an assertion beside a client in the header", func(d *Definition) { d.Grant, d.Request.Assertion = JWTBearer, AssertionInHeader }, "no place for a client"},
		{"scopes in an assertion that is not there", func(d *Definition) { d.Request.Scopes = ScopesInAssertion }, "grant JWTBearer"},
		{"scopes where there are none", func(d *Definition) { d.Request.Scopes, d.Scopes = NoScopes, []string{"a"} }, "request.scopes is None"},
		{"members of a form", func(d *Definition) { d.Request.JSON = map[string]any{"a": 1} }, "request.body to JSON"},
		{"a GET with JSON", func(d *Definition) { d.Request.Method, d.Request.Body = "GET", JSONBody }, "GET"},
		{"a GET with a refresh token", func(d *Definition) { d.Request.Method, d.Grant = "GET", RefreshToken }, "GET"},
		{"a GET with a signed client", func(d *Definition) { d.Request.Method, d.ClientAuthentication = "GET", PrivateKeyJWT }, "GET"},
		{"a secret's algorithm for a key", func(d *Definition) { d.ClientAuthentication, d.Assertion.Algorithm = PrivateKeyJWT, "HS256" }, "for a secret"},
		{"a key's algorithm for a secret", func(d *Definition) { d.ClientAuthentication, d.Assertion.Algorithm = SecretJWT, "RS256" }, "for a private key"},
		{"an issuer with a newline", func(d *Definition) { d.Assertion.Issuer = "a\n" }, "assertion.issuer"},
		{"a claim of ours", func(d *Definition) { d.Assertion.Claims = map[string]string{"exp": "1"} }, "must not hold exp"},
		{"a claim of scopes twice", func(d *Definition) {
			d.Grant, d.ClientAuthentication, d.Request.Scopes, d.Assertion.Claims = JWTBearer, None, ScopesInAssertion, map[string]string{"scope": "a"}
		}, "must not hold scope"},
		{"a claim with a newline", func(d *Definition) { d.Assertion.Claims = map[string]string{"a": "\n"} }, "assertion.claims"},
		{"a backdate of the future", func(d *Definition) { d.Assertion.Backdate = Duration{-time.Second} }, "assertion.backdate"},
		{"a backdate of long ago", func(d *Definition) { d.Assertion.Backdate = Duration{time.Hour} }, "assertion.backdate"},

		{"an issuer over http", func(d *Definition) { d.TokenURL, d.IssuerURL = "", "http://a.example.com" }, "issuerURL must begin"},
		{"an issuer with a query", func(d *Definition) { d.TokenURL, d.IssuerURL = "", "https://a.example.com/?a" }, "query"},
		{"an issuer with a fragment", func(d *Definition) { d.TokenURL, d.IssuerURL = "", "https://a.example.com/#" }, "issuerURL must not hold a fragment"},
		{"an issuer with a user", func(d *Definition) { d.TokenURL, d.IssuerURL = "", "https://u@a.example.com" }, "issuerURL must not hold a user"},
		{"an issuer without a host", func(d *Definition) { d.TokenURL, d.IssuerURL = "", "https:///a" }, "issuerURL has no usable host"},

		{"a hole that nobody fills", field("a", "{nobody}"), "{nobody}, which is neither a parameter nor a credential"},
		{"a hole that nobody fills in a header", header("X-A", "{nobody}"), "{nobody}"},
		{"a hole that nobody fills in JSON", func(d *Definition) { d.Request.Body, d.Request.JSON = JSONBody, map[string]any{"a": []any{"{nobody}"}} }, "{nobody}"},
		{"a hole that nobody fills in a claim", func(d *Definition) { d.Assertion.Claims = map[string]string{"a": "{nobody}"} }, "{nobody}"},
		{"a private key that is sent", field("a", "{private_key}"), "must not hold {private_key}"},
		{"a certificate that is sent", header("X-A", "{certificate}"), "must not hold {certificate}"},
		{"a secret in an issuer", func(d *Definition) { d.Assertion.Issuer = "{client_secret}" }, "assertion must not hold {client_secret}"},
		{"a password in a subject", func(d *Definition) { d.Assertion.Subject = "{password}" }, "assertion must not hold {password}"},
		{"a private key in an audience", func(d *Definition) { d.Assertion.Audience = "{private_key}" }, "must not hold {private_key}"},
		{"a refresh token in a kid", func(d *Definition) { d.Assertion.KeyID = "{refresh_token}" }, "assertion must not hold {refresh_token}"},
		{"a subject token in a claim", func(d *Definition) { d.Assertion.Claims = map[string]string{"a": "{subject_token}"} }, "assertion must not hold {subject_token}"},

		{"an extra credential without a name", extra(""), "extra credential"},
		{"an extra credential in capitals", extra("Account"), "extra credential"},
		{"an extra credential with a hyphen", extra("account-id"), "extra credential"},
		{"an extra credential with a canonical name", extra(CredPassword), "extra credential"},
		{"an extra credential that is called method", extra("method"), "extra credential"},
		{"an extra credential twice", extra("a", "a"), "extra credential"},
		{"an extra credential of a method in capitals", methods(Method{Name: "A", Definition: Definition{ExtraCredentials: []ExtraCredential{{Name: "A"}}}}), "extra credential"},
		{"a key of a TLS Secret for something else", keys("client_id", "tls.key"), "client_id"},
		{"a key inside another credential", keys("client_id", "password#/a"), "client_id"},
		{"a key with half a pointer", keys("client_id", "a.json#b"), "JSON pointer"},
		{"a key with no pointer", keys("client_id", "a.json#"), "JSON pointer"},

		{"a reserved member", func(d *Definition) { d.Request.Body, d.Request.JSON = JSONBody, map[string]any{"Client_Secret": "x"} }, "request.json must not hold client_secret"},
		{"a member twice", func(d *Definition) {
			d.Request.Body, d.Request.JSON, d.FormParameters = JSONBody, map[string]any{"a": "x"}, map[string]string{"a": "y"}
		}, "both"},
		{"a member without a name", func(d *Definition) { d.Request.Body, d.Request.JSON = JSONBody, map[string]any{"": "x"} }, "request.json"},
		{"a member that is no JSON", func(d *Definition) { d.Request.Body, d.Request.JSON = JSONBody, map[string]any{"a": func() {}} }, "no JSON value"},

		{"a provisioning without methods", func(d *Definition) { d.Provisioning = &ProvisioningStep{} }, "needs methods"},
		{"a provisioning of a method", methods(Method{Name: "A", Definition: Definition{Provisioning: &ProvisioningStep{}}}), "of its own"},
		{"a provisioning from nowhere", provisioning(func(p *ProvisioningStep) { p.From = "C" }), "use two of A, B"},
		{"a provisioning from one to itself", provisioning(func(p *ProvisioningStep) { p.To = "A" }), "use two of A, B"},
		{"a provisioning over http", provisioning(func(p *ProvisioningStep) { p.URL = "http://a.example.com" }), "provisioning.url"},
		{"a provisioning by GET", provisioning(func(p *ProvisioningStep) { p.Method = "GET" }), "provisioning.method"},
		{"a provisioning with a header of ours", provisioning(func(p *ProvisioningStep) { p.Headers = map[string]string{"Authorization": "x"} }), "provisioning.headers must not hold Authorization"},
		{"a provisioning of no JSON", provisioning(func(p *ProvisioningStep) { p.JSON = map[string]any{"a": func() {}} }), "provisioning.json"},
		{"a provisioning of an unknown credential", provisioning(func(p *ProvisioningStep) { p.Credentials["x"] = []string{"/x"} }), "provisioning.credentials"},
		{"a provisioning without a pointer", provisioning(func(p *ProvisioningStep) { p.Credentials["client_id"] = nil }), "provisioning.credentials of client_id"},
		{"a provisioning with half a pointer", provisioning(func(p *ProvisioningStep) { p.Credentials["client_id"] = []string{"x"} }), "provisioning.credentials of client_id"},
		{"a provisioning that lacks something", provisioning(func(p *ProvisioningStep) { delete(p.Credentials, "client_secret") }), "lacks client_secret, which the method B needs"},
		{"a provisioning with a parameter in the port", provisioning(func(p *ProvisioningStep) { p.URL = "https://a.example.com:{region}/" }), "the port"},

		{"a client beyond ASCII", func(d *Definition) { d.ClientID = "ü" }, "clientID"},
		{"keys of an unknown credential", func(d *Definition) { d.CredentialKeys = map[string][]string{"token": {"a"}} }, "credentialKeys"},
		{"a key that a Secret cannot have", func(d *Definition) { d.CredentialKeys = map[string][]string{"client_id": {"a/b"}} }, "client_id"},
		{"a key that is a canonical name", func(d *Definition) { d.CredentialKeys = map[string][]string{"client_id": {"password"}} }, "client_id"},
		{"a key for two credentials", func(d *Definition) {
			d.CredentialKeys = map[string][]string{"client_id": {"a"}, "client_secret": {"a"}}
		}, "client_secret"},

		{"two scopes in one", func(d *Definition) { d.Scopes = []string{"a b"} }, "scopes"},
		{"a grant type in the form", field("grant_type", "password"), "grant_type"},
		{"a secret in the form, in capitals", field("CLIENT_SECRET", "x"), "client_secret"},
		{"an assertion in the form", field("assertion", "x"), "assertion"},
		{"a scope in the form", field("scope", "x"), "scope"},
		{"a password in the form", field("password", "x"), "password"},
		{"a field without a name", field("", "x"), "formParameters"},
		{"a field with a newline", field("a", "x\n"), "formParameters"},
		{"a field's name with a newline", field("a\n", "x"), "formParameters"},

		{"an Authorization header", header("authorization", "x"), "Authorization"},
		{"a Host header", header("Host", "x"), "Host"},
		{"a Cookie header", header("cookie", "x"), "Cookie"},
		{"a Content-Length header", header("content-length", "1"), "Content-Length"},
		{"a Content-Type header", header("Content-Type", "x"), "Content-Type"},
		{"a Transfer-Encoding header", header("transfer-encoding", "chunked"), "Transfer-Encoding"},
		{"a Connection header", header("connection", "x"), "Connection"},
		{"a User-Agent header", header("user-agent", "x"), "User-Agent"},
		{"a proxy's header", header("proxy-authorization", "x"), "Proxy-Authorization"},
		{"a forwarding header", header("x-forwarded-host", "x"), "X-Forwarded-Host"},
		{"a header's name with a newline", header("X\r\nY", "x"), "request.headers"},
		{"a header without a name", header("", "x"), "request.headers"},
		{"a header's value with a newline", header("X-A", "x\r\nAuthorization: y"), "X-A"},
		{"a header's value with spaces around", header("X-A", " x"), "X-A"},
		{"a header twice", func(d *Definition) { d.Request.Headers = map[string]string{"X-A": "1", "x-a": "2"} }, "X-A twice"},

		{"a pointer without a slash", func(d *Definition) { d.Response.AccessToken = []string{"token"} }, "RFC 6901"},
		{"a pointer to the whole", func(d *Definition) { d.Response.Error = []string{""} }, "RFC 6901"},
		{"a pointer with a wrong escape", func(d *Definition) { d.Response.Scope = []string{"/a~2"} }, "RFC 6901"},
		{"a pointer with half an escape", func(d *Definition) { d.Response.Scope = []string{"/a~"} }, "RFC 6901"},

		{"a negative lifetime", func(d *Definition) { d.TokenLifetime = Duration{-time.Second} }, "tokenLifetime"},
		{"less than a second", func(d *Definition) { d.TokenLifetime = Duration{time.Millisecond} }, "tokenLifetime"},
		{"more than ten years", func(d *Definition) { d.TokenLifetime = Duration{maxLifetime + 1} }, "tokenLifetime"},
		{"an assertion that lives too long", func(d *Definition) { d.Assertion.Lifetime = Duration{2 * time.Hour} }, "assertion.lifetime"},
		{"an assertion that never lives", func(d *Definition) { d.Assertion.Lifetime = Duration{-1} }, "assertion.lifetime"},
		{"a negative limit", func(d *Definition) { d.Limits.PerSecond = -1 }, "limits"},
		{"another negative limit", func(d *Definition) { d.Limits.Concurrency = -1 }, "limits"},

		{"a bundle of nothing", func(d *Definition) { d.CABundle = "certificates" }, "no certificate"},
		{"a bundle with a key", func(d *Definition) { d.CABundle = key }, "not a certificate"},
		{"a bundle with a mislabelled certificate", func(d *Definition) { d.CABundle = mislabelled }, "not a certificate"},

		{"a method without a name", methods(Method{}), "name"},
		{"a method twice", methods(Method{Name: "A"}, Method{Name: "A"}), "name"},
		{"a method with methods", methods(Method{Name: "A", Definition: Definition{Methods: []Method{{Name: "B"}}}}), "methods of its own"},
		{"a method with keys", methods(Method{Name: "A", Definition: Definition{CredentialKeys: map[string][]string{"client_id": {"a"}}}}), "credentialKeys"},
		{"an invalid method", methods(Method{Name: "A"}, Method{Name: "B", Definition: Definition{TokenURL: "http://a"}}), "https://"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := plain()
			tt.change(&d)
			err := d.Validate()
			wantKind(t, err, Input)
			wantText(t, err, tt.mention)
			if _, again := d.Resolve(nil, always); again == nil {
				t.Error("an invalid definition was resolved")
			}
		})
	}
}
