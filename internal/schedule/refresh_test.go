package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/providertoken/operator/internal/schedule"
)

func noon() time.Time { return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC) }

func TestRefreshStaysWithinItsWindowForEverySeedAndReachesBothEnds(t *testing.T) {
	for _, tc := range []struct {
		name                string
		lifetime            time.Duration
		policy              schedule.Policy
		earliest, latest    time.Duration
		unreachedAtEachSide time.Duration
	}{
		{"5 min: the lead decides", 300 * time.Second, schedule.Policy{}, 150 * time.Second, 180 * time.Second, time.Second},
		{"15 min: two thirds decide", 900 * time.Second, schedule.Policy{}, 510 * time.Second, 600 * time.Second, 2 * time.Second},
		{"1 h: two thirds decide", 3600 * time.Second, schedule.Policy{}, 2040 * time.Second, 2400 * time.Second, 5 * time.Second},
		{"a percentage is taken exactly", 1000 * time.Second, schedule.Policy{AtPercent: 80}, 700 * time.Second, 800 * time.Second, 2 * time.Second},
		{"more than 100 % counts as 100", 1000 * time.Second, schedule.Policy{AtPercent: 250, MinimumLead: time.Second}, 899 * time.Second, 999 * time.Second, 2 * time.Second},
		{"less than 0 counts as two thirds", 900 * time.Second, schedule.Policy{AtPercent: -1}, 510 * time.Second, 600 * time.Second, 2 * time.Second},
		{"a long lead wins over two thirds", 3600 * time.Second, schedule.Policy{MinimumLead: 30 * time.Minute}, 1440 * time.Second, 1800 * time.Second, 5 * time.Second},
		{"40 % wins over a longer lead", 3600 * time.Second, schedule.Policy{MinimumLead: 50 * time.Minute}, 1440 * time.Second, 1440 * time.Second, 0},
		{"40 % wins over the jitter", 1000 * time.Second, schedule.Policy{AtPercent: 45}, 400 * time.Second, 450 * time.Second, 2 * time.Second},
		{"an interval wins over a percentage", 3600 * time.Second, schedule.Policy{AtPercent: 50, MinimumInterval: 55 * time.Minute}, 3300 * time.Second, 3300 * time.Second, 0},
		{"a lead wins over an interval", 3600 * time.Second, schedule.Policy{MinimumInterval: 2 * time.Hour}, 3480 * time.Second, 3480 * time.Second, 0},
		{"1 min: too short for the lead, the interval holds", 60 * time.Second, schedule.Policy{}, 30 * time.Second, 30 * time.Second, 0},
		{"10 s: too short for the interval too, two thirds", 10 * time.Second, schedule.Policy{}, 7 * time.Second, 7 * time.Second, 0},
		{"10 years at a percentage", tenYears, schedule.Policy{AtPercent: 90}, tenYears / 10 * 8, tenYears / 10 * 9, tenYears / 5000},
		{"2 s: the one whole second", 2 * time.Second, schedule.Policy{}, time.Second, time.Second, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first, last := tc.lifetime, time.Duration(0)
			for i := range 2000 {
				at := schedule.RefreshAt(noon(), noon().Add(tc.lifetime), tc.policy, fmt.Sprint(i)).Sub(noon())
				first, last = min(first, at), max(last, at)
			}
			if first < tc.earliest || first > tc.earliest+tc.unreachedAtEachSide {
				t.Errorf("the earliest refresh is after %v, want %v", first, tc.earliest)
			}
			if last > tc.latest || last < tc.latest-tc.unreachedAtEachSide {
				t.Errorf("the latest refresh is after %v, want %v", last, tc.latest)
			}
		})
	}
}

