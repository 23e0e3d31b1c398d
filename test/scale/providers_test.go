package scale_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
)

// call is one request to a provider.
type call struct {
	host, object string
	form         url.Values
	began        time.Time // by the operator's clock
	ended        bool
	refused      bool // because the host was down
}

// providers answer within the process: what is measured here is the operator, not TLS.
// Who asks is told by the scope, which each object has of its own.
type providers struct {
	now func() time.Time

	mu       sync.Mutex
	calls    []*call
	lifetime time.Duration
	down     map[string]bool
	held     map[string]chan struct{}
}

func newProviders(now func() time.Time) *providers {
	return &providers{now: now, lifetime: time.Hour, down: map[string]bool{}, held: map[string]chan struct{}{}}
}

// Do implements controller.Exchanger.
func (p *providers) Do(ctx context.Context, req provider.Request, _ exchange.Trust) (provider.Answer, error) {
	u, err := url.Parse(req.URL)
	if err != nil {
		return provider.Answer{}, err
	}
	form, err := url.ParseQuery(req.Body.Reveal())
	if err != nil {
		return provider.Answer{}, err
	}
	p.mu.Lock()
	c := &call{host: u.Host, object: form.Get("scope"), form: form, began: p.now(), refused: p.down[u.Host]}
	p.calls = append(p.calls, c)
	n, gate := len(p.calls), p.held[u.Host]
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.ended = true
	if c.refused {
		return provider.Answer{}, &provider.Error{Kind: provider.Unavailable, Problem: "nobody is there", Fix: "wait"}
	}
	return provider.Answer{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, SentAt: c.began, ReceivedAt: c.began,
		Body: fmt.Appendf(nil, `{"access_token":"token-%08d-of-%s","token_type":"Bearer","expires_in":%d}`, n, c.object, int(p.lifetime.Seconds())),
	}, nil
}

// hold lets requests to a host wait until it is released.
func (p *providers) hold(host string) (release func()) {
	gate := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[host] = gate
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.held, host)
		close(gate)
	})
}

// takeDown and bringBack say whether a host answers.
func (p *providers) takeDown(host string) { p.set(host, true) }

func (p *providers) bringBack(host string) { p.set(host, false) }

func (p *providers) set(host string, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down[host] = down
}

// mark is now, for since.
func (p *providers) mark() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// since are copies of the calls to a host after a mark.
func (p *providers) since(mark int, host string) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []call
	for _, c := range p.calls[mark:] {
		if c.host == host {
			found = append(found, *c)
		}
	}
	return found
}

// minted counts the tokens that a host issued after a mark.
func (p *providers) minted(mark int, host string) (n int) {
	for _, c := range p.since(mark, host) {
		if c.ended && !c.refused {
			n++
		}
	}
	return n
}
