// Package metrics holds the operator's own collectors. Labels are bounded, and
// the series of a deleted object go with it.
//
// It must not import anything of Kubernetes.
package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the operator's collectors. The zero value is not usable; see New.
type Metrics struct {
	exchanges *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	left      *prometheus.HistogramVec
	expiry    *prometheus.GaugeVec
	refresh   *prometheus.GaugeVec
	ready     *prometheus.GaugeVec
	nudges    *prometheus.CounterVec
	spread    prometheus.Histogram
}

// Outcomes of telling a pod that a Secret which it mounts has changed.
const (
	NudgeTold     = "told"     // its kubelet was made to look
	NudgeGone     = "gone"     // it ended meanwhile
	NudgeFailed   = "failed"   // the API server refused; it is tried again
	NudgeDeferred = "deferred" // it waits for the rate limit
)

// New makes the collectors and registers them.
func New(registry prometheus.Registerer) (*Metrics, error) {
	object := []string{"namespace", "name"}
	m := &Metrics{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "providertoken_exchanges_total",
			Help: "Attempts to get a token, by provider and outcome (success or kind of failure).",
		}, []string{"provider", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "providertoken_exchange_duration_seconds",
			Help:    "Time that an attempt to get a token took.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"provider"}),
		left: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "providertoken_replaced_token_validity_seconds",
			Help:    "Validity that a token still had when it was replaced; 0 when it had expired.",
			Buckets: []float64{0, 5, 15, 30, 60, 120, 300, 900, 3600, 21600, 86400},
		}, []string{"provider"}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "providertoken_token_expiry_timestamp_seconds",
			Help: "When the token in the target Secret expires, in seconds since the epoch.",
		}, object),
		refresh: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "providertoken_token_refresh_timestamp_seconds",
			Help: "When the token in the target Secret is to be replaced, in seconds since the epoch.",
		}, object),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "providertoken_ready",
			Help: "1 while the target Secret holds an unexpired token for the current spec, else 0.",
		}, object),
	}
	m.nudges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "providertoken_pod_nudges_total",
		Help: "Pods that were to be told of a changed target Secret, by outcome (told, gone, failed, deferred).",
	}, []string{"outcome"})
	m.spread = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "providertoken_propagation_duration_seconds",
		Help:    "Time from the change of a target Secret until a pod that mounts it was told.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	})
	for _, c := range []prometheus.Collector{m.exchanges, m.duration, m.left, m.expiry, m.refresh, m.ready, m.nudges, m.spread} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
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

// Nudged counts pods that were to be told of a changed Secret. took is from the
// change until a pod was told; zero when that is not known.
func (m *Metrics) Nudged(outcome string, pods int, took time.Duration) {
	m.nudges.WithLabelValues(outcome).Add(float64(pods))
	if took > 0 {
		m.spread.Observe(took.Seconds())
	}
}

// Token notes what is known of one object's token; zero instants are left out.
func (m *Metrics) Token(namespace, name string, expires, refresh time.Time, ready bool) {
	set := func(g *prometheus.GaugeVec, at time.Time) {
		if at.IsZero() {
			g.DeleteLabelValues(namespace, name)
			return
		}
		g.WithLabelValues(namespace, name).Set(float64(at.Unix()))
	}
	set(m.expiry, expires)
	set(m.refresh, refresh)
	value := 0.0
	if ready {
		value = 1
	}
	m.ready.WithLabelValues(namespace, name).Set(value)
}

// Forget drops the series of an object that is gone.
func (m *Metrics) Forget(namespace, name string) {
	for _, g := range []*prometheus.GaugeVec{m.expiry, m.refresh, m.ready} {
		g.DeleteLabelValues(namespace, name)
	}
}
