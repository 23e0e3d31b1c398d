package exchange

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/providertoken/operator/internal/provider"
)

const (
	defaultConcurrency  = 8
	defaultPerSecond    = 20
	defaultPerNamespace = 16
	defaultTotal        = 512
	// defaultGrace fits into a Pod's 30 s of termination.
	defaultGrace = 20 * time.Second
	// maxHostStats bounds what Stats returns.
	maxHostStats = 50
)

// Job is one piece of work at one host.
type Job struct {
	// Key identifies it; of each key there is one job, queued or running.
	Key string
	// Host is what shares limits, pauses and outages, usually a lower-case
	// host:port. A caller that must keep namespaces apart at one host (because they
	// wrote the URL themselves and could have it throttled for all) adds the
	// namespace to it.
	Host string
	// Namespace is what fairness is between.
	Namespace string
	// Expires is the expiry of the token that would be replaced; zero when there is none yet.
	Expires time.Time
	// Limits of the host. A field that is set holds for all jobs of the host from now
	// on, so it must come from somebody who may say so; a zero field says nothing.
	Limits provider.Limits
	// Run does the work and reports to whoever wants to know; the scheduler only
	// learns from the outcome. It must heed its context. It must read its inputs
	// when it is called: a job can wait long.
	Run func(context.Context) Outcome
	// Done, if set, is called when Run has ended and the key is free again: a Submit
	// from then on is not refused because of this job. It is not called for a job
	// that was cancelled before it started.
	Done func()
}

// Outcome is what a job tells about its host.
type Outcome struct {
	// Kind is empty for success. Unavailable counts towards an outage, Throttled
	// pauses the host, Input says nothing about the host; everything else is an answer.
	Kind provider.Kind
	// RetryAfter goes with Throttled: how long the host is paused, at most an hour; 30 s when zero.
	RetryAfter time.Duration
}

// SchedulerOptions of a Scheduler. Zero fields mean their defaults.
type SchedulerOptions struct {
	// Clock; the machine's when nil.
	Clock AlarmClock
	// PerNamespace is how many jobs of one namespace run at once; default 16.
	PerNamespace int
	// Total is how many jobs run at once; default 512, so that 64 hosts that hang
	// with 8 jobs each fill it, not fewer.
	Total int
	// Limits of hosts for which no job says any; default 8 at once, 20 starts a second.
	Limits provider.Limits
	// Grace is how long running jobs may go on after the end of Run's context;
	// default 20 s.
	Grace time.Duration
	// Panicked is called in the goroutine of a job that panicked (so that
	// runtime/debug.Stack shows where), to log it and to submit the job again when it
	// is due. The reason may hold secrets. May be nil.
	Panicked func(key string, reason any)
}

// Scheduler decides which job starts when. All methods are safe for concurrent
// use, and none waits for a job except Run.
//
// A job starts when its host has fewer than Limits.Concurrency jobs running and
// has begun fewer than Limits.PerSecond in the last second, its namespace has
// fewer than PerNamespace running, and the host is neither paused nor down.
// Among the jobs of a host those with the nearest expiry go first, in turns of
// the namespaces; every fourth start is for an object without a token while there
// are any. Among hosts the one that has waited longest goes first.
//
// After three Unavailable outcomes in a row a host is down: then one job at a time,
// the canary, asks it, first after 1 s, then after twice the time up to 60 s, or an
// eighth of what remains of its token's life; the canary is the next job in the
// order above. Any outcome but Unavailable and Input ends the outage and starts what
// is queued.
type Scheduler struct {
	clock        AlarmClock
	perNamespace int
	total        int
	limits       provider.Limits
	grace        time.Duration
	panicked     func(key string, reason any)
	wake         chan struct{}
	jobs         sync.WaitGroup

	mu         sync.Mutex
	running    int
	submitted  uint64
	turns      uint64
	panics     uint64
	begun      bool
	entries    map[string]*entry
	hosts      map[string]*host
	looked     time.Time     // when startDue looked last, or an alarm's instant that has come since
	agenda     sorted[*host] // those that have something to do at some instant
	namespaces map[string]*namespace
}

// namespace counts jobs in flight across hosts.
type namespace struct {
	running int
	parked  []*lane
}

// NewScheduler returns a Scheduler that starts nothing before Run.
func NewScheduler(o SchedulerOptions) *Scheduler {
	s := &Scheduler{
		clock:        o.Clock,
		perNamespace: positive(o.PerNamespace, defaultPerNamespace),
		total:        positive(o.Total, defaultTotal),
		limits: provider.Limits{
			Concurrency: positive(o.Limits.Concurrency, defaultConcurrency),
			PerSecond:   positive(o.Limits.PerSecond, defaultPerSecond),
		},
		grace:      positive(o.Grace, defaultGrace),
		panicked:   o.Panicked,
		wake:       make(chan struct{}, 1),
		entries:    map[string]*entry{},
		hosts:      map[string]*host{},
		namespaces: map[string]*namespace{},
	}
	if s.clock == nil {
		s.clock = machineClock{}
	}
	if s.panicked == nil {
		s.panicked = func(string, any) {}
	}
	return s
}

