package exchange

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/providertoken/operator/internal/provider"
)

// These tests run in synctest bubbles: the machine's clock is a fake one there,
// which moves on when everybody waits. So letting time pass takes none, and is exact.

var (
	_ AlarmClock = clock.RealClock{}
	_ AlarmClock = (*clocktesting.FakeClock)(nil)
)

// bench holds a Scheduler and writes down what it starts.
type bench struct {
	*Scheduler
	t     *testing.T
	began time.Time
	stop  func()
	ended chan error

	mu     sync.Mutex
	starts []start
}

type start struct {
	key string
	at  time.Duration // since the bench was set up
}

// onBench calls test with a Scheduler that only queues until run is called.
func onBench(t *testing.T, o SchedulerOptions, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{Scheduler: NewScheduler(o), t: t, began: time.Now(), ended: make(chan error, 1)}
		test(b)
		if b.stop != nil {
			b.stop()
			<-b.ended
		}
	})
}

// run lets the Scheduler start jobs.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.ended <- b.Run(ctx) }()
	synctest.Wait()
}

// pass lets time pass, and everything happen that is due by then.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// submit queues a job that takes some time and has an outcome.
func (b *bench) submit(j Job, takes time.Duration, o Outcome) bool {
	j.Run = func(context.Context) Outcome {
		b.note(j.Key)
		time.Sleep(takes)
		return o
	}
	return b.Submit(j)
}

func (b *bench) note(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.starts = append(b.starts, start{key, time.Since(b.began)})
}

// keys returns what was started so far, in order.
func (b *bench) keys() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []string
	for _, s := range b.starts {
		keys = append(keys, s.key)
	}
	return keys
}

// instants returns when the jobs whose key begins so were started.
func (b *bench) instants(prefix string) []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var instants []time.Duration
	for _, s := range b.starts {
		if strings.HasPrefix(s.key, prefix) {
			instants = append(instants, s.at)
		}
	}
	return instants
}

func (b *bench) in(d time.Duration) time.Time { return b.began.Add(d) }

func (b *bench) wantKeys(want ...string) {
	b.t.Helper()
	if got := b.keys(); !slices.Equal(got, want) {
		b.t.Errorf("started %v, want %v", got, want)
	}
}

func unavailableOutcome() Outcome { return Outcome{Kind: provider.Unavailable} }

func oneAtATime() SchedulerOptions {
	return SchedulerOptions{Limits: provider.Limits{Concurrency: 1, PerSecond: 1000}}
}

func TestNearestExpiryGoesFirst(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		for _, minutes := range []int{50, 10, 40, 20, 30} {
			b.submit(Job{Key: fmt.Sprint(minutes), Host: "h", Expires: b.in(time.Duration(minutes) * time.Minute)}, time.Second, Outcome{})
		}
		b.run()
		b.pass(time.Minute)
		b.wantKeys("10", "20", "30", "40", "50")
	})
}

func TestTheSameExpiryGoesInTheOrderOfSubmission(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint(i))
			b.submit(Job{Key: fmt.Sprint(i), Host: "h", Expires: b.in(time.Hour)}, time.Second, Outcome{})
		}
		b.run()
		b.pass(time.Minute)
		b.wantKeys(want...)
	})
}

func TestAHostHasNoMoreThanItsJobsInFlightAndStartsPerSecond(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits provider.Limits
		takes  time.Duration
		want   []int // starts within the first, second, third second
	}{
		{"default: 8 in flight", provider.Limits{}, time.Minute, []int{8, 8, 8}},
		{"default: 20 a second", provider.Limits{}, time.Millisecond, []int{20, 40, 60}},
		{"of its own", provider.Limits{Concurrency: 2, PerSecond: 3}, time.Millisecond, []int{3, 6, 9}},
		{"in flight of its own", provider.Limits{Concurrency: 2}, time.Minute, []int{2, 2, 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBench(t, SchedulerOptions{PerNamespace: 1000}, func(b *bench) {
				for i := range 100 {
					b.submit(Job{Key: fmt.Sprint(i), Host: "h", Expires: b.in(time.Hour), Limits: tc.limits}, tc.takes, Outcome{})
				}
				b.run()
				b.pass(500 * time.Millisecond)
				for i, want := range tc.want {
					if got := len(b.keys()); got != want {
						t.Errorf("%d starts after %d.5 s, want %d", got, i, want)
					}
					b.pass(time.Second)
				}
				if got := len(b.hosts["h"].starts); got > 20 {
					t.Errorf("%d starts are remembered", got)
				}
			})
		})
	}
}

