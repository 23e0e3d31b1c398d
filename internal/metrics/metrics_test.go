package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// start is when everything in these tests begins.
var start = time.Unix(1_800_000_000, 0)

// everything is Metrics in which each collector has something to tell.
func everything(t *testing.T, o Options) (*Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := NewWith(registry, o)
	if err != nil {
		t.Fatal(err)
	}
	m.Watch(func() []Host {
		return []Host{
			{Name: "api.example.com:443", Down: true, Running: 1, Waiting: map[string]int{UrgencySoon: 2}},
			{Name: "other", Throttled: true, Waiting: map[string]int{UrgencyNone: 1}},
			{Name: "other", Running: 3, Waiting: map[string]int{UrgencyNone: 4}},
		}
	}, func() time.Time { return start })
	m.Exchanged("UP42", "success", time.Second)
	m.Exchanged("UP42", "success", time.Second)
	m.Exchanged("UP42", "Denied", time.Second)
	m.Published("UP42", time.Minute, true)
	m.Published("UP42", 0, false)
	m.Refreshed("UP42", 3*time.Second)
	m.Refreshed("UP42", -time.Second)
	m.Froze("UP42")
	m.StatusWritten(nil)
	m.StatusWritten(errors.New("no"))
	m.Nudged(NudgeTold, 1, time.Second)
	m.Token(fresh("stays"))
	gone := fresh("gone")
	gone.Name, gone.Reason, gone.FailingSince = "gone", "LoginFrozen", start
	gone.CredentialExpiresAt = start.Add(time.Hour)
	gone.Credential = "ns/gone"
	m.Token(gone)
	return m, registry
}

// fresh is a token of five minutes that was just issued.
func fresh(name string) Token {
	return Token{
		Namespace: "ns", Name: name, Ready: true,
		Group:    Group{Provider: "UP42", Host: "api.example.com:443", Credential: "ns/login", Severity: "warning"},
		IssuedAt: start, RefreshAt: start.Add(180 * time.Second), ExpiresAt: start.Add(300 * time.Second),
	}
}

func TestNamesAndUnitsFollowPrometheusConventions(t *testing.T) {
	_, registry := everything(t, Options{Version: "v1", Commit: "abc", GoVersion: "go"})
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestSeriesOfADeletedObjectGoWithIt(t *testing.T) {
	m, registry := everything(t, Options{})
	if !mentions(t, registry, "gone") {
		t.Fatal("there is no series to go")
	}
	m.Forget("ns", "gone")
	if mentions(t, registry, "gone") {
		t.Error("a series outlives its object")
	}
	if !mentions(t, registry, "stays") {
		t.Error("the series of another object went, too")
	}
}

// mentions tells whether a label has that value, or ends with it.
func mentions(t *testing.T, registry *prometheus.Registry, value string) bool {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if strings.HasSuffix(l.GetValue(), value) {
					return true
				}
			}
		}
	}
	return false
}

func TestAFleetTooLargeForSeriesOfObjectsHasSums(t *testing.T) {
	_, registry := everything(t, Options{Aggregated: true})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if n := l.GetName(); n == "namespace" || n == "name" || n == "credential" && l.GetValue() != "" {
					t.Errorf("%s has the label %s=%q", f.GetName(), n, l.GetValue())
				}
			}
		}
	}
	want := `
# HELP providertoken_failing_tokens ProviderTokens whose token cannot be replaced, by reason, and phase: early, late (more than half of the time has passed that was left when the refresh was due), expired, missing.
# TYPE providertoken_failing_tokens gauge
providertoken_failing_tokens{credential="",host="api.example.com:443",phase="early",provider="UP42",reason="LoginFrozen",severity="warning"} 1
# HELP providertoken_tokens ProviderTokens by state: fresh, overdue, failing, pending, missing, expired, suspended.
# TYPE providertoken_tokens gauge
providertoken_tokens{credential="",host="api.example.com:443",provider="UP42",severity="warning",state="failing"} 1
providertoken_tokens{credential="",host="api.example.com:443",provider="UP42",severity="warning",state="fresh"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "providertoken_failing_tokens", "providertoken_tokens"); err != nil {
		t.Error(err)
	}
}

func TestHostsOfOneNameAreAddedUp(t *testing.T) {
	_, registry := everything(t, Options{})
	want := `
