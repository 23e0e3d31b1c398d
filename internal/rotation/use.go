package rotation

import (
	"context"
	"time"

	"github.com/providertoken/operator/internal/token"
)

// Use is the right to send a refresh token once, until Until.
type Use struct {
	// Token to send.
	Token token.Secret
	// Replay is true when the same token was sent, or nearly sent, before.
	Replay bool

	book  *Book
	entry *entry
	owner string
	id    string
	until time.Time
}

// Until is when the exchange must be over: from a little later on, others may
// take it for lost.
func (u *Use) Until() time.Time { return u.until }

// Rotated ends the use with success: next is to be used from now on, or the same
// token if next is zero (RFC 6749 §6). expires is when that stops working; zero when
// not known. It returns once that is stored; an error means that it waits in
// memory, and that Book.Settle must be called until it succeeds. Nothing that came
// with next may be published before.
func (u *Use) Rotated(ctx context.Context, next token.Secret, expires time.Time) error {
	return u.end(ctx, func(st *state) {
		if next.IsZero() {
			return
		}
		st.current, st.record.ExpiresAt = next, nil
		if !expires.IsZero() {
			at := expires.UTC()
			st.record.ExpiresAt = &at
		}
	})
}

// Refused ends the use: the provider does not take this token any more.
func (u *Use) Refused(ctx context.Context) error {
	at := u.book.Now().UTC()
	return u.end(ctx, func(st *state) { st.record.RefusedAt = &at })
}

// Unused ends the use: the token was certainly not used up.
func (u *Use) Unused(ctx context.Context) error {
	return u.end(ctx, func(*state) {})
}

// Abandon ends the use with an unknown outcome: the intent stays. It does nothing
// when the use has ended already, so that it can be deferred.
func (u *Use) Abandon() {
	<-u.entry.turn
	defer u.entry.leave()
	if u.entry.flying == u {
		u.entry.flying = nil
	}
}

// end writes what came of the use. It is not given up because its caller is: what
// came back from the provider must not be lost on the way.
func (u *Use) end(ctx context.Context, apply func(*state)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiPatience)
	defer cancel()
	<-u.entry.turn
	defer u.entry.leave()
	if u.entry.flying != u {
		return nil
	}
	u.entry.flying = nil
	u.entry.owed = &debt{use: u, apply: apply, base: u.entry.last.clone()}
	return u.book.settle(ctx, u.entry)
}