func TestLimitsOfALaterJobHoldForTheHostAndItsZeroFieldsSayNothing(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.submit(Job{Key: "a", Host: "h", Limits: provider.Limits{Concurrency: 1}}, time.Minute, Outcome{})
		b.submit(Job{Key: "b", Host: "h"}, time.Minute, Outcome{})
		b.run()
		b.pass(time.Second)
		b.wantKeys("a")
		b.submit(Job{Key: "c", Host: "h", Limits: provider.Limits{Concurrency: 2}}, time.Minute, Outcome{})
		b.pass(time.Second)
		b.wantKeys("a", "b")
	})
}

func TestSixteenBlackHolesDelayNobody(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		for i := range 16 {
			for j := range 100 {
				host := fmt.Sprintf("hole%02d", i)
				b.submit(Job{Key: fmt.Sprintf("%s/%d", host, j), Host: host, Namespace: host, Expires: b.in(-time.Hour)}, 30*time.Second, unavailableOutcome())
			}
		}
		b.run()
		if got := len(b.instants("hole")); got != 128 {
			t.Fatalf("%d jobs hang, want 128", got)
		}
		for i := range 40 {
			b.submit(Job{Key: fmt.Sprintf("healthy%d", i), Host: "healthy", Namespace: fmt.Sprint(i), Expires: b.in(time.Hour)}, 50*time.Millisecond, Outcome{})
		}
		b.pass(2 * time.Second)
		if got := len(b.instants("healthy")); got != 40 {
			t.Errorf("%d of 40 healthy jobs started within 2 s", got)
		}
	})
}

func TestAGreedyNamespaceDelaysAnotherByOneStart(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		for i := range 1000 {
			b.submit(Job{Key: fmt.Sprintf("greedy%d", i), Host: "h", Namespace: "greedy", Expires: b.in(-time.Hour)}, time.Second, Outcome{})
		}
		b.run()
		b.pass(10*time.Second + time.Millisecond)
		for i := range 3 {
			b.submit(Job{Key: fmt.Sprintf("modest%d", i), Host: "h", Namespace: "modest", Expires: b.in(time.Hour)}, time.Second, Outcome{})
		}
		b.pass(time.Minute)
		want := []time.Duration{11 * time.Second, 13 * time.Second, 15 * time.Second}
		if got := b.instants("modest"); !slices.Equal(got, want) {
			t.Errorf("started after %v, want %v", got, want)
		}
	})
}

func TestANamespaceThatSubmitsOneUrgentJobAfterTheOtherIsNotAlwaysFirst(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		for i := range 3 {
			b.submit(Job{Key: fmt.Sprintf("modest%d", i), Host: "h", Namespace: "modest", Expires: b.in(time.Hour)}, time.Second, Outcome{})
		}
		for i := range 10 {
			b.submit(Job{Key: fmt.Sprintf("greedy%d", i), Host: "h", Namespace: "greedy", Expires: b.in(-time.Hour)}, time.Second, Outcome{})
			if i == 0 {
				b.run()
			}
			b.pass(900 * time.Millisecond)
		}
		if got := b.keys()[:4]; !slices.Equal(got, []string{"greedy0", "modest0", "greedy1", "modest1"}) {
			t.Errorf("started %v first", got)
		}
	})
}

func TestANamespaceHasNoMoreThanItsJobsInFlightAcrossHosts(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		for i := range 40 {
			b.submit(Job{Key: fmt.Sprintf("a%d", i), Host: fmt.Sprintf("h%d", i%5), Namespace: "a", Expires: b.in(-time.Hour)}, 10*time.Second, Outcome{})
		}
		for i := range 10 {
			b.submit(Job{Key: fmt.Sprintf("b%d", i), Host: fmt.Sprintf("h%d", i%5), Namespace: "b", Expires: b.in(time.Hour)}, 10*time.Second, Outcome{})
		}
		b.run()
		for i := range 20 {
			b.submit(Job{Key: fmt.Sprintf("c%d", i), Host: "h0", Namespace: "a", Expires: b.in(time.Hour)}, time.Second, Outcome{})
			synctest.Wait()
		}
		if got := len(b.namespaces["a"].parked); got > 5 {
			t.Errorf("%d lanes are parked at 5 hosts", got)
		}
		for i := range 20 {
			b.Cancel(fmt.Sprintf("c%d", i))
		}
		for _, want := range []int{16, 32, 40} {
			if got := len(b.instants("a")); got != want {
				t.Errorf("%d starts of the greedy namespace after %v, want %d", got, time.Since(b.began), want)
			}
			b.pass(10*time.Second + time.Millisecond)
		}
		for _, at := range b.instants("b") {
			if at != 0 {
				t.Errorf("a job of the other namespace started after %v", at)
			}
		}
	})
}

