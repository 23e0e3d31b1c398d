package alarms

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// set are Alarms at noon, with a queue of their own.
func set(t *testing.T) (*Alarms, *clocktesting.FakeClock, workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(queue.ShutDown)
	a := New(clock)
	if err := a.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	return a, clock, queue
}

func named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}

func TestAnAlarmWakesAtItsInstantAndOnce(t *testing.T) {
	a, clock, queue := set(t)
	a.Set(named("a"), clock.Now().Add(time.Minute))
	clock.Step(time.Minute - time.Nanosecond)
	if queue.Len() != 0 {
		t.Fatal("woken too early")
	}
	clock.Step(time.Nanosecond)
	if queue.Len() != 1 {
		t.Fatal("not woken")
	}
	woken, _ := queue.Get()
	queue.Done(woken)
	if woken.NamespacedName != named("a") {
		t.Errorf("woke %v", woken)
	}
	clock.Step(time.Hour)
	if queue.Len() != 0 {
		t.Error("woken twice")
	}
}

func TestTheLastInstantThatWasSetHolds(t *testing.T) {
	a, clock, queue := set(t)
	for _, minutes := range []time.Duration{10, 5, 20} {
		a.Set(named("a"), clock.Now().Add(minutes*time.Minute))
	}
	a.Set(named("b"), clock.Now().Add(30*time.Minute))
	if a.Len() != 2 {
		t.Errorf("%d alarms for two objects", a.Len())
	}
	clock.Step(20*time.Minute - time.Second)
	if queue.Len() != 0 {
		t.Error("an instant that was replaced woke it")
	}
	clock.Step(time.Second)
	if queue.Len() != 1 {
		t.Error("the last instant did not wake it")
	}
	a.Set(named("b"), time.Time{})
	a.Set(named("a"), time.Time{})
	clock.Step(time.Hour)
	if queue.Len() != 1 || a.Len() != 0 {
		t.Errorf("an alarm that was removed is left: %d in the queue, %d alarms", queue.Len(), a.Len())
	}
}

func TestAnInstantThatHasPassedWakesAtOnce(t *testing.T) {
	a, clock, queue := set(t)
	a.Set(named("a"), clock.Now())
	if queue.Len() != 1 || a.Len() != 0 {
		t.Errorf("%d in the queue, %d alarms", queue.Len(), a.Len())
	}
	soon := clock.Now().Add(time.Minute)
	a.Set(named("b"), soon)
	clock.Step(time.Minute)
	a.Set(named("b"), soon) // the same again, by a reconcile that began before
	if queue.Len() != 2 || a.Len() != 0 {
		t.Errorf("%d in the queue, %d alarms", queue.Len(), a.Len())
	}
}

func TestNothingIsWokenBeforeThereIsAQueue(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	a := New(clock)
	a.Set(named("a"), clock.Now())
	a.Wake(named("a"))
	if a.Len() != 0 {
		t.Errorf("%d alarms", a.Len())
	}
}