# HELP providertoken_exchanges_waiting Exchanges that wait for their turn, by urgency: none (no valid token), soon (it expires within two minutes), routine.
# TYPE providertoken_exchanges_waiting gauge
providertoken_exchanges_waiting{host="api.example.com:443",urgency="none"} 0
providertoken_exchanges_waiting{host="api.example.com:443",urgency="routine"} 0
providertoken_exchanges_waiting{host="api.example.com:443",urgency="soon"} 2
providertoken_exchanges_waiting{host="other",urgency="none"} 5
providertoken_exchanges_waiting{host="other",urgency="routine"} 0
providertoken_exchanges_waiting{host="other",urgency="soon"} 0
# HELP providertoken_host_down 1 while a provider's host gave no answer three times in a row or more, 0 while it is in use and answers.
# TYPE providertoken_host_down gauge
providertoken_host_down{host="api.example.com:443"} 1
providertoken_host_down{host="other"} 0
# HELP providertoken_host_throttled 1 while a provider's host asked to be left alone for a while, else 0.
# TYPE providertoken_host_throttled gauge
providertoken_host_throttled{host="api.example.com:443"} 0
providertoken_host_throttled{host="other"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "providertoken_exchanges_waiting", "providertoken_host_down", "providertoken_host_throttled"); err != nil {
		t.Error(err)
	}
}

func TestATokenThatIsUnknownHasNoInstants(t *testing.T) {
	m, registry := everything(t, Options{})
	m.Forget("ns", "gone")
	m.Token(Token{Namespace: "ns", Name: "stays"})
	for _, name := range []string{
		"providertoken_token_expiry_timestamp_seconds", "providertoken_token_refresh_timestamp_seconds", "providertoken_token_issued_timestamp_seconds",
		"providertoken_failing_since_timestamp_seconds", "providertoken_credential_expiry_timestamp_seconds", "providertoken_earliest_token_expiry_timestamp_seconds",
	} {
		if n, err := testutil.GatherAndCount(registry, name); err != nil || n != 0 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}

func TestExchangesAreCountedByOutcome(t *testing.T) {
	m, _ := everything(t, Options{})
	if got := testutil.ToFloat64(m.exchanges.WithLabelValues("UP42", "success")); got != 2 {
		t.Errorf("%v successes", got)
	}
	if n := testutil.CollectAndCount(m.left); n != 1 {
		t.Errorf("%d series of validity", n)
	}
	if got := testutil.ToFloat64(m.freezes.WithLabelValues("UP42")); got != 1 {
		t.Errorf("%v freezes", got)
	}
}

func TestAStateIsThatOfTheTokensOwnLife(t *testing.T) {
	hour := fresh("hour")
	hour.RefreshAt, hour.ExpiresAt = start.Add(2400*time.Second), start.Add(time.Hour)
	failing := fresh("failing")
	failing.Reason, failing.FailingSince = "ProviderUnavailable", start.Add(181*time.Second)
	hourFailing := hour
	hourFailing.Reason = "ProviderUnavailable"
	suspended := fresh("suspended")
	suspended.Suspended = true
	outdated := fresh("outdated")
	outdated.Ready = false
	for _, c := range []struct {
		name         string
		token        Token
		at           time.Duration
		state, phase string
	}{
		{"one that was just issued", fresh("a"), 0, StateFresh, PhaseEarly},
		{"one whose refresh is due", fresh("a"), 180 * time.Second, StateFresh, PhaseEarly},
		{"one whose refresh is a quarter of the leeway late", fresh("a"), 211 * time.Second, StateOverdue, PhaseEarly},
		{"an hour's, as late as that", hour, (2400 + 31) * time.Second, StateFresh, PhaseEarly},
		{"an hour's, a quarter of its leeway late", hour, (2400 + 301) * time.Second, StateOverdue, PhaseEarly},
		{"one that fails since the refresh was due", failing, 200 * time.Second, StateFailing, PhaseEarly},
		{"one that fails for half of the leeway", failing, 241 * time.Second, StateFailing, PhaseLate},
		{"an hour's that fails as long", hourFailing, (2400 + 61) * time.Second, StateFailing, PhaseEarly},
		{"an hour's that fails for half of its leeway", hourFailing, (2400 + 601) * time.Second, StateFailing, PhaseLate},
		{"one at its expiry", failing, 300 * time.Second, StateExpired, PhaseExpired},
		{"one that is suspended", suspended, 250 * time.Second, StateSuspended, PhaseLate},
		{"one that is suspended and expired", suspended, 300 * time.Second, StateExpired, PhaseExpired},
		{"one for another spec", outdated, 0, StatePending, PhaseEarly},
		{"one that never was", Token{}, 0, StatePending, PhaseMissing},
		{"one that cannot be had", Token{Reason: "RequestDenied"}, 0, StateMissing, PhaseMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := start.Add(c.at)
			if state, phase := c.token.State(now), c.token.Phase(now); state != c.state || phase != c.phase {
				t.Errorf("%s and %s, want %s and %s", state, phase, c.state, c.phase)
			}
		})
	}
}

func TestBuildInformationIsThereAtOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := NewWith(registry, Options{Version: "v1.2.3", Commit: "abc", GoVersion: "go1.26"}); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP providertoken_build_info Always 1; its labels say what is running.
# TYPE providertoken_build_info gauge
providertoken_build_info{commit="abc",goversion="go1.26",version="v1.2.3"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "providertoken_build_info"); err != nil {
		t.Error(err)
	}
}
