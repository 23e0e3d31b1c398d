package provider

import (
	"strings"
	"testing"
)

func TestAFixedParameterTakesNoOtherValueAndFreesNoHost(t *testing.T) {
	d := Definition{
		TokenURL:             "https://{tenant}.example.com/{realm}/token",
		ClientAuthentication: SecretPost,
		Parameters:           []Parameter{{Name: "tenant"}, {Name: "realm", Values: map[string]string{"a": "realm-a", "b": "realm-b"}, Default: "a"}},
	}
	fixed, err := d.Fix(map[string]string{"tenant": "acme", "realm": "b"})
	if err != nil {
		t.Fatal(err)
	}
	all := func(string) bool { return true }
	r, err := fixed.Resolve(nil, all)
	if err != nil || r.TokenURL != "https://acme.example.com/realm-b/token" || r.FreeHost {
		t.Errorf("%s, free %t: %v", r.TokenURL, r.FreeHost, err)
	}
	for _, other := range []map[string]string{{"tenant": "evil"}, {"realm": "a"}} {
		if _, err := fixed.Resolve(other, all); err == nil {
			t.Errorf("took %v", other)
		}
	}
	if _, err := d.Resolve(map[string]string{"tenant": "evil"}, all); err != nil {
		t.Errorf("the definition itself changed: %v", err)
	}
}

func TestFixKnowsTheParametersOfMethods(t *testing.T) {
	d := Definition{Methods: []Method{
		{Name: "A", Definition: Definition{TokenURL: "https://{region}.example.com/a", Parameters: []Parameter{{Name: "region"}}}},
		{Name: "B", Definition: Definition{TokenURL: "https://example.com/b", Grant: Password, ClientAuthentication: None}},
	}}
	fixed, err := d.Fix(map[string]string{"region": "eu"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := fixed.Resolve(nil, func(string) bool { return true })
	if err != nil || r.TokenURL != "https://eu.example.com/a" || r.FreeHost {
		t.Errorf("%s, free %t: %v", r.TokenURL, r.FreeHost, err)
	}
	if fixed, err = d.Fix(map[string]string{"method": "B"}); err != nil || len(fixed.Methods) != 0 || fixed.TokenURL != "https://example.com/b" {
		t.Errorf("%s: %v", fixed.TokenURL, err)
	}
}

func TestFixRefusesWhatItDoesNotKnow(t *testing.T) {
	d := Definition{TokenURL: "https://{tenant}.example.com/t", Parameters: []Parameter{{Name: "tenant"}}}
	for message, values := range map[string]map[string]string{
		"use only tenant": {"region": "eu"},
		"not a DNS label": {"tenant": "a.b"},
	} {
		if _, err := d.Fix(values); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%v: %v", values, err)
		}
	}
	if _, err := (Definition{TokenURL: "https://a.example.com"}).Fix(map[string]string{"x": "y"}); err == nil || !strings.Contains(err.Error(), "none to set") {
		t.Errorf("%v", err)
	}
	if _, err := (Definition{Methods: []Method{{Name: "A"}}}).Fix(map[string]string{"method": "C"}); err == nil {
		t.Error("took an unknown method")
	}
}

func TestAFixedParameterMeansWhatEachMethodMeansByIt(t *testing.T) {
	way := func(name, path string, values map[string]string) Method {
		return Method{Name: name, Definition: Definition{TokenURL: "https://{kind}.example.com/" + path, Parameters: []Parameter{{Name: "kind", Values: values}}}}
	}
	d := Definition{ClientAuthentication: SecretPost, Methods: []Method{
		way("A", "a", map[string]string{"live": "login"}), way("B", "b", map[string]string{"live": "my"}),
	}}
	fixed, err := d.Fix(map[string]string{"kind": "live"})
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]string{"A": "https://login.example.com/a", "B": "https://my.example.com/b"} {
		r, err := fixed.Resolve(map[string]string{"method": method}, always)
		if err != nil || r.TokenURL != want {
			t.Errorf("%s: %s, %v", method, r.TokenURL, err)
		}
	}
}
