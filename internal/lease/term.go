// Package lease tells whether this process may still act as the leader. Leader
// election alone does not: a process that was stopped (a frozen container, a suspended
// machine) and wakes up goes on as before, and gives up only after it failed to renew
// its Lease for another ten seconds, in which the next leader works, too.
//
// It must not import anything of the operator.
package lease

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Term is the time for which a Lease was won. It must not be copied.
type Term struct {
	// Duration of the Lease.
	Duration time.Duration
	// Now is the clock.
	Now func() time.Time

	mu sync.Mutex
	// began is when the last request that won or renewed the Lease was about to be sent.
	began time.Time
}

// precision is that of the record that others compare: of two renewals within one
// second, they see one.
const precision = time.Second

// Running tells whether nobody else can have won the Lease yet: others wait for its
// whole duration after they saw it renewed, which is not before the renewal was sent, or
// another one in the same second.
func (t *Term) Running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		return false
	}
	now := t.Now()
	// A suspended machine stops the monotonic clock, and somebody may set the other one.
	return max(now.Sub(t.began), now.Round(0).Sub(t.began.Round(0))) < t.Duration-precision
}

// Watch returns a transport that sees when the Lease is written; it is for the client
// of the leader election alone, which writes no Lease but its own, and only to hold it
// or, at the very end, to release it.
func (t *Term) Watch(next http.RoundTripper) http.RoundTripper {
	return watcher{term: t, next: next}
}

type watcher struct {
	term *Term
	next http.RoundTripper
}

// WrappedRoundTripper lets client-go find what is underneath.
func (w watcher) WrappedRoundTripper() http.RoundTripper { return w.next }

// RoundTrip implements http.RoundTripper.
func (w watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	began := w.term.Now()
	resp, err := w.next.RoundTrip(r)
	if err == nil && resp.StatusCode < http.StatusMultipleChoices && writes(r) {
		w.term.mu.Lock()
		defer w.term.mu.Unlock()
		w.term.began = began
	}
	return resp, err
}

// writes tells whether r makes or changes a Lease.
func writes(r *http.Request) bool {
	return (r.Method == http.MethodPut || r.Method == http.MethodPost) && strings.Contains(r.URL.Path, "/leases")
}
