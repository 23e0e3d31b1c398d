package controller_test

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"

	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"
)

// requests counts requests by "VERB resource".
type requests map[string]int

// since is what came on top of earlier.
func (r requests) since(earlier requests) requests {
	diff := requests{}
	for k, n := range r {
		if n > earlier[k] {
			diff[k] = n - earlier[k]
		}
	}
	return diff
}

// sum of the requests with one of these verbs.
func (r requests) sum(verbs ...string) int {
	n := 0
	for k, count := range r {
		for _, v := range verbs {
			if strings.HasPrefix(k, v+" ") {
				n += count
			}
		}
	}
	return n
}

// servedRequests is what the API server itself says that it served, for the
// resources that the operator touches.
func servedRequests(ctx context.Context) requests {
	clients, err := kubernetes.NewForConfig(apiServer)
	Expect(err).NotTo(HaveOccurred())
	text, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	Expect(err).NotTo(HaveOccurred())
	ours := map[string]bool{"secrets": true, "configmaps": true, "events": true, "providertokens": true, "tokenproviders": true, "clustertokenproviders": true}
	counts := requests{}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if ours[labels["resource"]] {
			counts[labels["verb"]+" "+labels["resource"]] += int(m.GetCounter().GetValue())
		}
	}
	return counts
}

// requestLog counts what an operator sends to the API server.
type requestLog struct {
	mu   sync.Mutex
	seen requests
}

func (l *requestLog) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		l.count(r)
		return next.RoundTrip(r)
	})
}

func (l *requestLog) count(r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	verb := r.Method
	if w := r.URL.Query().Get("watch"); w == "true" || w == "1" {
		verb = "WATCH"
	}
	resource := parts[len(parts)-1]
	for i, p := range parts {
		if p == "namespaces" && i+2 < len(parts) {
			resource = parts[i+2]
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = requests{}
	}
	l.seen[verb+" "+resource]++
}

func (l *requestLog) snapshot() requests {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.seen)
}
