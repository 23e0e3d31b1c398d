package source

import (
	"testing"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

func TestAChoiceIsMadeOnceForTheSameCredentialsAndParameters(t *testing.T) {
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	o, p, err := Finder{Catalog: catalog, Known: &Definitions{}}.builtinOrigin(&v1alpha1.ProviderReference{Name: "UP42"})
	if p != nil || err != nil {
		t.Fatal(p, err)
	}
	login := func(name string) bool { return name == "username" || name == "password" }
	choose := func(parameters map[string]string) string {
		t.Helper()
		r, err := o.Definition.choose(parameters, login)
		if err != nil {
			t.Fatal(err)
		}
		again, err := o.Definition.choose(parameters, login)
		if err != nil || again != r {
			t.Errorf("%v is chosen twice (%v)", parameters, err)
		}
		return r.TokenURL
	}
	if eu, sa := choose(nil), choose(map[string]string{"region": "sa"}); eu == sa {
		t.Errorf("both regions have %s", eu)
	}
	if _, err := o.Definition.choose(nil, func(string) bool { return false }); err == nil {
		t.Error("who has no credentials gets the choice of somebody who has")
	}
}

func TestWhoLooksOnceRemembersNothing(t *testing.T) {
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	pt := &v1alpha1.ProviderToken{Spec: v1alpha1.ProviderTokenSpec{ProviderRef: &v1alpha1.ProviderReference{Name: "UP42"}}}
	find := func(f Finder) *Definition {
		t.Helper()
		o, p, err := f.Find(t.Context(), pt)
		if p != nil || err != nil {
			t.Fatal(p, err)
		}
		return o.Definition
	}
	once := Finder{Catalog: catalog}
	if first := find(once); first == find(once) {
		t.Error("a definition is remembered, and nobody asked for it")
	}
	often := Finder{Catalog: catalog, Known: &Definitions{}}
	if first := find(often); first != find(often) {
		t.Error("a definition is read twice")
	}
}
