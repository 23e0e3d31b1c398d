// Package lockout is what is written down of the logins with one credential, so that
// no account is locked: how often it was tried, and until when it is not. The operator
// writes these records into ConfigMaps of its own namespace; a person who may write
// there can thaw one.
//
// It must not import Kubernetes: it is arithmetic over instants.
package lockout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/exchange"
)

const (
	// Window is the time within which a login is tried at most Attempts times without success.
	Window   = 15 * time.Minute
	Attempts = 2
	// Apart is the least time between two tries of which the first has no known
	// outcome: Keycloak takes two failures in one second for an attack, and a try is
	// sent some time after it was written down.
	Apart = 5 * time.Second
	// Pause is the least time between the first refusal of a login that used
	// to work and the second try.
	Pause = 30 * time.Second
	// FreezeMax bounds the doubling pauses between the probes of a frozen login.
	FreezeMax = 24 * time.Hour
)

const (
	// Label of the ConfigMaps that hold records.
	Label = "providertoken.dev/login-record"
	// Key of the record in its ConfigMap.
	Key = "record"
	// UsersAnnotation lists the ProviderTokens (namespace/name, separated by commas) that
	// asked for a login with the credential, the latest last; at most UsersMax of them.
	// It is for people: nothing is decided by it.
	UsersAnnotation = "providertoken.dev/used-by"
	UsersMax        = 32
	// ThawedAnnotation is when a person last thawed the login. It is for people, too.
	ThawedAnnotation = "providertoken.dev/thawed-at"
)

// Record is what is stored of one credential.
type Record struct {
	// Tries are the instants of the last logins that are not known to have worked, the
	// oldest first.
	Tries []time.Time `json:"tries,omitempty"`
	// Frozen is the instant before which no login is tried; zero when it may be.
	Frozen time.Time `json:"frozen,omitzero"`
	// Probes is the number of refused logins since the first freeze.
	Probes int `json:"probes,omitempty"`
	// Worked is true when the last login worked, not counting those in Sent.
	Worked bool `json:"worked,omitempty"`
	// Tracked is true when all logins since then are in Sent. Where they are not, another
	// process must reckon with one of them that was refused right before.
	Tracked bool `json:"tracked,omitempty"`
	// Sent are the last logins with a credential that worked.
	Sent []Sent `json:"sent,omitempty"`
}

// Sent is a login whose outcome is told by the target that its token goes to.
type Sent struct {
	At time.Time `json:"at"`
	// By is the process.
	By string `json:"by"`
	// Target (namespace/name) is where its token goes, and Held when the one in there had
	// been issued.
	Target string    `json:"target,omitempty"`
	Held   time.Time `json:"held,omitzero"`
}

// Freeze is why and until when a login is not tried, and what to do; Until is zero when it may be.
type Freeze struct {
	Until        time.Time
	Problem, Fix string
}

// What a person should do about a freeze.
const (
	FixCorrect = "correct username and password in the credential Secret"
	FixWait    = "nothing needs to be done if they are right"
)

// At is the record as it counts now: without tries that are over, and with instants
// that this clock cannot have seen moved to where they do no harm. One that went
// back must not open the window anew, nor let a freeze last for ever.
func (r Record) At(now time.Time) Record {
	var tries []time.Time
	for _, t := range r.Tries {
		if t.After(now) {
			t = now
		}
		if now.Sub(t) < Window {
			tries = append(tries, t)
		}
	}
	r.Tries = tries
	var sent []Sent
	for _, l := range r.Sent {
		if l.At.After(now) {
			l.At = now
		}
		if now.Sub(l.At) < Window {
			sent = append(sent, l)
		}
	}
	r.Sent = sent
	if latest := now.Add(FreezeMax); r.Frozen.After(latest) {
		r.Frozen = latest
	}
	return r
}

// Shifted tells whether instants of r are not those that are stored.
func (r Record) Shifted(stored Record) bool {
	return !r.Frozen.Equal(stored.Frozen) || slices.ContainsFunc(r.Tries, func(t time.Time) bool { return !slices.ContainsFunc(stored.Tries, t.Equal) })
}

// Freeze tells whether another login must wait.
func (r Record) Freeze(now time.Time) Freeze {
	const unknown = "this username and password were sent without an answer that could be written down, and may have been refused"
	n := len(r.Tries)
	switch {
	case now.Before(r.Frozen):
		return Freeze{r.Frozen, "this username and password were refused before", FixCorrect}
	case n >= Attempts:
		return Freeze{r.Tries[n-Attempts].Add(Window), unknown, FixWait}
	case n > 0 && !r.Worked && r.Frozen.Before(r.Tries[n-1]) && now.Sub(r.Tries[n-1]) < Apart:
		return Freeze{r.Tries[n-1].Add(Apart), unknown, FixWait}
	}
	return Freeze{}
}

// UnderWay tells whether another process may be logging in now.
func (r Record) UnderWay(now time.Time) bool {
	n := len(r.Tries)
	return n > 0 && r.Frozen.Before(r.Tries[n-1]) && now.Sub(r.Tries[n-1]) < exchange.DefaultTimeout
}

// Refused is the record after a refusal, of a login that is written down in it
// unless the credential was known to work.
func (r Record) Refused(now time.Time, wasProven bool) Record {
	r = r.At(now)
	first := wasProven && len(r.Tries) == 0
	if !wasProven && now.Before(r.Frozen) {
		return r // another process, whose login was under way at the same time, said so already
	}
	if wasProven {
		r.Tries = append(r.Tries, now)
	}
	r.Worked, r.Tracked, r.Sent = false, false, nil
	if first {
		r.Frozen = now.Add(Pause)
		return r
	}
	r.Frozen = now.Add(min(Window<<min(r.Probes, 16), FreezeMax))
	r.Probes++
	return r
}

// Reckoned is the record with what was sent and nobody knows the outcome of among the tries.
func (r Record) Reckoned(unknown []time.Time, now time.Time) Record {
	r.Tries = append(slices.Clone(r.Tries), unknown...)
	slices.SortFunc(r.Tries, time.Time.Compare)
	r.Worked, r.Tracked, r.Sent = false, false, nil
	return r.At(now)
}

// Thawed is the record after a person said that the credential is right now. It allows
// one login: what was refused last still counts, so that a second refusal freezes it again,
// and for longer.
func (r Record) Thawed(now time.Time) Record {
	r = r.At(now)
	r.Frozen = time.Time{}
	if n := len(r.Tries); n > Attempts-1 {
		r.Tries = r.Tries[n-(Attempts-1):]
	}
	return r
}

// Parse reads a record as it is stored.
func Parse(text string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("reading a login record: %w", err)
	}
	return r, nil
}

// Text of the record, as it is stored.
func (r Record) Text() (string, error) {
	text, err := json.Marshal(r)
	return string(text), err
}

// Users reads the value of UsersAnnotation.
func Users(annotation string) []string {
	return strings.FieldsFunc(annotation, func(c rune) bool { return c == ',' })
}

// WithUser is the value of UsersAnnotation with user as the latest.
func WithUser(annotation, user string) string {
	users := slices.DeleteFunc(Users(annotation), func(u string) bool { return u == user })
	users = append(users, user)
	return strings.Join(users[max(0, len(users)-UsersMax):], ",")
}
