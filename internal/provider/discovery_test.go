package provider

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMetadataAreWhereTheSpecificationsSay(t *testing.T) {
	for issuer, want := range map[string][]string{
		"https://sso.example.com":               {"https://sso.example.com/.well-known/openid-configuration", "https://sso.example.com/.well-known/oauth-authorization-server"},
		"https://sso.example.com/":              {"https://sso.example.com/.well-known/openid-configuration", "https://sso.example.com/.well-known/oauth-authorization-server"},
		"https://sso.example.com:8443/realms/a": {"https://sso.example.com:8443/realms/a/.well-known/openid-configuration", "https://sso.example.com:8443/.well-known/oauth-authorization-server/realms/a"},
		"https://sso.example.com/realms/a%2Fb/": {"https://sso.example.com/realms/a%2Fb/.well-known/openid-configuration", "https://sso.example.com/.well-known/oauth-authorization-server/realms/a%2Fb"},
		"https://[2001:db8::1]/x":               {"https://[2001:db8::1]/x/.well-known/openid-configuration", "https://[2001:db8::1]/.well-known/oauth-authorization-server/x"},
	} {
		got, err := MetadataURLs(issuer)
		if err != nil {
			t.Errorf("%s: %v", issuer, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", issuer, diff)
		}
	}
}

func TestAnIssuerIsAnHTTPSURLAndNoMore(t *testing.T) {
	for _, issuer := range []string{
		"", "sso.example.com", "http://sso.example.com", "https://", "https://u@sso.example.com", "https://sso.example.com?x", "https://sso.example.com/#x",
		"https://sso.example.com/{realm}", "https://sso.example.com/a b", "https://sso.example.com/\\x", "https://sso.example.com:0", "https://sso_.example.com", "https://sso.example.com/\x7f",
	} {
		_, err := MetadataURLs(issuer)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Input {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

func TestTheMetadataRequestCarriesNothingSecret(t *testing.T) {
	r := MetadataRequest("https://sso.example.com/.well-known/openid-configuration")
	if r.Method != http.MethodGet || !r.Body.IsZero() || r.Header.Get("Authorization") != "" {
		t.Errorf("%s with %d headers", r, len(r.Header))
	}
}

func metadataAnswer(status int, body string, header ...string) Answer {
	a := Answer{Status: status, Header: http.Header{}, Body: []byte(body), SentAt: time.Unix(0, 0), ReceivedAt: time.Unix(0, 0)}
	for i := 0; i+1 < len(header); i += 2 {
		a.Header.Set(header[i], header[i+1])
	}
	return a
}

func TestMetadataAreRead(t *testing.T) {
	const issuer = "https://sso.example.com/realms/a"
	got, err := DecodeMetadata(issuer, metadataAnswer(200, `{"issuer":"https://sso.example.com/realms/a","token_endpoint":"https://sso.example.com/t",
		"mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example.com/t"},"jwks_uri":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Metadata{Issuer: issuer, TokenEndpoint: "https://sso.example.com/t", MTLSTokenEndpoint: "https://mtls.example.com/t"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMetadataThatCannotBeBelievedAreRefused(t *testing.T) {
	const issuer = "https://sso.example.com/a"
	for name, c := range map[string]struct {
		answer  Answer
		kind    Kind
		message string
	}{
		"another issuer":        {metadataAnswer(200, `{"issuer":"https://evil.example.com/a","token_endpoint":"https://sso.example.com/t"}`), Misconfigured, "name another issuer"},
		"a slash more":          {metadataAnswer(200, `{"issuer":"https://sso.example.com/a/","token_endpoint":"https://sso.example.com/t"}`), Misconfigured, "name another issuer"},
		"another case":          {metadataAnswer(200, `{"issuer":"https://SSO.example.com/a","token_endpoint":"https://sso.example.com/t"}`), Misconfigured, "name another issuer"},
		"no issuer":             {metadataAnswer(200, `{"token_endpoint":"https://sso.example.com/t"}`), Misconfigured, "name another issuer"},
		"an issuer twice":       {metadataAnswer(200, `{"issuer":"https://evil.example.com","issuer":"https://sso.example.com/a","token_endpoint":"https://sso.example.com/t"}`), Unavailable, "not a JSON object"},
		"no endpoint":           {metadataAnswer(200, `{"issuer":"https://sso.example.com/a"}`), Misconfigured, "no token_endpoint"},
		"a plain endpoint":      {metadataAnswer(200, `{"issuer":"https://sso.example.com/a","token_endpoint":"http://sso.example.com/t"}`), Misconfigured, "not a usable https URL"},
		"an endpoint with user": {metadataAnswer(200, `{"issuer":"https://sso.example.com/a","token_endpoint":"https://u:p@sso.example.com/t"}`), Misconfigured, "not a usable https URL"},
		"a plain alias":         {metadataAnswer(200, `{"issuer":"https://sso.example.com/a","token_endpoint":"https://a.example.com/t","mtls_endpoint_aliases":{"token_endpoint":"http://a"}}`), Misconfigured, "for mutual TLS"},
		"HTML":                  {metadataAnswer(200, "<html>"), Unavailable, "not a JSON object"},
		"a redirect":            {metadataAnswer(302, ""), Misconfigured, "redirects"},
		"nothing":               {metadataAnswer(404, ""), Misconfigured, "correct issuerURL"},
		"a failure":             {metadataAnswer(500, ""), Unavailable, "HTTP 500"},
		"a pause":               {metadataAnswer(429, "", "Retry-After", "5"), Throttled, ""},
		"a longer pause":        {metadataAnswer(503, "", "Retry-After", "5"), Throttled, ""},
		"a time-out":            {metadataAnswer(408, ""), Unavailable, ""},
	} {
		_, err := DecodeMetadata(issuer, c.answer)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != c.kind || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), "evil") {
			t.Errorf("%s: the message repeats what was sent: %v", name, err)
		}
	}
}

func TestAnEndpointThatWouldBeMarkupInStatusIsRefused(t *testing.T) {
	for _, endpoint := range []string{
		"https://sso.example.com/<script>alert(1)</script>", "https://sso.example.com/t?x=%22\\\"", "https://sso.example.com/`id`", "https://sso.example.com/a|b", "https://sso.example.com/^",
		"https://sso.example.com/" + strings.Repeat("a", maxURL),
	} {
		a := Answer{Status: 200, Body: []byte(`{"issuer":"https://sso.example.com","token_endpoint":"` + endpoint + `"}`)}
		if m, err := DecodeMetadata("https://sso.example.com", a); err == nil {
			t.Errorf("%.60s is believed as %.60s", endpoint, m.TokenEndpoint)
		}
	}
}

func TestOnlyAMissingDocumentLeadsToTheNext(t *testing.T) {
	for status, want := range map[int]bool{404: true, 410: true, 405: true, 200: false, 302: false, 401: false, 500: false} {
		if got := NoMetadata(Answer{Status: status}); got != want {
			t.Errorf("%d: %t", status, got)
		}
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	f.Add(`{"issuer":"https://a.example.com","token_endpoint":"https://a.example.com/t"}`)
	f.Add(`{"issuer":"https://a.example.com","token_endpoint":"https://a.example.com/t","mtls_endpoint_aliases":{"token_endpoint":"https://b.example.com"}}`)
	f.Fuzz(func(t *testing.T, body string) {
		m, err := DecodeMetadata("https://a.example.com", metadataAnswer(200, body))
		if err != nil {
			return
		}
		if m.Issuer != "https://a.example.com" || checkTokenURL(m.TokenEndpoint) != nil {
			t.Errorf("believed %+v", m)
		}
	})
}