func TestALaneThatWasParkedAndEmptiedServesLaterJobs(t *testing.T) {
	o := oneAtATime()
	o.PerNamespace = 1
	onBench(t, o, func(b *bench) {
		b.submit(Job{Key: "elsewhere", Host: "other", Namespace: "a"}, 10*time.Second, Outcome{})
		b.run()
		b.submit(Job{Key: "busy", Host: "h", Namespace: "b"}, time.Minute, Outcome{})
		b.pass(time.Second)
		b.submit(Job{Key: "waits", Host: "h", Namespace: "c"}, time.Second, Outcome{})
		b.submit(Job{Key: "parked", Host: "third", Namespace: "a"}, time.Second, Outcome{})
		b.submit(Job{Key: "keeps the third host", Host: "third", Namespace: "b"}, time.Second, Outcome{})
		b.pass(time.Second)
		b.Cancel("parked")
		b.pass(10 * time.Second)
		b.submit(Job{Key: "later", Host: "third", Namespace: "a"}, time.Second, Outcome{})
		b.pass(time.Second)
		b.wantKeys("elsewhere", "busy", "later")
	})
}

func TestTheTotalInFlightIsSharedByTheHostThatWaitedLongest(t *testing.T) {
	o := oneAtATime()
	o.Total, o.Limits.Concurrency = 1, 8
	onBench(t, o, func(b *bench) {
		for _, host := range []string{"a", "b", "c"} {
			for i := range 3 {
				b.submit(Job{Key: fmt.Sprint(host, i), Host: host, Namespace: host, Expires: b.in(time.Hour)}, time.Second, Outcome{})
			}
		}
		b.run()
		b.pass(time.Minute)
		b.wantKeys("a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2")
	})
}

func TestEveryFourthStartIsForAnObjectWithoutAToken(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		for i := range 9 {
			b.submit(Job{Key: fmt.Sprintf("new%d", i), Host: "h"}, time.Second, Outcome{})
		}
		for i := range 9 {
			b.submit(Job{Key: fmt.Sprintf("old%d", i), Host: "h", Expires: b.in(time.Duration(i) * time.Hour)}, time.Second, Outcome{})
		}
		b.run()
		b.pass(time.Hour)
		b.wantKeys(
			"old0", "old1", "old2", "new0", "old3", "old4", "old5", "new1", "old6", "old7", "old8", "new2",
			"new3", "new4", "new5", "new6", "new7", "new8",
		)
	})
}

func TestAThrottledHostIsLeftAlone(t *testing.T) {
	for _, tc := range []struct {
		name  string
		asked time.Duration
		want  time.Duration
	}{
		{"for as long as it asked", 7 * time.Minute, 7 * time.Minute},
		{"for 30 s when it did not say", 0, 30 * time.Second},
		{"for an hour at most", 100 * time.Hour, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBench(t, oneAtATime(), func(b *bench) {
				b.submit(Job{Key: "first", Host: "h"}, 0, Outcome{Kind: provider.Throttled, RetryAfter: tc.asked})
				b.run()
				b.submit(Job{Key: "second", Host: "h", Namespace: "other", Expires: b.in(-time.Hour)}, 0, Outcome{})
				b.submit(Job{Key: "elsewhere", Host: "other"}, 0, Outcome{})
				synctest.Wait()
				if until, probing := b.Paused("h"); !until.Equal(b.in(tc.want)) || probing {
					t.Errorf("paused until %v, probing %v; want %v", until, probing, b.in(tc.want))
				}
				if until, _ := b.Paused("other"); !until.IsZero() {
					t.Errorf("the other host is paused until %v", until)
				}
				b.pass(2 * time.Hour)
				if got := b.instants("second"); !slices.Equal(got, []time.Duration{tc.want}) {
					t.Errorf("asked again after %v, want %v", got, tc.want)
				}
				if got := b.instants("elsewhere"); !slices.Equal(got, []time.Duration{0}) {
					t.Errorf("the other host was asked after %v", got)
				}
				if until, probing := b.Paused("h"); !until.IsZero() || probing {
					t.Errorf("paused until %v, probing %v, after the pause", until, probing)
				}
			})
		})
	}
}

func TestAShorterPauseDoesNotEndALongerOne(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.submit(Job{Key: "long", Host: "h"}, 0, Outcome{Kind: provider.Throttled, RetryAfter: time.Hour})
		b.submit(Job{Key: "short", Host: "h"}, time.Second, Outcome{Kind: provider.Throttled, RetryAfter: time.Second})
		b.submit(Job{Key: "fine", Host: "h"}, time.Second, Outcome{})
		b.run()
		b.pass(2 * time.Second)
		if until, _ := b.Paused("h"); !until.Equal(b.in(time.Hour)) {
			t.Errorf("paused until %v", until)
		}
	})
}

// takeDown makes the host count as down by three failures of a namespace.
func (b *bench) takeDown(host, namespace string) {
	for i := range 3 {
		b.submit(Job{Key: fmt.Sprintf("failing-%s-%d", namespace, i), Host: host, Namespace: namespace}, 0, unavailableOutcome())
	}
	synctest.Wait()
	if _, probing := b.Paused(host); !probing {
		b.t.Fatal("the host is not down")
	}
}

