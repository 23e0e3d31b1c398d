package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What report writes into the page stands between these lines.
const (
	beginFigures = "<!-- figures: written by make bench-report, not by hand -->"
	endFigures   = "<!-- end of figures -->"
	growthPlot   = "growth.svg"
)

// figures are results by the name of their file, without its suffix.
type figures map[string]*result

func readFigures(directory string) (figures, error) {
	files, err := filepath.Glob(filepath.Join(directory, "*.json"))
	if err != nil {
		return nil, err
	}
	all := figures{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading figures: %w", err)
		}
		var of struct{ Scenario string }
		if err := json.Unmarshal(content, &of); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if of.Scenario == "" { // others keep theirs beside
			continue
		}
		r := &result{}
		if err := json.Unmarshal(content, r); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = r
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no figures in %s: %w", directory, fs.ErrNotExist)
	}
	return all, nil
}

// report writes plots beside the figures, and the tables into the page.
func report(directory, page string) error {
	all, err := readFigures(directory)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	before, rest, begins := bytes.Cut(content, []byte(beginFigures))
	_, after, ends := bytes.Cut(rest, []byte(endFigures))
	if !begins || !ends {
		return fmt.Errorf("%s lacks the lines %q and %q", page, beginFigures, endFigures)
	}
	var text bytes.Buffer
	text.WriteString(beginFigures + "\n\n")
	text.WriteString(all.goals())
	text.WriteString(all.runs())
	text.WriteString(all.sideBySide())
	grown := all.growth()
	if len(grown) > 1 {
		fmt.Fprintf(&text, "![growth from %d to %d tokens](%s/%s)\n\nThe dashed line is what growth in proportion to the first run would be: none for what is told per refresh.\n\n",
			grown[0].Objects, grown[len(grown)-1].Objects, filepath.Base(directory), growthPlot)
	}
	text.WriteString(endFigures)
	if err := os.WriteFile(page, slices.Concat(before, text.Bytes(), after), 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	if len(grown) < 2 {
		return nil
	}
	return plotGrowth(grown, filepath.Join(directory, growthPlot))
}

// goal is a line of the table: what is to be reached, and what was.
type goal struct {
	figure, want, command string
	// got is empty where there is no such run.
	got string
	met bool
}

func (all figures) goals() string {
	var lines []goal
	add := func(figure, want, run string, judge func(*result) (string, bool)) {
		g := goal{figure: figure, want: want, command: "`make bench BENCH=" + run + "`"}
		if r := all[run]; r != nil {
			g.got, g.met = judge(r)
		}
		lines = append(lines, g)
	}
	for _, run := range []string{"3000x300s", "10000x300s"} {
		add("API requests per steady refresh, "+run, "≤ 2.05", run, func(r *result) (string, bool) {
			return fmt.Sprintf("%.3f", r.Steady.RequestsPerRefresh), r.Steady.RequestsPerRefresh <= mostRequests
		})
		add("operator CPU per refresh, "+run, "≤ 2.5 ms", run, func(r *result) (string, bool) {
			return fmt.Sprintf("%.2f ms", r.Steady.CPU), r.Steady.CPU <= 2.5
		})
	}
	for run, most := range map[string]float64{"300x90s": 3, "3000x300s": 20} {
		add("all first tokens, "+run, fmt.Sprintf("≤ %.0f s", most), run, func(r *result) (string, bool) {
			return fmt.Sprintf("%.1f s", r.FirstTokens.All), r.FirstTokens.Got == r.Objects && r.FirstTokens.All <= most
		})
	}
	slices.SortStableFunc(lines, func(a, b goal) int { return cmp.Compare(a.figure, b.figure) })
	add("10,000 tokens of 300 s: lateness p99", "≤ 1 s", "10000x300s", func(r *result) (string, bool) {
		return fmt.Sprintf("%.2f s (p50 %.2f, max %.2f)", r.Steady.Late.P99, r.Steady.Late.P50, r.Steady.Late.Max), r.Steady.Late.P99 <= 1
	})
	add("the same: expired token-seconds", "0", "10000x300s", func(r *result) (string, bool) {
		return fmt.Sprintf("%.1f in %.0f s", r.Expired, r.Observed), r.Expired == 0
	})
	add("the same: resident memory", "≤ 200 MiB", "10000x300s", func(r *result) (string, bool) {
		return fmt.Sprintf("%.0f MiB, at most %.0f%s", r.Memory.Resident, r.Memory.Peak, all.perToken()), r.Memory.Peak <= 200
	})
	add("growth by 20,000 foreign Secrets of 10 KiB", "≤ 5 MiB", "foreign-secrets", func(r *result) (string, bool) {
		return fmt.Sprintf("%+.1f MiB, %d requests", r.Foreign.Growth, r.Foreign.Requests), r.Foreign.Growth <= 5
	})
	add("restart with 10,000 valid tokens: mints", "0", "restart", func(r *result) (string, bool) {
		return fmt.Sprint(r.Restart.Mints), r.Restart.Mints == 0
	})
	add("the same: until all are planned", "≤ 10 s", "restart", func(r *result) (string, bool) {
		return fmt.Sprintf("%.1f s, %d requests, %.1f s CPU", r.Restart.Planned, r.Restart.Requests, r.Restart.CPU), r.Restart.Planned <= 10
	})
	add("outage: until every token is fresh", "≤ N ÷ rate + 10 %", "outage", func(r *result) (string, bool) {
		x := r.Outage
		return fmt.Sprintf("%d in %.1f s (%.1f s), from %.1f s after the provider was back; at most %.0f a second over five seconds (limit %d in any second)", x.Due, x.Recovered, x.Bound, x.Noticed, x.Fastest, x.Rate),
			x.Recovered <= x.Bound && x.Fastest <= float64(x.Rate)*float64(rateOver+time.Second)/float64(rateOver) // so many in any second can begin six times within five seconds and a moment
	})
	add("fairness: 100 tokens beside 5,000 on a slow host", "no delay", "fairness", func(r *result) (string, bool) {
		x := r.Fairness
		return fmt.Sprintf("first tokens %.1f s (alone %.1f s), lateness p99 %.2f s (alone %.2f s)", x.Beside, x.Alone, x.BesideLate.P99, x.AloneLate.P99), x.BesideLate.P99 <= x.AloneLate.P99+1
	})
	var text strings.Builder
	text.WriteString("| figure | goal | measured | | by |\n|---|---|---|---|---|\n")
	for _, g := range lines {
		verdict := "met"
		switch {
		case g.got == "":
			g.got, verdict = "not measured", ""
		case !g.met:
			verdict = "**missed**"
		}
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s |\n", g.figure, g.want, g.got, verdict, g.command)
	}
	return text.String() + "\n"
}

// perToken is how memory grows with the number of tokens.
func (all figures) perToken() string {
	grown := all.growth()
	if len(grown) < 2 {
		return ""
	}
	first, last := grown[0], grown[len(grown)-1]
	each := (last.Memory.Resident - first.Memory.Resident) * 1024 / float64(last.Objects-first.Objects)
	return fmt.Sprintf("; %.1f KiB a token from %d to %d", each, first.Objects, last.Objects)
}

// growth are the runs with tokens of 300 s, by their number.
func (all figures) growth() []*result {
	var found []*result
	for _, r := range all {
		if r.Peer == "" && r.Lifetime == 300 && r.Steady.Refreshes > 0 {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *result) int { return cmp.Compare(a.Objects, b.Objects) })
	return found
}

func (all figures) runs() string {
	var found []*result
	for _, r := range all {
		if r.Steady.Refreshes > 0 {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *result) int {
		return cmp.Or(cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Objects, b.Objects), cmp.Compare(a.Scenario, b.Scenario))
	})
	var text strings.Builder
	text.WriteString("All runs in which tokens were refreshed:\n\n")
	text.WriteString("| run | first tokens | refreshes | requests | CPU: operator, API server, etcd | lateness p50, p99, max | left when replaced: min, p50 | expired | memory | load before |\n")
	text.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range found {
		s := r.Steady
		name := r.Scenario
		if r.Peer != "" {
			name = r.Peer + ", " + name
		}
		first := fmt.Sprintf("%.1f s", r.FirstTokens.All)
		if r.FirstTokens.Got < r.Objects {
			first = fmt.Sprintf("%d of %d", r.FirstTokens.Got, r.Objects)
		}
		fmt.Fprintf(&text, "| %s | %s | %d | %.2f | %.2f, %.2f, %.2f ms | %.2f, %.2f, %.2f s | %.0f, %.0f s | %.0f | %.0f MiB | %.1f |\n",
			name, first, s.Refreshes, s.RequestsPerRefresh, s.CPU, s.APIServerCPU, s.EtcdCPU, s.Late.P50, s.Late.P99, s.Late.Max, s.Left.Min, s.Left.P50, r.Expired, r.Memory.Resident, r.Load)
	}
	text.WriteString(all.machines())
	return text.String()
}

