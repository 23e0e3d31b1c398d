package token

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unsafe"
)

const redacted = "[redacted]"

// Secret is a string that shows as "[redacted]" wherever it is printed or
// logged, and that refuses to be marshalled. Reveal is the only way to its
// content, so that every use of a secret can be found by its name.
type Secret struct{ value string }

// NewSecret hides value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Lent hides b without a copy of it: for what is cached for long, and there already.
// Nobody may change b from then on.
func Lent(b []byte) Secret {
	return Secret{value: unsafe.String(unsafe.SliceData(b), len(b))} //nolint:gosec // see above; strings.Builder does no other thing
}

// Reveal returns the content.
func (s Secret) Reveal() string { return s.value }

// IsZero tells whether there is no content.
func (s Secret) IsZero() bool { return s.value == "" }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb reaches the content.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalLog implements logr.Marshaler.
func (s Secret) MarshalLog() any { return redacted }

var errMarshal = errors.New("token: a secret must not be marshalled; call Reveal where its content is meant to be written")

// MarshalJSON always fails: a secret that is about to be serialised is a bug.
func (s Secret) MarshalJSON() ([]byte, error) { return nil, errMarshal }

// MarshalText always fails, for the same reason.
func (s Secret) MarshalText() ([]byte, error) { return nil, errMarshal }
