// Package token holds the value that everything else moves around: an access
// token with what is known of its life, and a string type for secrets that
// cannot be printed, logged or marshalled by accident.
//
// It imports the standard library only.
package token

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// ExpirySource says how the expiry of a token was learnt, in the order in which
// the sources are asked.
type ExpirySource string

const (
	// ExpiresIn is the answer's expires_in (RFC 6749 §5.1), counted from when the request was sent.
	ExpiresIn ExpirySource = "ExpiresIn"
	// ExpiresAt is an absolute instant in the answer, corrected by the answer's Date header.
	ExpiresAt ExpirySource = "ExpiresAt"
	// JWT is the exp claim (RFC 7519 §4.1.4) of an access token that happens to be a JWT.
	JWT ExpirySource = "JWT"
	// Configured is the definition's tokenLifetime, counted from when the request was sent.
	Configured ExpirySource = "Configured"
)

// Token is one answer of a provider. All instants are in the operator's clock.
type Token struct {
	// Access is the bare access token (RFC 6749 §1.4).
	Access Secret
	// Refresh is the refresh token that came with it; zero when there was none.
	Refresh Secret
	// Type is the token_type with "bearer" in any case normalised to "Bearer" (RFC 6750 §2.1).
	// It is empty for a token that is no access token (RFC 8693 §2.2.1).
	Type string
	// Scopes that the provider granted; nil when the answer does not say (then those requested, RFC 6749 §5.1).
	Scopes []string
	// IssuedAt is when the request was sent: the earliest instant at which the life can have begun.
	IssuedAt time.Time
	// ExpiresAt is the first instant at which the token must not be used any more.
	ExpiresAt time.Time
	// ExpirySource says where ExpiresAt comes from.
	ExpirySource ExpirySource
	// RefreshExpiresAt is when Refresh stops working; zero when not stated.
	RefreshExpiresAt time.Time
}

// Lifetime is the whole life of the token, from request to expiry.
func (t Token) Lifetime() time.Duration { return t.ExpiresAt.Sub(t.IssuedAt) }

// Authorization is the value of an Authorization header that carries the token; without
// a type it is the bare token.
func (t Token) Authorization() Secret {
	if t.Type == "" {
		return t.Access
	}
	return NewSecret(t.Type + " " + t.Access.Reveal())
}

// Fingerprint tells tokens apart without telling them: the first 12 hex digits
// of the access token's SHA-256.
func (t Token) Fingerprint() string { return Fingerprint(t.Access) }

// Fingerprint tells secrets of high entropy apart without telling them. It must
// not be used on passwords, which can be guessed.
func Fingerprint(s Secret) string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return hex.EncodeToString(sum[:6])
}