func TestAHostThatIsDownIsAskedByOneCanaryAtATimeWithGrowingDelay(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "")
		if until, _ := b.Paused("h"); !until.Equal(b.in(time.Second)) {
			t.Errorf("the first canary at %v, want a second later", until)
		}
		for i := range 100 {
			b.submit(Job{Key: fmt.Sprintf("job%02d", i), Host: "h", Expires: b.in(time.Duration(i) * time.Hour)}, 0, unavailableOutcome())
		}
		b.pass(5 * time.Minute)
		seconds := []time.Duration{1, 3, 7, 15, 31, 63, 123, 183, 243}
		for i := range seconds {
			seconds[i] *= time.Second
		}
		if got := b.instants("job"); !slices.Equal(got, seconds) {
			t.Errorf("canaries after %v, want %v", got, seconds)
		}
		if got, want := b.keys()[3:6], []string{"job00", "job01", "job02"}; !slices.Equal(got, want) {
			t.Errorf("canaries are %v, want those with the nearest expiry, %v", got, want)
		}
	})
}

func TestCanariesComeOftenerAsATokenNearsItsEnd(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "")
		const life = 2 * time.Minute
		for i := range 100 {
			b.submit(Job{Key: fmt.Sprintf("job%02d", i), Host: "h", Expires: b.in(life)}, 0, unavailableOutcome())
		}
		b.pass(life + 10*time.Second)
		if after := b.instants("job"); after[len(after)-1] < life+5*time.Second {
			t.Errorf("when the token has expired, the canaries pause after %s", after[len(after)-1])
		}
		instants := slices.DeleteFunc(b.instants("job"), func(at time.Duration) bool { return at > life })
		for i := 1; i < len(instants); i++ {
			gap, remaining := instants[i]-instants[i-1], life-instants[i-1]
			if gap > max(remaining/8, time.Second) {
				t.Errorf("%s before the end, the next canary comes after %s", remaining, gap)
			}
		}
		if last := instants[len(instants)-1]; life-last > time.Second {
			t.Errorf("the last canary comes %s before the end", life-last)
		}
	})
}

func TestTheSuccessOfACanaryStartsWhatIsQueued(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "")
		for i := range 20 {
			b.submit(Job{Key: fmt.Sprintf("job%02d", i), Host: "h", Expires: b.in(time.Duration(i) * time.Minute)}, 100*time.Millisecond, Outcome{})
		}
		b.pass(time.Second)
		if got := b.instants("job"); len(got) != 1 {
			t.Fatalf("%d canaries under way", len(got))
		}
		if until, probing := b.Paused("h"); !probing || until.After(b.in(time.Second)) {
			t.Errorf("paused until %v, probing %v, while the canary is under way", until, probing)
		}
		b.pass(100 * time.Millisecond)
		if got := b.instants("job"); len(got) != 9 {
			t.Errorf("%d jobs started when the canary came back, want it and 8", len(got))
		}
		if until, probing := b.Paused("h"); probing || !until.IsZero() {
			t.Errorf("paused until %v, probing %v", until, probing)
		}
	})
}

func TestWhatCountsAsAnAnswer(t *testing.T) {
	for _, tc := range []struct {
		kind   provider.Kind
		answer bool
	}{
		{"", true},
		{provider.Denied, true},
		{provider.LoginDenied, true},
		{provider.RefreshDenied, true},
		{provider.Throttled, true},
		{provider.Misconfigured, true},
		{provider.Unavailable, false},
		{provider.Input, false},
	} {
		t.Run(string(tc.kind), func(t *testing.T) {
			onBench(t, SchedulerOptions{}, func(b *bench) {
				b.run()
				b.takeDown("h", "")
				b.submit(Job{Key: "canary", Host: "h"}, 0, Outcome{Kind: tc.kind})
				b.pass(time.Second)
				if _, probing := b.Paused("h"); probing == tc.answer {
					t.Errorf("down is %v after this outcome of a canary", probing)
				}
			})
		})
	}
}

func TestFailuresThatAreNotInARowAreNoOutage(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		for i := range 30 {
			o := unavailableOutcome()
			if i%3 == 2 {
				o = Outcome{}
			}
			b.submit(Job{Key: fmt.Sprint(i), Host: "h"}, time.Millisecond, o)
		}
		b.run()
		b.pass(time.Second)
		if got := len(b.keys()); got != 30 {
			t.Errorf("%d of 30 jobs started", got)
		}
	})
}

func TestACanaryThatNeverAskedLetsAnotherTry(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "")
		b.submit(Job{Key: "input", Host: "h", Expires: b.in(0)}, 0, Outcome{Kind: provider.Input})
		b.submit(Job{Key: "good", Host: "h", Expires: b.in(time.Hour)}, 0, Outcome{})
		b.pass(time.Second)
		if _, probing := b.Paused("h"); probing {
			t.Error("the host is still down")
		}
	})
}

