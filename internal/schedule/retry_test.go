package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/providertoken/operator/internal/schedule"
)

func TestEachClassOfFailureHasItsOwnDelays(t *testing.T) {
	const whole = 1.0
	for _, tc := range []struct {
		class   schedule.Class
		attempt int
		ceiling time.Duration
		jitter  float64 // the part of the ceiling over which delays are spread
	}{
		{schedule.Unavailable, 1, time.Second, whole},
		{schedule.Unavailable, 2, 2 * time.Second, whole},
		{schedule.Unavailable, 9, 256 * time.Second, whole},
		{schedule.Unavailable, 10, 5 * time.Minute, whole},
		{schedule.Unavailable, 1_000_000_000, 5 * time.Minute, whole},
		{schedule.Unavailable, 0, time.Second, whole},
		{schedule.Unavailable, -3, time.Second, whole},
		{"SomethingNew", 3, 4 * time.Second, whole},
		{schedule.KubernetesAPI, 1, time.Second, whole},
		{schedule.KubernetesAPI, 6, 30 * time.Second, whole},
		{schedule.Denied, 1, 15 * time.Minute, 0.1},
		{schedule.Denied, 2, 30 * time.Minute, 0.1},
		{schedule.Denied, 7, 16 * time.Hour, 0.1},
		{schedule.Denied, 8, 24 * time.Hour, 0.1},
		{schedule.LoginDenied, 1, 15 * time.Minute, 0.1},
		{schedule.LoginDenied, 50, 24 * time.Hour, 0.1},
		{schedule.Misconfigured, 1, time.Minute, 0.1},
		{schedule.Misconfigured, 5, 16 * time.Minute, 0.1},
		{schedule.Misconfigured, 6, 30 * time.Minute, 0.1},
		{schedule.Throttled, 1, 30 * time.Second, 0.1},
		{schedule.Throttled, 9, 5 * time.Minute, 0.1},
	} {
		t.Run(fmt.Sprintf("%s, attempt %d", tc.class, tc.attempt), func(t *testing.T) {
			least, most := tc.ceiling, time.Duration(0)
			for i := range 1000 {
				delay := schedule.RetryAt(schedule.Failure{
					Class: tc.class, Attempt: tc.attempt, At: noon(), Seed: fmt.Sprint(i),
				}).Sub(noon())
				least, most = min(least, delay), max(most, delay)
			}
			lower := max(tc.ceiling-time.Duration(tc.jitter*float64(tc.ceiling)), 100*time.Millisecond)
			margin := time.Duration(0.02 * tc.jitter * float64(tc.ceiling))
			if least < lower || least > lower+margin || most > tc.ceiling || most < tc.ceiling-margin {
				t.Errorf("delays from %v to %v, want from %v to %v", least, most, lower, tc.ceiling)
			}
		})
	}
}

func TestWhatOnlyAnEditCanMendIsNotRetried(t *testing.T) {
	for _, class := range []schedule.Class{schedule.Input, schedule.RefreshDenied} {
		if at := schedule.RetryAt(schedule.Failure{Class: class, Attempt: 1, At: noon()}); !at.IsZero() {
			t.Errorf("%s is retried at %v", class, at)
		}
	}
}

func TestAProviderThatThrottlesIsObeyedForAnHourAtMost(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		time.Second:        time.Second,
		59 * time.Minute:   59 * time.Minute,
		time.Hour + 1:      time.Hour,
		1000 * time.Hour:   time.Hour,
		7777 * time.Minute: time.Hour,
	} {
		got := schedule.RetryAt(schedule.Failure{
			Class: schedule.Throttled, Attempt: 9, At: noon(), RetryAfter: asked, Seed: "seed",
			Expires: noon().Add(10 * time.Second),
		}).Sub(noon())
		if got != want {
			t.Errorf("asked for %v, retried after %v, want %v", asked, got, want)
		}
	}
}

func TestRetriesComeCloserTogetherAsTheExpiryComesNearer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		remaining := time.Duration(rapid.Int64Range(1, int64(2*time.Hour)).Draw(t, "remaining"))
		f := schedule.Failure{
			Class:   rapid.SampledFrom([]schedule.Class{schedule.Unavailable, schedule.KubernetesAPI}).Draw(t, "class"),
			Attempt: rapid.IntRange(1, 40).Draw(t, "attempt"),
			At:      noon(),
			Expires: noon().Add(remaining),
			Seed:    rapid.String().Draw(t, "seed"),
		}
		at := schedule.RetryAt(f)
		if delay := at.Sub(noon()); delay > max(remaining/8, time.Second) || delay < 100*time.Millisecond {
			t.Errorf("retry after %v with %v to live", delay, remaining)
		}
		if again := schedule.RetryAt(f); again != at {
			t.Errorf("retry at %v, the second time at %v", at, again)
		}
	})
}

