package exchange

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/schedule"
)

// fleet is many objects that keep tokens of one host, as the controller does: they
// submit when their refresh is due, and again at once after a failure while the host is down.
type fleet struct {
	*Scheduler
	t       *testing.T
	limits  provider.Limits
	latency time.Duration

	mu     sync.Mutex
	down   bool
	began  []start
	minted map[string]time.Time
}

type held struct {
	key             string
	issued, expires time.Time
}

func (m held) refreshAt() time.Time {
	return schedule.RefreshAt(m.issued, m.expires, schedule.Policy{}, schedule.Seed(m.key, m.issued))
}

func (f *fleet) submit(m held) {
	f.Submit(Job{
		Key: m.key, Host: "sso.example.com:443", Namespace: "ns", Expires: m.expires, Limits: f.limits,
		Run: func(context.Context) Outcome {
			f.mu.Lock()
			down := f.down
			f.began = append(f.began, start{m.key, time.Duration(time.Now().UnixNano())})
			f.mu.Unlock()
			time.Sleep(f.latency)
			if down {
				return Outcome{Kind: provider.Unavailable}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.minted[m.key] = time.Now()
			return Outcome{}
		},
		Done: func() {
			f.mu.Lock()
			_, fresh := f.minted[m.key]
			f.mu.Unlock()
			if !fresh {
				f.submit(m)
			}
		},
	})
}

// An outage of ten minutes in which all of ten thousand tokens fall due.
func TestAfterAnOutageTenThousandTokensAreRenewedAtTheRateOfTheHostNearestExpiryFirst(t *testing.T) {
	const objects, perSecond, outage = 10_000, 50, 10 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{
			Scheduler: NewScheduler(SchedulerOptions{PerNamespace: 192, Total: 1024}), t: t, minted: map[string]time.Time{},
			limits: provider.Limits{Concurrency: 16, PerSecond: perSecond}, latency: 50 * time.Millisecond, down: true,
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		// Tokens of an hour are replaced after 34 to 40 minutes: all of these within the outage.
		now := time.Now().Truncate(time.Second)
		var all []held
		for i := range objects {
			issued := now.Add(-34*time.Minute + time.Duration(i*7919%200_000)*time.Millisecond)
			m := held{key: fmt.Sprintf("5f0c6b1e-0000-4000-8000-%012d", i), issued: issued, expires: issued.Add(time.Hour)}
			if at := m.refreshAt(); at.Before(now) || at.After(now.Add(outage)) {
				t.Fatalf("one is due at %s", at)
			}
			all = append(all, m)
		}
		for _, m := range all {
			go func() {
				time.Sleep(time.Until(m.refreshAt()))
				f.submit(m)
			}()
		}
		time.Sleep(outage)
		synctest.Wait()
		f.mu.Lock()
		tries := len(f.began)
		f.mu.Unlock()
		if tries > 40 {
			t.Errorf("a host that is down for ten minutes was asked %d times", tries)
		}
		back := time.Now()
		f.mu.Lock()
		f.down, f.began = false, nil
		f.mu.Unlock()
		// The first canary that finds it back starts the rest.
		for f.fresh() == 0 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		f.mu.Lock()
		canaries := len(f.began)
		for _, s := range f.began {
			if s.at-f.began[0].at >= f.latency {
				canaries-- // began after its success
			}
		}
		f.mu.Unlock()
		if canaries != 1 {
			t.Errorf("%d requests were under way before one had succeeded, want the canary alone", canaries)
		}
		noticed := time.Since(back)
		if noticed > longestProbe+time.Second {
			t.Errorf("it took %s to notice that the host is back", noticed)
		}
		rate := time.Duration(objects/perSecond) * time.Second
		recovered := time.Now()
		for f.fresh() < objects {
			time.Sleep(time.Second)
			synctest.Wait()
			if time.Since(recovered) > 2*rate {
				t.Fatalf("after %s, %d of %d are fresh", time.Since(recovered), f.fresh(), objects)
			}
		}
		took := time.Since(recovered)
		t.Logf("%d tokens, %d a second: host noticed after %s, all fresh %s later (N ÷ rate is %s)", objects, perSecond, noticed, took, rate)
		if took > rate+rate/10 {
			t.Errorf("all were fresh after %s, want at most a tenth more than %s", took, rate)
		}
		f.checkOrder(all)
		f.checkRate(perSecond)
		stop()
		<-ended
	})
}

func (f *fleet) fresh() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.minted)
}

// checkOrder wants the nearest expiry first. Jobs that start in the same instant are in any order.
func (f *fleet) checkOrder(all []held) {
	f.t.Helper()
	expires := map[string]time.Time{}
	for _, m := range all {
		expires[m.key] = m.expires
	}
	slices.SortStableFunc(f.began, func(a, b start) int {
		return cmp.Or(cmp.Compare(a.at, b.at), expires[a.key].Compare(expires[b.key]))
	})
	for i := range f.began[:len(f.began)-1] {
		if a, b := f.began[i], f.began[i+1]; expires[b.key].Before(expires[a.key]) {
			f.t.Fatalf("the start %d is of a token that expires at %s, and the next at %s", i, expires[a.key], expires[b.key])
		}
	}
}

// checkRate wants no more starts than that in any second.
func (f *fleet) checkRate(perSecond int) {
	f.t.Helper()
	for i := perSecond; i < len(f.began); i++ {
		if f.began[i].at-f.began[i-perSecond].at < time.Second {
			f.t.Fatalf("%d starts within %s", perSecond+1, f.began[i].at-f.began[i-perSecond].at)
		}
	}
}

// Five thousand objects of one namespace on a host that takes ten seconds for each
// answer, and a hundred of another on one that takes fifty milliseconds.
func TestASlowHostWithFiveThousandObjectsDelaysNobodyElse(t *testing.T) {
	const slow, fast = 5000, 100
	// run returns when each fast job began.
	run := func(slow int) (began []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			s := NewScheduler(SchedulerOptions{PerNamespace: 192, Total: 1024})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			now := time.Now()
			var mu sync.Mutex
			var all sync.WaitGroup
			for i := range slow {
				s.Submit(Job{Key: fmt.Sprint("slow", i), Host: "slow", Namespace: "greedy", Expires: now.Add(time.Duration(i) * time.Second), Run: func(context.Context) Outcome {
					time.Sleep(10 * time.Second)
					return Outcome{}
				}})
			}
			all.Add(fast)
			for i := range fast {
				s.Submit(Job{Key: fmt.Sprint("fast", i), Host: "fast", Namespace: "modest", Expires: now.Add(2 * time.Hour), Run: func(context.Context) Outcome {
					mu.Lock()
					began = append(began, time.Since(now))
					mu.Unlock()
					time.Sleep(50 * time.Millisecond)
					return Outcome{}
				}, Done: all.Done})
			}
			go func() { done <- s.Run(ctx) }()
			all.Wait()
			for i := range slow {
				s.Cancel(fmt.Sprint("slow", i))
			}
			stop()
			<-done
		})
		return began
	}
	alone, beside := run(0), run(slow)
	if !slices.Equal(alone, beside) {
		t.Errorf("alone they began after %v, beside the slow host after %v", alone, beside)
	}
	t.Logf("the last of %d began %s after it was due, alone and beside %d on a slow host", fast, beside[len(beside)-1], slow)
}
