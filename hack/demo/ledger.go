package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// content is what a workload that mounts a target Secret reads at one moment.
type content struct {
	token   string
	expires time.Time
}

// ledger is the history of one target Secret.
type ledger struct {
	name  string
	state string
	// now is what the Secret holds; zero until it exists.
	now content
	// since when it holds that.
	since time.Time
	// refreshes is how often one token took another's place.
	refreshes int
	// lapses are the times at which the Secret held what no provider accepts.
	lapses []lapse
	lapsed bool // the last of lapses goes on
}

// lapse is a time for which a Secret held an expired or refused token.
type lapse struct {
	reason   string
	from, to time.Time
}

// publish notes what the Secret holds from now on, and tells whether the token is another one.
func (l *ledger) publish(c content, now time.Time) bool {
	previous := l.now
	l.now = c
	if c.token == previous.token {
		return false
	}
	if previous.token != "" && c.token != "" {
		l.refreshes++
	}
	l.since = now
	return true
}

// check notes a lapse if the token has expired by its own expires-at, or if its
// provider would refuse it. It tells whether a lapse began.
func (l *ledger) check(now time.Time, accepts func(token string) bool) bool {
	reason := l.fault(now, accepts)
	if reason == "" {
		l.lapsed = false
		return false
	}
	if l.lapsed {
		l.lapses[len(l.lapses)-1].to = now
		return false
	}
	l.lapsed = true
	l.lapses = append(l.lapses, lapse{reason: reason, from: now, to: now})
	return true
}

func (l *ledger) fault(now time.Time, accepts func(string) bool) string {
	switch {
	case l.now.token == "":
		return ""
	case !now.Before(l.now.expires):
		return "held a token past its expires-at"
	case !accepts(l.now.token):
		return "held a token that the provider refuses"
	}
	return ""
}

// fingerprint tells tokens apart without showing them.
func (c content) fingerprint() string {
	if c.token == "" {
		return "-"
	}
	sum := sha256.Sum256([]byte(c.token))
	return hex.EncodeToString(sum[:4])
}

// left of the token's life at now; never negative.
func (c content) left(now time.Time) time.Duration {
	return max(0, c.expires.Sub(now))
}

// lapsesOf reports every lapse of all ledgers; nil when there was none.
func lapsesOf(ledgers []*ledger) error {
	var errs []error
	for _, l := range ledgers {
		for _, p := range l.lapses {
			errs = append(errs, fmt.Errorf("%s %s, from %s for %s",
				l.name, p.reason, p.from.Format(time.TimeOnly), p.to.Sub(p.from).Round(time.Millisecond)))
		}
	}
	return errors.Join(errs...)
}

// shortOf reports every ledger with fewer refreshes than wanted; nil when there is none.
func shortOf(ledgers []*ledger, wanted int) error {
	var errs []error
	for _, l := range ledgers {
		if l.refreshes < wanted {
			errs = append(errs, fmt.Errorf("%s was refreshed %d times, %d are wanted; state: %s", l.name, l.refreshes, wanted, l.state))
		}
	}
	return errors.Join(errs...)
}
