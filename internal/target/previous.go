package target

import (
	"time"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// Keys of the token that was replaced, with target.keepPrevious.
const (
	// PreviousTokenKey holds the bare token that was replaced.
	PreviousTokenKey = "previous-token"
	// PreviousExpiresAtKey holds its expiry in RFC 3339 and UTC.
	PreviousExpiresAtKey = "previous-expires-at"
)

// Succeeding is c as what comes after before: with the token of before as the
// previous one, if that still lives at now. Where the provider handed out the
// same token again nothing was replaced, and the one before it stays.
func (c Content) Succeeding(before Content, now time.Time) Content {
	c.Previous, c.PreviousExpiresAt = before.Token.Access, before.Token.ExpiresAt
	if c.Previous == c.Token.Access {
		c.Previous, c.PreviousExpiresAt = before.Previous, before.PreviousExpiresAt
	}
	return c.WithLivePrevious(now)
}

// WithLivePrevious is c without a previous token that has expired at now.
func (c Content) WithLivePrevious(now time.Time) Content {
	if !now.Before(wholeSeconds(c.PreviousExpiresAt)) {
		return c.WithoutPrevious()
	}
	return c
}

// WithoutPrevious is c without the previous token.
func (c Content) WithoutPrevious() Content {
	c.Previous, c.PreviousExpiresAt = token.Secret{}, time.Time{}
	return c
}

// hasPrevious tells whether the previous token is one that can be published: it
// is another than the current one, and a program that reads it can tell its end.
func (c Content) hasPrevious() bool {
	return !c.Previous.IsZero() && c.Previous != c.Token.Access &&
		!c.PreviousExpiresAt.IsZero() && printable(c.Previous.Reveal())
}

// checkPrevious refuses what could be kept only until the operator restarts:
// without the key token, nobody knows afterwards what was replaced.
func checkPrevious(t v1alpha1.Target) error {
	if t.KeepPrevious && replacesKeys(t) {
		return invalidTemplate("use keys: Merge, or remove keepPrevious", "target.keepPrevious needs the keys that the operator makes")
	}
	return nil
}

// addPrevious puts the previous token of c into data.
func addPrevious(data map[string][]byte, c Content) {
	if !c.hasPrevious() {
		return
	}
	data[PreviousTokenKey] = []byte(c.Previous.Reveal())
	data[PreviousExpiresAtKey] = []byte(formatInstant(c.PreviousExpiresAt))
}

// withPreviousOf is c with the previous token that data holds, the inverse of addPrevious.
func (c Content) withPreviousOf(data map[string][]byte) Content {
	expires, ok := parseInstant(string(data[PreviousExpiresAtKey]))
	if !ok {
		return c.WithoutPrevious()
	}
	c.Previous, c.PreviousExpiresAt = token.NewSecret(string(data[PreviousTokenKey])), expires
	if !c.hasPrevious() {
		return c.WithoutPrevious()
	}
	return c
}
