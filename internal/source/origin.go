package source

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

// Origin is where the definition of a ProviderToken comes from.
type Origin struct {
	Kind v1alpha1.ProviderKind
	Name string
	// Version changes whenever the definition does.
	Version string
	// Vouched is true when the catalog or a ClusterTokenProvider stands for the
	// whole endpoint, so that credentials need not name it themselves.
	Vouched bool
	// Definition is nil while there is none.
	Definition *Definition
	// Platform holds the credentials, where a ClusterTokenProvider does; nil otherwise.
	Platform *v1alpha1.PlatformCredentials
	// Allow says who may use them, and for what.
	Allow *v1alpha1.Allow
}

// BoundTo is the value that a credential Secret's label must have.
func (o Origin) BoundTo() string {
	if o.Kind == v1alpha1.InlineProvider {
		return v1alpha1.CredentialsForValue("ProviderToken", o.Name)
	}
	return v1alpha1.CredentialsForValue(o.Kind, o.Name)
}

// Label is the origin's name for metrics: whoever chooses names in a namespace must
// neither make a series with each, nor count among those of the catalog.
func (o Origin) Label() string {
	if o.Kind == v1alpha1.BuiltinProvider || o.Kind == v1alpha1.ClusterProvider {
		return o.Name
	}
	return string(o.Kind)
}

// Find reads the definition that pt wants. What the user has to mend comes
// back as a problem; an error is the API server's.
func (f Finder) Find(ctx context.Context, pt *v1alpha1.ProviderToken) (Origin, *Problem, error) {
	if pt.Spec.Provider != nil {
		return f.inlineOrigin(ctx, pt)
	}
	ref := pt.Spec.ProviderRef
	switch ref.Kind {
	case v1alpha1.NamespacedProvider:
		var tp v1alpha1.TokenProvider
		if err := f.Objects.Get(ctx, client.ObjectKey{Namespace: pt.Namespace, Name: ref.Name}, &tp, client.UnsafeDisableDeepCopy); err != nil {
			return missingProvider(err, ref, pt.Namespace)
		}
		return f.objectOrigin(ctx, ref, &tp.ObjectMeta, &tp.Spec)
	case v1alpha1.ClusterProvider:
		if !f.ClusterProviders {
			return Origin{Kind: ref.Kind, Name: ref.Name}, stalled(v1alpha1.ReasonProviderUnavailableHere,
				"this installation watches single namespaces and reads no ClusterTokenProvider; use a TokenProvider in this namespace instead"), nil
		}
		var ctp v1alpha1.ClusterTokenProvider
		if err := f.Objects.Get(ctx, client.ObjectKey{Name: ref.Name}, &ctp, client.UnsafeDisableDeepCopy); err != nil {
			return missingProvider(err, ref, "")
		}
		o, p, err := f.objectOrigin(ctx, ref, &ctp.ObjectMeta, &ctp.Spec.ProviderDefinition)
		o.Platform, o.Allow = ctp.Spec.Credentials, ctp.Spec.Allow
		return o, p, err
	default:
		return f.builtinOrigin(ref)
	}
}

func (f Finder) builtinOrigin(ref *v1alpha1.ProviderReference) (Origin, *Problem, error) {
	o := Origin{Kind: v1alpha1.BuiltinProvider, Name: ref.Name, Version: f.Catalog.Version(ref.Name), Vouched: true}
	key := definitionKey{kind: v1alpha1.BuiltinProvider, name: ref.Name}
	if o.Definition = f.Known.get(key, edition{}); o.Definition != nil {
		return o, nil, nil
	}
	def, known := f.Catalog.Get(ref.Name)
	if !known {
		return o, stalled(v1alpha1.ReasonProviderNotFound, fmt.Sprintf(
			"the catalog has no provider %q, only %s; correct providerRef.name, or set providerRef.kind to TokenProvider or ClusterTokenProvider",
			ref.Name, strings.Join(f.Catalog.Names(), ", "))), nil
	}
	o.Definition = newDefinition(def, edition{})
	f.Known.put(key, o.Definition)
	return o, nil, nil
}

func (f Finder) inlineOrigin(ctx context.Context, pt *v1alpha1.ProviderToken) (Origin, *Problem, error) {
	o := Origin{Kind: v1alpha1.InlineProvider, Name: pt.Name, Version: strconv.FormatInt(pt.Generation, 10)}
	if !f.InlineProviders {
		return o, stalled(v1alpha1.ReasonInlineProviderDisabled,
			"this installation allows no spec.provider; use providerRef with a catalog entry, a TokenProvider or a ClusterTokenProvider"), nil
	}
	var p *Problem
	var err error
	o.Definition, p, err = f.Define(ctx, pt.Spec.Provider, pt.Namespace)
	return o, p, err
}

