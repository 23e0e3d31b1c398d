package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/providersim"
)

func TestDurationIsWhatDemoSecondsSays(t *testing.T) {
	for name, c := range map[string]struct {
		setting string
		want    time.Duration
		refused bool
	}{
		"left to the caller when not set": {"", time.Hour, false},
		"a number of seconds":             {"60", time.Minute, false},
		"a word is refused":               {"soon", 0, true},
		"0 would prove nothing":           {"0", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := duration(c.setting, time.Hour)
			if got != c.want || (err != nil) != c.refused {
				t.Errorf("duration = %s, %v", got, err)
			}
		})
	}
}

func TestExpandQuotesForYAML(t *testing.T) {
	value := "line one\nline \"two\": #\\ ${X} 'äö'\n"
	out, err := expand("a: ${V}\nb: plain\n", map[string]string{"V": value})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := yaml.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": value, "b": "plain"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExpandNamesWhatItDoesNotKnow(t *testing.T) {
	if _, err := expand("a: ${V}", nil); err == nil || !strings.Contains(err.Error(), "V") {
		t.Errorf("expand = %v", err)
	}
}

func TestEveryManifestIsFilledAndEveryWayInHasOne(t *testing.T) {
	sim, err := providersim.Start(providersim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	rendered := t.TempDir()
	if err := renderManifests("manifests", rendered, values(sim)); err != nil {
		t.Fatal(err)
	}
	ways := waysIn(sim)
	for _, w := range ways {
		if _, err := os.Stat(filepath.Join(rendered, w.name+".yaml")); err != nil {
			t.Error(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(rendered, "*"))
	if err != nil || len(files) != len(ways) {
		t.Errorf("%d manifests for %d ways in: %v", len(files), len(ways), err)
	}
}
