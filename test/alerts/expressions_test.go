// Package alerts judges what Prometheus is to make of the operator's metrics: that
// alert rules and dashboard are PromQL, about metrics that exist, with labels that these
// have. hack/alerts.sh plays the rules.
package alerts

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/config"
	"github.com/providertoken/operator/internal/metrics"
)

// series are the labels that the metrics of a family have, by its name.
type series map[string][]string

// ours are the operator's metrics, each with something to tell.
func ours(t *testing.T) series {
	t.Helper()
	registry := prometheus.NewRegistry()
	m, err := metrics.NewWith(registry, metrics.Options{Version: "v", Commit: "c", GoVersion: "go"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	m.Watch(func() []metrics.Host { return []metrics.Host{{Name: "h"}} }, func() time.Time { return now })
	m.Exchanged("p", "success", time.Second)
	m.Published("p", time.Second, true)
	m.Refreshed("p", time.Second)
	m.Froze("p")
	m.StatusWritten(errors.New("no"))
	m.Nudged(metrics.NudgeTold, 1, time.Second)
	m.Token(metrics.Token{
		Namespace: "ns", Name: "n", Reason: "r", FailingSince: now,
		IssuedAt: now, RefreshAt: now.Add(time.Minute), ExpiresAt: now.Add(time.Hour), CredentialExpiresAt: now.Add(time.Hour),
	})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := series{
		// What controller-runtime and client_golang's collectors add, and Prometheus itself.
		"leader_election_master_status": {"name"},
		"process_resident_memory_bytes": nil,
		"ALERTS":                        {"alertname", "alertstate"},
	}
	for _, f := range families {
		var names []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		known[f.GetName()] = names
		if f.GetMetric()[0].GetHistogram() != nil {
			known[f.GetName()+"_bucket"] = append(names, "le")
		}
	}
	return known
}

// judge fails for an expression that is not PromQL, or is about nothing that there is.
func (known series) judge(t *testing.T, used map[string]bool, where, expr string) {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, expr)
		return
	}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		selector, is := node.(*parser.VectorSelector)
		if !is {
			return nil
		}
		names, exists := known[selector.Name]
		if !exists {
			t.Errorf("%s asks for %q, which the operator does not have", where, selector.Name)
		}
		used[strings.TrimSuffix(selector.Name, "_bucket")] = true
		for _, m := range selector.LabelMatchers {
			if m.Name != labels.MetricName && !slices.Contains(names, m.Name) {
				t.Errorf("%s selects by %q, which %s does not have", where, m.Name, selector.Name)
			}
		}
		return nil
	})
}

func TestEveryExpressionIsAboutMetricsThatExist(t *testing.T) {
	known, used := ours(t), map[string]bool{}
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct{ Alert, Expr string }
			}
		}
	}
	if err := yaml.Unmarshal(config.PrometheusRule, &rules); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			known.judge(t, used, "alert "+r.Alert, r.Expr)
			count++
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(config.Dashboard, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			known.judge(t, used, "panel "+p.Title, target.Expr)
			count++
		}
	}
	if count < 30 {
		t.Errorf("only %d expressions were found", count)
	}
	for name := range known {
		// Those that are for questions of somebody's own.
		free := []string{"providertoken_ready", "providertoken_token_refresh_timestamp_seconds", "providertoken_token_issued_timestamp_seconds"}
		if !used[strings.TrimSuffix(name, "_bucket")] && !slices.Contains(free, name) {
			t.Errorf("neither an alert nor the dashboard looks at %s", name)
		}
	}
}