func positive[N cmp.Ordered](given, otherwise N) N {
	var zero N
	if given <= zero {
		return otherwise
	}
	return given
}

// Submit queues a job, also while its host is paused or down. It returns false
// when a job of that key is queued or running already; the expiry of a queued one
// is updated, nothing else (Cancel it first to change more).
func (s *Scheduler) Submit(j Job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if queued, found := s.entries[j.Key]; found {
		s.reorder(queued, j.Expires)
		return false
	}
	h := s.host(j.Host)
	h.adopt(j.Limits)
	s.submitted++
	e := &entry{Job: j, order: s.submitted, host: h}
	s.entries[j.Key] = e
	h.queueFor(j.Expires).add(e)
	s.plan(h)
	s.signal()
	return true
}

// Cancel forgets a queued job. A running one is left alone, which it tells.
func (s *Scheduler) Cancel(key string) (running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, found := s.entries[key]
	if !found || e.running {
		return found
	}
	delete(s.entries, key)
	e.lane.queue.remove(e)
	s.plan(e.host)
	return false
}

// Paused tells whether a host is throttled or down, for messages. until is zero
// when it is neither. probing means down: until is when the next canary may
// start, which is in the past while one is under way.
func (s *Scheduler) Paused(name string) (until time.Time, probing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, found := s.hosts[name]
	if !found {
		return time.Time{}, false
	}
	if s.clock.Now().Before(h.pausedUntil) {
		until = h.pausedUntil
	}
	if h.outage.down {
		until = latest(until, h.outage.nextProbe)
	}
	return until, h.outage.down
}

// Stats is a moment of a Scheduler, for metrics.
type Stats struct {
	// Queued and Running count jobs.
	Queued, Running int
	// Paused and Down count hosts.
	Paused, Down int
	// Panics counts jobs that panicked since the start.
	Panics uint64
	// Hosts are the 50 hosts with the most jobs, those with more first.
	Hosts []HostStats
}

// HostStats is a moment of one host.
type HostStats struct {
	Host            string
	Queued, Running int
}

// Stats counts. It looks at every host: call it when metrics are collected, not more often.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	stats := Stats{Queued: len(s.entries) - s.running, Running: s.running, Panics: s.panics}
	for _, h := range s.hosts {
		if now.Before(h.pausedUntil) {
			stats.Paused++
		}
		if h.outage.down {
			stats.Down++
		}
		if h.queued()+h.running > 0 {
			stats.Hosts = append(stats.Hosts, HostStats{Host: h.name, Queued: h.queued(), Running: h.running})
		}
	}
	slices.SortFunc(stats.Hosts, func(a, b HostStats) int {
		return cmp.Or(cmp.Compare(b.Queued+b.Running, a.Queued+a.Running), cmp.Compare(a.Host, b.Host))
	})
	stats.Hosts = stats.Hosts[:min(len(stats.Hosts), maxHostStats)]
	return stats
}

// Run starts jobs until ctx ends, and returns when the running ones have returned.
// Their context outlives ctx by the grace period. Queued jobs are not started any
// more. It returns an error only when it has been called before.
func (s *Scheduler) Run(ctx context.Context) error {
	if !s.begin() {
		return errors.New("exchange: a scheduler runs once")
	}
	jobs, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s.loop(ctx, jobs)
	s.drain(cancel)
	return nil
}

func (s *Scheduler) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return false
	}
	s.begun = true
	return true
}

// loop starts what is due whenever something has happened.
func (s *Scheduler) loop(ctx, jobs context.Context) {
	var alarm <-chan time.Time
	var armed time.Time
	for ctx.Err() == nil {
		next, found := s.startDue(jobs)
		if found && (alarm == nil || next.Before(armed)) {
			alarm, armed = s.alarm(next), next
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-alarm:
			alarm = nil
			s.rang(armed)
		}
	}
}

// alarm sends at the given instant. The clock is read and set in two steps, so it
// is set again if it went on in between: a fake clock can jump.
func (s *Scheduler) alarm(at time.Time) <-chan time.Time {
	for {
		now := s.clock.Now()
		if !now.Before(at) {
			return rung(now)
		}
		alarm := s.clock.After(at.Sub(now))
		if s.clock.Now().Sub(now) < time.Millisecond {
			return alarm
		}
	}
}