func TestRefreshOfATokenWithHardlyAnyLife(t *testing.T) {
	for _, tc := range []struct {
		name            string
		issued, expires time.Time
		want            time.Time
	}{
		{"expired when issued: at once", noon(), noon(), noon()},
		{"expired before it was issued: at once", noon(), noon().Add(-time.Hour), noon()},
		{"no whole second between 40 % and expiry: 40 %", noon(), noon().Add(500 * time.Millisecond), noon().Add(200 * time.Millisecond)},
		{"a nanosecond before a whole second counts as before it", noon(), noon().Add(3*time.Second - 1), noon().Add(2 * time.Second)},
		{"issued between two seconds", noon().Add(900 * time.Millisecond), noon().Add(2900 * time.Millisecond), noon().Add(2 * time.Second)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := schedule.RefreshAt(tc.issued, tc.expires, schedule.Policy{}, "seed"); !got.Equal(tc.want) {
				t.Errorf("refresh at %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRefreshIsInUTCWhateverTheIssueTimeIsIn(t *testing.T) {
	there := noon().In(time.FixedZone("there", 5*3600))
	got := schedule.RefreshAt(there, there.Add(time.Hour), schedule.Policy{}, "seed")
	want := schedule.RefreshAt(noon(), noon().Add(time.Hour), schedule.Policy{}, "seed")
	if got != want {
		t.Errorf("refresh at %v, want %v", got, want)
	}
}

func TestLifetimeIsTooShortExactlyWhenTheLeadCannotBeKept(t *testing.T) {
	for _, tc := range []struct {
		lifetime time.Duration
		policy   schedule.Policy
		want     bool
	}{
		{200 * time.Second, schedule.Policy{}, false},
		{199 * time.Second, schedule.Policy{}, true},
		{0, schedule.Policy{}, true},
		{time.Hour, schedule.Policy{MinimumLead: 36 * time.Minute}, false},
		{time.Hour, schedule.Policy{MinimumLead: 36*time.Minute + 1}, true},
	} {
		if got := schedule.LifetimeTooShort(tc.lifetime, tc.policy); got != tc.want {
			t.Errorf("a lifetime of %v with %+v: too short is %v", tc.lifetime, tc.policy, got)
		}
	}
}

func TestASeedSurvivesTheRoundingOfAnAnnotation(t *testing.T) {
	issued := noon().Add(123456789)
	kept, err := time.Parse(time.RFC3339, issued.In(time.FixedZone("", 3600)).Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	if schedule.Seed("uid", issued) != schedule.Seed("uid", kept) {
		t.Error("the seed changed")
	}
	if schedule.Seed("uid", issued) == schedule.Seed("uid", issued.Add(time.Second)) {
		t.Error("the next token has the same seed")
	}
	if schedule.Seed("uid", issued) == schedule.Seed("other", issued) {
		t.Error("another object has the same seed")
	}
}

func TestAnEffectivePolicyHasItsDefaults(t *testing.T) {
	want := schedule.Policy{MinimumLead: 2 * time.Minute, MinimumInterval: 30 * time.Second}
	if got := (schedule.Policy{AtPercent: -5}).Effective(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	set := schedule.Policy{AtPercent: 70, MinimumLead: 1, MinimumInterval: 2}
	if got := set.Effective(); got != set {
		t.Errorf("got %+v, want %+v", got, set)
	}
}

const tenYears = 10 * 366 * 24 * time.Hour

func issues() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		seconds := rapid.Int64Range(0, 1e9).Draw(t, "second")
		return noon().Add(time.Duration(seconds)*time.Second + time.Duration(rapid.Int64Range(0, 1e9-1).Draw(t, "nanosecond")))
	})
}

// lifetimes are of every order of magnitude, not mostly of years.
func lifetimes(least time.Duration) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		most := rapid.SampledFrom([]time.Duration{
			5 * time.Second, 5 * time.Minute, 2 * time.Hour, 48 * time.Hour, tenYears,
		}).Draw(t, "most")
		return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, "lifetime"))
	})
}

func policies() *rapid.Generator[schedule.Policy] {
	return rapid.Custom(func(t *rapid.T) schedule.Policy {
		durations := rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second, 10 * time.Minute, time.Hour, 24 * time.Hour})
		return schedule.Policy{
			AtPercent:       rapid.IntRange(0, 100).Draw(t, "percent"),
			MinimumLead:     time.Duration(rapid.Int64Range(0, int64(durations.Draw(t, "most lead"))).Draw(t, "lead")),
			MinimumInterval: time.Duration(rapid.Int64Range(0, int64(durations.Draw(t, "most interval"))).Draw(t, "interval")),
		}
	})
}

func TestEveryRefreshIsAWholeSecondBeforeExpiryAndAfterTwoFifthsOfTheLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued, lifetime := issues().Draw(t, "issued"), lifetimes(2*time.Second).Draw(t, "lifetime")
		expires, policy := issued.Add(lifetime), policies().Draw(t, "policy")
		seed := rapid.String().Draw(t, "seed")

		at := schedule.RefreshAt(issued, expires, policy, seed)
		if !at.Before(expires) {
			t.Errorf("refresh at %v, not before the expiry %v", at, expires)
		}
		if at.Nanosecond() != 0 {
			t.Errorf("refresh at %v, not a whole second", at)
		}
		// Exact: after is an integer and 2/5 of the lifetime is compared without division.
		if after := at.Sub(issued); after/2 < lifetime/5-1 || (lifetime < tenYears/10 && 5*after < 2*lifetime) {
			t.Errorf("refresh after %v, before 40 %% of %v", after, lifetime)
		}
		if again := schedule.RefreshAt(issued, expires, policy, seed); again != at {
			t.Errorf("refresh at %v, the second time at %v", at, again)
		}
	})
}

func TestEveryRefreshKeepsLeadAndIntervalWhereTheLifetimeHasRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued, lifetime := issues().Draw(t, "issued"), lifetimes(2*time.Second).Draw(t, "lifetime")
		policy := policies().Draw(t, "policy").Effective()
		after := schedule.RefreshAt(issued, issued.Add(lifetime), policy, "seed").Sub(issued)
		if schedule.LifetimeTooShort(lifetime, policy) {
			return
		}
		if lead := lifetime - after; lead <= policy.MinimumLead-time.Second {
			t.Errorf("lead is %v, want %v", lead, policy.MinimumLead)
		}
		if policy.MinimumInterval <= lifetime-policy.MinimumLead-time.Second && after < policy.MinimumInterval {
			t.Errorf("refresh after %v, within the interval of %v", after, policy.MinimumInterval)
		}
	})
}

