package provider

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzATokenURLMeansOneHost looks for a URL that is believed and that credentials would
// be sent elsewhere with than its Host, which is what Secrets allow, says.
func FuzzATokenURLMeansOneHost(f *testing.F) {
	for _, seed := range []string{
		"https://a.example/t", "https://A.example:8443", "https://[::1]/t", "https://[::ffff:127.0.0.1]:443/t", "https://good@evil.example/", "https://good.example\\@evil.example",
		"https://good.example:443@evil.example", "https://a.example./t", "https://a%2eexample/t", "https://127.1/t", "https://0x7f.1/", "https://[fe80::1%25eth0]/", "https://a.example:0443/",
		"https://a.example:65536/", "https://a.example#@evil.example", "https://a.example?@evil.example", "https://a.example/\r\nHost: evil", "https:///a.example", "https://b\u00fccher.example", "https://a.example\u3002evil",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if checkTokenURL(raw) != nil {
			return
		}
		host := Resolved{Definition: Definition{TokenURL: raw}}.Host()
		request, err := http.NewRequest(http.MethodPost, raw, nil) //nolint:noctx // it is not sent
		if err != nil {
			t.Fatalf("%q is believed, and no request can be made of it: %v", raw, err)
		}
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			t.Fatalf("%q has the host %q: %v", raw, host, err)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
			t.Errorf("%q has the port %q", raw, port)
		}
		dialled := request.URL.Port()
		if dialled == "" {
			dialled = "443"
		}
		same := strings.EqualFold(request.URL.Hostname(), name)
		if a, err := netip.ParseAddr(request.URL.Hostname()); err == nil {
			same = a.String() == name && a.Zone() == ""
		}
		if !same || dialled != port || request.Host != request.URL.Host || request.URL.User != nil {
			t.Errorf("%q: %q is allowed, %q is dialled, Host is %q", raw, host, request.URL.Host, request.Host)
		}
		if again, err := url.Parse(request.URL.String()); err != nil || again.Host != request.URL.Host {
			t.Errorf("%q is another URL when it is written again: %q", raw, request.URL)
		}
		if strings.ContainsFunc(raw, func(r rune) bool { return r < 0x21 || r > 0x7e || strings.ContainsRune(`<>"\^{|}`+"`", r) }) {
			t.Errorf("%q has characters that no URL has", raw)
		}
	})
}

// FuzzNothingOfAnAnswerIsTold looks for an answer, and pointers into it, of which more
// than a known code gets into an error: errors go to status, events and logs.
func FuzzNothingOfAnAnswerIsTold(f *testing.F) {
	f.Add(400, `{"error":"CANARY"}`, "/error", "0", "https://CANARY.example")
	f.Add(200, `{"error":{"code":"CANARY","type":["CANARY"]}}`, "/error/code", "-1", "")
	f.Add(401, `{"error":"x#invalid_client"}`, "/error", "99999999999999999999", "")
	f.Add(307, "", "/a~1b/0/~0", "Wed, 21 Oct 9999 07:28:00 GMT", "//CANARY")
	f.Add(429, "error=CANARY&access_token=CANARY", "/access_token", "NaN", "")
	f.Add(200, `{"access_token":"CANARY","expires_in":1e400,"token_type":"CANARY\u001b[31m"}`, "/token_type", "1e3", "")
	f.Fuzz(func(t *testing.T, status int, body, pointer, retry, location string) {
		if status < 100 || status > 599 || len(body) > 64<<10 {
			return
		}
		const canary = "CANARY"
		r := Resolved{Definition: Definition{TokenURL: "https://a.example/t"}.withDefaults()}
		if isPointer(pointer) {
			r.Response.Error = []string{pointer}
		}
		now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		a := Answer{
			Status: status, Body: []byte(body), SentAt: now, ReceivedAt: now,
			Header: http.Header{"Retry-After": {retry}, "Location": {location}, "Date": {retry}, canary: {canary}, "Content-Type": {"application/json"}},
		}
		_, err := r.Decode(Request{Grant: ClientCredentials}, a)
		if err == nil {
			return
		}
		e := err.(*Error) //nolint:errorlint,forcetypeassert // as promised
		if strings.Contains(e.Error()+e.Code+e.Fix+e.Problem, canary) {
			t.Errorf("the answer is told: %v", e)
		}
		if e.Code != "" && meaningOf(e.Code) == unknown {
			t.Errorf("the code %q is not on the list", e.Code)
		}
		if e.RetryAfter < 0 || e.RetryAfter > time.Hour {
			t.Errorf("a pause of %s", e.RetryAfter)
		}
		words := e.Error()
		if location != "" && len(location) > 8 && strings.Contains(words, location) || slices.ContainsFunc([]byte(words), func(c byte) bool { return c < 0x20 || c == 0x7f }) {
			t.Errorf("the message is %q", words)
		}
	})
}

// FuzzPointers evaluates any pointer in any document: it must end, and find only what is there.
func FuzzPointers(f *testing.F) {
	f.Add(`{"a":{"b":[1,{"c":"d"}]}}`, "/a/b/1/c")
	f.Add(`{"":{"":[]}}`, "//")
	f.Add(`{"a/b":{"~":1}}`, "/a~1b/~0")
	f.Add(`{"a":[1]}`, "/a/-")
	f.Add(strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100), strings.Repeat("/a", 100))
	f.Fuzz(func(t *testing.T, text, pointer string) {
		document, ok := parseObject([]byte(text))
		if !ok || !isPointer(pointer) {
			return
		}
		s, is := lookup(document, pointer).(string)
		if is && !holds(document, s) {
			t.Errorf("%q finds %q, which %q does not hold", pointer, s, text)
		}
	})
}

func holds(value any, s string) bool {
	switch v := value.(type) {
	case string:
		return v == s
	case object:
		for _, e := range v {
			if holds(e, s) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return holds(e, s) })
	}
	return false
}
