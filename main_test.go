package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func noEnv(string) string { return "" }

func TestVersionTellsTheCatalog(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"--version"}, noEnv, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"commit unknown", "PlantPredict", "SpatiaFi", "UP42 ", "UP42Project"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestMistakesEndBeforeAnythingStarts(t *testing.T) {
	if err := run(t.Context(), []string{"--help"}, noEnv, new(strings.Builder)); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
	if err := run(t.Context(), []string{"--allow-networks=x"}, noEnv, new(strings.Builder)); err == nil {
		t.Error("a wrong network is accepted")
	}
}

func TestShardsHaveLeasesOfTheirOwn(t *testing.T) {
	if leaseName("") == leaseName("shard=a") || leaseName("shard=a") == leaseName("shard=b") {
		t.Error("two shards share a lease")
	}
}
