package exchange

import (
	"time"

	"github.com/providertoken/operator/internal/provider"
)

const (
	// outageAfter failures in a row, a host counts as down.
	outageAfter = 3
	// firstProbe and longestProbe bound the time between canaries.
	firstProbe   = time.Second
	longestProbe = time.Minute
	// tightening leaves at least this many canaries for what remains of a token's life.
	tightening = 8
	// defaultPause is for a provider that throttles without saying for how long.
	defaultPause = 30 * time.Second
	longestPause = time.Hour
	// window is over which starts are counted for Limits.PerSecond.
	window = time.Second
	// remembered is how long a host about which something bad is known is kept when
	// nobody asks for it.
	remembered = 10 * time.Minute
	// newEvery is which start goes to an object without a token while there are any.
	newEvery = 4
)

// host is what is known of one provider host, and its queued jobs.
type host struct {
	name   string
	limits provider.Limits

	refreshes queue // jobs that replace a token
	firsts    queue // jobs for objects that have none yet
	streak    int   // starts of refreshes since the last start of a first

	running   int
	starts    []time.Time // within the last window, oldest first
	served    time.Time   // the last start, or when the host became known
	lastEvent time.Time   // start or end of a job

	pausedUntil time.Time
	outage      outage

	due   time.Time // when it is looked at next
	turn  uint64    // of its last start among all hosts' starts; decides between equal instants
	index int
}

// outage is what is known of a provider's failures since it last answered.
type outage struct {
	failures  int                 // in a row
	failed    map[string]struct{} // namespaces that saw one, or have their witness under way
	down      bool
	canary    *entry // that is under way
	delay     time.Duration
	nextProbe time.Time
}

func (h *host) before(other *host) bool {
	if !h.due.Equal(other.due) {
		return h.due.Before(other.due)
	}
	return h.turn < other.turn
}

func (h *host) place() *int { return &h.index }

// adopt takes over what the job's definition says about the host; what it leaves
// out stays as it is.
func (h *host) adopt(l provider.Limits) {
	if l.Concurrency > 0 {
		h.limits.Concurrency = l.Concurrency
	}
	if l.PerSecond > 0 {
		h.limits.PerSecond = l.PerSecond
	}
}

// queueFor returns where a job with this expiry waits.
func (h *host) queueFor(expires time.Time) *queue {
	if expires.IsZero() {
		return &h.firsts
	}
	return &h.refreshes
}

func (h *host) queued() int { return h.refreshes.size + h.firsts.size }

// choose returns the lane to serve next, and whether its job is the canary. It must
// be called only when startable says that the instant has come.
//
// Every fourth start goes to an object without a token while there are any. Both
// ways are bounded: ten thousand new objects slow refreshes by a quarter at most,
// and refreshes leave new objects a quarter at least.
//
// While the host is down, a namespace that has seen no failure in this outage may
// still start one job, its witness: the failures may be another namespace's own.
// If it succeeds the outage is over, if it fails the namespace waits for the
// canary like the others.
func (h *host) choose() (l *lane, canary bool) {
	for _, q := range h.turns() {
		first, found := q.ready.first()
		if found && !h.held(first) {
			return first, false
		}
		if found && l == nil {
			l = first
		}
	}
	return l, true
}

// turns returns the queues in the order in which they are asked for a job.
func (h *host) turns() [2]*queue {
	if h.streak >= newEvery-1 {
		return [2]*queue{&h.firsts, &h.refreshes}
	}
	return [2]*queue{&h.refreshes, &h.firsts}
}

// held tells whether the outage keeps a lane from being served.
func (h *host) held(l *lane) bool { return h.outage.down && l.suspect }

// startable returns the earliest instant at which a job may start as things are;
// found is false when something else has to happen first.
func (h *host) startable() (at time.Time, found bool) {
	ready, free := h.ready()
	if !ready || h.running >= h.limits.Concurrency {
		return time.Time{}, false
	}
	at = latest(h.served, latest(h.pausedUntil, h.nextStart()))
	if free {
		return at, true
	}
	return latest(at, h.outage.nextProbe), h.outage.canary == nil
}

