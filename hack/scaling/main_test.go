package main

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tables into docs/scaling.md")

const (
	begin = "<!-- computed by hack/scaling; go test ./hack/scaling -update -->\n"
	end   = "<!-- end -->\n"
)

func measured(t *testing.T) costs {
	t.Helper()
	c, err := read(filepath.Join("..", "..", "docs", "benchmarks", "costs.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheTablesOfThePageAreThoseOfTheCosts(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "scaling.md")
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), begin)
	have, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the tables: %q … %q", page, begin, end)
	}
	want := render(measured(t))
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("docs/scaling.md does not say what docs/benchmarks/costs.json gives: go test ./hack/scaling -update\n%s", want)
	}
	if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The figures were computed by hand.
func TestEstimatesAreArithmetic(t *testing.T) {
	var c costs
	c.Refresh.APIRequests, c.Refresh.EtcdWrites = 2, 2
	c.Refresh.OperatorCPUMillis, c.Refresh.APIServerCPUMillis, c.Refresh.EtcdCPUMillis = 2, 8, 1
	c.Operator.FixedMiB, c.Operator.BytesPerToken, c.Operator.BytesPerCredential = 50, 10_000, 2_000
	c.Objects.TargetBytesBesideTokens, c.Objects.TokenCopies, c.Objects.ProviderTokenBytes, c.Objects.CredentialBytes = 1_000, 2, 3_000, 500
	e := c.estimate(fleet{tokens: 165_000, lifetime: 5 * time.Minute})
	if e.period != 165*time.Second {
		t.Fatalf("tokens of 5 min are replaced every %s, and not after 150 to 180 s", e.period)
	}
	for name, pair := range map[string][2]float64{
		"refreshes":      {e.refreshes, 1000},
		"operator cores": {e.operatorCores, 2},
		"API cores":      {e.apiCores, 8},
		"etcd cores":     {e.etcdCores, 1},
		"shards":         {float64(e.shards), 5}, // 1.65 GB by 400 MiB less 50 MiB and the platform's credentials
		"memory":         {e.memory, 50*(1<<20) + 200_000 + 33_000*10_000},
		"own":            {e.memoryOwn - e.memory, 330_000_000},
		"large":          {float64(e.large), 2}, // by CPU
		"large own":      {e.largeOwn, 50*(1<<20) + 200_000 + 82_500*10_000 + 330_000_000},
		"requests":       {e.requests, 2000 + 5*1.75},
		"writes":         {e.writes, 2002.5},
		"written":        {e.written, 6_000_000},
		"watched":        {e.watched, 12_000_000},
		"stored":         {e.stored, 165_000 * 6_500},
		"history":        {e.history, 1_800_000_000},
		"hosts":          {float64(e.hosts), 10},
		"first":          {e.first.Seconds(), 165},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-6*pair[1] {
			t.Errorf("%s: %g, want %g", name, pair[0], pair[1])
		}
	}
	if got := e.bounds()[0]; got.name != "etcd's size" || math.Abs(got.used-(165_000*6_500+1_800_000_000)/float64(quota)) > 1e-9 {
		t.Errorf("the tightest is %+v", got)
	}
}

func TestTwiceTheTokensCostTwiceAsMuch(t *testing.T) {
	c := measured(t)
	one, two := c.estimate(fleet{500_000, time.Hour}), c.estimate(fleet{1_000_000, time.Hour})
	for name, pair := range map[string][2]float64{"refreshes": {one.refreshes, two.refreshes}, "stored": {one.stored, two.stored}, "history": {one.history, two.history}, "CPU": {one.apiCores, two.apiCores}} {
		if math.Abs(pair[1]-2*pair[0]) > 1e-6*pair[1] {
			t.Errorf("%s: %g and %g", name, pair[0], pair[1])
		}
	}
	if two.memory > shardMemory {
		t.Errorf("a shard of %d needs %s", two.shards, size(two.memory))
	}
}

func TestCostsThatAreMissingAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		`{"refresh": {"apiRequests": 2}}`: "says nothing, or nothing sensible, about",
		`{"refreshes": {}}`:               `unknown field "refreshes"`,
	} {
		file := filepath.Join(t.TempDir(), "costs.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
