package main

import (
	"slices"
	"sync"
	"time"
)

// version is what a Secret held for some time.
type version struct {
	mint mint
	// since is when it was seen in the Secret.
	since time.Time
	// planned is when it was to be replaced.
	planned time.Time
}

// replacement is one token in place of another.
type replacement struct {
	group string
	// asked is when the provider was asked for the new token, done when the Secret
	// held it, planned when that was to begin.
	asked, done, planned time.Time
	// left is the validity of the old one when the new one was there; negative when it
	// had expired.
	left time.Duration
}

// late is how long after its plan a replacement was done.
func (r replacement) late() time.Duration { return r.done.Sub(r.planned) }

// early tells that nobody needed the new token yet. Plans are whole seconds.
func (r replacement) early() bool { return r.asked.Before(r.planned.Add(-time.Second)) }

// span is a piece of time.
type span struct{ from, to time.Time }

// within is the part of s in another span.
func (s span) within(other span) time.Duration {
	from, to := s.from, s.to
	if other.from.After(from) {
		from = other.from
	}
	if other.to.Before(to) {
		to = other.to
	}
	return max(to.Sub(from), 0)
}

// ledger is what was seen in Secrets. Its methods may be called from any goroutine.
type ledger struct {
	mu   sync.Mutex
	held map[string]version
	// first is when a Secret held a token for the first time, and firstAsked when for that.
	first, firstAsked map[string]time.Time
	replacements      []replacement
	// expired are the times in which a Secret held a token after its end.
	expired []span
}

func newLedger() *ledger {
	return &ledger{held: map[string]version{}, first: map[string]time.Time{}, firstAsked: map[string]time.Time{}}
}

// publish notes that a Secret holds the token of m now, to be replaced at planned. The
// same token again changes the plan only.
func (l *ledger) publish(group, name string, m mint, now, planned time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := group + "/" + name
	old, known := l.held[key]
	if known && old.mint == m {
		old.planned = planned
		l.held[key] = old
		return
	}
	l.held[key] = version{mint: m, since: now, planned: planned}
	if !known {
		l.first[key], l.firstAsked[key] = now, m.at
	} else {
		l.replacements = append(l.replacements, replacement{group: group, asked: m.at, done: now, planned: old.planned, left: old.mint.expires.Sub(now)})
		if now.After(old.mint.expires) {
			l.expired = append(l.expired, span{old.mint.expires, now})
		}
	}
}

// tokens counts the Secrets of a group that ever held one; of all when group is empty.
func (l *ledger) tokens(group string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.firsts(group))
}

// firstsAskedBefore counts the first tokens that were asked for before then.
func (l *ledger) firstsAskedBefore(then time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, asked := range l.firstAsked {
		if asked.Before(then) {
			n++
		}
	}
	return n
}

// firstTokens are the instants at which Secrets got their first tokens, in order.
func (l *ledger) firstTokens(group string) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.firsts(group)
	slices.SortFunc(found, time.Time.Compare)
	return found
}

func (l *ledger) firsts(group string) []time.Time {
	var found []time.Time
	for key, at := range l.first {
		if group == "" || len(key) > len(group) && key[:len(group)+1] == group+"/" {
			found = append(found, at)
		}
	}
	return found
}

// replaced are the replacements that were done within s.
func (l *ledger) replaced(group string, s span) []replacement {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []replacement
	for _, r := range l.replacements {
		if (group == "" || r.group == group) && !r.done.Before(s.from) && r.done.Before(s.to) {
			found = append(found, r)
		}
	}
	return found
}

// expiredFor is the sum, over all Secrets, of the time within s in which they held a
// token after its end.
func (l *ledger) expiredFor(s span) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum time.Duration
	for _, e := range l.expired {
		sum += e.within(s)
	}
	for _, v := range l.held {
		sum += span{v.mint.expires, s.to}.within(s)
	}
	return sum
}

// distribution of durations.
type distribution struct {
	// N is how many there are.
	N   int     `json:"n"`
	Min float64 `json:"min"`
	P1  float64 `json:"p1"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// distribute sorts durations, and tells their percentiles in seconds.
func distribute(durations []time.Duration) distribution {
	if len(durations) == 0 {
		return distribution{}
	}
	slices.Sort(durations)
	at := func(p int) float64 { return rounded(percentile(durations, p)) }
	return distribution{N: len(durations), Min: at(0), P1: at(1), P50: at(50), P99: at(99), Max: at(100)}
}

// percentile by the nearest rank: the smallest of the sorted durations that p percent do
// not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	rank := (p*len(sorted) + 99) / 100
	return sorted[max(rank-1, 0)]
}

func rounded(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
