// Pictures draws the dashboard's panels from a Prometheus into one HTML page, for a
// browser without a window to take a picture of. It is not Grafana: it shows whether
// the dashboard's queries have something to show.
//
//	pictures -prometheus http://127.0.0.1:9090 -minutes 5 > page.html
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const dashboard = "config/grafana/providertoken.json"

func main() {
	server := flag.String("prometheus", "http://127.0.0.1:9090", "`URL` of Prometheus")
	minutes := flag.Int("minutes", 5, "`minutes` until now to show")
	flag.Parse()
	page, err := render(context.Background(), *server, time.Duration(*minutes)*time.Minute)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
	fmt.Print(page)
}

// board is what is read of a dashboard.
type board struct {
	Title  string  `json:"title"`
	Panels []panel `json:"panels"`
}

type panel struct {
	Type        string   `json:"type"`
	Title       string   `json:"title"`
	GridPos     place    `json:"gridPos"`
	Targets     []target `json:"targets"`
	FieldConfig struct {
		Defaults  defaults   `json:"defaults"`
		Overrides []override `json:"overrides"`
	} `json:"fieldConfig"`
}

type place struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

type target struct {
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
}

// override is a colour for the names that match.
type override struct {
	Matcher struct {
		Options string `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		Value struct {
			FixedColor string `json:"fixedColor"`
		} `json:"value"`
	} `json:"properties"`
}

// colour of the line of that number and name.
func (p panel) colour(i int, name string) string {
	for _, o := range p.FieldConfig.Overrides {
		if match, err := regexp.MatchString(strings.Trim(o.Matcher.Options, "/"), name); err == nil && match {
			return o.Properties[0].Value.FixedColor
		}
	}
	return palette(i)
}

type defaults struct {
	Unit   string `json:"unit"`
	Custom struct {
		Stacking struct {
			Mode string `json:"mode"`
		} `json:"stacking"`
	} `json:"custom"`
	Thresholds struct {
		Steps []struct {
			Value *float64 `json:"value"`
		} `json:"steps"`
	} `json:"thresholds"`
}

// answer of Prometheus.
type answer struct {
	Error string `json:"error"`
	Data  struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
			Value  []any             `json:"value"`
			Values [][]any           `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// line is one series of a panel.
type line struct {
	name   string
	labels map[string]string
	points [][2]float64 // instant and value
}

func render(ctx context.Context, server string, span time.Duration) (string, error) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		return "", err
	}
	var b board
	if err := json.Unmarshal(text, &b); err != nil {
		return "", fmt.Errorf("reading the dashboard: %w", err)
	}
	end := time.Now()
	s := source{server: server, from: end.Add(-span), to: end}
	var out strings.Builder
	bottom := 0
	for _, p := range b.Panels {
		drawn, err := s.draw(ctx, p)
		if err != nil {
			return "", fmt.Errorf("panel %q: %w", p.Title, err)
		}
		g := p.GridPos
		bottom = max(bottom, (g.Y+g.H)*unit)
		fmt.Fprintf(&out, `<div class="%s" style="left:%dpx;top:%dpx;width:%dpx;height:%dpx">%s</div>`+"\n",
			p.Type, g.X*unit*2, g.Y*unit+40, g.W*unit*2-6, g.H*unit-6, drawn)
	}
	return fmt.Sprintf(`<!doctype html><meta charset="utf-8"><title>%s</title><style>%s</style><h1>%s</h1><div style="height:%dpx"></div>`+"\n%s", b.Title, style, b.Title, bottom, out.String()), nil
}

// unit is the height of a row of the grid in pixels; a column is twice that.
const unit = 28

const style = `body{margin:8px;background:#111217;color:#ccccdc;font:12px sans-serif;position:relative;width:1350px}
h1{font-size:16px;margin:6px 4px;font-weight:500}
div.timeseries,div.stat,div.table,div.row{position:absolute;box-sizing:border-box;overflow:hidden}
div.timeseries,div.stat,div.table{background:#181b1f;border:1px solid #2c3235;border-radius:2px;padding:6px}
div.row{font-size:14px;padding:8px 2px}
b.title{font-weight:500;display:block;margin-bottom:4px}
.stat .value{font-size:38px;text-align:center;padding-top:8px}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:3px 6px;border-bottom:1px solid #2c3235;font-weight:400}th{color:#6e9fff}
.legend{line-height:15px}.legend i{display:inline-block;width:12px;height:3px;margin:0 4px 3px 8px}
text{fill:#8e8e99;font-size:10px}`

