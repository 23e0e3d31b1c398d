package schedule_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/providertoken/operator/internal/schedule"
)

func TestEveryRefreshIsWithinItsWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
		life := time.Duration(rapid.IntRange(2, 100_000).Draw(t, "seconds")) * time.Second
		p := schedule.Policy{
			AtPercent:       rapid.SampledFrom([]int{0, 40, 66, 95}).Draw(t, "at"),
			MinimumLead:     time.Duration(rapid.IntRange(0, 4000).Draw(t, "lead")) * time.Second,
			MinimumInterval: time.Duration(rapid.IntRange(0, 4000).Draw(t, "interval")) * time.Second,
		}
		from, to, _ := schedule.Window(life, p)
		after := schedule.RefreshAt(issued, issued.Add(life), p, rapid.String().Draw(t, "seed")).Sub(issued)
		if after < from-time.Second || after > to+time.Second {
			t.Fatalf("a token of %s is refreshed after %s, which is not between %s and %s", life, after, from, to)
		}
	})
}

func TestTheWindowTellsWhatDecides(t *testing.T) {
	for _, c := range []struct {
		life     time.Duration
		from, to time.Duration
		early    bool
	}{
		{5 * time.Minute, 150 * time.Second, 180 * time.Second, true},   // the lead
		{15 * time.Minute, 510 * time.Second, 600 * time.Second, false}, // two thirds
		{2 * time.Minute, 48 * time.Second, 48 * time.Second, true},     // 40 %, since the lead is all of it
	} {
		from, to, early := schedule.Window(c.life, schedule.Policy{})
		if from != c.from || to != c.to || early != c.early {
			t.Errorf("%s: from %s to %s, by the lead: %t", c.life, from, to, early)
		}
	}
}
