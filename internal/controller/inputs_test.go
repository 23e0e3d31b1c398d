package controller

import (
	"testing"

	"github.com/providertoken/operator/api/v1alpha1"
)

func TestInputsChangeWithWhatDecidesWhichTokenIsIssued(t *testing.T) {
	base := func() *v1alpha1.ProviderToken {
		return &v1alpha1.ProviderToken{Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Name: "UP42"},
			Credentials: &v1alpha1.Credentials{SecretName: "a"},
		}}
	}
	same := map[string]func(*v1alpha1.ProviderToken){
		"the kind that is meant anyway": func(p *v1alpha1.ProviderToken) { p.Spec.ProviderRef.Kind = v1alpha1.BuiltinProvider },
		"suspend":                       func(p *v1alpha1.ProviderToken) { p.Spec.Suspend = true },
		"the target":                    func(p *v1alpha1.ProviderToken) { p.Spec.Target = &v1alpha1.Target{SecretName: "b"} },
		"the policy":                    func(p *v1alpha1.ProviderToken) { p.Spec.Refresh = &v1alpha1.RefreshPolicy{AtPercent: 50} },
		"annotations":                   func(p *v1alpha1.ProviderToken) { p.Annotations = map[string]string{"a": "b"} },
	}
	for name, edit := range same {
		pt := base()
		edit(pt)
		if inputs(pt) != inputs(base()) {
			t.Errorf("%s: changes the inputs", name)
		}
	}
	other := map[string]func(*v1alpha1.ProviderToken){
		"the provider": func(p *v1alpha1.ProviderToken) { p.Spec.ProviderRef.Name = "UP42Project" },
		"its kind":     func(p *v1alpha1.ProviderToken) { p.Spec.ProviderRef.Kind = v1alpha1.ClusterProvider },
		"a parameter": func(p *v1alpha1.ProviderToken) {
			p.Spec.ProviderRef.Parameters = map[string]v1alpha1.ParameterValue{"region": "sa"}
		},
		"the credentials": func(p *v1alpha1.ProviderToken) { p.Spec.Credentials.SecretName = "b" },
		"a scope":         func(p *v1alpha1.ProviderToken) { p.Spec.Scopes = []v1alpha1.Scope{"a"} },
		"the audience":    func(p *v1alpha1.ProviderToken) { p.Spec.Audience = "a" },
		"a resource":      func(p *v1alpha1.ProviderToken) { p.Spec.Resources = []string{"a"} },
	}
	seen := map[string]string{inputs(base()): "nothing"}
	for name, edit := range other {
		pt := base()
		edit(pt)
		if before, known := seen[inputs(pt)]; known {
			t.Errorf("%s: has the same inputs as %s", name, before)
		}
		seen[inputs(pt)] = name
	}
}
