package controller

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// watchPatience is how long a watch may say nothing. The API server sends a bookmark
// about once a minute to whoever asks for them, as informers do.
const watchPatience = 3 * time.Minute

// GuardWatches ends watches that say nothing for longer than an API server does, so that
// the informer asks anew. A connection that is dead is noticed by client-go within 45 s;
// one that a proxy keeps alive, with nobody behind it, by nothing else: client-go leaves
// the end of a watch to the server. patience is real time, and three minutes when zero.
func GuardWatches(cfg *rest.Config, patience time.Duration) {
	if patience == 0 {
		patience = watchPatience
	}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &watchGuard{next: next, patience: patience} })
}

type watchGuard struct {
	next     http.RoundTripper
	patience time.Duration
}

// RoundTrip implements http.RoundTripper.
func (g *watchGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(r)
	q := r.URL.Query()
	if err != nil || resp.StatusCode != http.StatusOK || q.Get("watch") != "true" && q.Get("watch") != "1" || q.Get("allowWatchBookmarks") != "true" {
		return resp, err
	}
	b := &guardedBody{ReadCloser: resp.Body, patience: g.patience}
	b.mu.Lock() // it may end before AfterFunc returns
	b.timer = clock.RealClock{}.AfterFunc(g.patience, b.end)
	b.mu.Unlock()
	resp.Body = b
	return resp, nil
}

// WrappedRoundTripper lets client-go find what is underneath.
func (g *watchGuard) WrappedRoundTripper() http.RoundTripper { return g.next }

var errSilent = errors.New("the watch said nothing for too long, and is begun anew")

// guardedBody is closed when nothing comes.
type guardedBody struct {
	io.ReadCloser
	patience time.Duration
	timer    clock.Timer

	mu    sync.Mutex
	ended bool
}

func (b *guardedBody) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	_ = b.ReadCloser.Close()
}

// Read implements io.Reader.
func (b *guardedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.timer.Reset(b.patience)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && b.ended {
		err = errSilent
	}
	return n, err
}

// Close implements io.Closer.
func (b *guardedBody) Close() error {
	b.timer.Stop() // set before the body was handed out
	return b.ReadCloser.Close()
}
