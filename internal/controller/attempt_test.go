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