func TestFailuresOfOneNamespaceDoNotHoldUpAnother(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "broken")
		for i := range 50 {
			b.submit(Job{Key: fmt.Sprintf("broken%d", i), Host: "h", Namespace: "broken", Expires: b.in(-time.Hour)}, 0, unavailableOutcome())
		}
		b.pass(2 * time.Minute)
		before := time.Since(b.began)
		for i := range 3 {
			b.submit(Job{Key: fmt.Sprintf("working%d", i), Host: "h", Namespace: "working", Expires: b.in(time.Hour)}, time.Millisecond, Outcome{})
		}
		b.pass(time.Second)
		want := []time.Duration{before, before + time.Millisecond, before + time.Millisecond}
		if got := b.instants("working"); !slices.Equal(got, want) {
			t.Errorf("started after %v, want %v", got, want)
		}
	})
}

func TestANamespaceHasOneWitnessInAnOutage(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "broken")
		for i := range 5 {
			b.submit(Job{Key: fmt.Sprintf("old%d", i), Host: "h", Namespace: "second", Expires: b.in(time.Hour)}, 10*time.Millisecond, unavailableOutcome())
			b.submit(Job{Key: fmt.Sprintf("new%d", i), Host: "h", Namespace: "second"}, 10*time.Millisecond, unavailableOutcome())
		}
		b.pass(500 * time.Millisecond)
		if got := b.keys()[3:]; len(got) != 1 {
			t.Errorf("%v started before the first canary, want one witness", got)
		}
	})
}

func TestWhenAnOutageIsOverTheNamespacesThatFailedAreServedLikeOthers(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		b.run()
		for i := range 3 {
			b.submit(Job{Key: fmt.Sprintf("fails%d", i), Host: "h", Namespace: "a"}, 0, unavailableOutcome())
			synctest.Wait()
		}
		b.submit(Job{Key: "b0", Host: "h", Namespace: "b", Expires: b.in(time.Hour)}, 10*time.Second, Outcome{})
		synctest.Wait()
		for i := range 2 {
			b.submit(Job{Key: fmt.Sprintf("a%d", i), Host: "h", Namespace: "a", Expires: b.in(-time.Hour)}, time.Second, Outcome{})
			b.submit(Job{Key: fmt.Sprintf("c%d", i), Host: "h", Namespace: "c", Expires: b.in(time.Hour)}, time.Second, Outcome{})
		}
		b.pass(time.Minute)
		b.wantKeys("fails0", "fails1", "fails2", "b0", "a0", "c0", "a1", "c1")
	})
}

func TestAWitnessIsNotHiddenByMoreUrgentJobsOfANamespaceThatFailed(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "a")
		b.submit(Job{Key: "a0", Host: "h", Namespace: "a", Expires: b.in(-time.Hour)}, 0, unavailableOutcome())
		b.submit(Job{Key: "b0", Host: "h", Namespace: "b", Expires: b.in(time.Hour)}, time.Minute, Outcome{})
		synctest.Wait()
		if got := b.instants("b0"); len(got) != 1 {
			t.Error("the namespace without a failure has no witness")
		}
	})
}

func TestCanariesTakeTurnsBetweenNamespaces(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		b.takeDown("h", "a")
		for i := range 5 {
			b.submit(Job{Key: fmt.Sprintf("a%d", i), Host: "h", Namespace: "a", Expires: b.in(-time.Hour)}, 0, unavailableOutcome())
			b.submit(Job{Key: fmt.Sprintf("b%d", i), Host: "h", Namespace: "b", Expires: b.in(time.Hour)}, 0, unavailableOutcome())
		}
		b.pass(20 * time.Second)
		if got, want := b.keys()[3:8], []string{"b0", "a0", "a1", "b1", "a2"}; !slices.Equal(got, want) {
			t.Errorf("witness and canaries are %v, want %v", got, want)
		}
	})
}

func TestACanaryOfAnOutageThatIsOverSaysNothingAboutTheNext(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.submit(Job{Key: "slow", Host: "h", Namespace: "x"}, 2*time.Second, Outcome{})
		b.run()
		b.takeDown("h", "a")
		b.submit(Job{Key: "canary", Host: "h", Namespace: "a"}, 10*time.Second, unavailableOutcome())
		b.pass(5 * time.Second) // the canary starts at 1 s, "slow" ends the outage at 2 s
		b.takeDown("h", "b")
		b.submit(Job{Key: "second canary", Host: "h", Namespace: "b"}, 20*time.Second, unavailableOutcome())
		b.pass(6500 * time.Millisecond) // the second starts at 6 s, the first ends at 11 s
		if until, _ := b.Paused("h"); !until.Equal(b.in(6 * time.Second)) {
			t.Errorf("the first outage's canary moved the second's next probe to %v", until.Sub(b.began))
		}
		b.submit(Job{Key: "third canary", Host: "h", Namespace: "b"}, 0, unavailableOutcome())
		b.pass(5 * time.Second)
		if got := b.instants("third"); len(got) != 0 {
			t.Errorf("two canaries at once: started after %v", got)
		}
	})
}

