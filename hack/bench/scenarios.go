package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// scenario runs on a stage of its own.
type scenario func(ctx context.Context, sub subject, w workload) (*result, error)

// shape of scenarios such as 3000x300s: so many tokens of that lifetime.
func shape(name string) (objects int, lifetime time.Duration, is bool) {
	found := regexp.MustCompile(`^([1-9][0-9]{0,5})x([1-9][0-9]{0,4})s$`).FindStringSubmatch(name)
	if found == nil {
		return 0, 0, false
	}
	objects, _ = strconv.Atoi(found[1])
	seconds, _ := strconv.Atoi(found[2])
	return objects, time.Duration(seconds) * time.Second, true
}

// prepare finds a scenario, and fills in what w leaves open.
func prepare(name string, w workload) (scenario, workload, error) {
	w.scenario = name
	fill := func(objects int, lifetime, duration time.Duration) {
		if w.objects == 0 {
			w.objects = objects
		}
		if w.lifetime == 0 {
			w.lifetime = lifetime
		}
		if w.duration == 0 {
			w.duration = duration
		}
	}
	if objects, lifetime, is := shape(name); is {
		// A refresh of each token and the second one of many, and the wait for the first tokens.
		fill(objects, lifetime, max(lifetime+20*time.Second, lifetime*21/20)+time.Duration(objects/150)*time.Second)
		w.lead = leadFor(w.lifetime)
		return refresh, w, nil
	}
	switch name {
	case "restart":
		fill(10_000, time.Hour, 10*time.Second)
		return restartScenario, w, nil
	case "foreign-secrets":
		fill(1_000, time.Hour, 15*time.Second)
		return foreignScenario, w, nil
	case "fairness":
		fill(100, time.Minute, 100*time.Second)
		w.lead = leadFor(w.lifetime)
		return fairnessScenario, w, nil
	case "outage":
		if w.concurrency == 32 && w.rate == 500 {
			w.rate = 100 // so that it is the limit that tells, and not the machine
		}
		fill(2_000, 150*time.Second, 0)
		w.lead = leadFor(w.lifetime)
		return outageScenario, w, nil
	case "smoke":
		fill(100, 24*time.Second, time.Second)
		w.lead = 14 * time.Second
		return smoke, w, nil
	}
	return nil, w, fmt.Errorf("there is no scenario %q; take smoke, restart, foreign-secrets, fairness, outage, or a number of tokens and their lifetime such as 300x90s, 3000x300s or 10000x300s", name)
}

// leadFor is the lead that a user would ask for, where the default of two minutes does not fit.
func leadFor(lifetime time.Duration) time.Duration {
	if lifetime >= 200*time.Second {
		return 0
	}
	return lifetime / 3
}

// refresh measures first tokens and refreshes.
func refresh(ctx context.Context, sub subject, w workload) (*result, error) {
	s, clean, err := set(ctx, sub, w)
	r := s.basics()
	if err == nil {
		err = s.alike(ctx)
	}
	if err == nil {
		err = s.refreshing(ctx, r, func() time.Time { return s.operator.began.Add(s.duration) })
	}
	return r, finish(s, err, clean)
}

// alike creates one group of all objects.
func (s *stage) alike(ctx context.Context) error {
	g, err := s.group("bench", s.workload.objects, s.latency, s.concurrency, s.rate)
	if err != nil {
		return err
	}
	s.groups = []group{g}
	return s.create(ctx)
}

// restartScenario lets a second process find the tokens of a first one, all of them good.
func restartScenario(ctx context.Context, sub subject, w workload) (*result, error) {
	s, clean, err := set(ctx, sub, w)
	r := s.basics()
	if err == nil {
		err = s.alike(ctx)
	}
	if err == nil {
		err = s.restarting(ctx, r)
	}
	return r, finish(s, err, clean)
}

func (s *stage) restarting(ctx context.Context, r *result) error {
	before, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	began := s.operator.began
	if err := s.awaitFirst(ctx, r, before, time.Now().Add(10*time.Minute)); err != nil {
		return err
	}
	r.Restart, err = s.again(ctx, 5*time.Minute)
	if err != nil {
		return err
	}
	s.conclude(ctx, r, time.Now())
	r.Observed = rounded(time.Since(began))
	return nil
}

