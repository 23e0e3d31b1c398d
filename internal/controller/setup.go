package controller

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/alarms"
)

// retryFloor and retryCeiling bound the repetition of a reconcile that the API server failed.
const (
	retryFloor   = 100 * time.Millisecond
	retryCeiling = 30 * time.Second
)

// SetupWithManager registers the controller and its watches. The
// caches are those that Credentials and Targets read from.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, credentials, targets cache.Cache) error {
	r.memory = newMemory()
	r.alarms = alarms.New(r.Clock)
	r.Metrics.Watch(r.load, r.Clock.Now)
	b := ctrl.NewControllerManagedBy(mgr).
		Named("providertoken").
		For(&v1alpha1.ProviderToken{}, builder.WithPredicates(r.edited())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Options.MaxConcurrentReconciles,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFloor, retryCeiling),
		}).
		Watches(&v1alpha1.TokenProvider{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOf(string(v1alpha1.NamespacedProvider)))), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOfCABundle))).
		WatchesRawSource(source.Func(r.alarms.Start)).
		WatchesRawSource(source.Kind(targets, client.Object(&corev1.Secret{}), handler.EnqueueRequestsFromMapFunc(r.usersOf(kindTarget)), r.news())).
		WatchesRawSource(source.Kind(credentials, client.Object(&corev1.Secret{}), handler.EnqueueRequestsFromMapFunc(r.usersOf(kindCredentials)))).
		WatchesRawSource(source.Kind(credentials, client.Object(&corev1.Secret{}), inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOfPlatform))))
	if r.Options.ClusterProviders {
		b = b.Watches(&v1alpha1.ClusterTokenProvider{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOf(string(v1alpha1.ClusterProvider)))), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			WatchesMetadata(&corev1.Namespace{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.inNamespace)), builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return b.Complete(r)
}

// edited lets through what a person did to a ProviderToken: spec edits,
// refresh requests and confirmations, and what another operator did that serves it now; and
// not the operator's own status writes nor other metadata.
func (r *Reconciler) edited() predicate.Predicate {
	as := func(o client.Object) *v1alpha1.ProviderToken {
		pt, _ := o.(*v1alpha1.ProviderToken)
		return pt
	}
	created := func(e event.CreateEvent) bool {
		r.users.change(nil, as(e.Object))
		return true
	}
	deleted := func(e event.DeleteEvent) bool {
		r.users.change(as(e.Object), nil)
		return true
	}
	return predicate.Funcs{CreateFunc: created, DeleteFunc: deleted, UpdateFunc: func(e event.UpdateEvent) bool {
		if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() || older(e.ObjectNew.GetResourceVersion(), e.ObjectOld.GetResourceVersion()) {
			r.users.change(as(e.ObjectOld), as(e.ObjectNew))
		}
		r.memory.shown(e.ObjectNew.GetUID(), e.ObjectNew.GetResourceVersion())
		const asked, confirmed = v1alpha1.RefreshRequestedAtAnnotation, v1alpha1.ConfirmAnnotation
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
			e.ObjectOld.GetLabels()[v1alpha1.SeverityLabel] != e.ObjectNew.GetLabels()[v1alpha1.SeverityLabel] ||
			e.ObjectOld.GetAnnotations()[asked] != e.ObjectNew.GetAnnotations()[asked] ||
			e.ObjectOld.GetAnnotations()[confirmed] != e.ObjectNew.GetAnnotations()[confirmed] ||
			r.claimed(e.ObjectOld, e.ObjectNew) ||
			older(e.ObjectNew.GetResourceVersion(), e.ObjectOld.GetResourceVersion()) || // the cluster was put back
			e.ObjectNew.GetDeletionTimestamp() != nil
	}}
}

// usersOf finds who refers to an object of a namespace.
func (r *Reconciler) usersOf(kind string) handler.MapFunc {
	return func(_ context.Context, o client.Object) []reconcile.Request {
		return r.users.of(kind, o.GetNamespace(), o.GetName())
	}
}

// usersOfPlatform finds who uses a credential Secret through the ClusterTokenProvider that
// holds it. A label alone does not make it the platform's: those who bring credentials of
// their own label them likewise, and were each of them to wake all users of the provider,
// N tokens would be N × N reconciles at every start.
func (r *Reconciler) usersOfPlatform(ctx context.Context, o client.Object) []reconcile.Request {
	name, is := strings.CutPrefix(o.GetLabels()[v1alpha1.CredentialsForLabel], v1alpha1.CredentialsForValue(v1alpha1.ClusterProvider, ""))
	if !is || !r.Options.ClusterProviders {
		return nil
	}
	var p v1alpha1.ClusterTokenProvider
	switch err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &p); {
	case apierrors.IsNotFound(err):
		return nil // when it comes, it wakes its users itself
	case err != nil:
		r.Log.Error(err, "finding the ClusterTokenProvider that a credential Secret is for", "clusterTokenProvider", name)
		return nil
	}
	if c := p.Spec.Credentials; c == nil || c.Namespace != o.GetNamespace() || !slices.Contains(c.SecretNames(), o.GetName()) {
		return nil
	}
	return r.users.of(string(v1alpha1.ClusterProvider), "", name)
}

// inNamespace finds the ProviderTokens of a namespace that use ClusterTokenProviders,
// which may judge them by its labels.
func (r *Reconciler) inNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, o.GetName()) {
		return nil
	}
	var list v1alpha1.ProviderTokenList
	if err := r.Client.List(ctx, &list, client.InNamespace(o.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "finding the ProviderTokens of a namespace", "namespace", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if ref := list.Items[i].Spec.ProviderRef; ref != nil && ref.Kind == v1alpha1.ClusterProvider {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// usersOfCABundle finds who uses a ConfigMap, through whichever kind of definition.
func (r *Reconciler) usersOfCABundle(ctx context.Context, o client.Object) []reconcile.Request {
	requests := r.users.of(kindCABundle, o.GetNamespace(), o.GetName())
	var namespaced v1alpha1.TokenProviderList
	if err := r.Client.List(ctx, &namespaced, client.InNamespace(o.GetNamespace())); err != nil {
		r.Log.Error(err, "finding the TokenProviders that refer to a ConfigMap", "configMap", client.ObjectKeyFromObject(o))
	}
	for i := range namespaced.Items {
		p := &namespaced.Items[i]
		if ref := p.Spec.CABundleRef; ref != nil && ref.Name == o.GetName() {
			requests = append(requests, r.users.of(string(v1alpha1.NamespacedProvider), p.Namespace, p.Name)...)
		}
	}
	if !r.Options.ClusterProviders {
		return requests
	}
	var cluster v1alpha1.ClusterTokenProviderList
	if err := r.Client.List(ctx, &cluster); err != nil {
		r.Log.Error(err, "finding the ClusterTokenProviders that refer to a ConfigMap", "configMap", client.ObjectKeyFromObject(o))
	}
	for i := range cluster.Items {
		p := &cluster.Items[i]
		if ref := p.Spec.CABundleRef; ref != nil && ref.Name == o.GetName() && ref.Namespace == o.GetNamespace() {
			requests = append(requests, r.users.of(string(v1alpha1.ClusterProvider), "", p.Name)...)
		}
	}
	return requests
}