func TestSubmitTakesOneJobPerKey(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		job := Job{Key: "k", Host: "h"}
		if !b.submit(job, time.Second, Outcome{}) {
			t.Error("the first was refused")
		}
		if b.submit(job, time.Second, Outcome{}) {
			t.Error("a second was taken while one is queued")
		}
		b.run()
		if b.submit(job, time.Second, Outcome{}) {
			t.Error("a second was taken while one is running")
		}
		b.pass(time.Second)
		if !b.submit(job, time.Second, Outcome{}) {
			t.Error("the next was refused when the first was done")
		}
		b.pass(time.Second)
		b.wantKeys("k", "k")
	})
}

func TestDoneIsCalledWhenTheKeyIsFreeAgain(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		var accepted []bool
		again := Job{Key: "a", Host: "h", Namespace: "n"}
		done := func() { accepted = append(accepted, b.submit(again, 0, Outcome{})) }
		for _, outcome := range []func() Outcome{
			func() Outcome { return Outcome{} },
			func() Outcome { panic("a bug") },
		} {
			b.Submit(Job{Key: "a", Host: "h", Namespace: "n", Done: done, Run: func(context.Context) Outcome { return outcome() }})
			if b.stop == nil {
				b.run()
			}
			b.pass(time.Second)
		}
		if !slices.Equal(accepted, []bool{true, true}) {
			t.Errorf("jobs accepted from Done: %v", accepted)
		}
		if got := len(b.keys()); got != 2 {
			t.Errorf("%d jobs of Done started", got)
		}
	})
}

func TestSubmitAgainMovesAQueuedJobToItsNewExpiry(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		for i, key := range []string{"a", "b", "c", "d"} {
			b.submit(Job{Key: key, Host: "h", Expires: b.in(time.Duration(i+1) * time.Hour)}, time.Second, Outcome{})
		}
		b.Submit(Job{Key: "d", Expires: b.in(time.Minute)})
		b.Submit(Job{Key: "b", Expires: b.in(9 * time.Hour)})
		b.Submit(Job{Key: "c"})
		b.run()
		b.Submit(Job{Key: "d", Expires: b.in(7 * time.Hour)}) // runs: nothing to move
		b.pass(time.Minute)
		b.wantKeys("d", "a", "b", "c")
	})
}

func TestCancelForgetsAQueuedJobOnly(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		b.submit(Job{Key: "running", Host: "h", Expires: b.in(1)}, time.Second, Outcome{})
		b.submit(Job{Key: "queued", Host: "h", Expires: b.in(2)}, time.Second, Outcome{})
		b.submit(Job{Key: "last", Host: "h", Expires: b.in(3)}, time.Second, Outcome{})
		b.run()
		for _, key := range []string{"running", "queued", "unknown"} {
			b.Cancel(key)
		}
		if b.submit(Job{Key: "running", Host: "h"}, time.Second, Outcome{}) {
			t.Error("a running job was forgotten")
		}
		b.pass(time.Minute)
		b.wantKeys("running", "last")
	})
}

func TestRunLetsRunningJobsEndAndStartsNoMore(t *testing.T) {
	onBench(t, oneAtATime(), func(b *bench) {
		var cancelled error
		b.Submit(Job{Key: "running", Host: "h", Run: func(ctx context.Context) Outcome {
			time.Sleep(10 * time.Second)
			cancelled = ctx.Err()
			return Outcome{}
		}})
		b.submit(Job{Key: "queued", Host: "h"}, time.Second, Outcome{})
		b.run()
		b.stop()
		if err := <-b.ended; err != nil || time.Since(b.began) != 10*time.Second {
			t.Errorf("Run returned %v after %v, want when the job was done", err, time.Since(b.began))
		}
		if cancelled != nil {
			t.Errorf("the job's context ended within the grace period: %v", cancelled)
		}
		b.wantKeys()
		b.stop = nil
	})
}

func TestRunCancelsJobsAtTheEndOfTheGracePeriod(t *testing.T) {
	onBench(t, SchedulerOptions{Grace: 5 * time.Second}, func(b *bench) {
		b.Submit(Job{Key: "hangs", Host: "h", Run: func(ctx context.Context) Outcome {
			<-ctx.Done()
			return unavailableOutcome()
		}})
		b.run()
		b.stop()
		if err := <-b.ended; err != nil || time.Since(b.began) != 5*time.Second {
			t.Errorf("Run returned %v after %v, want 5 s", err, time.Since(b.began))
		}
		b.stop = nil
	})
}

