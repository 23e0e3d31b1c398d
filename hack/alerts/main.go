// Alerts takes the rules out of config/prometheus/prometheus_rule.yaml, as Prometheus
// and promtool read them: rules.yaml, and bare.yaml without annotations, so that a test
// of when an alert fires need not repeat its text.
//
//	go run ./hack/alerts DIRECTORY
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const source = "config/prometheus/prometheus_rule.yaml"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "alerts:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("name the directory to write to")
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("%w; run it in the root of the checkout", err)
	}
	full, bare, err := rules(text)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(args[0], "rules.yaml"), full, 0o600),
		os.WriteFile(filepath.Join(args[0], "bare.yaml"), bare, 0o600),
	)
}

type group struct {
	Name  string           `json:"name"`
	Rules []map[string]any `json:"rules"`
}

// rules are the groups of a PrometheusRule, with and without annotations.
func rules(text []byte) (full, bare []byte, err error) {
	var object struct {
		Spec struct {
			Groups []group `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &object); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", source, err)
	}
	if full, err = yaml.Marshal(object.Spec); err != nil {
		return nil, nil, err
	}
	for _, g := range object.Spec.Groups {
		for _, r := range g.Rules {
			delete(r, "annotations")
		}
	}
	bare, err = yaml.Marshal(object.Spec)
	return full, bare, err
}