// rung is an alarm that has gone off already.
func rung(now time.Time) <-chan time.Time {
	alarm := make(chan time.Time, 1)
	alarm <- now
	return alarm
}

// drain waits for the running jobs, from the end of the grace period on with
// their context cancelled.
func (s *Scheduler) drain(cancel func()) {
	done := make(chan struct{})
	go func() {
		s.jobs.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-s.clock.After(s.grace):
		cancel()
		<-done
	}
}

// startDue starts every job that may start now, and returns when to look again
// if nothing happens before.
func (s *Scheduler) startDue(jobs context.Context) (next time.Time, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	s.rebase(now)
	for s.running < s.total {
		h, found := s.agenda.first()
		if !found {
			return time.Time{}, false
		}
		if now.Before(h.due) {
			return h.due, true
		}
		s.serve(jobs, h, now)
	}
	return time.Time{}, false
}

// rang notes that the time has come of that instant, whatever the clock says.
func (s *Scheduler) rang(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = latest(s.looked, at)
}

// rebase keeps a clock that was set back from holding hosts until it is where it was.
func (s *Scheduler) rebase(now time.Time) {
	back := s.looked.Sub(now)
	s.looked = now
	if back <= window {
		return
	}
	for _, h := range s.hosts {
		h.rebase(back)
		s.plan(h)
	}
}

// serve starts one job of a host that is due, parks a lane that may not go, or
// forgets the host.
func (s *Scheduler) serve(jobs context.Context, h *host, now time.Time) {
	if h.queued()+h.running == 0 {
		s.agenda.remove(h)
		delete(s.hosts, h.name)
		return
	}
	l, canary := h.choose()
	s.serveLane(jobs, l, canary, now)
	s.plan(h)
}

func (s *Scheduler) serveLane(jobs context.Context, l *lane, canary bool, now time.Time) {
	n := s.namespace(l.namespace)
	if n.running >= s.perNamespace {
		l.queue.park(l)
		n.parked = append(n.parked, l)
		return
	}
	e := l.queue.take(l)
	e.running = true
	s.turns++
	e.host.turn = s.turns
	e.host.started(e, canary, now)
	n.running++
	s.running++
	s.jobs.Go(func() { s.run(jobs, e) })
}

// run runs a job in its own goroutine. A job that panics (or ends its goroutine)
// counts as Unavailable.
func (s *Scheduler) run(ctx context.Context, e *entry) {
	outcome := Outcome{Kind: provider.Unavailable}
	defer func() {
		reason := recover()
		s.finish(e, outcome, reason != nil)
		if reason != nil {
			s.panicked(e.Key, reason)
		}
		if e.Done != nil {
			e.Done()
		}
	}()
	outcome = e.Run(ctx)
}

func (s *Scheduler) finish(e *entry, outcome Outcome, panicked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if panicked {
		s.panics++
	}
	delete(s.entries, e.Key)
	s.running--
	e.host.finished(e, outcome, s.clock.Now())
	s.release(e.Namespace)
	s.plan(e.host)
	s.signal()
}

// release counts a namespace's job as ended and lets its parked lanes go.
func (s *Scheduler) release(name string) {
	n := s.namespaces[name]
	n.running--
	parked := n.parked
	n.parked = nil
	for _, l := range parked {
		l.queue.unpark(l)
		// One whose jobs were all cancelled may belong to a host that was forgotten.
		if l.jobs.len() > 0 {
			s.plan(l.host)
		}
	}
	if n.running == 0 {
		delete(s.namespaces, name)
	}
}

// reorder changes the expiry of a queued job.
func (s *Scheduler) reorder(e *entry, expires time.Time) {
	if e.running || e.Expires.Equal(expires) {
		return
	}
	from, to := e.lane.queue, e.host.queueFor(expires)
	if from == to {
		from.move(e, expires)
		return
	}
	from.remove(e)
	e.Expires = expires
	to.add(e)
	s.plan(e.host)
	s.signal()
}

// plan puts a host on the agenda for when it can start a job, or be forgotten.
func (s *Scheduler) plan(h *host) {
	due, found := h.startable()
	if h.queued()+h.running == 0 {
		due, found = h.forgettable(), true
	}
	if !found {
		s.agenda.remove(h)
		return
	}
	h.due = due
	s.agenda.put(h)
}

func (s *Scheduler) host(name string) *host {
	h := s.hosts[name]
	if h == nil {
		h = &host{name: name, limits: s.limits, served: s.clock.Now(), turn: s.turns}
		s.hosts[name] = h
	}
	return h
}

func (s *Scheduler) namespace(name string) *namespace {
	n := s.namespaces[name]
	if n == nil {
		n = &namespace{}
		s.namespaces[name] = n
	}
	return n
}

// signal makes the loop look again.
func (s *Scheduler) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
