// Package schedule says when a token is refreshed and when a failed attempt is
// repeated. Its functions are pure: they read no clock and no randomness, jitter
// comes out of a seed, so every reconcile and every replica computes the same
// instant.
//
// It must not import anything but the standard library.
package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

const (
	// DefaultMinimumLead is MinimumLead when a Policy leaves it out. A kubelet
	// takes up to 90 s (60 s period, × 1 to 1.5) to show a changed Secret in a
	// mounted volume; the rest is for the exchange itself.
	DefaultMinimumLead = 120 * time.Second
	// DefaultMinimumInterval is MinimumInterval when a Policy leaves it out.
	DefaultMinimumInterval = 30 * time.Second
)

// Policy is what a user can say about the time of a refresh. A zero (or
// negative) field means its default.
type Policy struct {
	// AtPercent of the lifetime, 1 to 100; more counts as 100. When zero, exactly
	// two thirds of the lifetime.
	AtPercent int
	// MinimumLead is the time that readers get between a refresh and the expiry of
	// the token it replaces.
	MinimumLead time.Duration
	// MinimumInterval is the time between the issue of a token and its refresh. It
	// protects the provider from lifetimes that are short or grow shorter.
	MinimumInterval time.Duration
}

// Effective returns p with its durations filled in, for status and logs.
// AtPercent stays zero when it means two thirds.
func (p Policy) Effective() Policy {
	if p.AtPercent < 0 {
		p.AtPercent = 0
	}
	p.AtPercent = min(p.AtPercent, 100)
	if p.MinimumLead <= 0 {
		p.MinimumLead = DefaultMinimumLead
	}
	if p.MinimumInterval <= 0 {
		p.MinimumInterval = DefaultMinimumInterval
	}
	return p
}

// RefreshAt returns when a token that lives from issued to expires is replaced.
//
// The rules, each of which wins over those before it:
//
//  1. AtPercent of the lifetime, or MinimumLead before expiry if that is earlier;
//  2. moved earlier by 0–10 % of the lifetime, by the seed;
//  3. not within MinimumInterval of issued. The interval does not push the
//     refresh into the lead; where the lead cannot be kept (LifetimeTooShort), not
//     past AtPercent;
//  4. not before 40 % of the lifetime;
//  5. strictly before expires.
//
// The result is a whole second in UTC: rounded down, but up where rounding down
// would break rule 3 or 4, and down again where rounding up would break rule 5.
// So rules 1 to 3 hold to within a second, 4 and 5 exactly. Between 40 % and the
// end of a life of 5/3 s or more there is always a whole second; in a shorter one
// the unrounded 40 % is returned. A token without any life (expires not after
// issued) is due at issued.
func RefreshAt(issued, expires time.Time, p Policy, seed string) time.Time {
	lifetime := expires.Sub(issued)
	if lifetime <= 0 {
		return issued.UTC()
	}
	p = p.Effective()
	least := earliest(lifetime)
	wanted := min(p.share(lifetime), lifetime-p.MinimumLead)
	floor := p.floor(lifetime)
	after := max(wanted-jitter(seed, lifetime/10), floor)

	at := issued.Add(after).Truncate(time.Second)
	if at.Before(issued.Add(floor)) {
		at = at.Add(time.Second)
	}
	if !at.Before(expires) {
		at = expires.Add(-1).Truncate(time.Second)
	}
	if at.Before(issued.Add(least)) {
		at = issued.Add(least)
	}
	return at.UTC()
}

// BeginAt returns when the replacing of a token begins whose RefreshAt is at: at the start
// of one of so many equal parts of the second that ends with at, evenly by the seed, so that
// not all that is due in one second comes at once. With one part or less it is at. It is
// never after at, and keeps rules 3 to 5.
func BeginAt(at, issued, expires time.Time, p Policy, seed string, parts int) time.Time {
	begin := at
	if parts > 1 {
		begin = at.Add(-time.Second / time.Duration(parts) * time.Duration(part(seed, parts)))
	}
	if floor := issued.Add(p.Effective().floor(max(expires.Sub(issued), 0))); begin.Before(floor) {
		begin = floor
	}
	if begin.After(at) {
		begin = at
	}
	return begin.UTC()
}

// FromFuture tells that a token was issued later than now by more than clocks may differ
// that are kept right: a tenth of its life, a minute at most. A clock was set back since,
// so its age, and with it when it expires, is not known.
func FromFuture(issued, expires, now time.Time) bool {
	return now.Before(issued.Add(-min(expires.Sub(issued)/10, time.Minute)))
}

// Seed makes the seed for RefreshAt and RetryAt out of an object's UID and the
// issue time of its token. It uses whole seconds, since that is all that an
// annotation keeps: a restart must find the same seed.
func Seed(uid string, issued time.Time) string {
	return uid + "@" + issued.UTC().Format(time.RFC3339)
}

// LifetimeTooShort tells that a token of this lifetime cannot be refreshed
// MinimumLead before its expiry without being refreshed before 40 % of its life.
func LifetimeTooShort(lifetime time.Duration, p Policy) bool {
	return lifetime-p.Effective().MinimumLead < earliest(lifetime)
}

// share of the lifetime after which the policy wants a refresh.
func (p Policy) share(lifetime time.Duration) time.Duration {
	if p.AtPercent == 0 {
		return portion(lifetime, 2, 3)
	}
	return portion(lifetime, int64(p.AtPercent), 100)
}

// floor is the time after the issue of a token before which it is not replaced.
func (p Policy) floor(lifetime time.Duration) time.Duration {
	return max(earliest(lifetime), min(p.MinimumInterval, p.latest(lifetime)))
}

// latest is how far MinimumInterval may push a refresh.
func (p Policy) latest(lifetime time.Duration) time.Duration {
	if LifetimeTooShort(lifetime, p) {
		return p.share(lifetime)
	}
	return lifetime - p.MinimumLead
}

// earliest is 40 % of the lifetime, rounded up to a nanosecond.
func earliest(lifetime time.Duration) time.Duration {
	return lifetime - portion(lifetime, 3, 5)
}

// portion is d × numerator / denominator, rounded down. Multiplying first would
// overflow for lifetimes of years.
func portion(d time.Duration, numerator, denominator int64) time.Duration {
	n := int64(d)
	return time.Duration(n/denominator*numerator + n%denominator*numerator/denominator)
}

// jitter maps the seed evenly onto [0, span).
func jitter(seed string, span time.Duration) time.Duration {
	sum := sha256.Sum256([]byte(seed))
	return scaled(sum[:8], span)
}

// part maps the seed evenly onto 0 to n-1, whatever jitter makes of it.
func part(seed string, n int) int {
	sum := sha256.Sum256([]byte(seed))
	return int(scaled(sum[8:16], time.Duration(n)))
}

// scaled takes eight bytes for a share of span.
func scaled(share []byte, span time.Duration) time.Duration {
	high, _ := bits.Mul64(binary.BigEndian.Uint64(share), uint64(max(span, 0)))
	return time.Duration(high) //nolint:gosec // high < span, which is a Duration
}
