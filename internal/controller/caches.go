package controller

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/propagation"
)

// CacheOptions restricts the manager's own cache: ProviderTokens to a shard,
// ConfigMaps to labelled CA bundles, everything to namespaces (all when none).
// Secrets are in caches of their own; see NewSecretCache.
func CacheOptions(namespaces []string, shard labels.Selector) (cache.Options, error) {
	bundles, err := exists(v1alpha1.CABundleLabel)
	if err != nil {
		return cache.Options{}, err
	}
	return cache.Options{
		DefaultNamespaces: byNamespace(namespaces),
		DefaultTransform:  new(slimmer).slim,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.ProviderToken{}: {Label: shard},
			&corev1.ConfigMap{}:       {Label: bundles},
		},
	}, nil
}

// NewSecretCache makes a cache of the Secrets that carry a label, selected by the
// API server: memory grows with what the operator uses, not with the cluster.
// There are two, for credentials and for targets, since one label selector cannot
// say "either".
func NewSecretCache(cfg *rest.Config, scheme *runtime.Scheme, label string, namespaces []string, further ...labels.Requirement) (*LabelCache, error) {
	c := new(slimmer)
	transform := c.slim
	if label == v1alpha1.TargetLabel {
		transform = c.target
	}
	return newCache(cfg, scheme, namespaces, label, &corev1.Secret{}, transform, further...)
}

// newPodCache makes a cache of the pods that ask to be told, with little of each.
func newPodCache(cfg *rest.Config, scheme *runtime.Scheme, namespaces []string) (*LabelCache, error) {
	return newCache(cfg, scheme, namespaces, v1alpha1.MountsLabel, &corev1.Pod{}, propagation.Strip)
}

func newCache(cfg *rest.Config, scheme *runtime.Scheme, namespaces []string, label string, kind client.Object, transform toolscache.TransformFunc, further ...labels.Requirement) (*LabelCache, error) {
	selector, err := exists(label)
	if err != nil {
		return nil, err
	}
	selector = selector.Add(further...)
	c, err := cache.New(cfg, cache.Options{
		Scheme:            scheme,
		DefaultNamespaces: byNamespace(namespaces),
		DefaultTransform:  transform,
		ByObject:          map[client.Object]cache.ByObject{kind: {Label: selector}},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache of objects with label %s: %w", label, err)
	}
	return &LabelCache{Cache: c, Selector: selector}, nil
}

// LabelCache is a cache of what carries a label, that a manager starts together with its own.
type LabelCache struct {
	cache.Cache
	// Selector selects what it holds.
	Selector labels.Selector
}

// GetCache makes a manager treat it as a cache.
func (c *LabelCache) GetCache() cache.Cache { return c.Cache }

func exists(label string) (labels.Selector, error) {
	r, err := labels.NewRequirement(label, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	return labels.NewSelector().Add(*r), nil
}

func byNamespace(names []string) map[string]cache.Config {
	if len(names) == 0 {
		return nil
	}
	m := map[string]cache.Config{}
	for _, n := range names {
		m[n] = cache.Config{}
	}
	return m
}
