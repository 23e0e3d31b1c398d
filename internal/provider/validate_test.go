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
