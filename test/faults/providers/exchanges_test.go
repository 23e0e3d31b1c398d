package providers_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	testworld "github.com/providertoken/operator/test/world"
)

// patience of one exchange on the fake clock: what the operator has for a token
// that expires within minutes.
const patience = 10 * time.Second

// exchanges stands between the operator and the network. It counts by host, and
// lets the deadline of an exchange pass on the fake clock, so that a provider
// that hangs costs a test no time.
type exchanges struct {
	controller.Exchanger
	clock *clocktesting.FakeClock
	// hangs tells whether an exchange with a host that begins now will not end by itself.
	hangs func(host string) bool

	mu       sync.Mutex
	began    map[string]int
	ended    map[string]int
	granted  map[string]int
	awaited  int // exchanges under way that end by themselves
	sequence int // of everything that happened
}

func (x *exchanges) around(inner controller.Exchanger) controller.Exchanger {
	x.Exchanger = inner
	x.began, x.ended, x.granted = map[string]int{}, map[string]int{}, map[string]int{}
	return x
}

// Do makes one exchange.
func (x *exchanges) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	host := hostOf(req)
	hung := x.hangs(host)
	x.note(host, hung, 1, nil)
	inner, cancel := context.WithCancelCause(ctx)
	timer := x.clock.AfterFunc(patience, func() { cancel(context.DeadlineExceeded) })
	answer, err := x.Exchanger.Do(&deadlined{inner}, req, trust)
	timer.Stop()
	cancel(nil)
	x.note(host, hung, -1, err)
	return answer, err
}

func hostOf(req provider.Request) string {
	u, err := url.Parse(req.URL)
	if err != nil {
		return "?"
	}
	return u.Host
}

func (x *exchanges) note(host string, hung bool, by int, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sequence++
	if !hung {
		x.awaited += by
	}
	if by > 0 {
		x.began[host]++
		return
	}
	x.ended[host]++
	if err == nil {
		x.granted[host]++
	}
}

func (x *exchanges) of(host string) (began, ended int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.began[host], x.ended[host]
}

func (x *exchanges) state() (awaited, sequence int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.awaited, x.sequence
}

// deadlined is a context whose end is that of its deadline.
type deadlined struct{ context.Context }

// Err is what a context says whose deadline has passed.
func (d *deadlined) Err() error {
	if errors.Is(context.Cause(d.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return d.Context.Err()
}

// Value hides the context inside, through which a child would learn that it was cancelled.
func (*deadlined) Value(any) any { return nil }

// traffic counts the operator's requests to the API server that are under way.
type traffic struct{ busy, total atomic.Int64 }

func (t *traffic) wrap(next http.RoundTripper) http.RoundTripper {
	return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.RawQuery, "watch=") {
			return next.RoundTrip(r)
		}
		t.busy.Add(1)
		t.total.Add(1)
		defer t.busy.Add(-1)
		return next.RoundTrip(r)
	})
}

// settle returns when the operator has nothing under way that ends by itself: so the
// clock never runs ahead of it by much. No assertion relies on more than that.
func settle(x *exchanges, t *traffic) {
	const calm, tick = 3, 3 * time.Millisecond
	seen, still := -1, 0
	for still < calm {
		time.Sleep(tick)
		awaited, sequence := x.state()
		now := sequence + int(t.total.Load())
		if awaited == 0 && t.busy.Load() == 0 && now == seen {
			still++
			continue
		}
		seen, still = now, 0
	}
}
