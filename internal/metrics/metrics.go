// Package metrics holds the operator's own collectors. Labels are bounded, none of them
// holds anything that a provider said, and the series of a deleted object go with it.
//
// It must not import anything of Kubernetes.
package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the operator's collectors. The zero value is not usable; see New.
type Metrics struct {
	exchanges *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	left      *prometheus.HistogramVec
	lateness  *prometheus.HistogramVec
	freezes   *prometheus.CounterVec
	status    *prometheus.CounterVec
	nudges    *prometheus.CounterVec
	spread    prometheus.Histogram
	tokens    *tokens
	hosts     *hosts
}

// Outcomes of telling a pod that a Secret which it mounts has changed.
const (
	NudgeTold     = "told"     // its kubelet was made to look
	NudgeGone     = "gone"     // it ended meanwhile
	NudgeFailed   = "failed"   // the API server refused; it is tried again
	NudgeDeferred = "deferred" // it waits for the rate limit
)

// Options of Metrics. The zero value has series for each object, and no build.
type Options struct {
	// Aggregated leaves out the series of single objects and credentials: for fleets
	// whose Prometheus could not take several series for each.
	Aggregated bool
	// Version and Commit of the program; no build information when both are empty.
	Version, Commit, GoVersion string
}

// New makes the collectors and registers them.
func New(registry prometheus.Registerer) (*Metrics, error) {
	return NewWith(registry, Options{})
}

// NewWith is New with options.
func NewWith(registry prometheus.Registerer, o Options) (*Metrics, error) {
	byProvider := []string{"provider"}
	m := &Metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "providertoken_exchanges_total",
			Help: "Attempts to get a token, by provider and outcome (success, withheld or kind of failure).",
		}, []string{"provider", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "providertoken_exchange_duration_seconds",
			Help:    "Time that an attempt to get a token took.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, byProvider),
		left: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "providertoken_replaced_token_validity_seconds",
			Help:    "Validity that a token still had when it was replaced; 0 when it had expired.",
			Buckets: []float64{0, 5, 15, 30, 60, 120, 300, 900, 3600, 21600, 86400},
		}, byProvider),
		lateness: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "providertoken_refresh_lateness_seconds",
			Help:    "Time from the instant that a refresh was planned for until the new token was written; refreshes that somebody asked for are not counted.",
			Buckets: []float64{.1, .5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200},
		}, byProvider),
		freezes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "providertoken_login_freezes_total",
			Help: "Logins that were refused, so that their credential was frozen to keep the account from being locked.",
		}, byProvider),
		status: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "providertoken_status_writes_total",
			Help: "Status writes, by whether the API server took them (success, failure).",
		}, []string{"outcome"}),
		nudges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "providertoken_pod_nudges_total",
			Help: "Pods that were to be told of a changed target Secret, by outcome (told, gone, failed, deferred).",
		}, []string{"outcome"}),
		spread: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "providertoken_propagation_duration_seconds",
			Help:    "Time from the change of a target Secret until a pod that mounts it was told.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		tokens: newTokens(o.Aggregated),
		hosts:  newHosts(),
	}
	collectors := []prometheus.Collector{m.exchanges, m.duration, m.left, m.lateness, m.freezes, m.status, m.nudges, m.spread, m.tokens, m.hosts}
	if o.Version != "" || o.Commit != "" {
		collectors = append(collectors, build(o))
	}
	var errs []error
	for _, c := range collectors {
		errs = append(errs, registry.Register(c))
	}
	return m, errors.Join(errs...)
}

func build(o Options) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "providertoken_build_info",
		Help:        "Always 1; its labels say what is running.",
		ConstLabels: prometheus.Labels{"version": o.Version, "commit": o.Commit, "goversion": o.GoVersion},
	})
	info.Set(1)
	return info
}

// Exchanged counts one attempt to get a token.
func (m *Metrics) Exchanged(provider, outcome string, took time.Duration) {
	m.exchanges.WithLabelValues(provider, outcome).Inc()
	m.duration.WithLabelValues(provider).Observe(took.Seconds())
}

// Published notes the validity that a replaced token still had; nothing when it replaced none.
func (m *Metrics) Published(provider string, left time.Duration, replaced bool) {
	if replaced {
		m.left.WithLabelValues(provider).Observe(left.Seconds())
	}
}

// Refreshed notes how long after the instant at which it was to begin a refresh was done.
func (m *Metrics) Refreshed(provider string, late time.Duration) {
	m.lateness.WithLabelValues(provider).Observe(max(late, 0).Seconds())
}

// Froze counts a login whose refusal froze its credential.
func (m *Metrics) Froze(provider string) { m.freezes.WithLabelValues(provider).Inc() }

// StatusWritten counts a write of status.
func (m *Metrics) StatusWritten(err error) {
	outcome := "success"
	if err != nil {
		outcome = "failure"
	}
	m.status.WithLabelValues(outcome).Inc()
}

// Nudged counts pods that were to be told of a changed Secret. took is from the
// change until a pod was told; zero when that is not known.
func (m *Metrics) Nudged(outcome string, pods int, took time.Duration) {
	m.nudges.WithLabelValues(outcome).Add(float64(pods))
	if took > 0 {
		m.spread.Observe(took.Seconds())
	}
}

// Token notes what is known of one object, instead of what was known of it.
func (m *Metrics) Token(t Token) { m.tokens.put(t) }

// Forget drops the series of an object that is gone.
func (m *Metrics) Forget(namespace, name string) { m.tokens.forget(namespace, name) }

// Watch lets the series of hosts, and the states of tokens, be as hosts and now say at
// each collection.
func (m *Metrics) Watch(hosts func() []Host, now func() time.Time) {
	m.hosts.source.Store(&hosts)
	m.tokens.now.Store(&now)
}