func TestASchedulerRunsOnce(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		b.run()
		if err := b.Run(t.Context()); err == nil {
			t.Error("it ran twice")
		}
	})
}

func TestAJobThatPanicsTakesNobodyWithIt(t *testing.T) {
	var key string
	var reason any
	o := oneAtATime()
	o.Panicked = func(k string, r any) { key, reason = k, r }
	onBench(t, o, func(b *bench) {
		b.Submit(Job{Key: "panics", Host: "h", Expires: b.in(1), Run: func(context.Context) Outcome { panic("oh") }})
		b.Submit(Job{Key: "exits", Host: "h", Expires: b.in(2), Run: func(context.Context) Outcome { runtime.Goexit(); return Outcome{} }})
		b.submit(Job{Key: "fine", Host: "h", Expires: b.in(3)}, time.Second, Outcome{})
		b.run()
		b.wantKeys("fine")
		if key != "panics" || reason != "oh" {
			t.Errorf("told of %q, %v", key, reason)
		}
		if got := b.Stats().Panics; got != 1 {
			t.Errorf("%d panics counted", got)
		}
		if !b.submit(Job{Key: "panics", Host: "h"}, time.Second, Outcome{}) {
			t.Error("the job cannot be submitted again")
		}
	})
}

func TestJobsThatPanicCountAsUnavailable(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		for i := range 3 {
			b.Submit(Job{Key: fmt.Sprint(i), Host: "h", Run: func(context.Context) Outcome { panic("oh") }})
		}
		b.run()
		if _, probing := b.Paused("h"); !probing {
			t.Error("the host is not down")
		}
	})
}

func (b *bench) knows(name string) bool {
	b.Scheduler.mu.Lock()
	defer b.Scheduler.mu.Unlock()
	return b.hosts[name] != nil
}

// known counts everything that a Scheduler holds.
func known(s *Scheduler) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.hosts) + len(s.namespaces) + len(s.entries) + s.agenda.len() + s.running
}

func TestAnIdleHostIsForgotten(t *testing.T) {
	for _, tc := range []struct {
		name    string
		outcome Outcome
		after   time.Duration
	}{
		{"when its last second is over", Outcome{}, time.Second},
		{"when its pause is over", Outcome{Kind: provider.Throttled, RetryAfter: time.Minute}, time.Minute},
		{"ten minutes after its last failure", unavailableOutcome(), 10 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onBench(t, SchedulerOptions{}, func(b *bench) {
				b.submit(Job{Key: "k", Host: "h"}, 0, tc.outcome)
				b.run()
				b.pass(tc.after - 1)
				if !b.knows("h") {
					t.Error("forgotten too early")
				}
				b.pass(1)
				if got := known(b.Scheduler); got != 0 {
					t.Errorf("%d things are kept", got)
				}
			})
		})
	}
}

func TestAHostWhoseJobsWereCancelledWhileParkedIsForgottenOnce(t *testing.T) {
	onBench(t, SchedulerOptions{PerNamespace: 1}, func(b *bench) {
		b.submit(Job{Key: "busy", Host: "other", Namespace: "a"}, time.Minute, Outcome{})
		b.run()
		b.submit(Job{Key: "parked", Host: "h", Namespace: "a"}, time.Second, Outcome{})
		synctest.Wait()
		b.Cancel("parked")
		b.submit(Job{Key: "elsewhere", Host: "third", Namespace: "b"}, time.Second, Outcome{})
		b.pass(30 * time.Second)
		if b.knows("h") || !b.knows("other") {
			t.Fatal("want the busy host known and the idle one forgotten")
		}
		b.submit(Job{Key: "again", Host: "h", Namespace: "b"}, time.Hour, Outcome{})
		b.pass(time.Minute)
		if !b.knows("h") {
			t.Error("a host with a running job was forgotten")
		}
	})
}

func TestStatsAreBoundedAndNameTheBusiestHosts(t *testing.T) {
	onBench(t, SchedulerOptions{}, func(b *bench) {
		for i := range 60 {
			for j := range i + 1 {
				host := fmt.Sprintf("host%02d", i)
				b.submit(Job{Key: fmt.Sprint(host, "/", j), Host: host, Namespace: host}, time.Hour, Outcome{})
			}
		}
		b.submit(Job{Key: "throttled", Host: "throttled"}, 0, Outcome{Kind: provider.Throttled})
		b.run()
		b.takeDown("down", "")
		got := b.Stats()
		if got.Running != 36+52*8 || got.Queued+got.Running != 60*61/2 || got.Paused != 1 || got.Down != 1 {
			t.Errorf("got %d running, %d queued, %d paused, %d down", got.Running, got.Queued, got.Paused, got.Down)
		}
		if len(got.Hosts) != 50 {
			t.Fatalf("%d hosts are named", len(got.Hosts))
		}
		if want := (HostStats{Host: "host59", Queued: 52, Running: 8}); got.Hosts[0] != want {
			t.Errorf("the busiest is %+v, want %+v", got.Hosts[0], want)
		}
		b.stopAll()
	})
}

