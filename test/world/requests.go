package world

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

// Requests counts Requests by "VERB resource".
type Requests map[string]int

// Since is what came on top of earlier.
func (r Requests) Since(earlier Requests) Requests {
	diff := Requests{}
	for k, n := range r {
		if n > earlier[k] {
			diff[k] = n - earlier[k]
		}
	}
	return diff
}

// Sum of the Requests with one of these verbs.
func (r Requests) Sum(verbs ...string) int {
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

// ServedRequests is what the API server itself says that it served, for the
// resources that the operator touches.
func (s *Server) ServedRequests(ctx context.Context) Requests {
	clients, err := kubernetes.NewForConfig(s.Config)
	Expect(err).NotTo(HaveOccurred())
	text, err := clients.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	Expect(err).NotTo(HaveOccurred())
	ours := map[string]bool{"secrets": true, "configmaps": true, "events": true, "providertokens": true, "tokenproviders": true, "clustertokenproviders": true}
	counts := Requests{}
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

// Sent is what the operators of this world sent to the API server so far, when they have
// done what there was to do: to be compared with what they had sent before.
func (w *World) Sent() Requests {
	w.Rest()
	return w.Requests.Snapshot()
}

// RequestLog counts what an operator sends to the API server.
type RequestLog struct {
	mu   sync.Mutex
	seen Requests
}

// Wrap counts the requests that go through next.
func (l *RequestLog) Wrap(next http.RoundTripper) http.RoundTripper {
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		l.count(r)
		return next.RoundTrip(r)
	})
}

func (l *RequestLog) count(r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	verb := r.Method
	if watches(r) {
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
		l.seen = Requests{}
	}
	l.seen[verb+" "+resource]++
}

// Snapshot is what was counted so far, by operators that may be about to send more.
func (l *RequestLog) Snapshot() Requests {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.seen)
}
