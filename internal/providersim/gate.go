package providersim

import (
	"context"
	"fmt"
	"sync"
)

// Gate holds requests: a test waits until they have arrived, looks around, and
// releases them. Hold and HoldAnswer are the scripts that use one.
type Gate struct {
	open chan struct{}

	mu       sync.Mutex
	arrived  int
	released bool
	news     chan struct{} // closed and replaced at each arrival
}

// NewGate returns a closed gate.
func NewGate() *Gate {
	return &Gate{open: make(chan struct{}), news: make(chan struct{})}
}

// Await returns when n requests in all have arrived at the gate, or with ctx's error.
func (g *Gate) Await(ctx context.Context, n int) error {
	for {
		arrived, news := g.state()
		if arrived >= n {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d requests arrived: %w", arrived, n, ctx.Err())
		}
	}
}

// Arrived is the number of requests so far.
func (g *Gate) Arrived() int {
	arrived, _ := g.state()
	return arrived
}

// Release lets all requests through, those to come as well. It may be called twice.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.released {
		g.released = true
		close(g.open)
	}
}

func (g *Gate) state() (arrived int, news <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.arrived, g.news
}

// hold tells whether the gate was released before ctx ended.
func (g *Gate) hold(ctx context.Context) bool {
	g.mu.Lock()
	g.arrived++
	close(g.news)
	g.news = make(chan struct{})
	g.mu.Unlock()
	select {
	case <-g.open:
		return true
	case <-ctx.Done():
		return false
	}
}
