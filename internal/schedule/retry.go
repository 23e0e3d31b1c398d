package schedule

import (
	"strconv"
	"time"
)

// Class is what a failure means for the time of the next attempt. Those that
// arise in an exchange have the same text as the provider package's kinds.
type Class string

const (
	// Input failures end with an edit, which a watch sees; there is no retry.
	Input Class = "Input"
	// RefreshDenied is not repeated: the primary credentials are used instead, or a
	// person is needed.
	RefreshDenied Class = "RefreshDenied"
	// Denied is probed 15 minutes later, then after twice that, up to a day; while a
	// token lives, after half of what remains of its life, or 30 s.
	Denied Class = "Denied"
	// LoginDenied is probed 15 minutes later, then after twice that, up to a day,
	// whatever expires meanwhile: more attempts could lock the account.
	LoginDenied Class = "LoginDenied"
	// Throttled is repeated when the provider said, at most an hour later. When it
	// did not say: 30 s, then twice that, up to 5 minutes; while a token lives, after
	// an eighth of what remains of its life, or 30 s.
	Throttled Class = "Throttled"
	// Misconfigured is repeated after a minute, then twice that, up to 30 minutes;
	// while a token lives, after an eighth of what remains of its life, or 10 s.
	Misconfigured Class = "Misconfigured"
	// Unavailable is repeated with full-jitter exponential back-off from 1 s to
	// 5 minutes, tighter while a token is about to expire.
	Unavailable Class = "Unavailable"
	// KubernetesAPI is repeated like Unavailable, from 1 s to 30 s: the new token
	// waits in memory.
	KubernetesAPI Class = "KubernetesAPI"
)

const (
	// leastDelay keeps full jitter from repeating at once.
	leastDelay = 100 * time.Millisecond
	// leastTightened keeps the delays from shrinking without end as the expiry
	// comes nearer.
	leastTightened = time.Second
	// tightening leaves at least this many attempts for what remains of a life.
	tightening = 8
	// longestThrottle bounds what a provider can ask for.
	longestThrottle = time.Hour
)

// Failure is what is known when an attempt has failed.
type Failure struct {
	Class Class
	// Attempt counts failures in a row, from 1.
	Attempt int
	// At is when the attempt failed.
	At time.Time
	// Since is when the first of them failed; zero when that is not known.
	Since time.Time
	// Expires is when the token in use expires; zero when there is none.
	Expires time.Time
	// RetryAfter is how long the provider asked to be left alone; 0 when it did not say.
	RetryAfter time.Duration
	// Seed spreads objects; see Seed.
	Seed string
}

// RetryAt returns when to try again: after f.At, or the zero time when only an
// event can help (Input, RefreshDenied). An unknown class counts as Unavailable.
//
// While a token lives, Unavailable and KubernetesAPI wait no longer than an
// eighth of what remains of its life (but may wait a second), so that the last
// minutes see the most attempts. Slow classes have shares of their own, since any
// failure can be the provider's and end before the token does; but LoginDenied.
// They are moved earlier by 0–10 %, by the seed; a RetryAfter is kept to the
// nanosecond, since the provider meant it.
func RetryAt(f Failure) time.Time {
	switch f.Class {
	case Input, RefreshDenied:
		return time.Time{}
	case LoginDenied:
		return f.spread(f.doubling(15*time.Minute, 24*time.Hour))
	case Denied:
		return f.slow(15*time.Minute, 24*time.Hour, 2, 30*time.Second)
	case Misconfigured:
		return f.slow(time.Minute, 30*time.Minute, tightening, 10*time.Second)
	case Throttled:
		if f.RetryAfter > 0 {
			return f.At.Add(min(f.RetryAfter, longestThrottle))
		}
		return f.slow(30*time.Second, 5*time.Minute, tightening, 30*time.Second)
	case KubernetesAPI:
		return f.backOff(f.doubling(time.Second, 30*time.Second))
	default:
		return f.backOff(f.doubling(time.Second, 5*time.Minute))
	}
}

// doubling is first × 2^(Attempt−1), at most limit.
func (f Failure) doubling(first, limit time.Duration) time.Duration {
	delay := first
	for range f.Attempt - 1 {
		if delay *= 2; delay >= limit {
			return limit
		}
	}
	return delay
}

// slow is first × 2^(Attempt−1), at most limit and, while a token lives, at most that
// share of what remains, but not less than least for that. Attempts that came early
// because of a token do not count once it has expired: then the delay is at most
// first longer than the failure has lasted, which is what doubling comes to.
func (f Failure) slow(first, limit time.Duration, share int64, least time.Duration) time.Time {
	delay := f.doubling(first, limit)
	if !f.Since.IsZero() {
		delay = min(delay, first+f.At.Sub(f.Since))
	}
	if remaining := f.Expires.Sub(f.At); remaining > 0 {
		delay = min(delay, max(remaining/time.Duration(share), least))
	}
	return f.spread(delay)
}

// spread moves a delay earlier by up to a tenth.
func (f Failure) spread(delay time.Duration) time.Time {
	return f.At.Add(delay - jitter(f.attemptSeed(), delay/10))
}

// backOff draws a delay from the whole range up to ceiling.
func (f Failure) backOff(ceiling time.Duration) time.Time {
	if remaining := f.Expires.Sub(f.At); remaining > 0 {
		ceiling = min(ceiling, max(remaining/tightening, leastTightened))
	}
	return f.At.Add(leastDelay + jitter(f.attemptSeed(), ceiling-leastDelay))
}

// attemptSeed differs from one attempt to the next, so that two objects that
// collide once do not collide for ever.
func (f Failure) attemptSeed() string { return f.Seed + "#" + strconv.Itoa(f.Attempt) }
