package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"text/template"
	"time"
)

const (
	pollEvery = 100 * time.Millisecond
	// settling is left to an operator after the first tokens, and before memory is read.
	settling = 3 * time.Second
	// profileFor is the time over which the CPU is profiled.
	profileFor = 30 * time.Second
)

// subject is the operator that is measured, and how it is driven.
type subject struct {
	// command line that starts it; env is added to its environment.
	command string
	env     []string
	// peer is its name when it is not that of this repository.
	peer string
	// objects is a template's file; empty for this repository's operator.
	objects string
	// install are files that are applied first.
	install []string
	// selector and key find its tokens.
	selector, key string
	// controller is the name of its controller, for metrics of the work queue.
	controller string
	// interval after which it replaces tokens, where Secrets do not tell.
	interval time.Duration
}

// workload is what is done.
type workload struct {
	scenario          string
	objects           int
	lifetime, latency time.Duration
	// duration is measured from the operator's start.
	duration time.Duration
	// lead of refreshes, zero for the operator's default.
	lead       time.Duration
	tokenBytes int
	http1      bool
	// concurrency and rate are the limits of the provider; zero for the operator's defaults.
	concurrency, rate int
	// profiles is a directory, and keepLogs a file; empty where they are not wanted.
	profiles, keepLogs string
	out                io.Writer
	note               string
}

// stage is where a run takes place.
type stage struct {
	subject
	workload
	directory string
	template  *template.Template
	plane     *plane
	provider  *provider
	ledger    *ledger
	groups    []group
	operator  *operator
}

// group of this name at a host with this latency.
func (s *stage) group(name string, count int, latency time.Duration, concurrency, rate int) (group, error) {
	h, err := s.provider.serve(name, latency, s.http1)
	if err != nil {
		return group{}, err
	}
	h.Concurrency, h.PerSecond = concurrency, rate
	return group{Name: name, Count: count, Host: h, Lead: s.lead, Interval: s.interval}, nil
}

func (s *stage) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// set makes a stage: an API server with what must be installed, a provider, and an observer.
func set(ctx context.Context, sub subject, w workload) (s *stage, clean func() error, err error) {
	s = &stage{subject: sub, workload: w, ledger: newLedger()}
	var undo []func() error
	clean = func() error {
		var errs []error
		for i := len(undo) - 1; i >= 0; i-- {
			errs = append(errs, undo[i]())
		}
		return errors.Join(errs...)
	}
	if s.directory, err = os.MkdirTemp("", "providertoken-bench-"); err != nil {
		return s, clean, err
	}
	undo = append(undo, func() error { return os.RemoveAll(s.directory) })
	if s.template, err = readTemplate(s.subject.objects); err != nil {
		return s, clean, err
	}
	if s.provider, err = newProvider(w.lifetime, w.tokenBytes); err != nil {
		return s, clean, err
	}
	undo = append(undo, s.provider.close)
	s.plane, err = startPlane(s.directory)
	undo = append(undo, s.plane.stop)
	if err != nil {
		return s, clean, err
	}
	if err := s.plane.install(ctx, s.install); err != nil {
		return s, clean, err
	}
	watching, cancel := context.WithCancel(ctx)
	undo = append(undo, func() error { cancel(); return nil })
	o := &observer{plane: s.plane, provider: s.provider, ledger: s.ledger, selector: s.selector, key: s.key, interval: s.interval}
	go o.run(watching)
	undo = append(undo, s.end)
	return s, clean, nil
}

// start starts the operator.
func (s *stage) start() (err error) {
	s.operator, err = startOperator(s.command, s.directory, s.env,
		addresses{Kubeconfig: s.plane.managerKubeconfig, AdminKubeconfig: s.plane.adminKubeconfig}, s.profiles != "")
	return err
}

// end stops the operator, if it runs.
func (s *stage) end() error {
	if s.operator == nil {
		return nil
	}
	return s.operator.stop()
}