// palette is one of several colours that are told apart on dark ground.
func palette(i int) string {
	colours := []string{"#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#8ab8ff", "#c4162a", "#ffee52"}
	return colours[i%len(colours)]
}

type source struct {
	server   string
	from, to time.Time
}

// query asks Prometheus, at an instant or over the span.
func (s source) query(ctx context.Context, expr string, over bool) ([]line, error) {
	expr = strings.NewReplacer("$__rate_interval", "1m", "$provider", ".*").Replace(expr)
	path, values := "/api/v1/query", url.Values{"query": {expr}, "time": {stamp(s.to)}}
	if over {
		path = "/api/v1/query_range"
		values = url.Values{"query": {expr}, "start": {stamp(s.from)}, "end": {stamp(s.to)}, "step": {"2"}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server+path+"?"+values.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var got answer
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		return nil, err
	}
	if got.Error != "" {
		return nil, fmt.Errorf("%s: %s", expr, got.Error)
	}
	lines := make([]line, 0, len(got.Data.Result))
	for _, r := range got.Data.Result {
		l := line{labels: r.Metric}
		if r.Value != nil {
			r.Values = [][]any{r.Value}
		}
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if value, err := strconv.ParseFloat(text, 64); err == nil && value == value {
				l.points = append(l.points, [2]float64{at, value})
			}
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(fmt.Sprint(a.labels), fmt.Sprint(b.labels)) })
	return lines, nil
}

func stamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// draw is a panel as HTML.
func (s source) draw(ctx context.Context, p panel) (string, error) {
	if p.Type == "row" {
		return "▾ " + p.Title, nil
	}
	var lines []line
	for _, target := range p.Targets {
		some, err := s.query(ctx, target.Expr, p.Type == "timeseries")
		if err != nil {
			return "", err
		}
		for _, l := range some {
			l.name = legend(target.LegendFormat, l.labels)
			lines = append(lines, l)
		}
	}
	title := `<b class="title">` + p.Title + `</b>`
	switch {
	case len(lines) == 0:
		return title + "No data", nil
	case p.Type == "stat":
		value, colour := lines[0].points[0][1], palette(0)
		for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
			if step.Value != nil && value >= *step.Value {
				colour = palette(4)
			}
		}
		return fmt.Sprintf(`%s<div class="value" style="color:%s">%s</div>`, title, colour, show(value, p.FieldConfig.Defaults.Unit)), nil
	case p.Type == "table":
		return title + table(lines, p.FieldConfig.Defaults.Unit), nil
	}
	return title + s.chart(p, lines), nil
}

func legend(format string, labels map[string]string) string {
	for name, value := range labels {
		format = strings.ReplaceAll(format, "{{"+name+"}}", value)
	}
	return format
}

func table(lines []line, unit string) string {
	var names []string
	for name := range lines[0].labels {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("<table><tr>")
	for _, name := range names {
		fmt.Fprintf(&b, "<th>%s</th>", name)
	}
	b.WriteString("<th>Value</th></tr>")
	for _, l := range lines {
		b.WriteString("<tr>")
		for _, name := range names {
			fmt.Fprintf(&b, "<td>%s</td>", l.labels[name])
		}
		fmt.Fprintf(&b, "<td>%s</td></tr>", show(l.points[0][1], unit))
	}
	return b.String() + "</table>"
}

func show(v float64, unit string) string {
	text := strconv.FormatFloat(v, 'g', 3, 64)
	switch unit {
	case "s":
		if v >= 48*3600 {
			return fmt.Sprintf("%.0f days", v/86400)
		}
		if v >= 120 {
			return time.Duration(v * float64(time.Second)).Round(time.Second).String()
		}
		return text + " s"
	case "bytes":
		return strconv.FormatFloat(v/(1<<20), 'f', 0, 64) + " MiB"
	case "reqps", "ops":
		return text + "/s"
	}
	return text
}
