package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestSeriesOfADeletedObjectGoWithIt(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_800_000_000, 0)
	m.Token("ns", "gone", at, at, true)
	m.Token("ns", "stays", at.Add(time.Hour), at, false)
	m.Forget("ns", "gone")
	want := `
# HELP providertoken_ready 1 while the target Secret holds an unexpired token for the current spec, else 0.
# TYPE providertoken_ready gauge
providertoken_ready{name="stays",namespace="ns"} 0
# HELP providertoken_token_expiry_timestamp_seconds When the token in the target Secret expires, in seconds since the epoch.
# TYPE providertoken_token_expiry_timestamp_seconds gauge
providertoken_token_expiry_timestamp_seconds{name="stays",namespace="ns"} 1.8000036e+09
`
	err = testutil.GatherAndCompare(registry, strings.NewReader(want), "providertoken_ready", "providertoken_token_expiry_timestamp_seconds")
	if err != nil {
		t.Error(err)
	}
}

func TestATokenThatIsUnknownHasNoInstants(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	m.Token("ns", "a", time.Unix(1, 0), time.Unix(1, 0), true)
	m.Token("ns", "a", time.Time{}, time.Time{}, false)
	if n, err := testutil.GatherAndCount(registry, "providertoken_token_expiry_timestamp_seconds"); err != nil || n != 0 {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestExchangesAreCountedByOutcome(t *testing.T) {
	m, err := New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	m.Exchanged("UP42", "success", time.Second)
	m.Exchanged("UP42", "success", time.Second)
	m.Exchanged("UP42", "Denied", time.Second)
	m.Published("UP42", time.Minute, true)
	m.Published("UP42", 0, false)
	if got := testutil.ToFloat64(m.exchanges.WithLabelValues("UP42", "success")); got != 2 {
		t.Errorf("%v successes", got)
	}
	if n := testutil.CollectAndCount(m.left); n != 1 {
		t.Errorf("%d series of validity", n)
	}
	if _, err := New(prometheus.NewRegistry()); err != nil {
		t.Error(err)
	}
}
