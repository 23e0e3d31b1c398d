package crash

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// ledger keeps the books between the operator, the authorization servers and the
// API server. It counts what was committed, not what the operator got to know.
type ledger struct {
	mu sync.Mutex
	// successor of a refresh token, as issued by a server.
	successor map[string]string
	// uses of a refresh token that a server saw.
	uses map[string]int
	// inUse are the refresh tokens that a server is judging.
	inUse map[string]bool
	// family of a refresh token: the first of its chain.
	family map[string]string
	// cameWith is the refresh token that came with an access token.
	cameWith map[string]string
	// stored are the refresh tokens that a state Secret ever held.
	stored map[string]bool
	// open is the intent in a state Secret, by the refresh token that it is for.
	open map[string]intent
	// spent are the intents that a use followed.
	spent map[string]bool

	violations  []string
	replays     int // uses of a token that a server had seen before
	unseen      int // replays of which the first use never reached the server
	revocations int // families that ended because a used token came back
	rotations   int
	refusals    int
}

// intent as in the record of a state Secret.
type intent struct {
	ID       string    `json:"id"`
	OpenedAt time.Time `json:"openedAt"`
	Replays  int       `json:"replays"`
}

func newLedger() *ledger {
	return &ledger{
		successor: map[string]string{}, uses: map[string]int{}, inUse: map[string]bool{}, family: map[string]string{},
		cameWith: map[string]string{}, stored: map[string]bool{}, open: map[string]intent{}, spent: map[string]bool{},
	}
}

func (l *ledger) violated(format string, args ...any) {
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

// authorized books a refresh token that a person got.
func (l *ledger) authorized(refresh string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.family[refresh] = refresh
}

// arrived books a use, before a server judges it.
func (l *ledger) arrived(refresh string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := short(refresh)
	if next := l.successor[refresh]; next != "" && l.stored[next] {
		l.violated("the refresh token %s was used although its successor had been stored", name)
	}
	if l.inUse[refresh] {
		l.violated("the refresh token %s was used twice at once", name)
	}
	l.inUse[refresh] = true
	in, open := l.open[refresh]
	switch {
	case !open:
		l.violated("the refresh token %s was used without an intent", name)
	case l.spent[in.ID]:
		l.violated("the refresh token %s was used twice for one intent", name)
	case in.Replays > 1:
		l.violated("the refresh token %s was used again and again", name)
	case in.Replays == 0 && l.uses[refresh] > 0:
		l.violated("the refresh token %s was used again without the intent saying so", name)
	}
	l.spent[in.ID] = true
	if l.uses[refresh] > 0 {
		l.replays++
	} else if in.Replays > 0 {
		l.unseen++
	}
	l.uses[refresh]++
}

// judged books the server's answer.
func (l *ledger) judged(refresh string, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inUse, refresh)
	if a.Refresh == "" {
		l.refusals++
		if l.successor[refresh] != "" {
			l.revocations++
		}
		return
	}
	l.rotations++
	l.successor[refresh], l.family[a.Refresh], l.cameWith[a.Access] = a.Refresh, l.family[refresh], a.Refresh
}

// wrote books a state Secret that the API server committed.
func (l *ledger) wrote(refresh string, in *intent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refresh == "" {
		return
	}
	l.stored[refresh] = true
	if in == nil {
		delete(l.open, refresh)
		return
	}
	l.open[refresh] = *in
}

// publishing books an access token that is on its way into a target.
func (l *ledger) publishing(access string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refresh := l.cameWith[access]; refresh != "" && !l.stored[refresh] {
		l.violated("an access token was published before the refresh token %s that came with it was stored", short(refresh))
	}
}

// secrets are all refresh tokens ever seen.
func (l *ledger) secrets() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for refresh := range l.family {
		all = append(all, refresh)
	}
	return all
}

func (l *ledger) found() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.violations)
}

func short(secret string) string { return "…" + secret[max(0, len(secret)-6):] }

// unused tells whether no server has seen this refresh token.
func (l *ledger) unused(refresh string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return refresh != "" && l.uses[refresh] == 0
}

// explain says why a person is needed where refresh is in the state; empty when
// there was no need.
func (l *ledger) explain(refresh string, open *intent) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.successor[refresh]
	switch {
	case next != "" && !l.stored[next]:
		return "its successor died in a crash"
	case open != nil && open.Replays > 0:
		return "two crashes while it was sent"
	}
	return ""
}
