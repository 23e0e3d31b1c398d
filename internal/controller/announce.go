package controller

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// eventSource is the name of the controller in events.
const eventSource = "providertoken"

// announcing is how many events are written at once.
const announcing = 8

// announcer writes the events that tell of a changed status, and forgets them. client-go's
// own recorder would keep each for some minutes, to make one series of what repeats
// unchanged; these do not, since they name the version of the object that has changed, and
// when a cluster starts they come by the thousand: 10,000 of them were 13 MiB.
type announcer struct {
	events.EventRecorder
	broadcaster events.EventBroadcaster
	client      client.Client
	log         logr.Logger
}

func newAnnouncer(c client.Client, log logr.Logger) *announcer {
	b := events.NewBroadcaster(nil) // which queues events, and drops them when there are too many
	return &announcer{EventRecorder: b.NewRecorder(c.Scheme(), eventSource), broadcaster: b, client: c, log: log}
}

// Start writes events until ctx ends.
func (a *announcer) Start(ctx context.Context) error {
	places := make(chan struct{}, announcing)
	_, err := a.broadcaster.StartEventWatcher(func(o runtime.Object) {
		e, is := o.(*eventsv1.Event)
		if !is {
			return
		}
		places <- struct{}{}
		go func() {
			defer func() { <-places }()
			a.write(ctx, e.DeepCopy())
		}()
	})
	if err != nil {
		return err
	}
	if _, err := a.broadcaster.StartLogging(a.log.V(1)); err != nil {
		return err
	}
	<-ctx.Done()
	a.broadcaster.Shutdown()
	return nil
}

// write is tried again for some three minutes while the API server cannot be reached.
func (a *announcer) write(ctx context.Context, e *eventsv1.Event) {
	patience := wait.Backoff{Duration: time.Second, Factor: 1.5, Jitter: 0.25, Steps: 12}
	var failed error
	_ = wait.ExponentialBackoffWithContext(ctx, patience, func(ctx context.Context) (bool, error) {
		failed = a.client.Create(ctx, e)
		if apierrors.IsAlreadyExists(failed) {
			failed = nil // the answer to an earlier try was lost
		}
		refused := apierrors.APIStatus(nil)
		return failed == nil || errors.As(failed, &refused), nil
	})
	if failed != nil && ctx.Err() == nil && !apierrors.HasStatusCause(failed, corev1.NamespaceTerminatingCause) {
		a.log.Error(failed, "an event was not written; the object's status tells the same", "reason", e.Reason, "object", e.Regarding.Namespace+"/"+e.Regarding.Name)
	}
}
