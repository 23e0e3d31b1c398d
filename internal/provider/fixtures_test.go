package provider

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/token"
)

// sent is when every request of these tests begins to be sent.
func sent() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// always and never stand for a Secret that has every credential, and for an empty one.
func always(string) bool { return true }
func never(string) bool  { return false }

// only stands for a Secret that has these credentials.
func only(names ...string) func(string) bool {
	return func(name string) bool { return strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") }
}

func creds(pairs ...string) Credentials {
	c := Credentials{}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = token.NewSecret(pairs[i+1])
	}
	return c
}

func builtin(t testing.TB, name string) Definition {
	t.Helper()
	catalog, err := Builtin()
	if err != nil {
		t.Fatalf("the catalog does not load: %v", err)
	}
	d, ok := catalog.Get(name)
	if !ok {
		t.Fatalf("the catalog has no %s", name)
	}
	return d
}

func resolve(t testing.TB, d Definition, parameters map[string]string) Resolved {
	t.Helper()
	r, err := d.Resolve(parameters, always)
	if err != nil {
		t.Fatalf("resolving: %v", err)
	}
	return r
}

// plain is an ordinary client, by RFC 6749 and nothing else.
func plain() Definition { return Definition{TokenURL: "https://sso.example.com/token"} }

// person is an ordinary login with username and password by a public client.
func person() Definition {
	return Definition{TokenURL: "https://sso.example.com/token", Grant: Password, ClientAuthentication: None}
}

func wantKind(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want an *Error of kind %s", err, kind)
	}
	if e.Kind != kind {
		t.Fatalf("got kind %s (%v), want %s", e.Kind, e, kind)
	}
	if e.Problem == "" || strings.HasSuffix(e.Problem, ".") || strings.HasSuffix(e.Fix, ".") {
		t.Errorf("%q; %q is not one sentence without a final stop", e.Problem, e.Fix)
	}
	return e
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
}

// answerOf is an answer whose provider's clock shows the time of sending.
func answerOf(status int, body string) Answer {
	return Answer{
		Status:     status,
		Header:     http.Header{"Date": {sent().Format(http.TimeFormat)}, "Content-Type": {"application/json"}},
		Body:       []byte(body),
		SentAt:     sent(),
		ReceivedAt: sent().Add(time.Second),
	}
}

// jwtWith is an unsigned-looking JWT with these claims, in JSON.
func jwtWith(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"HS512"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}
