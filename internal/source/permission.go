package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Permit decides whether pt may use the credentials of its provider, and for what it
// asks; nil when it may, or brings its own. What is not listed is not allowed.
func (f Finder) Permit(ctx context.Context, pt *v1alpha1.ProviderToken, o Origin) (*Problem, error) {
	if o.Platform == nil {
		if pt.Spec.Credentials == nil {
			return stalled(v1alpha1.ReasonInvalidCredentials, fmt.Sprintf(
				"%s has no credentials of its own; set spec.credentials.secretName to a Secret with the label %s: %s",
				o.Name, v1alpha1.CredentialsForLabel, o.BoundTo())), nil
		}
		return nil, nil
	}
	if pt.Spec.Credentials != nil {
		return stalled(v1alpha1.ReasonInvalidCredentials, fmt.Sprintf(
			"ClusterTokenProvider %q has credentials of its own; remove spec.credentials", o.Name)), nil
	}
	allowed, err := f.allowsNamespace(ctx, o.Allow, pt.Namespace)
	if errors.Is(err, errSelector) {
		return stalled(v1alpha1.ReasonInvalidProvider, fmt.Sprintf(
			"allow.namespaces.selector of ClusterTokenProvider %q selects nothing, since it is not a label selector (an unknown operator, or values that it must not or must have); tell whoever owns it", o.Name)), nil
	}
	if err != nil {
		return nil, err
	}
	if !allowed {
		return refusal(o, fmt.Sprintf("does not let namespace %s use its credentials", pt.Namespace), "allow.namespaces"), nil
	}
	return AskedTooMuch(pt, o), nil
}

// AskedTooMuch is about the first thing that pt asks for and that is not listed.
func AskedTooMuch(pt *v1alpha1.ProviderToken, o Origin) *Problem {
	for _, scope := range pt.Spec.Scopes {
		if !slices.Contains(o.Allow.Scopes, scope) {
			return notListed(o, "scope", string(scope), "allow.scopes", texts(o.Allow.Scopes))
		}
	}
	if a := pt.Spec.Audience; a != "" && !slices.Contains(o.Allow.Audiences, a) {
		return notListed(o, "audience", a, "allow.audiences", o.Allow.Audiences)
	}
	for _, resource := range pt.Spec.Resources {
		if !slices.Contains(o.Allow.Resources, resource) {
			return notListed(o, "resource", resource, "allow.resources", o.Allow.Resources)
		}
	}
	if len(pt.Spec.ProviderRef.Parameters) > 0 {
		return stalled(v1alpha1.ReasonNotAllowed, fmt.Sprintf(
			"ClusterTokenProvider %q has credentials of its own, and lets nobody set parameters; remove providerRef.parameters", o.Name))
	}
	return nil
}

// maxListed bounds how many of the allowed values a message names.
const maxListed = 8

func notListed(o Origin, what, asked, field string, allowed []string) *Problem {
	listed := "none is"
	if len(allowed) > 0 {
		listed = "only " + strings.Join(allowed[:min(len(allowed), maxListed)], ", ")
		if len(allowed) > maxListed {
			listed += fmt.Sprintf(" and %d more", len(allowed)-maxListed)
		}
	}
	return refusal(o, fmt.Sprintf("does not allow the %s %.256q (%s)", what, asked, listed), field)
}

func refusal(o Origin, what, field string) *Problem {
	return stalled(v1alpha1.ReasonNotAllowed, fmt.Sprintf(
		"ClusterTokenProvider %q %s; ask whoever owns it to add it to %s, or correct this ProviderToken", o.Name, what, field))
}

var errSelector = errors.New("not a label selector")

func (f Finder) allowsNamespace(ctx context.Context, allow *v1alpha1.Allow, namespace string) (bool, error) {
	if allow == nil {
		return false, nil
	}
	if slices.Contains(allow.Namespaces.Names, namespace) {
		return true, nil
	}
	if allow.Namespaces.Selector == nil {
		return false, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(allow.Namespaces.Selector)
	if err != nil {
		return false, errSelector // the API server does not check selectors
	}
	ns := namespaceMetadata()
	err = f.Objects.Get(ctx, client.ObjectKey{Name: namespace}, ns)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading namespace %s: %w", namespace, err)
	}
	return selector.Matches(labels.Set(ns.Labels)), nil
}

// namespaceMetadata is for reading and watching the labels of namespaces, and no more.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return m
}
