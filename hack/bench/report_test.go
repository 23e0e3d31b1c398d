package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAReportStandsBetweenItsLinesAndJudgesGoals(t *testing.T) {
	directory := t.TempDir()
	own := func(scenario string, objects int, cpu float64) *result {
		r := &result{Scenario: scenario, Objects: objects, Lifetime: 300, Machine: "a machine", CPUs: 2, Note: "a note"}
		r.FirstTokens = firstTokens{Got: objects, All: 15}
		r.Steady = steady{Refreshes: objects, RequestsPerRefresh: 2, CPU: cpu, Late: distribution{P99: 0.5}}
		r.Memory = memory{Resident: 50 + float64(objects)/100, Peak: 60 + float64(objects)/100}
		return r
	}
	peer := own("3000x300s", 3000, 9)
	peer.Peer = "peer"
	for _, r := range []*result{own("1000x300s", 1000, 1), own("3000x300s", 3000, 3), own("10000x300s", 10000, 2), peer} {
		if _, err := r.write(directory); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(directory, "costs.json"), []byte(`{"machine": "of another program", "operator": {"of": "another form"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(directory, "page.md")
	if err := os.WriteFile(page, []byte("before\n"+beginFigures+"\nold figures\n"+endFigures+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := report(directory, page); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, want := range []string{
		"before\n", "\nafter\n", "a note",
		"| operator CPU per refresh, 3000x300s | ≤ 2.5 ms | 3.00 ms | **missed** |",
		"| operator CPU per refresh, 10000x300s | ≤ 2.5 ms | 2.00 ms | met |",
		"| all first tokens, 3000x300s | ≤ 20 s | 15.0 s | met |",
		"10.2 KiB a token from 1000 to 10000",
		"| restart with 10,000 valid tokens: mints | 0 | not measured |",
		"| peer, 3000x300s | operator CPU per refresh | 3.00 ms | 9.00 ms | 3.0 |",
		"/growth.svg)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "old figures") || strings.Contains(text, "of another program") {
		t.Error("the page tells what it should not")
	}
	if t.Failed() {
		t.Log(text)
	}
	if plot, err := os.ReadFile(filepath.Join(directory, growthPlot)); err != nil || !strings.Contains(string(plot), "<svg") {
		t.Errorf("the plot: %v", err)
	}
	if err := report(directory, filepath.Join(directory, "costs.json")); err == nil || !strings.Contains(err.Error(), "lacks the lines") {
		t.Errorf("a page without the lines: %v", err)
	}
}
