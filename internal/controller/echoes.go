package controller

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
)

// news lets through what the watch of targets tells, but for the echo of the
// operator's own last write: what it wrote, it need not look at again. That is one of
// the three reconciles that a refresh would cost.
func (r *Reconciler) news() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return e.IsInInitialList || !r.wrote(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return !r.wrote(e.ObjectNew) },
	}
}

// wrote tells whether a target is as this process wrote it last, and nobody waits for that.
func (r *Reconciler) wrote(o client.Object) bool {
	namespace, name, _ := strings.Cut(o.GetAnnotations()[v1alpha1.OwnerAnnotation], "/")
	s, is := o.(*corev1.Secret)
	return is && namespace == s.Namespace && r.memory.echoes(types.NamespacedName{Namespace: namespace, Name: name}, s)
}

// echoes tells whether s is what was written last to the target of that ProviderToken;
// from then on the token in it, which the cache keeps, is the only copy. One echo is heard after a reconcile that came before it, and could do nothing.
func (m *memory) echoes(name types.NamespacedName, s *corev1.Secret) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.byUID[m.byName[name]]
	if r == nil || r.published == nil || r.published.resourceVersion != s.ResourceVersion {
		return false
	}
	if same := token.Lent(s.Data[target.TokenKey]); same == r.published.content.Token.Access {
		p := *r.published
		p.content.Token.Access = same
		r.published = &p
	}
	awaited := r.awaited
	r.awaited = false
	return !awaited
}

// inBackground is h with everything that it enqueues behind what is due by itself: an
// edit of an object that ten thousand ProviderTokens refer to must not delay a refresh.
func inBackground(h handler.EventHandler) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { h.Create(ctx, e, behind(q)) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { h.Update(ctx, e, behind(q)) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { h.Delete(ctx, e, behind(q)) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { h.Generic(ctx, e, behind(q)) },
	}
}

func behind(q workqueue.TypedRateLimitingInterface[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	if p, is := q.(priorityqueue.PriorityQueue[reconcile.Request]); is {
		return patient{p}
	}
	return q
}

// patient is a queue into which everything goes with low priority.
type patient struct {
	priorityqueue.PriorityQueue[reconcile.Request]
}

// Add implements workqueue.TypedInterface.
func (q patient) Add(item reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{}, item)
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q patient) AddWithOpts(o priorityqueue.AddOpts, items ...reconcile.Request) {
	o.Priority = new(handler.LowPriority)
	q.PriorityQueue.AddWithOpts(o, items...)
}