func TestEveryPositiveLifetimeHasARefreshBeforeItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued, lifetime := issues().Draw(t, "issued"), time.Duration(rapid.Int64Range(1, int64(2*time.Second)).Draw(t, "lifetime"))
		at := schedule.RefreshAt(issued, issued.Add(lifetime), policies().Draw(t, "policy"), "seed")
		if after := at.Sub(issued); 5*after < 2*lifetime || lifetime > 1 && after >= lifetime {
			t.Errorf("refresh after %v of %v", after, lifetime)
		}
	})
}

func TestSeedsSpreadRefreshesEvenly(t *testing.T) {
	var tenths [10]int
	for i := range 10_000 {
		seed := schedule.Seed(fmt.Sprintf("uid-%d", i), noon())
		at := schedule.RefreshAt(noon(), noon().Add(24*time.Hour), schedule.Policy{}, seed)
		before := noon().Add(16 * time.Hour).Sub(at)
		tenths[min(int(before*10/(24*time.Hour/10)), 9)]++
	}
	for i, n := range tenths {
		if n < 850 || n > 1150 {
			t.Errorf("%d of 10000 refreshes fall into tenth %d of the jitter, want about 1000", n, i)
		}
	}
}

func TestEveryRefreshBeginsWithinTheSecondBeforeItsInstantAndKeepsItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued, lifetime := issues().Draw(t, "issued"), lifetimes(1).Draw(t, "lifetime")
		policy, seed := policies().Draw(t, "policy"), rapid.String().Draw(t, "seed")
		expires := issued.Add(lifetime)
		at := schedule.RefreshAt(issued, expires, policy, seed)
		parts := rapid.IntRange(-1, 100).Draw(t, "parts")
		begin := schedule.BeginAt(at, issued, expires, policy, seed, parts)
		if parts <= 1 && begin != at {
			t.Errorf("begins at %v, though %v is not divided", begin, at)
		}
		if begin.After(at) || !begin.After(at.Add(-time.Second)) {
			t.Errorf("begins at %v, want within the second before %v", begin, at)
		}
		if after := begin.Sub(issued); after/2 < lifetime/5-1 || (lifetime < tenYears/10 && 5*after < 2*lifetime) {
			t.Errorf("begins after %v, before 40 %% of %v", after, lifetime)
		}
		interval := policy.Effective().MinimumInterval
		if after := at.Sub(issued); after >= interval && begin.Sub(issued) < interval && !schedule.LifetimeTooShort(lifetime, policy) && interval <= lifetime-policy.Effective().MinimumLead {
			t.Errorf("begins after %v, within the interval of %v", begin.Sub(issued), interval)
		}
		if again := schedule.BeginAt(at, issued, expires, policy, seed, parts); again != begin {
			t.Errorf("begins at %v, the second time at %v", begin, again)
		}
	})
}

func TestATokenWithoutAnyLifeIsReplacedAtOnce(t *testing.T) {
	if got := schedule.BeginAt(noon(), noon(), noon().Add(-time.Hour), schedule.Policy{}, "seed", 10); got != noon() {
		t.Errorf("begins at %v, want %v", got, noon())
	}
}

func TestWhatIsDueInOneSecondBeginsInEachPartOfIt(t *testing.T) {
	const parts = 8
	begun := map[time.Duration]int{}
	issued, at := noon(), noon().Add(16*time.Hour)
	for i := range 8000 {
		seed := schedule.Seed(fmt.Sprintf("uid-%d", i), issued)
		begun[at.Sub(schedule.BeginAt(at, issued, noon().Add(24*time.Hour), schedule.Policy{}, seed, parts))]++
	}
	for i := range parts {
		if n := begun[time.Duration(i)*time.Second/parts]; n < 850 || n > 1150 {
			t.Errorf("%d of 8000 begin in part %d of the second, want about 1000", n, i)
		}
	}
}

func TestATokenIsFromTheFutureWhenClocksCannotDifferThatMuch(t *testing.T) {
	for _, tc := range []struct {
		lifetime, ahead time.Duration
		want            bool
	}{
		{time.Hour, 0, false},
		{time.Hour, -time.Hour, false},
		{time.Hour, time.Minute, false},
		{time.Hour, time.Minute + time.Second, true},
		{time.Hour, time.Hour, true},
		{30 * time.Second, 3 * time.Second, false},
		{30 * time.Second, 4 * time.Second, true},
	} {
		issued := noon().Add(tc.ahead)
		if got := schedule.FromFuture(issued, issued.Add(tc.lifetime), noon()); got != tc.want {
			t.Errorf("a token of %v, issued %v ahead: %v", tc.lifetime, tc.ahead, got)
		}
	}
}
