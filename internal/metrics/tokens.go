package metrics

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Token is what is known of one ProviderToken. Zero instants are not known.
type Token struct {
	Namespace, Name string
	Group
	// Ready is true while the Secret holds an unexpired token for the current spec.
	Ready, Suspended               bool
	IssuedAt, ExpiresAt, RefreshAt time.Time
	// Reason why the token cannot be replaced, and since when; empty when it can.
	Reason       string
	FailingSince time.Time
	// CredentialExpiresAt is when whoever owns the credential says that it ends.
	CredentialExpiresAt time.Time
}

// Group is what tokens are counted by: those of one group have one cause to fail.
type Group struct {
	Provider, Host string
	// Credential is where the credentials are, and is left out of aggregated series.
	Credential string
	// Severity of an alert about the token: critical, warning or info.
	Severity string
}

// States of a token.
const (
	StateFresh     = "fresh"     // it works, and will be replaced in time
	StateOverdue   = "overdue"   // it works, but should have been replaced, and nothing is known to be wrong
	StateFailing   = "failing"   // it works, but cannot be replaced
	StatePending   = "pending"   // there is none yet, and nothing is known to be wrong
	StateMissing   = "missing"   // there is none, and none can be had
	StateExpired   = "expired"   // it expired
	StateSuspended = "suspended" // it works, and nobody wants it replaced
)

func states() []string {
	return []string{StateFresh, StateOverdue, StateFailing, StatePending, StateMissing, StateExpired, StateSuspended}
}

// Phases of a failure.
const (
	PhaseEarly   = "early"   // less than half of the time has passed that was left when the refresh was due
	PhaseLate    = "late"    // more than half
	PhaseExpired = "expired" // the token expired
	PhaseMissing = "missing" // there is no token
)

// overdueAfter is the share of the time between the planned refresh and the expiry
// after which a refresh is overdue, and not less than overdueFloor.
const (
	overdueAfter = 4
	overdueFloor = 20 * time.Second
)

// State of the token at an instant.
func (t Token) State(now time.Time) string {
	switch {
	case t.ExpiresAt.IsZero() && t.Reason != "":
		return StateMissing
	case t.ExpiresAt.IsZero():
		return StatePending
	case !now.Before(t.ExpiresAt):
		return StateExpired
	case t.Suspended:
		return StateSuspended
	case t.Reason != "":
		return StateFailing
	case !t.Ready:
		return StatePending
	case !t.RefreshAt.IsZero() && now.After(t.RefreshAt.Add(max(t.leeway()/overdueAfter, overdueFloor))):
		return StateOverdue
	}
	return StateFresh
}

// leeway is what was planned to be left of the token's life when it is replaced.
func (t Token) leeway() time.Duration { return max(t.ExpiresAt.Sub(t.RefreshAt), 0) }

// Phase of the token's failure at an instant. It goes by the token's own life: half of
// what was to be left is a minute of a token of five, and hours of one of a day.
func (t Token) Phase(now time.Time) string {
	switch {
	case t.ExpiresAt.IsZero():
		return PhaseMissing
	case !now.Before(t.ExpiresAt):
		return PhaseExpired
	case !t.RefreshAt.IsZero() && now.After(t.RefreshAt.Add(t.leeway()/2)):
		return PhaseLate
	}
	return PhaseEarly
}

// tokens collects what is known of objects when it is asked for: an object costs one
// entry of a map, and its series need no bookkeeping of their own.
type tokens struct {
	aggregated bool
	now        atomic.Pointer[func() time.Time]

	mu     sync.Mutex
	byName map[[2]string]Token

	ready, expiry, refresh, issued, since, info *prometheus.Desc
	states, failing, earliest, credential       *prometheus.Desc
}

