package exchange

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/providertoken/operator/internal/provider"
)

// plannedJob is one job of a random load.
type plannedJob struct {
	host, namespace int
	expires         time.Duration // since the beginning; 0: no token
	submitted       time.Duration
	takes           time.Duration
	outcome         Outcome
}

func plannedJobs() *rapid.Generator[[]plannedJob] {
	kinds := []provider.Kind{"", "", "", provider.Denied, provider.Unavailable, provider.Unavailable, provider.Throttled, provider.Input}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plannedJob {
		return plannedJob{
			host:      rapid.IntRange(0, 3).Draw(t, "host"),
			namespace: rapid.IntRange(0, 3).Draw(t, "namespace"),
			expires:   time.Duration(rapid.IntRange(0, 20).Draw(t, "expires")) * time.Minute,
			submitted: time.Duration(rapid.IntRange(0, 5000).Draw(t, "submitted")) * time.Millisecond,
			takes:     time.Duration(rapid.IntRange(0, 3000).Draw(t, "takes")) * time.Millisecond,
			outcome: Outcome{
				Kind:       rapid.SampledFrom(kinds).Draw(t, "kind"),
				RetryAfter: time.Duration(rapid.IntRange(0, 60).Draw(t, "retry after")) * time.Second,
			},
		}
	}), 1, 120)
}

// ran is what became of a plannedJob.
type ran struct {
	plannedJob
	starts     int
	start, end time.Time
}

// carryOut runs the load in a bubble and returns what happened, and how many
// things the Scheduler still knows a day later.
func carryOut(t *testing.T, plan []plannedJob, o SchedulerOptions) (results []*ran, kept int) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s := NewScheduler(o)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		began := time.Now()
		for i, p := range plan {
			r := &ran{plannedJob: p}
			results = append(results, r)
			job := Job{Key: fmt.Sprint(i), Host: fmt.Sprint(p.host), Namespace: fmt.Sprint(p.namespace), Run: func(context.Context) Outcome {
				r.starts++
				r.start = time.Now()
				time.Sleep(p.takes)
				r.end = time.Now()
				return p.outcome
			}}
			if p.expires > 0 {
				job.Expires = began.Add(p.expires)
			}
			time.AfterFunc(p.submitted, func() { s.Submit(job) })
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		kept = known(s)
		cancel()
		<-ended
	})
	return results, kept
}

// most returns the largest number of jobs of a group that were in flight at once.
func most(results []*ran, group func(*ran) int) int {
	largest := 0
	for _, r := range results {
		inFlight := 0
		for _, other := range results {
			if group(other) == group(r) && !other.start.After(r.start) && other.end.After(r.start) {
				inFlight++
			}
		}
		largest = max(largest, inFlight)
	}
	return largest
}

func TestEveryJobRunsOnceAndNoLimitIsEverExceeded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := SchedulerOptions{
			PerNamespace: rapid.IntRange(1, 4).Draw(rt, "per namespace"),
			Total:        rapid.IntRange(1, 8).Draw(rt, "total"),
			Limits: provider.Limits{
				Concurrency: rapid.IntRange(1, 4).Draw(rt, "concurrency"),
				PerSecond:   rapid.IntRange(1, 6).Draw(rt, "per second"),
			},
		}
		results, kept := carryOut(t, plannedJobs().Draw(rt, "jobs"), o)

		for i, r := range results {
			if r.starts != 1 {
				rt.Fatalf("job %d ran %d times", i, r.starts)
			}
		}
		if kept != 0 {
			rt.Errorf("%d things are still known a day later", kept)
		}
		if got := most(results, func(*ran) int { return 0 }); got > o.Total {
			rt.Errorf("%d jobs in flight", got)
		}
		if got := most(results, func(r *ran) int { return r.host }); got > o.Limits.Concurrency {
			rt.Errorf("%d jobs in flight at a host", got)
		}
		if got := most(results, func(r *ran) int { return r.namespace }); got > o.PerNamespace {
			rt.Errorf("%d jobs in flight of a namespace", got)
		}
		checkStarts(rt, results, o.Limits.PerSecond)
	})
}

// checkStarts checks starts per second, and that nothing starts in a pause.
func checkStarts(rt *rapid.T, results []*ran, perSecond int) {
	byHost := map[int][]*ran{}
	for _, r := range results {
		byHost[r.host] = append(byHost[r.host], r)
	}
	for name, jobs := range byHost {
		slices.SortFunc(jobs, func(a, b *ran) int { return a.start.Compare(b.start) })
		for i := perSecond; i < len(jobs); i++ {
			if jobs[i].start.Sub(jobs[i-perSecond].start) < time.Second {
				rt.Errorf("more than %d starts in a second at host %d", perSecond, name)
			}
		}
		for _, throttled := range jobs {
			if throttled.outcome.Kind != provider.Throttled {
				continue
			}
			for _, r := range jobs {
				if r.start.After(throttled.end) && r.start.Before(throttled.end.Add(pause(throttled.outcome.RetryAfter))) {
					rt.Errorf("host %d was asked while it was paused", name)
				}
			}
		}
	}
}

func TestNewObjectsAndRefreshesBothGetTheirShareOfAHost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		refreshes, firsts := rapid.IntRange(0, 60).Draw(rt, "refreshes"), rapid.IntRange(0, 60).Draw(rt, "firsts")
		var plan []plannedJob
		for i := range refreshes {
			plan = append(plan, plannedJob{expires: time.Duration(i+1) * time.Second, takes: time.Second, namespace: rapid.IntRange(0, 2).Draw(rt, "namespace")})
		}
		for range firsts {
			plan = append(plan, plannedJob{takes: time.Second, namespace: rapid.IntRange(0, 2).Draw(rt, "namespace")})
		}
		results, _ := carryOut(t, plan, oneAtATime())
		slices.SortFunc(results, func(a, b *ran) int { return a.start.Compare(b.start) })
		for i, r := range results {
			// While both kinds wait, any four starts in a row hold one new object.
			leftRefreshes, leftFirsts := left(results[i:])
			if i+4 > len(results) || leftRefreshes < 4 || leftFirsts < 4 || r.start.Sub(results[0].start) < time.Second {
				continue
			}
			if _, got := left(results[i : i+4]); got != 1 {
				rt.Errorf("starts %d to %d hold %d new objects, want 1", i, i+3, got)
			}
		}
	})
}

func left(results []*ran) (refreshes, firsts int) {
	for _, r := range results {
		if r.expires == 0 {
			firsts++
		} else {
			refreshes++
		}
	}
	return refreshes, firsts
}
