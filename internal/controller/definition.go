package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

// origin is where the definition of a ProviderToken comes from.
type origin struct {
	Kind v1alpha1.ProviderKind
	Name string
	// Version changes whenever the definition does.
	Version string
	// Vouched is true when the catalog or a ClusterTokenProvider stands for the
	// whole endpoint, so that credentials need not name it themselves.
	Vouched bool
	// Definition is nil while there is none.
	Definition *definition
	// Platform holds the credentials, where a ClusterTokenProvider does; nil otherwise.
	Platform *v1alpha1.PlatformCredentials
	// Allow says who may use them, and for what.
	Allow *v1alpha1.Allow
}

// boundTo is the value that a credential Secret's label must have.
func (o origin) boundTo() string {
	if o.Kind == v1alpha1.InlineProvider {
		return v1alpha1.CredentialsForValue("ProviderToken", o.Name)
	}
	return v1alpha1.CredentialsForValue(o.Kind, o.Name)
}

// label is the origin's name for metrics: whoever chooses names in a namespace must
// neither make a series with each, nor count among those of the catalog.
func (o origin) label() string {
	if o.Kind == v1alpha1.BuiltinProvider || o.Kind == v1alpha1.ClusterProvider {
		return o.Name
	}
	return string(o.Kind)
}

// findOrigin reads the definition that pt wants. What the user has to mend comes
// back as a problem; an error is the API server's.
func (r *Reconciler) findOrigin(ctx context.Context, pt *v1alpha1.ProviderToken) (origin, *problem, error) {
	if pt.Spec.Provider != nil {
		return r.inlineOrigin(ctx, pt)
	}
	ref := pt.Spec.ProviderRef
	switch ref.Kind {
	case v1alpha1.NamespacedProvider:
		var tp v1alpha1.TokenProvider
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: pt.Namespace, Name: ref.Name}, &tp, client.UnsafeDisableDeepCopy); err != nil {
			return missingProvider(err, ref, pt.Namespace)
		}
		return r.objectOrigin(ctx, ref, &tp.ObjectMeta, &tp.Spec)
	case v1alpha1.ClusterProvider:
		if !r.Options.ClusterProviders {
			return origin{Kind: ref.Kind, Name: ref.Name}, providerProblem(v1alpha1.ReasonProviderUnavailableHere,
				"this installation watches single namespaces and reads no ClusterTokenProvider; use a TokenProvider in this namespace instead"), nil
		}
		var ctp v1alpha1.ClusterTokenProvider
		if err := r.Client.Get(ctx, client.ObjectKey{Name: ref.Name}, &ctp, client.UnsafeDisableDeepCopy); err != nil {
			return missingProvider(err, ref, "")
		}
		o, p, err := r.objectOrigin(ctx, ref, &ctp.ObjectMeta, &ctp.Spec.ProviderDefinition)
		o.Platform, o.Allow = ctp.Spec.Credentials, ctp.Spec.Allow
		return o, p, err
	default:
		return r.builtinOrigin(ref)
	}
}

func (r *Reconciler) builtinOrigin(ref *v1alpha1.ProviderReference) (origin, *problem, error) {
	o := origin{Kind: v1alpha1.BuiltinProvider, Name: ref.Name, Version: r.Catalog.Version(ref.Name), Vouched: true}
	key := definitionKey{kind: v1alpha1.BuiltinProvider, name: ref.Name}
	if o.Definition = r.definitions.get(key, edition{}); o.Definition != nil {
		return o, nil, nil
	}
	def, known := r.Catalog.Get(ref.Name)
	if !known {
		return o, providerProblem(v1alpha1.ReasonProviderNotFound, fmt.Sprintf(
			"the catalog has no provider %q, only %s; correct providerRef.name, or set providerRef.kind to TokenProvider or ClusterTokenProvider",
			ref.Name, join(r.Catalog.Names()))), nil
	}
	o.Definition = newDefinition(def, edition{})
	r.definitions.put(key, o.Definition)
	return o, nil, nil
}

func (r *Reconciler) inlineOrigin(ctx context.Context, pt *v1alpha1.ProviderToken) (origin, *problem, error) {
	o := origin{Kind: v1alpha1.InlineProvider, Name: pt.Name, Version: strconv.FormatInt(pt.Generation, 10)}
	if !r.Options.InlineProviders {
		return o, providerProblem(v1alpha1.ReasonInlineProviderDisabled,
			"this installation allows no spec.provider; use providerRef with a catalog entry, a TokenProvider or a ClusterTokenProvider"), nil
	}
	bundle, p, err := r.bundle(ctx, pt.Spec.Provider, pt.Namespace)
	if p == nil && err == nil {
		o.Definition, p = r.define(pt.Spec.Provider, edition{bundle: bundle})
	}
	return o, p, err
}

