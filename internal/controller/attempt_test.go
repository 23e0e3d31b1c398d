package controller

import (
	"testing"
	"time"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
)

func TestTheSchedulerLearnsNothingFromWhatWasHeldBack(t *testing.T) {
	denied := &provider.Error{Kind: provider.LoginDenied}
	throttled := &provider.Error{Kind: provider.Throttled, RetryAfter: time.Minute}
	for _, c := range []struct {
		name string
		v    verdict
		want exchange.Outcome
	}{
		{"a token", verdict{}, exchange.Outcome{}},
		{"a refusal", verdict{err: denied, frozenUntil: time.Unix(1, 0)}, exchange.Outcome{Kind: provider.LoginDenied}},
		{"a frozen login", verdict{err: denied, frozenUntil: time.Unix(1, 0), ours: true}, exchange.Outcome{Kind: provider.Input}},
		{"throttling", verdict{err: throttled}, exchange.Outcome{Kind: provider.Throttled, RetryAfter: time.Minute}},
	} {
		if got := c.v.outcome(); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestPatienceLeavesTimeForAnotherTry(t *testing.T) {
	now := time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)
	for remaining, want := range map[time.Duration]time.Duration{
		-time.Second:     30 * time.Second, // it has expired
		time.Second:      10 * time.Second,
		18 * time.Second: 10 * time.Second,
		90 * time.Second: 15 * time.Second,
		2 * time.Minute:  20 * time.Second, // 90 s are a kubelet's
		time.Hour:        30 * time.Second,
	} {
		if got := patience(now.Add(remaining), now); got != want {
			t.Errorf("%s before the end, an exchange may take %s, want %s", remaining, got, want)
		}
	}
	if got := patience(time.Time{}, now); got != 30*time.Second {
		t.Errorf("without a token, an exchange may take %s", got)
	}
}