// again stops the operator, starts another one, and waits until that has planned
// everything, and for the stage's duration on top.
func (s *stage) again(ctx context.Context, patience time.Duration) (*restart, error) {
	x := &restart{}
	stopping := time.Now()
	if err := s.operator.stop(); err != nil {
		return nil, err
	}
	x.Stopped = rounded(time.Since(stopping))
	before, minted := reading{}, s.provider.minted()
	var err error
	if before.requests, err = s.plane.requests(ctx); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	planned := false
	if err := s.until(ctx, s.operator.began.Add(patience), func() bool { planned = s.planned(ctx); return planned }); err != nil {
		return nil, err
	}
	if !planned {
		return nil, fmt.Errorf("after %s a restarted operator has not looked at everything", patience)
	}
	x.Planned = rounded(time.Since(s.operator.began))
	if err := s.pass(ctx, time.Now().Add(s.duration)); err != nil {
		return nil, err
	}
	after, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	x.CPU, x.Resident = after.cpu.Seconds(), after.resident
	x.Mints = s.provider.minted() - minted
	x.Requests = after.requests.since(before.requests).work().total()
	s.say("restarted: all planned after %.1f s, %d mints", x.Planned, x.Mints)
	return x, nil
}

// planned tells that the operator has looked at every object and has nothing left to do.
func (s *stage) planned(ctx context.Context) bool { return s.looked(ctx, s.workload.objects) }

// looked tells that the operator serves, reconciled so often, and has nothing left to do.
func (s *stage) looked(ctx context.Context, often int) bool {
	m, err := scrape(ctx, s.operator.Metrics)
	if err != nil {
		return false // it does not serve yet
	}
	done, _ := m.sum("controller_runtime_reconcile_total", map[string]string{"controller": s.controller})
	waiting, known := m.sum("workqueue_depth", map[string]string{"name": s.controller})
	busy, _ := m.sum("controller_runtime_active_workers", map[string]string{"controller": s.controller})
	return known && int(done) >= often && waiting == 0 && busy == 0
}

// foreignScenario fills the cluster with Secrets that are nobody's business.
func foreignScenario(ctx context.Context, sub subject, w workload) (*result, error) {
	s, clean, err := set(ctx, sub, w)
	r := s.basics()
	if err == nil {
		err = s.alike(ctx)
	}
	if err == nil {
		err = s.crowding(ctx, r)
	}
	return r, finish(s, err, clean)
}

