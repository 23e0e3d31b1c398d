package controller

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

// alarms wakes reconciles: at an instant of the injected clock, or at once. There
// is one timer for each object, and setting it anew replaces it. It is a
// source.Func, through which the controller hands over its queue.
type alarms struct {
	clock clock.WithDelayedExecution
	// queue is not under mu, because a clock may call wake while it holds a lock
	// of its own, for which set waits under mu.
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]

	mu     sync.Mutex
	timers map[types.NamespacedName]alarm
}

type alarm struct {
	at    time.Time
	timer clock.Timer
}

func newAlarms(c clock.WithDelayedExecution) *alarms {
	return &alarms{clock: c, timers: map[types.NamespacedName]alarm{}}
}

// start takes the controller's queue.
func (a *alarms) start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	a.queue.Store(&queue)
	return nil
}

// wake lets name be reconciled now.
func (a *alarms) wake(name types.NamespacedName) {
	if queue := a.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: name})
	}
}

// set lets name be reconciled at that instant; the zero instant removes its alarm.
func (a *alarms) set(name types.NamespacedName, at time.Time) {
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
		a.wake(name) // it passed while the reconcile was under way
		return
	}
	a.timers[name] = alarm{at: at, timer: a.clock.AfterFunc(wait, func() { a.wake(name) })}
	if !at.After(a.clock.Now()) {
		a.wake(name) // the clock was set forward meanwhile, and the timer counts from there
	}
}
