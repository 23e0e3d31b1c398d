package token_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/token"
)

const canary = "hunter2"

func TestASecretIsOnlyShownByReveal(t *testing.T) {
	s := token.NewSecret(canary)
	if s.Reveal() != canary || s.IsZero() {
		t.Errorf("got %q", s.Reveal())
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", struct{ Inner token.Secret }{s})
		fmt.Fprintf(&out, verb+"\n", []token.Secret{s})
		fmt.Fprintf(&out, verb+"\n", map[string]token.Secret{"k": s})
		fmt.Fprintf(&out, verb+"\n", token.Token{Access: s, Refresh: s})
	}
	fmt.Fprintln(&out, s.String(), s.GoString(), s.MarshalLog(), fmt.Errorf("wrapped: %v", s))
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", s, "token", token.Token{Access: s})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", s, "token", token.Token{Access: s})
	for _, shown := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("a secret was shown in %s", out.String())
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing tells that something is hidden")
	}
}

func TestASecretIsNeverMarshalled(t *testing.T) {
	s := token.NewSecret(canary)
	for name, v := range map[string]any{
		"alone": s, "a pointer": &s, "in a struct": struct{ S token.Secret }{s}, "in a token": token.Token{Access: s},
		"as a value": map[string]token.Secret{"k": s}, "as a key": map[token.Secret]string{s: "v"},
	} {
		if out, err := json.Marshal(v); err == nil {
			t.Errorf("%s: it was marshalled to %s", name, out)
		}
	}
	if out, err := xml.Marshal(s); err == nil {
		t.Errorf("it was marshalled to %s", out)
	}
}

func TestTheZeroSecretHoldsNothing(t *testing.T) {
	var s token.Secret
	if s != token.Lent(nil) || s != token.Lent([]byte{}) || token.Lent([]byte("abc")) != token.NewSecret("abc") {
		t.Error("what is lent is another secret")
	}
	if !s.IsZero() || s.Reveal() != "" || s != token.NewSecret("") {
		t.Error("it holds something")
	}
}

func TestATokenKnowsItsLifeAndItsHeader(t *testing.T) {
	issued := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tok := token.Token{Access: token.NewSecret("abc"), Type: "Bearer", IssuedAt: issued, ExpiresAt: issued.Add(5 * time.Minute)}
	if tok.Lifetime() != 5*time.Minute {
		t.Errorf("got a life of %s", tok.Lifetime())
	}
	if got := tok.Authorization().Reveal(); got != "Bearer abc" {
		t.Errorf("got %q", got)
	}
	tok.Type = ""
	if got := tok.Authorization().Reveal(); got != "abc" {
		t.Errorf("got %q, want the bare token for one without a type", got)
	}
}

func TestAFingerprintTellsTokensApartWithoutTellingThem(t *testing.T) {
	one, two := token.Token{Access: token.NewSecret("abc")}, token.Token{Access: token.NewSecret("abd")}
	// The first 12 digits of the SHA-256 of "abc" (FIPS 180-2, appendix B.1).
	if got := one.Fingerprint(); got != "ba7816bf8f01" {
		t.Errorf("got %s", got)
	}
	if one.Fingerprint() == two.Fingerprint() || one.Fingerprint() != token.Fingerprint(one.Access) {
		t.Error("fingerprints do not follow the token")
	}
}