func TestRetriesDoNotComeCloserTogetherWithoutEnd(t *testing.T) {
	longest := time.Duration(0)
	for i := range 100 {
		at := schedule.RetryAt(schedule.Failure{
			Class: schedule.Unavailable, Attempt: 20, At: noon(), Expires: noon().Add(time.Second), Seed: fmt.Sprint(i),
		})
		longest = max(longest, at.Sub(noon()))
	}
	if longest < 900*time.Millisecond {
		t.Errorf("a second before expiry no retry comes later than %v", longest)
	}
}

func TestAnOutageOfTheLastTenMinutesOfALifeIsTriedOften(t *testing.T) {
	// With a token that expires in ten minutes and a long row of failures, full
	// back-off would try about four times.
	expires, now, attempts := noon().Add(10*time.Minute), noon(), 0
	for now.Before(expires) {
		attempts++
		now = schedule.RetryAt(schedule.Failure{
			Class: schedule.Unavailable, Attempt: 20 + attempts, At: now, Expires: expires, Seed: "seed",
		})
	}
	if attempts < 30 || attempts > 200 {
		t.Errorf("%d attempts in the last ten minutes", attempts)
	}
}

// Whatever a provider answers may be its own mistake, which ends before the token does.
func TestNoFailureOutlastsATokenForWantOfARetry(t *testing.T) {
	for class, least := range map[schedule.Class]time.Duration{
		schedule.Unavailable: time.Second, schedule.Misconfigured: 10 * time.Second,
		schedule.Throttled: 30 * time.Second, schedule.Denied: 30 * time.Second,
	} {
		t.Run(string(class), func(t *testing.T) {
			expires, now, attempts := noon().Add(20*time.Minute), noon(), 0
			for last := now; now.Before(expires); last = now {
				attempts++
				now = schedule.RetryAt(schedule.Failure{
					Class: class, Attempt: attempts, At: now, Since: noon(), Expires: expires, Seed: "seed",
				})
				if wait := now.Sub(last); wait > max(expires.Sub(last)/2, least) {
					t.Errorf("%v before the expiry the next attempt is %v later", expires.Sub(last), wait)
				}
			}
			if attempts > 150 {
				t.Errorf("%d attempts in twenty minutes", attempts)
			}
		})
	}
}

// A tried password is one step to a locked account, however little life the token has left.
func TestADeniedLoginIsNotTriedMoreOftenNearTheExpiry(t *testing.T) {
	f := schedule.Failure{Class: schedule.LoginDenied, Attempt: 1, At: noon(), Since: noon(), Expires: noon().Add(time.Minute), Seed: "seed"}
	if wait := schedule.RetryAt(f).Sub(noon()); wait < 13*time.Minute {
		t.Errorf("a denied login is tried again after %v", wait)
	}
}

func TestAttemptsBeforeTheExpiryDoNotPutOffThoseAfterIt(t *testing.T) {
	for class, first := range map[schedule.Class]time.Duration{
		schedule.Misconfigured: time.Minute, schedule.Throttled: 30 * time.Second, schedule.Denied: 15 * time.Minute,
	} {
		expires := noon().Add(4 * time.Minute)
		f := schedule.Failure{Class: class, Attempt: 12, At: expires, Since: noon(), Expires: expires, Seed: "seed"}
		if wait := schedule.RetryAt(f).Sub(expires); wait > first+4*time.Minute {
			t.Errorf("%s: four minutes into an outage the next attempt is %v later", class, wait)
		}
	}
}

func TestWithoutATokenTheLengthOfAnOutageIsDoubledToo(t *testing.T) {
	now := noon()
	for attempt, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
		next := schedule.RetryAt(schedule.Failure{Class: schedule.Misconfigured, Attempt: attempt + 1, At: now, Since: noon(), Seed: "seed"})
		if wait := next.Sub(now); wait > want || wait < want*8/10 {
			t.Errorf("attempt %d is repeated after %v, want %v", attempt+1, wait, want)
		}
		now = next
	}
}

func TestRetriesOfAnExpiredTokenBackOffAsIfThereWereNone(t *testing.T) {
	none := schedule.Failure{Class: schedule.Unavailable, Attempt: 12, At: noon(), Seed: "seed"}
	expired := none
	expired.Expires = noon().Add(-time.Minute)
	if a, b := schedule.RetryAt(none), schedule.RetryAt(expired); a != b {
		t.Errorf("%v with an expired token, %v without any", b, a)
	}
}

func TestTwoObjectsThatCollideOnceDoNotCollideForEver(t *testing.T) {
	same := 0
	for attempt := 1; attempt <= 20; attempt++ {
		f := schedule.Failure{Class: schedule.Unavailable, Attempt: attempt, At: noon(), Seed: "a"}
		g := f
		g.Seed = "b"
		if schedule.RetryAt(f).Equal(schedule.RetryAt(g)) {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d of 20 retries coincide", same)
	}
	ratio := func(attempt int) float64 {
		f := schedule.Failure{Class: schedule.Unavailable, Attempt: attempt, At: noon(), Seed: "a"}
		return float64(schedule.RetryAt(f).Sub(noon())) / float64(min(time.Second<<(attempt-1), 5*time.Minute))
	}
	if ratio(10) == ratio(11) {
		t.Error("the draw is the same for each attempt")
	}
}
