package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// families are metrics by name.
type families map[string]*dto.MetricFamily

// parse reads the text format of Prometheus.
func parse(text io.Reader) (families, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return found, nil
}

// scrape reads the metrics of a program that serves them over plain HTTP.
func scrape(ctx context.Context, address string) (families, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return parse(response.Body)
}

// sum of the values of a metric whose labels are these.
func (f families) sum(name string, want map[string]string) (total float64, found bool) {
	family := f[name]
	if family == nil {
		return 0, false
	}
	for _, m := range family.GetMetric() {
		if matches(m, want) {
			total += value(m)
			found = true
		}
	}
	return total, found
}

func matches(m *dto.Metric, want map[string]string) bool {
	found := 0
	for _, l := range m.GetLabel() {
		if v, asked := want[l.GetName()]; asked {
			if v != l.GetValue() {
				return false
			}
			found++
		}
	}
	return found == len(want)
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}

// kind of request to the API server.
type kind struct{ Verb, Resource string }

func (k kind) String() string { return k.Verb + " " + k.Resource }

// requests by kind.
type requests map[kind]int

// requestsOf reads how many requests the API server has served.
func requestsOf(metrics []byte) (requests, error) {
	// Most of what an API server tells are histograms of other things.
	var wanted bytes.Buffer
	for line := range bytes.Lines(metrics) {
		if bytes.HasPrefix(line, []byte("apiserver_request_total{")) {
			wanted.Write(line)
		}
	}
	found, err := parse(&wanted)
	if err != nil {
		return nil, err
	}
	counted := requests{}
	for _, m := range found["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		k := kind{Verb: labels["verb"], Resource: labels["resource"]}
		if sub := labels["subresource"]; sub != "" && k.Resource != "" {
			k.Resource += "/" + sub
		}
		if labels["dry_run"] != "" {
			k.Verb += " (dry run)"
		}
		counted[k] += int(value(m))
	}
	return counted, nil
}

// since is what was served after an earlier count.
func (r requests) since(before requests) requests {
	more := requests{}
	for k, n := range r {
		if d := n - before[k]; d > 0 {
			more[k] = d
		}
	}
	return more
}

// ownHousekeeping tells the requests that are made whether or not tokens are refreshed:
// what an API server asks of itself, leader election, what is no resource (health,
// /metrics, which is all that the bench asks for during a measurement), and watches,
// which are counted when they end.
func (k kind) ownHousekeeping() bool {
	resource, _, _ := strings.Cut(k.Resource, "/")
	switch resource {
	case "", "leases", "flowschemas", "prioritylevelconfigurations", "apiservices", "customresourcedefinitions",
		"services", "endpoints", "endpointslices", "ipaddresses", "servicecidrs", "nodes", "namespaces",
		"storageversions", "storageversionmigrations", "clusterroles", "clusterrolebindings", "roles", "rolebindings",
		"subjectaccessreviews", "tokenreviews", "priorityclasses", "resourcequotas", "limitranges":
		return true
	}
	return k.Verb == "WATCH" || k.Verb == "CONNECT"
}

// work are the requests that are made for tokens.
func (r requests) work() requests {
	found := requests{}
	for k, n := range r {
		if !k.ownHousekeeping() {
			found[k] = n
		}
	}
	return found
}

func (r requests) total() int {
	n := 0
	for _, more := range r {
		n += more
	}
	return n
}

// kinds are the kinds of request, the most frequent first.
func (r requests) kinds() []kind {
	return slices.SortedFunc(maps.Keys(r), func(a, b kind) int {
		return cmp.Or(cmp.Compare(r[b], r[a]), cmp.Compare(a.String(), b.String()))
	})
}
