package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
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

// Indexes of ProviderTokens, for the watches of what they refer to.
const (
	indexTarget      = "target"
	indexCredentials = "credentials"
	indexProvider    = "provider"
	indexCABundle    = "caBundle"
)

// retryFloor and retryCeiling bound the repetition of a reconcile that the API server failed.
const (
	retryFloor   = 100 * time.Millisecond
	retryCeiling = 30 * time.Second
)

// SetupWithManager registers the controller, its indexes and its watches. The
// caches are those that Credentials and Targets read from.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, credentials, targets cache.Cache) error {
	r.memory = newMemory()
	r.alarms = alarms.New(r.Clock)
	r.Metrics.Watch(r.load, r.Clock.Now)
	if err := addIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("providertoken").
		For(&v1alpha1.ProviderToken{}, builder.WithPredicates(r.edited())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Options.MaxConcurrentReconciles,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFloor, retryCeiling),
		}).
		Watches(&v1alpha1.TokenProvider{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOf(func(o client.Object) (string, string) {
			return indexProvider, providerKey(v1alpha1.NamespacedProvider, o.GetNamespace(), o.GetName())
		}))), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOfCABundle))).
		WatchesRawSource(source.Func(r.alarms.Start)).
		WatchesRawSource(source.Kind(targets, client.Object(&corev1.Secret{}), handler.EnqueueRequestsFromMapFunc(r.usersOf(func(o client.Object) (string, string) {
			return indexTarget, o.GetNamespace() + "/" + o.GetName()
		})), r.news())).
		WatchesRawSource(source.Kind(credentials, client.Object(&corev1.Secret{}), handler.EnqueueRequestsFromMapFunc(r.usersOf(func(o client.Object) (string, string) {
			return indexCredentials, o.GetNamespace() + "/" + o.GetName()
		})))).
		WatchesRawSource(source.Kind(credentials, client.Object(&corev1.Secret{}), inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOfPlatform))))
	if r.Options.ClusterProviders {
		b = b.Watches(&v1alpha1.ClusterTokenProvider{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.usersOf(func(o client.Object) (string, string) {
			return indexProvider, providerKey(v1alpha1.ClusterProvider, "", o.GetName())
		}))), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
			WatchesMetadata(&corev1.Namespace{}, inBackground(handler.EnqueueRequestsFromMapFunc(r.inNamespace)), builder.WithPredicates(predicate.LabelChangedPredicate{}))
	}
	return b.Complete(r)
}

// edited lets through what a person did to a ProviderToken: spec edits,
// refresh requests and confirmations, and what another operator did that serves it now; and
// not the operator's own status writes nor other metadata.
func (r *Reconciler) edited() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
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

func addIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	indexes := map[string]func(*v1alpha1.ProviderToken) []string{
		indexTarget: func(pt *v1alpha1.ProviderToken) []string {
			return []string{pt.Namespace + "/" + pt.TargetName()}
		},
		indexCredentials: func(pt *v1alpha1.ProviderToken) []string {
			var keys []string
			for _, name := range pt.CredentialSecrets() {
				keys = append(keys, pt.Namespace+"/"+name)
			}
			if wantsProvisioning(pt) {
				keys = append(keys, pt.Namespace+"/"+pt.Spec.Credentials.Provision.SecretName)
			}
			return keys
		},
		indexProvider: func(pt *v1alpha1.ProviderToken) []string {
			ref := pt.Spec.ProviderRef
			if ref == nil || ref.Kind == "" || ref.Kind == v1alpha1.BuiltinProvider {
				return nil
			}
			namespace := pt.Namespace
			if ref.Kind == v1alpha1.ClusterProvider {
				namespace = ""
			}
			return []string{providerKey(ref.Kind, namespace, ref.Name)}
		},
		indexCABundle: func(pt *v1alpha1.ProviderToken) []string {
			if pt.Spec.Provider == nil || pt.Spec.Provider.CABundleRef == nil {
				return nil
			}
			return []string{pt.Namespace + "/" + pt.Spec.Provider.CABundleRef.Name}
		},
	}
	for field, keys := range indexes {
		err := indexer.IndexField(ctx, &v1alpha1.ProviderToken{}, field, func(o client.Object) []string {
			pt, ok := o.(*v1alpha1.ProviderToken)
			if !ok {
				return nil
			}
			return keys(pt)
		})
		if err != nil {
			return fmt.Errorf("indexing ProviderTokens by %s: %w", field, err)
		}
	}
	return nil
}

func providerKey(kind v1alpha1.ProviderKind, namespace, name string) string {
	return string(kind) + "/" + namespace + "/" + name
}

// usersOf maps an object to the ProviderTokens that an index finds for it.
func (r *Reconciler) usersOf(key func(client.Object) (index, value string)) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		index, value := key(o)
		return r.find(ctx, o.GetNamespace(), index, value)
	}
}

func (r *Reconciler) find(ctx context.Context, namespace, index, value string) []reconcile.Request {
	var list v1alpha1.ProviderTokenList
	err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{index: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		r.Log.Error(err, "finding the ProviderTokens that refer to an object", "index", index, "key", value)
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name}
	}
	return requests
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
	return r.find(ctx, "", indexProvider, providerKey(v1alpha1.ClusterProvider, "", name))
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
	requests := r.find(ctx, o.GetNamespace(), indexCABundle, o.GetNamespace()+"/"+o.GetName())
	var namespaced v1alpha1.TokenProviderList
	if err := r.Client.List(ctx, &namespaced, client.InNamespace(o.GetNamespace())); err != nil {
		r.Log.Error(err, "finding the TokenProviders that refer to a ConfigMap", "configMap", client.ObjectKeyFromObject(o))
	}
	for i := range namespaced.Items {
		p := &namespaced.Items[i]
		if ref := p.Spec.CABundleRef; ref != nil && ref.Name == o.GetName() {
			requests = append(requests, r.find(ctx, p.Namespace, indexProvider, providerKey(v1alpha1.NamespacedProvider, p.Namespace, p.Name))...)
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
			requests = append(requests, r.find(ctx, "", indexProvider, providerKey(v1alpha1.ClusterProvider, "", p.Name))...)
		}
	}
	return requests
}
