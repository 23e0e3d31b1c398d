package provider

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestCatalogHoldsTheProvidersItIsNamedFor(t *testing.T) {
	catalog, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Auth0", "Cognito", "EntraID", "GitHubApp", "GoogleServiceAccount", "Keycloak", "Okta", "PayPal", "PlantPredict",
		"Salesforce", "SpatiaFi", "UP42", "UP42Project", "Zitadel", "Zoom",
	}
	if diff := cmp.Diff(want, catalog.Names()); diff != "" {
		t.Error(diff)
	}
	for _, name := range catalog.Names() {
		d, _ := catalog.Get(name)
		if d.Description == "" || !strings.HasPrefix(d.Documentation, "https://") {
			t.Errorf("%s does not say what it is and where to read on", name)
		}
	}
}

func TestCatalogHandsOutCopies(t *testing.T) {
	catalog, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	first, _ := catalog.Get("UP42")
	first.Parameters[0].Values["eu"] = "evil"
	project, _ := catalog.Get("UP42Project")
	project.CredentialKeys[CredClientID][0] = "evil"
	spatiafi, _ := catalog.Get("SpatiaFi")
	spatiafi.Methods[0].TokenURL = "evil"
	for _, name := range catalog.Names() {
		d, _ := catalog.Get(name)
		if err := d.Validate(); err != nil || strings.Contains(reflectString(d), "evil") {
			t.Errorf("%s was changed through a copy", name)
		}
	}
}

func reflectString(d Definition) string {
	out, err := yaml.Marshal(d)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func TestCatalogMissesUnknownNames(t *testing.T) {
	catalog, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := catalog.Get("up42"); ok || !reflect.DeepEqual(d, Definition{}) {
		t.Errorf("got %v, want nothing: names are exact", d)
	}
	if v := catalog.Version("up42"); v != "" {
		t.Errorf("got version %q, want none", v)
	}
}

func TestCatalogVersionFollowsTheText(t *testing.T) {
	version := func(text string) string {
		catalog, err := ReadCatalog(fstest.MapFS{"catalog/A.yaml": {Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return catalog.Version("A")
	}
	one, two := version("tokenURL: https://a.example.com/"), version("tokenURL: https://b.example.com/")
	if len(one) != 12 || one == two {
		t.Errorf("got versions %q and %q, want two of 12 digits", one, two)
	}
}

func TestCatalogIsReadStrictly(t *testing.T) {
	tests := map[string]string{
		"an unknown field":      "tokenURL: https://a.example.com/\ntokenUrl2: x",
		"a duplicate key":       "tokenURL: https://a.example.com/\ntokenURL: https://b.example.com/",
		"an invalid definition": "tokenURL: http://a.example.com/",
		"a duration in numbers": "tokenURL: https://a.example.com/\ntokenLifetime: 300",
		"a duration in words":   "tokenURL: https://a.example.com/\ntokenLifetime: five minutes",
		"no YAML at all":        "\t",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadCatalog(fstest.MapFS{"catalog/A.yaml": {Data: []byte(text)}})
			if err == nil {
				t.Fatal("it was taken")
			}
			wantText(t, err, "catalog/A.yaml")
		})
	}
	if _, err := ReadCatalog(fstest.MapFS{"catalog/A.yaml/file": {}}); err == nil {
		t.Error("a directory was taken for an entry")
	}
}

// The YAML library compares member names without regard to case.
func TestCatalogSpellsItsFieldsExactly(t *testing.T) {
	files, err := embedded.ReadDir("catalog")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := embedded.ReadFile("catalog/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var written, understood map[string]any
		if err := yaml.Unmarshal(content, &written); err != nil {
			t.Fatal(err)
		}
		d := builtin(t, strings.TrimSuffix(f.Name(), ".yaml"))
		if err := yaml.Unmarshal([]byte(reflectString(d)), &understood); err != nil {
			t.Fatal(err)
		}
		written, understood = flatten(written), flatten(understood)
		for path := range written {
			if _, ok := understood[path]; !ok {
				t.Errorf("%s: %s is misspelt", f.Name(), path)
			}
		}
	}
}

// flatten maps the path of every leaf to its value.
func flatten(tree any) map[string]any {
	leaves := map[string]any{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			for name, child := range n {
				walk(path+"."+name, child)
			}
		case []any:
			for _, child := range n {
				walk(path+"[]", child)
			}
		default:
			leaves[path] = n
		}
	}
	walk("", tree)
	return leaves
}

func TestCatalogTrustsNoHostThatAUserCanChoose(t *testing.T) {
	for _, name := range []string{"PlantPredict", "SpatiaFi", "UP42", "UP42Project"} {
		if r := resolve(t, builtin(t, name), nil); r.FreeHost {
			t.Errorf("%s has a free host", name)
		}
	}
}

func TestCatalogEntriesResolveToTheirEndpoints(t *testing.T) {
	tests := []struct {
		name       string
		parameters map[string]string
		url, host  string
		required   []string
		refresh    RefreshTokenUse
	}{
		{"PlantPredict", nil, "https://terabase-prd.auth.us-west-2.amazoncognito.com/oauth2/token",
			"terabase-prd.auth.us-west-2.amazoncognito.com:443", []string{CredClientID, CredClientSecret}, Never},
		{"SpatiaFi", map[string]string{"method": "AppToken"}, "https://auth.spatiafi.com/api/v1/auth/jwt/token",
			"auth.spatiafi.com:443", []string{CredClientID, CredClientSecret}, Never},
		{"SpatiaFi", map[string]string{"method": "LoginToken"}, "https://auth.spatiafi.com/api/v1/auth/jwt/token/basic",
			"auth.spatiafi.com:443", []string{CredUsername, CredPassword}, Never},
		{"UP42Project", nil, "https://api.up42.com/oauth/token",
			"api.up42.com:443", []string{CredClientID, CredClientSecret}, Never},
		{"UP42", nil, "https://auth.up42.com/realms/public/protocol/openid-connect/token",
			"auth.up42.com:443", []string{CredUsername, CredPassword}, Auto},
		{"UP42", map[string]string{"region": "sa"}, "https://auth.sa.up42.com/realms/public/protocol/openid-connect/token",
			"auth.sa.up42.com:443", []string{CredUsername, CredPassword}, Auto},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			r := resolve(t, builtin(t, tt.name), tt.parameters)
			if r.TokenURL != tt.url || r.URL().String() != tt.url || r.Host() != tt.host {
				t.Errorf("got %s on %s, want %s on %s", r.TokenURL, r.Host(), tt.url, tt.host)
			}
			if !slices.Equal(r.RequiredCredentials(), tt.required) {
				t.Errorf("got required credentials %v, want %v", r.RequiredCredentials(), tt.required)
			}
			if r.UseRefreshToken != tt.refresh {
				t.Errorf("got useRefreshToken %s, want %s", r.UseRefreshToken, tt.refresh)
			}
		})
	}
}

func TestSpatiaFiPrefersTheWayThatLocksNobodyOut(t *testing.T) {
	d := builtin(t, "SpatiaFi")
	for want, has := range map[string]func(string) bool{
		"AppToken":   always,
		"LoginToken": only(CredUsername, CredPassword, CredClientID),
	} {
		r, err := d.Resolve(nil, has)
		if err != nil || r.Method != want {
			t.Errorf("got method %q (%v), want %s", r.Method, err, want)
		}
	}
}
