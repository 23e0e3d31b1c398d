// Package alarms wakes reconciles at instants of an injected clock, which the work
// queues of controllers do not know.
//
// It must not import other packages of the operator.
package alarms

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Alarms wakes reconciles: at an instant of the clock, or at once. There is one
// timer for each object, and setting it anew replaces it. Start is a source.Func,
// through which the controller hands over its queue.
type Alarms struct {
	clock clock.WithDelayedExecution
	// queue is not under mu, because a clock may call Wake while it holds a lock
	// of its own, for which Set waits under mu.
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]

	mu     sync.Mutex
	timers map[types.NamespacedName]alarm
}

type alarm struct {
	at    time.Time
	timer clock.Timer
}

// New makes Alarms that take time from c.
func New(c clock.WithDelayedExecution) *Alarms {
	return &Alarms{clock: c, timers: map[types.NamespacedName]alarm{}}
}

// Start takes the controller's queue.
func (a *Alarms) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	a.queue.Store(&queue)
	return nil
}

// Len is how many objects have an alarm.
func (a *Alarms) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.timers)
}

// Wake lets name be reconciled now.
func (a *Alarms) Wake(name types.NamespacedName) {
	if queue := a.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: name})
	}
}

// Set lets name be reconciled at that instant; the zero instant removes its alarm.
func (a *Alarms) Set(name types.NamespacedName, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, set := a.timers[name]; set {
		if old.at.Equal(at) && at.After(a.clock.Now()) {
			return
		}
		old.timer.Stop()
		delete(a.timers, name)
	}
	if at.IsZero() {
		return
	}
	wait := at.Sub(a.clock.Now())
	if wait <= 0 {
		a.Wake(name) // it passed while the reconcile was under way
		return
	}
	a.timers[name] = alarm{at: at, timer: a.clock.AfterFunc(wait, func() { a.Wake(name) })}
	if !at.After(a.clock.Now()) {
		a.Wake(name) // the clock was set forward meanwhile, and the timer counts from there
	}
}