// until waits for something to hold. It is no error when that is not the case by the deadline.
func (s *stage) until(ctx context.Context, deadline time.Time, holds func() bool) error {
	for !holds() && time.Now().Before(deadline) {
		if err := s.operator.alive(); err != nil {
			return err
		}
		if !wait(ctx, pollEvery) {
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// pass lets time pass.
func (s *stage) pass(ctx context.Context, until time.Time) error {
	return s.until(ctx, until, func() bool { return false })
}

// reading is what a run's figures are differences of.
type reading struct {
	at                   time.Time
	requests             requests
	cpu, apiServer, etcd time.Duration
	resident, peak       float64
}

func (s *stage) read(ctx context.Context) (reading, error) {
	r := reading{at: time.Now()}
	var err error
	if r.requests, err = s.plane.requests(ctx); err != nil {
		return r, err
	}
	for _, p := range []struct {
		name string
		into *time.Duration
	}{{"kube-apiserver", &r.apiServer}, {"etcd", &r.etcd}} {
		for _, pid := range childrenNamed(p.name) {
			if more, err := cpuOf(pid); err == nil {
				*p.into += more
			}
		}
	}
	if s.operator == nil {
		return r, nil
	}
	if r.cpu, err = cpuOf(s.operator.pid()); err != nil {
		return r, err
	}
	r.resident, r.peak, err = residentOf(s.operator.pid())
	return r, err
}

// create makes the objects of all groups.
func (s *stage) create(ctx context.Context) error {
	began, n := time.Now(), 0
	for _, g := range s.groups {
		n += g.Count
	}
	if err := s.plane.create(ctx, s.template, s.groups); err != nil {
		return err
	}
	s.say("created the objects of %d tokens in %.1f s", n, time.Since(began).Seconds())
	return nil
}

// basics fills in what every result tells.
func (s *stage) basics() *result {
	limits := fmt.Sprintf("limits of the bench's provider: %d at once, %d per second and host", s.concurrency, s.rate)
	if s.concurrency == 0 {
		limits = "limits: the operator's defaults (8 at once, 20 per second and host)"
	}
	if s.peer != "" {
		limits = "no limits known to the peer"
	}
	return &result{
		Scenario: s.scenario, Operator: s.command, Peer: s.peer, Note: s.note, When: time.Now().UTC().Truncate(time.Second),
		Machine: machine(), CPUs: runtime.NumCPU(), Load: load(),
		Objects: s.workload.objects, Lifetime: s.lifetime.Seconds(), TokenBytes: s.tokenBytes, Latency: s.latency.Seconds(), Limits: limits,
	}
}

// refreshing measures first tokens, then what refreshes cost until the end.
func (s *stage) refreshing(ctx context.Context, r *result, end func() time.Time) error {
	before, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.awaitFirst(ctx, r, before, end()); err != nil {
		return err
	}
	from, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.profileSteady(ctx, end()); err != nil {
		return err
	}
	if err := s.pass(ctx, end()); err != nil {
		return err
	}
	to, err := s.read(ctx)
	if err != nil {
		return err
	}
	r.Steady = s.steady(from, to)
	r.Whole = s.whole(before, to)
	s.conclude(ctx, r, to.at)
	return nil
}

func (s *stage) awaitFirst(ctx context.Context, r *result, before reading, deadline time.Time) error {
	if err := s.until(ctx, deadline, func() bool { return s.ledger.tokens("") >= s.workload.objects }); err != nil {
		return err
	}
	firsts := s.ledger.firstTokens("")
	r.FirstTokens.Got = len(firsts)
	if n := len(firsts); n > 0 {
		r.FirstTokens.Half = rounded(firsts[(n-1)/2].Sub(s.operator.began))
		r.FirstTokens.All = rounded(firsts[n-1].Sub(s.operator.began))
	}
	if len(firsts) < s.workload.objects {
		s.say("only %d of %d first tokens until the end", len(firsts), s.workload.objects)
		return nil
	}
	// The last of them have yet to be told of in status.
	if err := s.pass(ctx, time.Now().Add(settling)); err != nil {
		return err
	}
	after, err := s.read(ctx)
	if err != nil {
		return err
	}
	r.FirstTokens.CPU, r.FirstTokens.Peak = after.cpu.Seconds(), after.peak
	r.FirstTokens.APIServerCPU, r.FirstTokens.EtcdCPU = (after.apiServer - before.apiServer).Seconds(), (after.etcd - before.etcd).Seconds()
	work := after.requests.since(before.requests).work()
	r.FirstTokens.Requests = named(work)
	r.FirstTokens.PerOne = float64(work.total()) / float64(len(firsts))
	s.say("%d first tokens after %.1f s", len(firsts), r.FirstTokens.All)
	return nil
}

// profileSteady stores a CPU profile of refreshes, if profiles are wanted. They should be in
// full swing: half a minute before the end they mostly are.
func (s *stage) profileSteady(ctx context.Context, end time.Time) error {
	if s.profiles == "" {
		return nil
	}
	begin := s.operator.began.Add(s.lifetime * 3 / 5)
	if latest := end.Add(-profileFor - time.Second); begin.After(latest) {
		begin = latest
	}
	if err := s.pass(ctx, begin); err != nil {
		return err
	}
	if err := os.MkdirAll(s.profiles, 0o755); err != nil {
		return err
	}
	s.say("profiling for %s", profileFor)
	if err := s.operator.profile(ctx, "profile", filepath.Join(s.profiles, s.scenario+".cpu.pprof"), profileFor); err != nil {
		return err
	}
	return errors.Join(
		s.operator.profile(ctx, "heap", filepath.Join(s.profiles, s.scenario+".heap.pprof"), 0),
		s.operator.profile(ctx, "allocs", filepath.Join(s.profiles, s.scenario+".allocs.pprof"), 0),
	)
}

func (s *stage) steady(from, to reading) steady {
	done := s.ledger.replaced("", span{from.at, to.at})
	n := len(done)
	all := to.requests.since(from.requests)
	work := all.work()
	beside := requests{}
	for k, count := range all {
		if work[k] == 0 {
			beside[k] = count
		}
	}
	st := steady{
		Seconds: rounded(to.at.Sub(from.at)), Refreshes: n, Requests: named(work), Beside: named(beside),
		Late:  distribute(each(done, replacement.late)),
		Asked: distribute(each(done, func(r replacement) time.Duration { return r.asked.Sub(r.planned) })),
		Left:  distribute(each(done, func(r replacement) time.Duration { return r.left })),
	}
	if n > 0 {
		per := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(n) }
		st.RequestsPerRefresh = float64(work.total()) / float64(n)
		st.CPU, st.APIServerCPU, st.EtcdCPU = per(to.cpu-from.cpu), per(to.apiServer-from.apiServer), per(to.etcd-from.etcd)
	}
	return st
}

// whole judges a run from before the operator's start on.
func (s *stage) whole(before, to reading) whole {
	w := whole{Tokens: s.ledger.tokens("") + len(s.ledger.replaced("", span{before.at, to.at}))}
	if w.Tokens > 0 {
		w.CPU = to.cpu.Seconds() * 1000 / float64(w.Tokens)
		w.RequestsPerToken = float64(to.requests.since(before.requests).work().total()) / float64(w.Tokens)
	}
	return w
}

// conclude fills in what is told of the whole run.
func (s *stage) conclude(ctx context.Context, r *result, at time.Time) {
	r.Observed = rounded(at.Sub(s.operator.began))
	r.Expired = rounded(s.ledger.expiredFor(span{s.operator.began, at}))
	r.Mints = s.minted(at)
	if now, peak, err := residentOf(s.operator.pid()); err == nil {
		r.Memory.Resident, r.Memory.Peak = now, peak
	}
	if m, err := scrape(ctx, s.operator.Metrics); err == nil {
		heap, _ := m.sum("go_memstats_heap_inuse_bytes", nil)
		r.Memory.Heap = heap / (1 << 20)
	}
}

// arriving is how long a token may be on its way from the provider into a Secret before it
// is judged.
const arriving = 5 * time.Second

// minted judges the mints so far, but for those that may be on their way.
func (s *stage) minted(at time.Time) mints {
	then := at.Add(-arriving)
	m := mints{Made: s.provider.mintedBefore(then)}
	arrived := s.ledger.firstsAskedBefore(then)
	for _, r := range s.ledger.replaced("", span{time.Time{}, at.Add(time.Hour)}) {
		if !r.asked.Before(then) {
			continue
		}
		arrived++
		if r.early() {
			m.Early++
		}
	}
	m.Lost = m.Made - arrived
	m.Needed = arrived - m.Early
	return m
}

func each(all []replacement, of func(replacement) time.Duration) []time.Duration {
	found := make([]time.Duration, 0, len(all))
	for _, r := range all {
		found = append(found, of(r))
	}
	return found
}
