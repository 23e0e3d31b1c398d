package lease

import (
	"net/http"
	"testing"
	"time"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestATermRunsFromBeforeTheLeaseWasWrittenForItsDuration(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		method, path string
		status       int
		want         bool
	}{
		"won":            {http.MethodPost, "/apis/coordination.k8s.io/v1/namespaces/x/leases", http.StatusCreated, true},
		"renewed":        {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/x/leases/y", http.StatusOK, true},
		"lost":           {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/x/leases/y", http.StatusConflict, false},
		"read":           {http.MethodGet, "/apis/coordination.k8s.io/v1/namespaces/x/leases/y", http.StatusOK, false},
		"something else": {http.MethodPost, "/api/v1/namespaces/x/events", http.StatusCreated, false},
	} {
		now := start
		term := &Term{Duration: 15 * time.Second, Now: func() time.Time { return now }}
		if term.Running() {
			t.Errorf("%s: a term runs before it began", name)
		}
		slow := term.Watch(roundTripper(func(*http.Request) (*http.Response, error) {
			now = now.Add(5 * time.Second)
			return &http.Response{StatusCode: c.status, Body: http.NoBody}, nil
		}))
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://api"+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := slow.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if term.Running() != c.want {
			t.Errorf("%s: running is %t", name, !c.want)
		}
		now = start.Add(14*time.Second - 1)
		if term.Running() != c.want {
			t.Errorf("%s: running is %t shortly before the end", name, !c.want)
		}
		now = start.Add(14 * time.Second) // others may have seen a renewal of the same second before it
		if term.Running() {
			t.Errorf("%s: the term runs on after the lease, counted from before the request", name)
		}
	}
}
