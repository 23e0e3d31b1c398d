package propagation

import (
	"context"
	"errors"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/providertoken/operator/internal/alarms"
)

// IndexField finds pods by the name of a Secret of which they ask to be told.
const IndexField = "chosen"

// workers is the number of targets whose pods are told at the same time.
const workers = 8

// retryFloor and retryCeiling bound the repetition for a target whose pods could not be told.
const (
	retryFloor   = 100 * time.Millisecond
	retryCeiling = 30 * time.Second
)

// SetupWithManager registers the controller. targets and pods are the caches that
// Targets and Pods read from.
func (t *Teller) SetupWithManager(ctx context.Context, mgr ctrl.Manager, targets, pods cache.Cache) error {
	t.alarms = alarms.New(t.Clock)
	t.limits = newLimits(t.PerSecond)
	t.progress = map[types.NamespacedName]*progress{}
	err := pods.IndexField(ctx, &corev1.Pod{}, IndexField, func(o client.Object) []string {
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return nil
		}
		return chosen(pod)
	})
	if err != nil {
		return fmt.Errorf("indexing pods by the Secrets that they mount: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("propagation").
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFloor, retryCeiling),
		}).
		WatchesRawSource(source.Func(t.alarms.Start)).
		WatchesRawSource(source.Kind(targets, client.Object(&corev1.Secret{}), &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Kind(pods, client.Object(&corev1.Pod{}), handler.EnqueueRequestsFromMapFunc(targetsOf))).
		Complete(t)
}

// targetsOf maps a pod to what it may have to be told of.
func targetsOf(_ context.Context, o client.Object) []reconcile.Request {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil
	}
	var requests []reconcile.Request
	for _, name := range chosen(pod) {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: pod.Namespace, Name: name}})
	}
	return requests
}

// ErrNotAllowed means that the operator lacks the rights to tell pods.
var ErrNotAllowed = errors.New("the operator may not watch pods and patch pods/status: apply config/propagation (Helm: propagation.enabled), or leave --propagation off")

// Allowed asks the API server whether the operator has the rights that it needs in
// these namespaces; in all when there are none. It returns ErrNotAllowed when not.
func Allowed(ctx context.Context, c client.Client, namespaces []string) error {
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, namespace := range namespaces {
		for _, need := range []authorizationv1.ResourceAttributes{
			{Verb: "list", Resource: "pods"},
			{Verb: "watch", Resource: "pods"},
			{Verb: "patch", Resource: "pods", Subresource: "status"},
		} {
			need.Namespace = namespace
			review := &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &need},
			}
			if err := c.Create(ctx, review); err != nil {
				return fmt.Errorf("asking for the rights that --propagation needs: %w", err)
			}
			if !review.Status.Allowed {
				return ErrNotAllowed
			}
		}
	}
	return nil
}
