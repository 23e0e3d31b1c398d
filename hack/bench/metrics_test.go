package main

import (
	"strings"
	"testing"
)

const served = `# HELP apiserver_request_total [STABLE] Counter of apiserver requests
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="PUT",version="v1"} 7
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="PUT",version="v1"} 1
apiserver_request_total{code="201",component="apiserver",dry_run="All",group="",resource="secrets",scope="resource",subresource="",verb="POST",version="v1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="providertoken.dev",resource="providertokens",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 8
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 30
apiserver_request_total{code="0",component="apiserver",dry_run="",group="",resource="secrets",scope="cluster",subresource="",verb="WATCH",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="",scope="",subresource="/metrics",verb="GET",version=""} 1.1e+01
apiserver_requested_deprecated_apis{group="",resource="secrets"} 1
`

func TestRequestsAreCountedByVerbAndResource(t *testing.T) {
	got, err := requestsOf([]byte(served))
	if err != nil {
		t.Fatal(err)
	}
	want := requests{
		{"PUT", "secrets"}: 8, {"POST (dry run)", "secrets"}: 2, {"PATCH", "providertokens/status"}: 8,
		{"PUT", "leases"}: 30, {"WATCH", "secrets"}: 3, {"GET", ""}: 11,
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: got %d, want %d", k, got[k], n)
		}
	}
}

func TestOnlyWhatIsDoneForTokensCountsAsTheirs(t *testing.T) {
	all, err := requestsOf([]byte(served))
	if err != nil {
		t.Fatal(err)
	}
	if got := all.work().total(); got != 18 {
		t.Errorf("got %d requests, want those of Secrets and of ProviderTokens: %v", got, all.work())
	}
}

func TestADifferenceHoldsWhatWasServedSince(t *testing.T) {
	put, get := kind{"PUT", "secrets"}, kind{"GET", "secrets"}
	got := requests{put: 5, get: 2}.since(requests{put: 3, get: 2})
	if len(got) != 1 || got[put] != 2 {
		t.Errorf("got %v", got)
	}
}

func TestMetricsAreSummedOverTheLabelsThatAreAskedFor(t *testing.T) {
	m, err := parse(strings.NewReader(`# TYPE controller_runtime_reconcile_total counter
controller_runtime_reconcile_total{controller="a",result="success"} 3
controller_runtime_reconcile_total{controller="a",result="error"} 1
controller_runtime_reconcile_total{controller="b",result="success"} 5
# TYPE workqueue_depth gauge
workqueue_depth{controller="a",name="a",priority="0"} 2
workqueue_depth{controller="a",name="a",priority="-100"} 4
`))
	if err != nil {
		t.Fatal(err)
	}
	if got, found := m.sum("controller_runtime_reconcile_total", map[string]string{"controller": "a"}); got != 4 || !found {
		t.Errorf("got %v, %v", got, found)
	}
	if got, found := m.sum("workqueue_depth", map[string]string{"name": "a"}); got != 6 || !found {
		t.Errorf("got %v, %v", got, found)
	}
	if _, found := m.sum("workqueue_depth", map[string]string{"name": "c"}); found {
		t.Error("found what is not there")
	}
	if _, found := m.sum("none", nil); found {
		t.Error("found a metric that is not there")
	}
}