// machines tells on what, and when, with what notes.
func (all figures) machines() string {
	var on, notes []string
	for name, r := range all {
		on = append(on, fmt.Sprintf("%d CPUs (%s), %s", r.CPUs, r.Machine, r.When.Format("2006-01-02")))
		if r.Note != "" {
			notes = append(notes, name+": "+r.Note)
		}
	}
	slices.Sort(on)
	slices.Sort(notes)
	text := "\nMeasured on " + strings.Join(slices.Compact(on), "; ") + ".\n"
	for _, n := range notes {
		text += "\n- " + n
	}
	return text + "\n\n"
}

// sideBySide compares with peers that were given the same work.
func (all figures) sideBySide() string {
	var text strings.Builder
	var names []string
	for name, r := range all {
		if r.Peer != "" && all[r.Scenario] != nil && r.Steady.Refreshes > 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	text.WriteString("Beside a peer that was given the same work:\n\n| work | | this operator | peer | peer ÷ this |\n|---|---|---|---|---|\n")
	for _, name := range names {
		peer := all[name]
		own := all[peer.Scenario]
		row := func(figure, format string, a, b float64) {
			ratio := ""
			if a > 0 {
				ratio = fmt.Sprintf("%.1f", b/a)
			}
			fmt.Fprintf(&text, "| %s, %s | %s | "+format+" | "+format+" | %s |\n", peer.Peer, peer.Scenario, figure, a, b, ratio)
		}
		row("API requests per refresh", "%.2f", own.Steady.RequestsPerRefresh, peer.Steady.RequestsPerRefresh)
		row("operator CPU per refresh", "%.2f ms", own.Steady.CPU, peer.Steady.CPU)
		row("API server CPU per refresh", "%.2f ms", own.Steady.APIServerCPU, peer.Steady.APIServerCPU)
		row("operator CPU per token, all of the run", "%.2f ms", own.Whole.CPU, peer.Whole.CPU)
		row("API requests per token, all of the run", "%.2f", own.Whole.RequestsPerToken, peer.Whole.RequestsPerToken)
		row("all first tokens", "%.1f s", own.FirstTokens.All, peer.FirstTokens.All)
		row("expired token-seconds", "%.0f", own.Expired, peer.Expired)
		row("early and lost mints", "%.0f", float64(own.Mints.Early+own.Mints.Lost), float64(peer.Mints.Early+peer.Mints.Lost))
		row("resident", "%.0f MiB", own.Memory.Resident, peer.Memory.Resident)
	}
	return text.String() + "\n"
}
