package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Urgencies of an exchange that waits for its turn.
const (
	UrgencyNone    = "none"    // there is no valid token: a new object, or one whose token expired
	UrgencySoon    = "soon"    // the token expires within two minutes
	UrgencyRoutine = "routine" // it works for longer
)

func urgencies() []string { return []string{UrgencyNone, UrgencySoon, UrgencyRoutine} }

// Host is a moment of what shares limits and outages. Several with one name are added up.
type Host struct {
	// Name of the host; "other" for those that a namespace chose.
	Name string
	// Down is true while it does not answer, and Throttled while it said to wait.
	Down, Throttled bool
	// Running counts exchanges, and Waiting those that wait for their turn, by urgency.
	Running int
	Waiting map[string]int
}

// hosts collects what is known of hosts when it is asked for.
type hosts struct {
	source                            atomic.Pointer[func() []Host]
	down, throttled, running, waiting *prometheus.Desc
}

func newHosts() *hosts {
	labels := []string{"host"}
	return &hosts{
		down: prometheus.NewDesc("providertoken_host_down",
			"1 while a provider's host gave no answer three times in a row or more, 0 while it is in use and answers.", labels, nil),
		throttled: prometheus.NewDesc("providertoken_host_throttled",
			"1 while a provider's host asked to be left alone for a while, else 0.", labels, nil),
		running: prometheus.NewDesc("providertoken_exchanges_in_flight",
			"Exchanges that are under way.", labels, nil),
		waiting: prometheus.NewDesc("providertoken_exchanges_waiting",
			"Exchanges that wait for their turn, by urgency: none (no valid token), soon (it expires within two minutes), routine.", append(labels, "urgency"), nil),
	}
}

// Describe implements prometheus.Collector.
func (h *hosts) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{h.down, h.throttled, h.running, h.waiting} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (h *hosts) Collect(out chan<- prometheus.Metric) {
	source := h.source.Load()
	if source == nil {
		return
	}
	sums := map[string]*Host{}
	for _, moment := range (*source)() {
		sum := sums[moment.Name]
		if sum == nil {
			sum = &Host{Name: moment.Name, Waiting: map[string]int{}}
			sums[moment.Name] = sum
		}
		sum.Down, sum.Throttled = sum.Down || moment.Down, sum.Throttled || moment.Throttled
		sum.Running += moment.Running
		for urgency, n := range moment.Waiting {
			sum.Waiting[urgency] += n
		}
	}
	for name, sum := range sums {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{name}, labels...)...)
		}
		gauge(h.down, truth(sum.Down))
		gauge(h.throttled, truth(sum.Throttled))
		gauge(h.running, float64(sum.Running))
		for _, urgency := range urgencies() {
			gauge(h.waiting, float64(sum.Waiting[urgency]), urgency)
		}
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