// stopAll ends a bench whose jobs would take long, without waiting for them.
func (b *bench) stopAll() {
	b.stop()
	b.pass(2 * time.Hour)
}

func TestPausedOfAnUnknownHost(t *testing.T) {
	if until, probing := NewScheduler(SchedulerOptions{}).Paused("nobody"); !until.IsZero() || probing {
		t.Errorf("paused until %v, probing %v", until, probing)
	}
}

func TestAFakeClockDrivesTheScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clocktesting.NewFakeClock(time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC))
		s := NewScheduler(SchedulerOptions{Clock: fake, Limits: provider.Limits{PerSecond: 2}})
		ran := make(chan struct{}, 10)
		for i := range 5 {
			s.Submit(Job{Key: fmt.Sprint(i), Host: "h", Run: func(context.Context) Outcome { ran <- struct{}{}; return Outcome{} }})
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		for _, want := range []int{2, 4, 5} {
			synctest.Wait()
			if len(ran) != want {
				t.Errorf("%d jobs ran at %v, want %d", len(ran), fake.Now(), want)
			}
			fake.Step(time.Second)
		}
		cancel()
		<-ended
	})
}

// jumpyClock goes on by 20 s when an alarm is set, for a while: as if a fake
// clock were stepped while the Scheduler sets its alarm.
type jumpyClock struct {
	*clocktesting.FakeClock
	jumps int
}

func (c *jumpyClock) After(d time.Duration) <-chan time.Time {
	if c.jumps > 0 {
		c.jumps--
		c.Step(20 * time.Second)
	}
	return c.FakeClock.After(d)
}

func TestAnAlarmIsSetAgainWhenTheClockJumpsMeanwhile(t *testing.T) {
	fake := clocktesting.NewFakeClock(time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC))
	for jumps, want := range map[int]bool{1: false, 3: true} {
		c := &jumpyClock{FakeClock: fake, jumps: jumps}
		s := NewScheduler(SchedulerOptions{Clock: c})
		at := fake.Now().Add(50 * time.Second)
		alarm := s.alarm(at)
		if got := len(alarm) == 1; got != want {
			t.Errorf("after %d jumps the alarm has rung: %v", jumps, got)
		}
		fake.SetTime(at)
		if len(alarm) != 1 && !want {
			t.Errorf("after %d jumps the alarm does not ring at its time", jumps)
		}
	}
}

func BenchmarkTenThousandQueuedJobs(b *testing.B) {
	for b.Loop() {
		s := NewScheduler(SchedulerOptions{Limits: provider.Limits{PerSecond: 1 << 20}})
		var done sync.WaitGroup
		done.Add(10_000)
		for i := range 10_000 {
			s.Submit(Job{
				Key: fmt.Sprint(i), Host: fmt.Sprintf("h%d", i%16), Namespace: fmt.Sprintf("n%d", i%100),
				Expires: time.Unix(int64(i*7919%10_007), 0),
				Run:     func(context.Context) Outcome { done.Done(); return Outcome{} },
			})
		}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		done.Wait()
		cancel()
		<-ended
	}
}

// setClock is a machine's clock: who sets its time of day does not move its timers.
type setClock struct {
	machineClock
	off *atomic.Int64
}

func (c setClock) Now() time.Time { return c.machineClock.Now().Add(time.Duration(c.off.Load())) }

func TestAClockThatIsSetBackHoldsNoHost(t *testing.T) {
	for name, tc := range map[string]struct {
		outcome Outcome
		want    time.Duration
	}{
		"that was asked":    {Outcome{}, 3 * time.Minute},
		"that refused":      {Outcome{Kind: provider.Denied}, 3 * time.Minute},
		"that throttles":    {Outcome{Kind: provider.Throttled, RetryAfter: 7 * time.Minute}, 7*time.Minute + 30*time.Second},
		"that is not there": {Outcome{Kind: provider.Unavailable}, 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			o, off := oneAtATime(), &atomic.Int64{}
			o.Clock = setClock{off: off}
			onBench(t, o, func(b *bench) {
				b.submit(Job{Key: "first", Host: "h"}, 30*time.Second, tc.outcome)
				b.run()
				b.pass(30 * time.Second)
				off.Store(int64(-time.Hour))
				b.pass(150 * time.Second)
				b.submit(Job{Key: "second", Host: "h", Expires: b.in(time.Hour)}, 0, Outcome{})
				b.pass(2 * time.Hour)
				if got := b.instants("second"); len(got) != 1 || got[0] < tc.want-time.Second || got[0] > tc.want+2*time.Minute+31*time.Second {
					t.Errorf("asked again after %v, want %v or a little later", got, tc.want)
				}
			})
		})
	}
}
