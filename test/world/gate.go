package world

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/providertoken/operator/api/v1alpha1"
)

// WatchGate delays a watch, as a slow API server or network does.
type WatchGate struct {
	// watches tells whether a request is that watch.
	watches func(*http.Request) bool

	mu     sync.Mutex
	opened chan struct{}
}

// TargetWatch tells whether r is the watch of target Secrets.
func TargetWatch(r *http.Request) bool {
	return r.URL.Query().Get("labelSelector") == v1alpha1.TargetLabel
}

// TokenWatch tells whether r is the watch of ProviderTokens.
func TokenWatch(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/providertokens") }

// NewWatchGate makes an open gate for the requests that watches picks.
func NewWatchGate(watches func(*http.Request) bool) *WatchGate {
	g := &WatchGate{watches: watches, opened: make(chan struct{})}
	close(g.opened)
	return g
}

// Shut holds back what is read from now on.
func (g *WatchGate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

// Open lets everything through, also what was held back.
func (g *WatchGate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

// Wait returns when the gate is open.
func (g *WatchGate) Wait() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	<-opened
}

// Wrap makes the watches among the requests of next pass the gate.
func (g *WatchGate) Wrap(next http.RoundTripper) http.RoundTripper {
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && watches(r) && g.watches(r) {
			resp.Body = &gatedBody{ReadCloser: resp.Body, gate: g}
		}
		return resp, err
	})
}

// gatedBody holds back what it has read while the gate is shut.
type gatedBody struct {
	io.ReadCloser
	gate *WatchGate
}

func (b *gatedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.gate.Wait()
	return n, err
}

// RoundTripper is a function that serves as one.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
