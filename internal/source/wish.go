package source

import (
	"maps"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/schedule"
)

// Parameters are what pt fills into its provider's definition; nil when it fills in nothing.
func Parameters(pt *v1alpha1.ProviderToken) map[string]string {
	if ref := pt.Spec.ProviderRef; ref != nil {
		return textMap(ref.Parameters)
	}
	return nil
}

// WithMethod is parameters with that method.
func WithMethod(parameters map[string]string, name string) map[string]string {
	all := maps.Clone(parameters)
	if all == nil {
		all = map[string]string{}
	}
	all["method"] = name
	return all
}

// Wish is what pt asks for: the rest of the input is the caller's.
func Wish(pt *v1alpha1.ProviderToken) provider.RequestInput {
	return provider.RequestInput{Scopes: texts(pt.Spec.Scopes), Audience: pt.Spec.Audience, Resources: pt.Spec.Resources}
}

// Policy is what pt says about the time of a refresh.
func Policy(p *v1alpha1.RefreshPolicy) schedule.Policy {
	if p == nil {
		return schedule.Policy{}
	}
	return schedule.Policy{
		AtPercent:       int(p.AtPercent),
		MinimumLead:     duration(p.MinimumLead),
		MinimumInterval: duration(p.MinimumInterval),
	}
}

// Reason is that of the condition which a failed exchange makes false, and whether only
// an edit, here or at the provider, is likely to help.
func Reason(kind provider.Kind) (reason string, stalled bool) {
	switch kind {
	case provider.Input:
		return v1alpha1.ReasonInvalidCredentials, true
	case provider.Denied:
		return v1alpha1.ReasonRequestDenied, true
	case provider.LoginDenied:
		return v1alpha1.ReasonLoginDenied, true
	case provider.RefreshDenied:
		return v1alpha1.ReasonRefreshDenied, false
	case provider.Throttled:
		return v1alpha1.ReasonThrottled, false
	case provider.Misconfigured:
		return v1alpha1.ReasonProviderMisconfigured, true
	default:
		return v1alpha1.ReasonProviderUnavailable, false
	}
}
