package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/lease"
	"github.com/providertoken/operator/internal/options"
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

func TestTheLeaderElectionHasAConnectionOfItsOwn(t *testing.T) {
	cfg := &rest.Config{Host: "https://127.0.0.1:1", UserAgent: "operator"}
	if _, err := newLock(cfg, &lease.Term{}, &lateRecorder{}, options.Options{OperatorNamespace: "own"}); err != nil {
		t.Fatal(err)
	}
	// A timeout for all requests would cut every watch.
	if cfg.Timeout != 0 || cfg.WrapTransport != nil || cfg.UserAgent != "operator" {
		t.Errorf("the operator's own connection is changed: timeout %s, user agent %q", cfg.Timeout, cfg.UserAgent)
	}
}

func TestTheAPIServersAddressesAreKnown(t *testing.T) {
	env := func(string) string { return "10.96.0.1" }
	for host, want := range map[string]string{
		"https://20.50.60.70:443":   "[10.96.0.1 20.50.60.70]",
		"https://[fd12::1]:6443":    "[10.96.0.1 fd12::1]",
		"20.50.60.70":               "[10.96.0.1 20.50.60.70]",
		"https://10.96.0.1":         "[10.96.0.1]",
		"https://api.example.com":   "[10.96.0.1]",
		"https://api.example.com:x": "[10.96.0.1]",
	} {
		if got := fmt.Sprint(clusterAddresses(host, env)); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if got := clusterAddresses("", noEnv); len(got) > 0 {
		t.Errorf("nothing is known: %v", got)
	}
}

func TestShardsHaveLeasesOfTheirOwn(t *testing.T) {
	names := map[string]string{}
	for _, selector := range []string{"", "shard=a", "shard=b", "shard notin (b)", v1alpha1.ShardLabel + "=a", v1alpha1.ShardLabel + "=b", v1alpha1.ShardLabel + "=A_b", v1alpha1.ShardLabel + " in (a,b)", v1alpha1.ShardLabel + "=a,team=x"} {
		name := leaseName(selector)
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			t.Errorf("%q: %q is no name of a Lease", selector, name)
		}
		if other, taken := names[name]; taken {
			t.Errorf("%q and %q share a Lease", selector, other)
		}
		names[name] = selector
	}
	if got := leaseName(v1alpha1.ShardLabel + "=b"); got != "providertoken-operator-shard-b" {
		t.Errorf("a shard's Lease is %q, which docs/scaling.md names otherwise", got)
	}
}

func TestWhoeverTakesTheRestHasOneLeaseWhateverTheOthersAre(t *testing.T) {
	for _, selector := range []string{"!" + v1alpha1.ShardLabel, v1alpha1.ShardLabel + "!=b", v1alpha1.ShardLabel + " notin (b)", v1alpha1.ShardLabel + " notin (b,c)"} {
		if got, want := leaseName(selector), leaseName(""); got != want {
			t.Errorf("%q: %q, want %q", selector, got, want)
		}
	}
}

func TestMissingCRDsAreNamedWithTheFix(t *testing.T) {
	for name, c := range map[string]struct {
		clusterWide bool
		served      string // nothing at all when empty
		want        string // no error when empty
	}{
		"none":                    {true, "", "clustertokenproviders.providertoken.dev, providertokens.providertoken.dev, tokenproviders.providertoken.dev: apply dist/crds.yaml"},
		"one":                     {true, `{"name":"providertokens"},{"name":"tokenproviders"}`, ": clustertokenproviders.providertoken.dev: apply"},
		"one that is not needed":  {false, `{"name":"providertokens"},{"name":"tokenproviders"}`, ""},
		"all, and a subresource":  {true, `{"name":"providertokens"},{"name":"providertokens/status"},{"name":"tokenproviders"},{"name":"clustertokenproviders"}`, ""},
		"only those of a version": {false, `{"name":"tokenproviders"}`, ": providertokens.providertoken.dev: apply"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path != "/apis/providertoken.dev/v1alpha1" || c.served == "" {
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
					return
				}
				_, _ = io.WriteString(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"providertoken.dev/v1alpha1","resources":[`+c.served+`]}`)
			}))
			defer server.Close()
			err := kindsInstalled(&rest.Config{Host: server.URL}, c.clusterWide)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
