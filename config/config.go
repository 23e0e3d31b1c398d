// Package config holds what tests in modules of their own judge: a file outside of a
// module is none of go test's inputs, so that a cached result would hide its change.
package config

import _ "embed"

// PrometheusRule is the alert rules.
//
//go:embed prometheus/prometheus_rule.yaml
var PrometheusRule []byte

// Dashboard is Grafana's.
//
//go:embed grafana/providertoken.json
var Dashboard []byte