// ready tells whether any lane can be served, and whether one can without being
// the canary.
func (h *host) ready() (ready, free bool) {
	for _, q := range h.turns() {
		l, found := q.ready.first()
		ready = ready || found
		free = free || found && !h.held(l)
	}
	return ready, free
}

// nextStart is when the limit of starts per second allows another.
func (h *host) nextStart() time.Time {
	if len(h.starts) < h.limits.PerSecond {
		return time.Time{}
	}
	return h.starts[len(h.starts)-h.limits.PerSecond].Add(window)
}

// rebase moves all instants that far back.
func (h *host) rebase(by time.Duration) {
	for i := range h.starts {
		h.starts[i] = h.starts[i].Add(-by)
	}
	for _, at := range []*time.Time{&h.served, &h.lastEvent, &h.pausedUntil, &h.outage.nextProbe} {
		if !at.IsZero() {
			*at = at.Add(-by)
		}
	}
}

// started counts a start.
func (h *host) started(e *entry, canary bool, now time.Time) {
	h.running++
	h.served, h.lastEvent = now, now
	for len(h.starts) > 0 && !now.Before(h.starts[0].Add(window)) {
		h.starts = h.starts[1:]
	}
	h.starts = append(h.starts, now)
	h.streak++
	if e.Expires.IsZero() {
		h.streak = 0
	}
	if canary {
		h.outage.canary = e
	}
	if h.outage.down {
		h.mark(e.Namespace)
	}
}

// finished learns from an outcome.
func (h *host) finished(e *entry, o Outcome, now time.Time) {
	h.running--
	h.lastEvent = now
	canary := h.outage.canary == e
	if canary {
		h.outage.canary = nil
	}
	switch o.Kind {
	case provider.Unavailable:
		h.failed(e, canary, now)
	case provider.Input:
		// Nothing was asked, so nothing is known; another job may be the canary.
	case provider.Throttled:
		h.recovered()
		h.pausedUntil = latest(h.pausedUntil, now.Add(pause(o.RetryAfter)))
	default:
		h.recovered()
	}
}

func (h *host) failed(e *entry, canary bool, now time.Time) {
	h.outage.failures++
	h.mark(e.Namespace)
	switch {
	case canary:
		// What a token's end makes shorter stays shorter: when it has expired, the
		// delay grows again from there.
		h.outage.delay = min(2*h.outage.delay, longestProbe, patience(e.Expires, now))
		h.outage.nextProbe = now.Add(h.outage.delay)
	case !h.outage.down && h.outage.failures >= outageAfter:
		h.outage.down = true
		h.outage.delay = firstProbe
		h.outage.nextProbe = now.Add(firstProbe)
	}
}

// patience is how long the canary's token can wait for the next one: an eighth of
// what remains of its life, and no less than a second. The canary is the job with
// the nearest expiry, so that no other can wait less.
func patience(expires, now time.Time) time.Duration {
	remaining := expires.Sub(now)
	if remaining <= 0 {
		return longestProbe // it has expired, or there is none
	}
	return max(remaining/tightening, firstProbe)
}

// mark remembers that a namespace has had its failure or its witness.
func (h *host) mark(namespace string) {
	if h.outage.failed == nil {
		h.outage.failed = map[string]struct{}{}
	}
	h.outage.failed[namespace] = struct{}{}
	h.refreshes.suspect(namespace, true)
	h.firsts.suspect(namespace, true)
}

// recovered ends an outage: whatever is queued may go.
func (h *host) recovered() {
	for namespace := range h.outage.failed {
		h.refreshes.suspect(namespace, false)
		h.firsts.suspect(namespace, false)
	}
	h.outage = outage{}
}

func (h *host) suspects(namespace string) bool {
	_, found := h.outage.failed[namespace]
	return found
}

// forgettable returns when nothing that is known of an idle host matters any more.
func (h *host) forgettable() time.Time {
	at := latest(h.pausedUntil, h.lastEvent.Add(window))
	if h.outage.failures > 0 {
		at = latest(at, h.lastEvent.Add(remembered))
	}
	return at
}

// pause is how long a throttled host is left alone.
func pause(asked time.Duration) time.Duration {
	if asked <= 0 {
		return defaultPause
	}
	return min(asked, longestPause)
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
