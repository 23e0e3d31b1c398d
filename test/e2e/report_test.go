//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/providertoken/operator/test/e2e/wire"
)

// window is one scenario as the workloads lived through it.
type window struct {
	Scenario string              `json:"scenario"`
	Seconds  float64             `json:"seconds"`
	ByWay    map[way]*experience `json:"byWay"`
}

// experience of the workloads of one kind.
type experience struct {
	Reads        int `json:"reads"`
	Unauthorized int `json:"unauthorized"`
	Other        int `json:"other"`
}

// results are printed at the end, and written as JSON.
type results struct {
	Cluster     string                 `json:"cluster"`
	Started     time.Time              `json:"started"`
	WallSeconds float64                `json:"wallSeconds"`
	Windows     []window               `json:"windows"`
	Totals      map[string]wire.Reader `json:"workloads"`
	// Propagation from publication to the first sight in a file, in seconds, without
	// and with the operator's nudge.
	Propagation map[string]*delays      `json:"propagation"`
	Targets     map[string]targetResult `json:"targets"`
	// Facts are single measurements, in the order of their names.
	Facts map[string]string `json:"facts"`
}

// targetResult is what a watch saw of one target.
type targetResult struct {
	Tokens         int     `json:"tokens"`
	Minted         int     `json:"minted"`
	Early          int     `json:"early"`
	ExpiredSeconds float64 `json:"expiredSeconds"`
}

// delays are a sample of durations in seconds.
type delays []float64

func (d *delays) add(one time.Duration) { *d = append(*d, max(0, one.Seconds())) }

// quantile by the nearest-rank method.
func (d delays) quantile(q float64) float64 {
	if len(d) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func (d delays) String() string {
	if len(d) == 0 {
		return "none"
	}
	return fmt.Sprintf("n=%d  p50=%.2f s  p99=%.2f s  max=%.2f s", len(d), d.quantile(0.5), d.quantile(0.99), d.quantile(1))
}

// ways of which there are workloads, those that must not fail first.
func ways() []way {
	return []way{plainVolume, projectedVolume, volumeWithItems, environment, subPath, doomedWay}
}

// doomedWay is how the throw-away workload is counted: apart from all others.
const doomedWay way = "(doomed)"

// between two states of the same workloads.
func between(scenario string, took time.Duration, all []workload, before, after map[string]wire.Reader) window {
	w := window{Scenario: scenario, Seconds: took.Seconds(), ByWay: map[way]*experience{}}
	for _, one := range all {
		kind := one.counted()
		e := w.ByWay[kind]
		if e == nil {
			e = &experience{}
			w.ByWay[kind] = e
		}
		b, a := before[one.name()], after[one.name()]
		e.Reads += a.Reads - b.Reads
		e.Unauthorized += a.Unauthorized - b.Unauthorized
		e.Other += a.Other - b.Other
	}
	return w
}

// counted tells under which heading a workload goes.
func (w workload) counted() way {
	if w.source.name == doomed {
		return doomedWay
	}
	return w.way
}

func (r *results) String() string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) }

	heading := []string{"401s of reads", "time"}
	for _, w := range ways() {
		heading = append(heading, string(w))
	}
	line(heading...)
	for _, w := range r.Windows {
		cells := []string{w.Scenario, fmt.Sprintf("%.0f s", w.Seconds)}
		for _, kind := range ways() {
			cell := "-"
			if e := w.ByWay[kind]; e != nil {
				cell = fmt.Sprintf("%d of %d", e.Unauthorized, e.Reads)
				if e.Other > 0 {
					cell += fmt.Sprintf(" (+%d other)", e.Other)
				}
			}
			cells = append(cells, cell)
		}
		line(cells...)
	}
	line()
	line("workload", "reads", "401", "other", "tokens seen")
	for _, name := range sortedKeys(r.Totals) {
		t := r.Totals[name]
		line(name, fmt.Sprint(t.Reads), fmt.Sprint(t.Unauthorized), fmt.Sprint(t.Other), fmt.Sprint(len(t.Tokens)))
	}
	line()
	line("target", "tokens", "minted", "early", "expired")
	for _, name := range sortedKeys(r.Targets) {
		t := r.Targets[name]
		line(name, fmt.Sprint(t.Tokens), fmt.Sprint(t.Minted), fmt.Sprint(t.Early), fmt.Sprintf("%.1f s", t.ExpiredSeconds))
	}
	line()
	for _, name := range sortedKeys(r.Propagation) {
		line("propagation, "+name, r.Propagation[name].String())
	}
	for _, name := range sortedKeys(r.Facts) {
		line(name, r.Facts[name])
	}
	line("wall time of the suite", fmt.Sprintf("%.0f s on %s", r.WallSeconds, r.Cluster))
	_ = table.Flush()
	return out.String()
}

// publish prints the results and leaves them in the logs' directory.
func (r *results) publish(directory string) {
	fmt.Printf("\n%s\nresults: %s\n", r, filepath.Join(directory, "e2e.json"))
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		fmt.Println("results cannot be written:", err)
		return
	}
	for name, content := range map[string][]byte{"e2e.json": raw, "e2e.txt": []byte(r.String())} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o644); err != nil {
			fmt.Println("results cannot be written:", err)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
