package controller

import (
	"fmt"
	"time"

	"github.com/providertoken/operator/api/v1alpha1"
)

// What a person does to one ProviderToken (an edit of its spec, a request to refresh, a
// mended credential) has its provider asked at once, out of turn. Done in a loop, by
// malice or by two programs that undo each other's edits, it would cost the provider a
// token each time; so at most extraTurns at once, and from then on one in each extraTurnEvery.
const (
	extraTurns     = 8
	extraTurnEvery = 30 * time.Second
)

// turns counts the exchanges that a ProviderToken had out of turn. The zero value has
// had none.
type turns struct {
	taken int
	since time.Time // when the oldest of them began to be forgotten
	// last is what the last turn was taken for: it stays granted.
	last string
}

// at is the count as of now.
func (t turns) at(now time.Time) turns {
	if t.taken == 0 || now.Before(t.since) {
		return t
	}
	forgotten := min(int(now.Sub(t.since)/extraTurnEvery), t.taken)
	t.taken -= forgotten
	t.since = t.since.Add(time.Duration(forgotten) * extraTurnEvery)
	return t
}

// next is when a turn for that cause may be had; zero when at once.
func (t turns) next(cause string, now time.Time) time.Time {
	if t = t.at(now); t.taken < extraTurns || t.last == cause {
		return time.Time{}
	}
	return t.since.Add(extraTurnEvery)
}

// take counts a turn.
func (t turns) take(cause string, now time.Time) turns {
	t = t.at(now)
	if t.taken == 0 {
		t.since = now
	}
	t.taken++
	t.last = cause
	return t
}

// outOfTurn tells what an exchange would be for that somebody wants before the token or
// the last failure makes it due; empty when it is due anyway.
func (f *facts) outOfTurn() string {
	voluntary := f.need() == needChanged || f.need() == needRequested
	if last := f.mem.failure; last != nil {
		at, q := f.retryAt(), f.request()
		voluntary = (last.basis != f.basis() || q != "" && q != last.request) && (at.IsZero() || f.now.Before(at))
	}
	if !voluntary {
		return ""
	}
	return f.basis() + "|" + f.request()
}

// turnAt is when an exchange that is wanted out of turn may begin; zero when at once.
func (f *facts) turnAt() time.Time {
	if f.need() == "" || f.mem.minted != nil {
		return time.Time{}
	}
	cause := f.outOfTurn()
	if cause == "" {
		return time.Time{}
	}
	return f.mem.turns.next(cause, f.now)
}

// turnProblem says that an exchange waits for its turn.
func turnProblem(at time.Time) *problem {
	return &problem{
		Condition: v1alpha1.TokenIssuedCondition,
		Reason:    v1alpha1.ReasonThrottled,
		Message: fmt.Sprintf("this ProviderToken was edited or asked to refresh more than %d times in a row; the provider is asked out of turn again at %s; find out who edits it that often",
			extraTurns, stamp(at)),
	}
}