func (r *Reconciler) objectOrigin(ctx context.Context, ref *v1alpha1.ProviderReference, meta *metav1.ObjectMeta, spec *v1alpha1.ProviderDefinition) (origin, *problem, error) {
	o := origin{
		Kind: ref.Kind, Name: ref.Name,
		Version: strconv.FormatInt(meta.Generation, 10),
		Vouched: ref.Kind == v1alpha1.ClusterProvider,
	}
	bundle, p, err := r.bundle(ctx, spec, meta.Namespace)
	if p != nil || err != nil {
		return o, p, err
	}
	key := definitionKey{kind: ref.Kind, namespace: meta.Namespace, name: ref.Name}
	e := edition{uid: meta.UID, resourceVersion: meta.ResourceVersion, bundle: bundle}
	if o.Definition = r.definitions.get(key, e); o.Definition != nil {
		return o, nil, nil
	}
	if o.Definition, p = r.define(spec, e); p == nil {
		r.definitions.put(key, o.Definition)
	}
	return o, p, nil
}

// missingProvider tells a provider object that does not exist (yet) from an API server that does not answer.
func missingProvider(err error, ref *v1alpha1.ProviderReference, namespace string) (origin, *problem, error) {
	o := origin{Kind: ref.Kind, Name: ref.Name}
	if !apierrors.IsNotFound(err) {
		return o, nil, fmt.Errorf("reading %s %s: %w", ref.Kind, ref.Name, err)
	}
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	return o, &problem{
		Condition: v1alpha1.CredentialsResolvedCondition,
		Reason:    v1alpha1.ReasonWaitingForProvider,
		Late:      v1alpha1.ReasonProviderNotFound,
		Message:   fmt.Sprintf("%s %q does not exist%s; create it, or correct providerRef", ref.Kind, ref.Name, where),
		Waiting:   true,
	}, nil
}

// define turns the API's form of a definition into the provider's, on top of its base.
func (r *Reconciler) define(spec *v1alpha1.ProviderDefinition, e edition) (*definition, *problem) {
	def, err := convert(*spec)
	if err != nil {
		return nil, providerProblem(v1alpha1.ReasonInvalidProvider, err.Error())
	}
	if spec.CABundleRef != nil {
		def.CABundle = e.bundle
	}
	if spec.Base == "" {
		return newDefinition(def, e), nil
	}
	base, known := r.Catalog.Get(spec.Base)
	if !known {
		return nil, providerProblem(v1alpha1.ReasonInvalidProvider, fmt.Sprintf(
			"the catalog has no entry %q to start from, only %s; correct base", spec.Base, join(r.Catalog.Names())))
	}
	if spec.Method != "" {
		flat, err := base.WithMethod(spec.Method)
		if err != nil {
			return nil, providerProblem(v1alpha1.ReasonInvalidProvider, err.Error())
		}
		base = flat
	}
	merged, err := provider.Overlay(base, def)
	if err == nil {
		merged, err = merged.Fix(textMap(spec.Parameters))
	}
	if err != nil {
		return nil, providerProblem(v1alpha1.ReasonInvalidProvider, err.Error())
	}
	return newDefinition(merged, e), nil
}

// bundle is the content of the ConfigMap that a definition refers to; empty when it refers to none.
func (r *Reconciler) bundle(ctx context.Context, spec *v1alpha1.ProviderDefinition, namespace string) (string, *problem, error) {
	if spec.CABundleRef == nil {
		return "", nil, nil
	}
	return r.caBundle(ctx, *spec.CABundleRef, namespace)
}

// caBundle reads a bundle out of a labelled ConfigMap.
func (r *Reconciler) caBundle(ctx context.Context, ref v1alpha1.ConfigMapKeyReference, namespace string) (string, *problem, error) {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	key := ref.Key
	if key == "" {
		key = "ca.crt"
	}
	var cm corev1.ConfigMap
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &cm, client.UnsafeDisableDeepCopy)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, ref.Name, err)
	}
	if err != nil || cm.Data[key] == "" {
		return "", &problem{ //nolint:nilerr // not found is told as a problem
			Condition: v1alpha1.CredentialsResolvedCondition,
			Reason:    v1alpha1.ReasonWaitingForProvider,
			Late:      v1alpha1.ReasonInvalidProvider,
			Message: fmt.Sprintf("there is no ConfigMap %s/%s with the label %s and a key %s, as caBundleRef wants; create it, or correct caBundleRef",
				namespace, ref.Name, v1alpha1.CABundleLabel, key),
			Waiting: true,
		}, nil
	}
	return cm.Data[key], nil, nil
}