func (s *stage) crowding(ctx context.Context, r *result) error {
	const secrets, kib = 20_000, 10
	before, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.awaitFirst(ctx, r, before, time.Now().Add(10*time.Minute)); err != nil {
		return err
	}
	if err := s.pass(ctx, time.Now().Add(s.duration)); err != nil {
		return err
	}
	if before, err = s.read(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := s.plane.createForeign(ctx, secrets, kib<<10); err != nil {
		return fmt.Errorf("creating foreign Secrets: %w", err)
	}
	s.say("created %d foreign Secrets in %.1f s", secrets, time.Since(began).Seconds())
	if err := s.pass(ctx, time.Now().Add(s.duration)); err != nil {
		return err
	}
	after, err := s.read(ctx)
	if err != nil {
		return err
	}
	r.Foreign = &foreign{
		Secrets: secrets, KiB: kib, Before: before.resident, After: after.resident, Growth: after.resident - before.resident,
		Requests: max(after.requests.since(before.requests).work().total()-secrets, 0),
	}
	s.conclude(ctx, r, after.at)
	return nil
}

// fairnessScenario measures a few tokens of one namespace at a fast host, alone and then
// beside a crowd of another namespace at a host that is slow.
func fairnessScenario(ctx context.Context, sub subject, w workload) (*result, error) {
	const crowd, slow = 5_000, 2 * time.Second
	var x fairness
	var r *result
	for _, beside := range []bool{false, true} {
		s, clean, err := set(ctx, sub, w)
		r = s.basics()
		if err == nil {
			err = s.few(ctx, r, &x, beside, crowd, slow)
		}
		if err = finish(s, err, clean); err != nil {
			return r, err
		}
	}
	x.Crowd, x.SlowSeconds = crowd, slow.Seconds()
	r.Fairness = &x
	return r, nil
}

// few lets the crowd be looked at first, so that it waits for its host and not for the API
// server, and then measures the few from their creation on.
func (s *stage) few(ctx context.Context, r *result, x *fairness, beside bool, crowd int, slow time.Duration) error {
	few, err := s.group("few", s.workload.objects, s.latency, 0, 0)
	if err != nil {
		return err
	}
	many, err := s.group("crowd", 0, slow, 0, 0)
	if err != nil {
		return err
	}
	if beside {
		many.Count = crowd
	}
	s.groups = []group{many}
	if err := s.create(ctx); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if err := s.pass(ctx, time.Now().Add(settling)); err != nil {
		return err
	}
	if beside {
		if err := s.until(ctx, s.operator.began.Add(5*time.Minute), func() bool { return s.looked(ctx, crowd) }); err != nil {
			return err
		}
		s.say("the crowd waits for its host")
	}
	s.groups = []group{few}
	began := time.Now()
	end := began.Add(s.duration)
	if err := s.create(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, end, func() bool { return s.ledger.tokens("few") >= few.Count }); err != nil {
		return err
	}
	firsts := s.ledger.firstTokens("few")
	if len(firsts) < few.Count {
		return fmt.Errorf("only %d of %d first tokens", len(firsts), few.Count)
	}
	took := rounded(firsts[len(firsts)-1].Sub(began))
	s.say("first tokens of the few after %.2f s", took)
	if err := s.pass(ctx, end); err != nil {
		return err
	}
	late := distribute(each(s.ledger.replaced("few", span{began, end}), replacement.late))
	if beside {
		x.Beside, x.BesideLate, x.CrowdTokens = took, late, s.ledger.tokens("crowd")
	} else {
		x.Alone, x.AloneLate = took, late
	}
	s.conclude(ctx, r, time.Now())
	return nil
}

// smoke is a short run of which only counts are judged.
func smoke(ctx context.Context, sub subject, w workload) (*result, error) {
	s, clean, err := set(ctx, sub, w)
	r := s.basics()
	if err == nil {
		err = s.alike(ctx)
	}
	if err == nil {
		err = s.smoking(ctx, r)
	}
	return r, finish(s, err, clean)
}

// smoking sees every token refreshed once, restarts between two rounds of refreshes, and
// sees the next one.
func (s *stage) smoking(ctx context.Context, r *result) error {
	rounds := func(n int) func() bool {
		return func() bool { return len(s.ledger.replaced("", span{time.Time{}, time.Now()})) >= n*s.workload.objects }
	}
	patience := 2 * s.lifetime
	before, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	began := s.operator.began
	if err := s.awaitFirst(ctx, r, before, began.Add(patience)); err != nil {
		return err
	}
	from, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.until(ctx, time.Now().Add(patience), rounds(1)); err != nil {
		return err
	}
	// Their status comes after their Secrets.
	if err := s.pass(ctx, time.Now().Add(2*time.Second)); err != nil {
		return err
	}
	to, err := s.read(ctx)
	if err != nil {
		return err
	}
	r.Steady = s.steady(from, to)
	if r.Restart, err = s.again(ctx, patience); err != nil {
		return err
	}
	if err := s.until(ctx, time.Now().Add(patience), rounds(2)); err != nil {
		return err
	}
	if err := s.pass(ctx, time.Now().Add(arriving)); err != nil {
		return err
	}
	s.conclude(ctx, r, time.Now())
	r.Observed = rounded(time.Since(began))
	r.Expired = rounded(s.ledger.expiredFor(span{began, time.Now()}))
	return s.judge(r)
}

// mostRequests of a steady refresh: the Secret and the status, and a twentieth for what
// happens beside.
const mostRequests = 2.05

func (s *stage) judge(r *result) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.FirstTokens.Got < r.Objects {
		fail("only %d of %d tokens came", r.FirstTokens.Got, r.Objects)
	}
	if r.Steady.Refreshes < r.Objects {
		fail("only %d of %d tokens were refreshed", r.Steady.Refreshes, r.Objects)
	}
	if r.Steady.RequestsPerRefresh > mostRequests {
		fail("a refresh costs the API server %.3f requests, and may cost %.2f", r.Steady.RequestsPerRefresh, mostRequests)
	}
	if r.Mints.Early > 0 || r.Mints.Lost > 0 {
		fail("%d tokens were minted before their time, and %d never reached a Secret", r.Mints.Early, r.Mints.Lost)
	}
	if r.Restart.Mints > 0 {
		fail("%d tokens were minted after a restart that nobody needed", r.Restart.Mints)
	}
	if r.Expired > 0 {
		fail("Secrets held expired tokens for %.1f token-seconds", r.Expired)
	}
	return joined(errs)
}
