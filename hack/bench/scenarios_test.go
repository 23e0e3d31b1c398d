package main

import (
	"strings"
	"testing"
	"time"
)

func TestAScenarioIsNamedByItsShape(t *testing.T) {
	objects, lifetime, is := shape("3000x300s")
	if !is || objects != 3000 || lifetime != 300*time.Second {
		t.Errorf("got %d, %s, %v", objects, lifetime, is)
	}
	for _, other := range []string{"", "x", "0x300s", "3000x0s", "3000x300", "restart", "3000x300s "} {
		if _, _, is := shape(other); is {
			t.Errorf("%q was taken for a shape", other)
		}
	}
}

func TestAnUnknownScenarioNamesThoseThereAre(t *testing.T) {
	_, _, err := prepare("nonsense", workload{})
	if err == nil || !strings.Contains(err.Error(), "foreign-secrets") {
		t.Errorf("got %v", err)
	}
}

func TestFlagsWinOverAScenario(t *testing.T) {
	_, w, err := prepare("3000x300s", workload{objects: 7, duration: time.Second})
	if err != nil || w.objects != 7 || w.lifetime != 300*time.Second || w.duration != time.Second || w.lead != 0 {
		t.Errorf("got %+v, %v", w, err)
	}
}

func TestShortTokensAreGivenALeadThatFits(t *testing.T) {
	if got := leadFor(90 * time.Second); got != 30*time.Second {
		t.Errorf("got %s", got)
	}
	if got := leadFor(300 * time.Second); got != 0 {
		t.Errorf("got %s, want the default of the operator", got)
	}
}

func TestTheTemplatesYieldWhatTheyAreFor(t *testing.T) {
	h := host{Name: "bench", URL: "https://127.0.0.1:1/token", CA: "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n", Concurrency: 32, PerSecond: 500}
	for file, want := range map[string]string{
		"":                              "ClusterTokenProvider Secret ProviderToken",
		"objects/external-secrets.yaml": "Secret Webhook ExternalSecret",
	} {
		tmpl, err := readTemplate(file)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for name, data := range map[string]any{"shared": map[string]any{"Hosts": []host{h}}} {
			found, err := render(tmpl, name, data)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range found {
				kinds = append(kinds, o.GetKind())
			}
		}
		found, err := render(tmpl, "object", object{Name: "a", Namespace: "b", Secret: "c", Host: h, Lead: time.Second, Interval: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range found {
			kinds = append(kinds, o.GetKind())
			if o.GetNamespace() != "b" {
				t.Errorf("%s is in namespace %q", o.GetKind(), o.GetNamespace())
			}
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%s: got %s", file, got)
		}
	}
}

func TestMintsAreJudgedByWhatReachedSecrets(t *testing.T) {
	s := &stage{provider: &provider{lifetime: 100 * time.Second}, ledger: newLedger()}
	put := func(second, seen float64, planned float64) {
		s.provider.issue("a", at(second))
		m := s.provider.mints[len(s.provider.mints)-1]
		s.ledger.publish("g", "a", m, at(seen), at(planned))
	}
	put(0, 0.1, 60)
	put(60, 60.1, 120)
	put(100, 100.1, 160)           // 20 s early
	s.provider.issue("a", at(105)) // never seen in a Secret
	s.provider.issue("a", at(196)) // perhaps on its way
	if got, want := s.minted(at(200)), (mints{Made: 4, Needed: 2, Early: 1, Lost: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
