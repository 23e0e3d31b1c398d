package propagation

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits bound how many pods are told in a second: in all, and half of that in one
// namespace, so that a greedy one leaves room for others.
type limits struct {
	perSecond int

	mu         sync.Mutex
	total      *rate.Limiter
	namespaces map[string]*rate.Limiter
}

// idleNamespaces is how many limiters are kept before those that are full again are dropped.
const idleNamespaces = 256

func newLimits(perSecond int) *limits {
	return &limits{
		perSecond:  perSecond,
		total:      rate.NewLimiter(rate.Limit(perSecond), 2*perSecond),
		namespaces: map[string]*rate.Limiter{},
	}
}

// take asks to tell one pod now; otherwise it says how long to wait.
func (l *limits) take(namespace string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.namespaces[namespace]
	if own == nil {
		l.sweep(now)
		half := max(l.perSecond/2, 1)
		own = rate.NewLimiter(rate.Limit(half), 2*half)
		l.namespaces[namespace] = own
	}
	first := own.ReserveN(now, 1)
	second := l.total.ReserveN(now, 1)
	wait = max(first.DelayFrom(now), second.DelayFrom(now))
	if wait > 0 {
		first.CancelAt(now)
		second.CancelAt(now)
	}
	return wait
}

func (l *limits) sweep(now time.Time) {
	if len(l.namespaces) < idleNamespaces {
		return
	}
	for name, own := range l.namespaces {
		if own.TokensAt(now) >= float64(own.Burst()) {
			delete(l.namespaces, name)
		}
	}
}