func newTokens(aggregated bool) *tokens {
	object, group := []string{"namespace", "name"}, []string{"provider", "host", "credential", "severity"}
	with := func(labels []string, further ...string) []string {
		return append(append([]string{}, labels...), further...)
	}
	return &tokens{
		aggregated: aggregated,
		byName:     map[[2]string]Token{},
		ready: prometheus.NewDesc("providertoken_ready",
			"1 while the target Secret holds an unexpired token for the current spec, else 0.", object, nil),
		expiry: prometheus.NewDesc("providertoken_token_expiry_timestamp_seconds",
			"When the token in the target Secret expires, in seconds since the epoch.", object, nil),
		refresh: prometheus.NewDesc("providertoken_token_refresh_timestamp_seconds",
			"When the token in the target Secret is to be replaced, in seconds since the epoch.", object, nil),
		issued: prometheus.NewDesc("providertoken_token_issued_timestamp_seconds",
			"When the token in the target Secret was requested, in seconds since the epoch.", object, nil),
		since: prometheus.NewDesc("providertoken_failing_since_timestamp_seconds",
			"Since when the token cannot be replaced, in seconds since the epoch, and why: a reason as in the conditions.", with(object, "reason"), nil),
		info: prometheus.NewDesc("providertoken_info",
			"Always 1; its labels say which provider, host and credential a ProviderToken uses, and how severe an alert about it is.", with(object, group...), nil),
		states: prometheus.NewDesc("providertoken_tokens",
			"ProviderTokens by state: fresh, overdue, failing, pending, missing, expired, suspended.", with(group, "state"), nil),
		failing: prometheus.NewDesc("providertoken_failing_tokens",
			"ProviderTokens whose token cannot be replaced, by reason, and phase: early, late (more than half of the time has passed that was left when the refresh was due), expired, missing.",
			with(group, "reason", "phase"), nil),
		earliest: prometheus.NewDesc("providertoken_earliest_token_expiry_timestamp_seconds",
			"When the first of the tokens that work expires, in seconds since the epoch.", group, nil),
		credential: prometheus.NewDesc("providertoken_credential_expiry_timestamp_seconds",
			"When the credential ends, as the annotation providertoken.dev/credential-expires-at of its Secret says, in seconds since the epoch; the first of several.", group, nil),
	}
}

func (t *tokens) put(one Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byName[[2]string{one.Namespace, one.Name}] = one
}

func (t *tokens) forget(namespace, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, [2]string{namespace, name})
}

func (t *tokens) all() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Token, 0, len(t.byName))
	for _, one := range t.byName {
		all = append(all, one)
	}
	return all
}

// Describe implements prometheus.Collector.
func (t *tokens) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.ready, t.expiry, t.refresh, t.issued, t.since, t.info, t.states, t.failing, t.earliest, t.credential} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (t *tokens) Collect(out chan<- prometheus.Metric) {
	sums := map[Group]*sum{}
	now := t.now.Load()
	for _, one := range t.all() {
		if !t.aggregated {
			t.collect(out, one)
		}
		if now == nil {
			continue
		}
		group := one.Group
		if t.aggregated {
			group.Credential = ""
		}
		s := sums[group]
		if s == nil {
			s = &sum{states: map[string]int{}, failing: map[[2]string]int{}}
			sums[group] = s
		}
		s.add(one, (*now)())
	}
	for group, s := range sums {
		t.collectGroup(out, group, s)
	}
}

// collect writes the series of one object.
func (t *tokens) collect(out chan<- prometheus.Metric, one Token) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{one.Namespace, one.Name}, labels...)...)
	}
	instant := func(d *prometheus.Desc, at time.Time, labels ...string) {
		if !at.IsZero() {
			gauge(d, float64(at.Unix()), labels...)
		}
	}
	gauge(t.ready, truth(one.Ready))
	gauge(t.info, 1, one.Provider, one.Host, one.Credential, one.Severity)
	instant(t.expiry, one.ExpiresAt)
	instant(t.refresh, one.RefreshAt)
	instant(t.issued, one.IssuedAt)
	if one.Reason != "" {
		instant(t.since, one.FailingSince, one.Reason)
	}
}

// sum is what is told of a group.
type sum struct {
	states     map[string]int
	failing    map[[2]string]int // by reason and phase
	earliest   time.Time
	credential time.Time
}

func (s *sum) add(one Token, now time.Time) {
	s.states[one.State(now)]++
	if one.Reason != "" {
		s.failing[[2]string{one.Reason, one.Phase(now)}]++
	}
	if now.Before(one.ExpiresAt) {
		s.earliest = earlier(s.earliest, one.ExpiresAt)
	}
	s.credential = earlier(s.credential, one.CredentialExpiresAt)
}

// earlier is the earlier of two instants, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (t *tokens) collectGroup(out chan<- prometheus.Metric, g Group, s *sum) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{g.Provider, g.Host, g.Credential, g.Severity}, labels...)...)
	}
	for _, state := range states() {
		if n := s.states[state]; n > 0 {
			gauge(t.states, float64(n), state)
		}
	}
	for key, n := range s.failing {
		gauge(t.failing, float64(n), key[0], key[1])
	}
	if !s.earliest.IsZero() {
		gauge(t.earliest, float64(s.earliest.Unix()))
	}
	if !s.credential.IsZero() {
		gauge(t.credential, float64(s.credential.Unix()))
	}
}