// convert maps the API's definition onto the provider's, field by field. The error is
// about a JSON body that is none.
func convert(s v1alpha1.ProviderDefinition) (provider.Definition, error) {
	d := provider.Definition{
		TokenURL:             s.TokenURL,
		IssuerURL:            s.IssuerURL,
		Grant:                provider.Grant(s.Grant),
		GrantType:            s.GrantType,
		ClientAuthentication: provider.ClientAuthentication(s.ClientAuthentication),
		ClientID:             s.ClientID,
		Scopes:               texts(s.Scopes),
		FormParameters:       textMap(s.FormParameters),
		TokenLifetime:        provider.Duration{Duration: duration(s.TokenLifetime)},
		UseRefreshToken:      provider.RefreshTokenUse(s.UseRefreshToken),
		CABundle:             s.CABundle,
	}
	for _, name := range s.ExtraCredentials {
		d.ExtraCredentials = append(d.ExtraCredentials, provider.ExtraCredential{Name: string(name)})
	}
	if a := s.Assertion; a != nil {
		d.Assertion = provider.AssertionFormat{
			Algorithm:  string(a.Algorithm),
			Issuer:     string(a.Issuer),
			Subject:    string(a.Subject),
			Audience:   string(a.Audience),
			KeyID:      string(a.KeyID),
			Lifetime:   provider.Duration{Duration: duration(a.Lifetime)},
			Backdate:   provider.Duration{Duration: duration(a.Backdate)},
			Thumbprint: a.Thumbprint,
			Claims:     textMap(a.Claims),
		}
	}
	if x := s.TokenExchange; x != nil {
		d.TokenExchange = provider.TokenExchangeFormat{
			SubjectTokenType:   string(x.SubjectTokenType),
			ActorTokenType:     string(x.ActorTokenType),
			RequestedTokenType: string(x.RequestedTokenType),
		}
	}
	if a := s.Response; a != nil {
		d.Response = provider.ResponseFormat{
			AccessToken:      texts(a.AccessToken),
			TokenType:        texts(a.TokenType),
			ExpiresIn:        texts(a.ExpiresIn),
			ExpiresAt:        texts(a.ExpiresAt),
			RefreshToken:     texts(a.RefreshToken),
			RefreshExpiresIn: texts(a.RefreshExpiresIn),
			Scope:            texts(a.Scope),
			Error:            texts(a.Error),
		}
	}
	if l := s.Limits; l != nil {
		d.Limits = provider.Limits{Concurrency: int(l.Concurrency), PerSecond: int(l.PerSecond)}
	}
	var err error
	d.Request, err = convertRequest(s.Request)
	return d, err
}

// maxJSONBody bounds request.json in bytes: the schema cannot.
const maxJSONBody = 8 << 10

func convertRequest(q *v1alpha1.RequestFormat) (provider.RequestFormat, error) {
	if q == nil {
		return provider.RequestFormat{}, nil
	}
	f := provider.RequestFormat{
		Method:    string(q.Method),
		Headers:   textMap(q.Headers),
		Login:     provider.LoginPlacement(q.Login),
		Assertion: provider.AssertionPlacement(q.Assertion),
		Scopes:    provider.ScopePlacement(q.Scopes),
		Body:      provider.BodyFormat(q.Body),
	}
	if q.JSON == nil || len(q.JSON.Raw) == 0 {
		return f, nil
	}
	if len(q.JSON.Raw) > maxJSONBody {
		return f, fmt.Errorf("request.json is larger than %d bytes; shorten it", maxJSONBody)
	}
	if err := json.Unmarshal(q.JSON.Raw, &f.JSON); err != nil {
		return f, errors.New("request.json is not a JSON object; write it as members and values")
	}
	return f, nil
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

func texts[S ~string](in []S) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}

func textMap[S ~string](in map[string]S) map[string]string {
	if in == nil {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, s := range in {
		out[k] = string(s)
	}
	return out
}
