package provider

import (
	"time"

	"github.com/providertoken/operator/internal/token"
)

// Successor is the refresh token that an answer of success brings, and when it stops
// working (zero when that is not told), even if the answer makes no sense otherwise:
// the one that was sent is used up then (RFC 9700 §4.14.2). It is zero when there is
// none, or none that could be sent.
func (r Resolved) Successor(a Answer) (token.Secret, time.Time) {
	if a.Status < 200 || a.Status > 299 {
		return token.Secret{}, time.Time{}
	}
	document, readable := parseBody(a.Body, a.Header.Get("Content-Type"))
	if _, stated := r.statedError(document); stated || !readable {
		return token.Secret{}, time.Time{}
	}
	t := token.Token{IssuedAt: a.SentAt.UTC().Truncate(time.Second)}
	r.UseRefreshToken = Auto
	r.addRefresh(&t, document)
	return t.Refresh, t.RefreshExpiresAt
}
