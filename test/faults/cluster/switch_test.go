package cluster_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	testworld "github.com/providertoken/operator/test/world"
)

// rule says what becomes of a request to the API server; nil lets it through.
type rule func(next http.RoundTripper, r *http.Request) (*http.Response, error)

// board stands between an operator and the API server.
type board struct {
	mu   sync.Mutex
	rule rule
	// hits counts the requests that the rule took.
	hits atomic.Int32
	// taken names them.
	taken []string
}

func (b *board) wrap(next http.RoundTripper) http.RoundTripper {
	return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
		b.mu.Lock()
		now := b.rule
		b.mu.Unlock()
		if now == nil {
			return next.RoundTrip(r)
		}
		return now(next, r)
	})
}

// set replaces the rule, and counts from zero.
func (b *board) set(now rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rule, b.taken = now, nil
	b.hits.Store(0)
}

func (b *board) clear() { b.set(nil) }

// on applies what to the requests that match.
func (b *board) on(match func(*http.Request) bool, what rule) {
	b.set(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if !match(r) {
			return next.RoundTrip(r)
		}
		b.take(r)
		return what(next, r)
	})
}

func (b *board) take(r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hits.Add(1)
	b.taken = append(b.taken, r.Method+" "+r.URL.Path)
}

// requests names those that the rule took.
func (b *board) requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.taken)
}

// first is what for the first n requests that match.
func (b *board) first(n int32, match func(*http.Request) bool, what rule) {
	var seen atomic.Int32
	b.on(match, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if seen.Add(1) > n {
			return next.RoundTrip(r)
		}
		return what(next, r)
	})
}

// The requests of an operator.

func writes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.URL.Query().Get("dryRun") == ""
}

func ofSecret(name string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return writes(r) && (strings.HasSuffix(r.URL.Path, "/secrets/"+name) || r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/secrets"))
	}
}

func ofStatus(r *http.Request) bool { return writes(r) && strings.HasSuffix(r.URL.Path, "/status") }

func ofEvents(r *http.Request) bool { return strings.Contains(r.URL.Path, "/events") }

func ofLease(r *http.Request) bool { return strings.Contains(r.URL.Path, "/leases") }

func everything(*http.Request) bool { return true }

func watches(r *http.Request) bool {
	w := r.URL.Query().Get("watch")
	return w == "true" || w == "1"
}

// What becomes of them.

// refuses answers as an API server that will not.
func refuses(code int, reason metav1.StatusReason, message string, retryAfter int) rule {
	return func(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
		body, err := json.Marshal(metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Code: int32(code), Reason: reason, Message: message, //nolint:gosec // an HTTP status
		})
		if err != nil {
			return nil, err
		}
		resp := &http.Response{
			StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/2.0", ProtoMajor: 2, Request: r,
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		}
		if retryAfter > 0 {
			resp.Header.Set("Retry-After", strconv.Itoa(retryAfter))
		}
		return resp, nil
	}
}

// loses lets the API server do what it is asked, and keeps its answer.
func loses(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	return nil, io.ErrUnexpectedEOF
}

// hangs never answers.
func hangs(_ http.RoundTripper, r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// breaks is a connection that cannot be made.
func breaks(http.RoundTripper, *http.Request) (*http.Response, error) {
	return nil, io.ErrUnexpectedEOF
}

// passes lets a request through, that is only to be counted.
func passes(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	return next.RoundTrip(r)
}
