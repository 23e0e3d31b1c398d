// Dashboard writes the Grafana dashboard, config/grafana/providertoken.json, into a tree. A test in
// test/alerts parses its expressions and looks for their metrics in the operator.
//
//	go run ./hack/dashboard DIRECTORY
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const file = "config/grafana/providertoken.json"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("name the directory to write " + file + " into")
	}
	fresh, err := render()
	if err != nil {
		return err
	}
	path := filepath.Join(args[0], file)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, fresh, 0o600))
}

func render() ([]byte, error) {
	text, err := json.MarshalIndent(board(), "", "  ")
	return append(text, '\n'), err
}

// object is a JSON object, as Grafana has them.
type object = map[string]any

// columns of Grafana's grid.
const columns = 24

// board is the dashboard.
func board() object {
	var all []object
	y := 0
	for _, r := range rows() {
		if r.title != "" {
			all = append(all, object{"type": "row", "id": len(all) + 1, "title": r.title, "collapsed": false, "panels": []object{}, "gridPos": place(0, y, columns, 1)})
			y++
		}
		width := columns / len(r.panels)
		for i, p := range r.panels {
			all = append(all, p.render(len(all)+1, place(i*width, y, width, r.height)))
		}
		y += r.height
	}
	return object{
		"uid": "providertoken", "title": "Provider tokens", "tags": []string{"providertoken"},
		"schemaVersion": 39, "editable": true, "refresh": "30s", "timezone": "",
		"time":   object{"from": "now-6h", "to": "now"},
		"panels": all,
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": object{}},
			{
				"name": "provider", "label": "Provider", "type": "query", "datasource": source(), "includeAll": true, "multi": true, "allValue": ".*",
				"query": object{"query": "label_values(providertoken_tokens, provider)", "refId": "provider"}, "refresh": 2, "current": object{"text": "All", "value": "$__all"},
			},
		}},
	}
}

func place(x, y, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }

func source() object { return object{"type": "prometheus", "uid": "${datasource}"} }

// query is an expression and the name of what it shows.
type query struct{ expr, legend string }

// panel is one picture.
type panel struct {
	kind, title, about, unit string
	queries                  []query
	// stacked lets areas add up; red is from which value on a single number is bad.
	stacked bool
	red     float64
}

func (p panel) render(id int, at object) object {
	targets := make([]object, len(p.queries))
	for i, q := range p.queries {
		targets[i] = object{
			"refId": string(rune('A' + i)), "expr": q.expr, "legendFormat": q.legend, "datasource": source(),
			"instant": p.kind != "timeseries", "range": p.kind == "timeseries", "format": map[bool]string{true: "table", false: "time_series"}[p.kind == "table"],
		}
	}
	return object{
		"id": id, "type": p.kind, "title": p.title, "description": p.about, "datasource": source(), "gridPos": at,
		"targets": targets, "fieldConfig": p.fields(), "options": p.options(),
	}
}

func (p panel) fields() object {
	custom := object{}
	if p.stacked {
		custom = object{"stacking": object{"mode": "normal"}, "fillOpacity": 40}
	}
	steps := []object{{"color": "green", "value": nil}}
	if p.red > 0 {
		steps = append(steps, object{"color": "red", "value": p.red})
	}
	return object{
		"defaults":  object{"unit": p.unit, "min": map[bool]any{true: 0, false: nil}[p.stacked], "custom": custom, "thresholds": object{"mode": "absolute", "steps": steps}},
		"overrides": p.colours(),
	}
}

// colours of what is good and bad, whatever else is shown.
func (p panel) colours() []object {
	overrides := []object{}
	if p.kind != "timeseries" {
		return overrides
	}
	for _, c := range [][2]string{
		{"fresh|success|told", "#73bf69"}, {"pending|suspended|routine", "#8e8e99"}, {"overdue|failing|soon|.*early.*|Throttled", "#f2cc0c"},
		{".*late.*|Unavailable", "#ff9830"}, {"expired|missing|none|.*expired.*|.*missing.*|LoginDenied|failure", "#f2495c"},
	} {
		overrides = append(overrides, object{
			"matcher":    object{"id": "byRegexp", "options": "/^(" + c[0] + ")$/"},
			"properties": []object{{"id": "color", "value": object{"mode": "fixed", "fixedColor": c[1]}}},
		})
	}
	return overrides
}

func (p panel) options() object {
	switch p.kind {
	case "stat":
		return object{"reduceOptions": object{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "none"}
	case "table":
		return object{"showHeader": true}
	}
	return object{"legend": object{"displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi"}}
}