func (f Finder) objectOrigin(ctx context.Context, ref *v1alpha1.ProviderReference, meta *metav1.ObjectMeta, spec *v1alpha1.ProviderDefinition) (Origin, *Problem, error) {
	o := Origin{
		Kind: ref.Kind, Name: ref.Name,
		Version: strconv.FormatInt(meta.Generation, 10),
		Vouched: ref.Kind == v1alpha1.ClusterProvider,
	}
	bundle, p, err := f.bundle(ctx, spec, meta.Namespace)
	if p != nil || err != nil {
		return o, p, err
	}
	key := definitionKey{kind: ref.Kind, namespace: meta.Namespace, name: ref.Name}
	e := edition{uid: meta.UID, resourceVersion: meta.ResourceVersion, bundle: bundle}
	if o.Definition = f.Known.get(key, e); o.Definition != nil {
		return o, nil, nil
	}
	if o.Definition, p = f.define(spec, e); p == nil {
		f.Known.put(key, o.Definition)
	}
	return o, p, nil
}

// missingProvider tells a provider object that does not exist (yet) from an API server that does not answer.
func missingProvider(err error, ref *v1alpha1.ProviderReference, namespace string) (Origin, *Problem, error) {
	o := Origin{Kind: ref.Kind, Name: ref.Name}
	if !apierrors.IsNotFound(err) {
		return o, nil, fmt.Errorf("reading %s %s: %w", ref.Kind, ref.Name, err)
	}
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	return o, &Problem{
		Reason:  v1alpha1.ReasonWaitingForProvider,
		Late:    v1alpha1.ReasonProviderNotFound,
		Message: fmt.Sprintf("%s %q does not exist%s; create it, or correct providerRef", ref.Kind, ref.Name, where),
		Waiting: true,
	}, nil
}

// Define turns the API's form of a definition into the provider's, on top of its base.
func (f Finder) Define(ctx context.Context, spec *v1alpha1.ProviderDefinition, namespace string) (*Definition, *Problem, error) {
	bundle, p, err := f.bundle(ctx, spec, namespace)
	if p != nil || err != nil {
		return nil, p, err
	}
	d, p := f.define(spec, edition{bundle: bundle})
	return d, p, nil
}

func (f Finder) define(spec *v1alpha1.ProviderDefinition, e edition) (*Definition, *Problem) {
	def, err := convert(*spec)
	if err != nil {
		return nil, stalled(v1alpha1.ReasonInvalidProvider, err.Error())
	}
	if spec.CABundleRef != nil {
		def.CABundle = e.bundle
	}
	if spec.Base == "" {
		return newDefinition(def, e), nil
	}
	base, known := f.Catalog.Get(spec.Base)
	if !known {
		return nil, stalled(v1alpha1.ReasonInvalidProvider, fmt.Sprintf(
			"the catalog has no entry %q to start from, only %s; correct base", spec.Base, strings.Join(f.Catalog.Names(), ", ")))
	}
	if spec.Method != "" {
		flat, err := base.WithMethod(spec.Method)
		if err != nil {
			return nil, stalled(v1alpha1.ReasonInvalidProvider, err.Error())
		}
		base = flat
	}
	merged, err := provider.Overlay(base, def)
	if err == nil {
		merged, err = merged.Fix(textMap(spec.Parameters))
	}
	if err != nil {
		return nil, stalled(v1alpha1.ReasonInvalidProvider, err.Error())
	}
	return newDefinition(merged, e), nil
}

// bundle is the content of the ConfigMap that a definition refers to; empty when it refers to none.
func (f Finder) bundle(ctx context.Context, spec *v1alpha1.ProviderDefinition, namespace string) (string, *Problem, error) {
	if spec.CABundleRef == nil {
		return "", nil, nil
	}
	return f.caBundle(ctx, *spec.CABundleRef, namespace)
}

// caBundle reads a bundle out of a labelled ConfigMap.
func (f Finder) caBundle(ctx context.Context, ref v1alpha1.ConfigMapKeyReference, namespace string) (string, *Problem, error) {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	key := ref.Key
	if key == "" {
		key = "ca.crt"
	}
	var cm corev1.ConfigMap
	err := f.Objects.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &cm, client.UnsafeDisableDeepCopy)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, ref.Name, err)
	}
	if err != nil || cm.Data[key] == "" {
		return "", &Problem{ //nolint:nilerr // not found is told as a problem
			Reason: v1alpha1.ReasonWaitingForProvider,
			Late:   v1alpha1.ReasonInvalidProvider,
			Message: fmt.Sprintf("there is no ConfigMap %s/%s with the label %s and a key %s, as caBundleRef wants; create it, or correct caBundleRef",
				namespace, ref.Name, v1alpha1.CABundleLabel, key),
			Waiting: true,
		}, nil
	}
	return cm.Data[key], nil, nil
}
