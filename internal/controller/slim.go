package controller

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
)

// slimmer takes from objects of one cache what the operator does not read.
type slimmer struct {
	mu sync.Mutex
	// labels are those that many objects have, by their text.
	labels map[string]map[string]string
	// providers are what status says of them.
	providers map[v1alpha1.ProviderStatus]*v1alpha1.ProviderStatus
}

// slim is what the caches keep of an object: what the operator reads of it. It owns o,
// which came off the wire a moment ago.
//
// What is dropped must be dropped of nothing that is written back whole: ProviderTokens
// are patched, and of the rest only targets are written, which target is for.
func (c *slimmer) slim(o any) (any, error) {
	switch o := o.(type) {
	case *v1alpha1.ProviderToken:
		c.meta(&o.ObjectMeta)
		c.status(&o.Status)
	case *v1alpha1.TokenProvider:
		c.meta(&o.ObjectMeta)
	case *v1alpha1.ClusterTokenProvider:
		c.meta(&o.ObjectMeta)
	case *corev1.ConfigMap:
		c.meta(&o.ObjectMeta)
		o.BinaryData = nil
	case *corev1.Secret: // of credentials
		c.meta(&o.ObjectMeta)
	case *metav1.PartialObjectMetadata: // of a namespace, whose labels all may count
		all := shared(o.Labels)
		c.meta(&o.ObjectMeta)
		o.Labels = all
	case metav1.Object:
		o.SetManagedFields(nil)
	}
	return o, nil
}

// domain is where the labels and annotations are that mean something to the operator.
const domain = "providertoken.dev/"

// slimMeta keeps what identifies an object, and the operator's own labels and
// annotations. What kubectl applied last is a second copy of the whole object.
func (c *slimmer) meta(m *metav1.ObjectMeta) {
	m.ManagedFields, m.OwnerReferences, m.Finalizers, m.GenerateName = nil, nil, nil, ""
	m.Labels, m.Annotations = c.alike(ours(m.Labels)), shared(ours(m.Annotations))
}

func ours(all map[string]string) map[string]string {
	maps.DeleteFunc(all, func(k, _ string) bool { return !strings.HasPrefix(k, domain) })
	if len(all) == 0 {
		return nil
	}
	return all
}

// alikeMax bounds what is shared: where each object has labels or a provider of its own, nothing is.
const alikeMax = 256

// alike is all, of which there is one copy in the cache where many objects have the same.
func (c *slimmer) alike(all map[string]string) map[string]string {
	if all == nil {
		return nil
	}
	key := labels.FormatLabels(all) // no key or value of a label holds "=" or ","
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, is := c.labels[key]; is {
		return known
	}
	all = shared(all)
	if len(c.labels) < alikeMax {
		if c.labels == nil {
			c.labels = map[string]map[string]string{}
		}
		c.labels[key] = all
	}
	return all
}

// shared is all with one copy of each key in the process, in a map that is no larger than need be.
func shared(all map[string]string) map[string]string {
	if all == nil {
		return nil
	}
	slim := make(map[string]string, len(all))
	for k, v := range all {
		slim[one(k)] = v
	}
	return slim
}

// one is s, of which there is one copy in the process: for what many objects say.
func one(s string) string { return unique.Make(s).Value() }

// status shares what many ProviderTokens say in their status.
func (c *slimmer) status(s *v1alpha1.ProviderTokenStatus) {
	for i := range s.Conditions {
		is := &s.Conditions[i]
		is.Type, is.Status, is.Reason, is.Message = one(is.Type), metav1.ConditionStatus(one(string(is.Status))), one(is.Reason), one(is.Message)
	}
	if p := s.Provider; p != nil {
		s.Provider = c.provider(v1alpha1.ProviderStatus{
			Kind: one(p.Kind), Name: one(p.Name), Version: one(p.Version), Method: one(p.Method), Host: one(p.Host), TokenURL: one(p.TokenURL),
		})
	}
	if t := s.Token; t != nil {
		t.ExpirySource, t.Type = one(t.ExpirySource), one(t.Type)
		for i := range t.Scopes {
			t.Scopes[i] = one(t.Scopes[i])
		}
	}
}

// provider is is, of which there is one copy in the cache where many ProviderTokens have the same.
func (c *slimmer) provider(is v1alpha1.ProviderStatus) *v1alpha1.ProviderStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.providers[is]; known != nil {
		return known
	}
	if len(c.providers) < alikeMax {
		if c.providers == nil {
			c.providers = map[v1alpha1.ProviderStatus]*v1alpha1.ProviderStatus{}
		}
		c.providers[is] = &is
	}
	return &is
}

// target keeps all of a target but its managed fields, for it is written back with
// what others added to it; and of the token, which is there bare and as the value of a
// header, one copy.
func (c *slimmer) target(o any) (any, error) {
	s, is := o.(*corev1.Secret)
	if !is {
		return c.slim(o)
	}
	s.ManagedFields = nil
	s.Labels, s.Annotations = c.alike(s.Labels), shared(s.Annotations)
	data := make(map[string][]byte, len(s.Data))
	for k, v := range s.Data {
		data[one(k)] = v
	}
	if token, header := data[target.TokenKey], data[target.AuthorizationKey]; len(token) > 0 && bytes.HasSuffix(header, token) {
		data[target.TokenKey] = slices.Clip(header[len(header)-len(token):])
	}
	s.Data = data
	return s, nil
}
