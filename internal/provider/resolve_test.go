package provider

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tenant is a definition whose host a user can choose.
func tenant() Definition {
	return Definition{
		TokenURL:   "https://{tenant}.example.com:8443/{realm}/token?v=1",
		Parameters: []Parameter{{Name: "tenant"}, {Name: "realm", Default: "main"}},
	}
}

func TestResolveFillsInEveryDefault(t *testing.T) {
	got := resolve(t, plain(), nil)
	want := Resolved{Definition: Definition{
		TokenURL:             "https://sso.example.com/token",
		Grant:                ClientCredentials,
		ClientAuthentication: SecretBasic,
		Request: RequestFormat{
			Method: "POST", BasicEncoding: FormEncoded, Login: LoginInBody, Assertion: AssertionInBody, Scopes: ScopesInBody, Body: FormBody,
		},
		Assertion:       AssertionFormat{Lifetime: Duration{time.Minute}, Backdate: Duration{10 * time.Second}},
		Response:        defaultResponse(),
		UseRefreshToken: Auto,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointsThatAreNotOAuthTakeNoRefreshTokens(t *testing.T) {
	get := plain()
	get.Request.Method = "GET"
	header := person()
	header.Request.Login = LoginInBasicHeader
	for name, d := range map[string]Definition{"a GET": get, "a login in the Basic header": header} {
		d.UseRefreshToken = Auto
		if got := resolve(t, d, nil).UseRefreshToken; got != Never {
			t.Errorf("%s: got useRefreshToken %s, want Never", name, got)
		}
	}
}

func TestResolveFillsParameters(t *testing.T) {
	tests := []struct {
		name       string
		definition Definition
		parameters map[string]string
		url, host  string
		free       bool
	}{
		{"a free host", tenant(), map[string]string{"tenant": "acme-1"}, "https://acme-1.example.com:8443/main/token?v=1", "acme-1.example.com:8443", true},
		{"a free path", tenant(), map[string]string{"tenant": "a", "realm": "0"}, "https://a.example.com:8443/0/token?v=1", "a.example.com:8443", true},
		{"only a free path", Definition{TokenURL: "https://sso.example.com/{realm}", Parameters: []Parameter{{Name: "realm"}}},
			map[string]string{"realm": "r"}, "https://sso.example.com/r", "sso.example.com:443", false},
		{"capitals in the host", Definition{TokenURL: "https://SSO.Example.COM/Token/"}, nil, "https://SSO.Example.COM/Token/", "sso.example.com:443", false},
		{"an address", Definition{TokenURL: "https://192.0.2.1:9443"}, nil, "https://192.0.2.1:9443", "192.0.2.1:9443", false},
		{"an IPv6 address", Definition{TokenURL: "https://[2001:DB8:0::1]/t"}, nil, "https://[2001:DB8:0::1]/t", "[2001:db8::1]:443", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := resolve(t, tt.definition, tt.parameters)
			if r.TokenURL != tt.url || r.Host() != tt.host || r.FreeHost != tt.free || r.URL().String() != tt.url {
				t.Errorf("got %s on %s, free %t", r.TokenURL, r.Host(), r.FreeHost)
			}
			if r.Parameters != nil || r.Methods != nil {
				t.Error("something is left to choose")
			}
		})
	}
}

func TestResolveRefusesParameters(t *testing.T) {
	up42, spatiafi := builtin(t, "UP42"), builtin(t, "SpatiaFi")
	tests := []struct {
		name       string
		definition Definition
		parameters map[string]string
		mentions   []string
	}{
		{"an unknown name", up42, map[string]string{"regoin": "sa"}, []string{`"regoin"`, "use only region"}},
		{"an unknown name next to methods", spatiafi, map[string]string{"x": "y"}, []string{`"x"`, "use only method"}},
		{"any name where there is none", plain(), map[string]string{"x": "y"}, []string{`"x"`, "no parameters"}},
		{"a method where there is only one way", plain(), map[string]string{"method": "AppToken"}, []string{`"method"`}},
		{"an unknown method", spatiafi, map[string]string{"method": "apptoken"}, []string{"AppToken, LoginToken"}},
		{"an unknown value", up42, map[string]string{"region": "us"}, []string{"region", "eu, sa"}},
		{"an empty value", up42, map[string]string{"region": ""}, []string{"region", "eu, sa"}},
		{"what stands behind a value", up42, map[string]string{"region": "auth.sa"}, []string{"region", "eu, sa"}},
		{"nothing where something is required", tenant(), nil, []string{"tenant", "set it"}},
		{"a dot", tenant(), map[string]string{"tenant": "evil.com"}, []string{"tenant", "RFC 1123"}},
		{"a slash", tenant(), map[string]string{"tenant": "evil/"}, []string{"tenant"}},
		{"a user", tenant(), map[string]string{"tenant": "evil@"}, []string{"tenant"}},
		{"a fragment", tenant(), map[string]string{"tenant": "evil#"}, []string{"tenant"}},
		{"a hole", tenant(), map[string]string{"tenant": "{realm}"}, []string{"tenant"}},
		{"a capital", tenant(), map[string]string{"tenant": "Acme"}, []string{"tenant"}},
		{"a hyphen at the end", tenant(), map[string]string{"tenant": "acme-"}, []string{"tenant"}},
		{"a hyphen at the start", tenant(), map[string]string{"tenant": "-acme"}, []string{"tenant"}},
		{"a letter beyond ASCII", tenant(), map[string]string{"tenant": "аcme"}, []string{"tenant"}},
		{"a label that is too long", tenant(), map[string]string{"tenant": strings.Repeat("a", 64)}, []string{"tenant"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.definition.Resolve(tt.parameters, always)
			wantKind(t, err, Input)
			wantText(t, err, tt.mentions...)
		})
	}
}

func TestResolveNamesTheCredentialsThatAreMissing(t *testing.T) {
	tests := []struct {
		name       string
		definition Definition
		parameters map[string]string
		has        func(string) bool
		want       string
	}{
		{"one key", plain(), nil, only(CredClientID),
			"the credentials lack client_secret; this provider wants client_id and client_secret: add what is missing to the Secret, under that key"},
		{"both keys, in the provider's words too", builtin(t, "UP42Project"), nil, never,
			"the credentials lack client_id (or project_id) and client_secret (or project_api_key); add what is missing to the Secret, under that key"},
		{"each way in", builtin(t, "SpatiaFi"), nil, only(CredClientID, CredUsername),
			"the credentials lack client_secret for AppToken, or password for LoginToken; AppToken wants client_id and client_secret, LoginToken wants username and password: add the keys of one of them to the Secret"},
		{"the way that was asked for", builtin(t, "SpatiaFi"), map[string]string{"method": "AppToken"}, only(CredUsername, CredPassword),
			"the credentials lack client_id and client_secret; add what is missing to the Secret, under that key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.definition.Resolve(tt.parameters, tt.has)
			wantKind(t, err, Input)
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestKeysBeginWithTheCanonicalName(t *testing.T) {
	d := builtin(t, "UP42Project")
	if diff := cmp.Diff([]string{"client_id", "project_id"}, d.Keys(CredClientID)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"username"}, d.Keys(CredUsername)); diff != "" {
		t.Error(diff)
	}
}

func TestURLOfAnUnresolvedDefinitionIsEmpty(t *testing.T) {
	r := Resolved{Definition: Definition{TokenURL: "https://{x}/"}}
	if got := r.URL().String(); got != "" {
		t.Errorf("got %s", got)
	}
}

// Whoever sets a parameter must not be able to move the rest of the URL.
func FuzzParametersStayInTheirHoles(f *testing.F) {
	f.Add("acme", "realm")
	f.Add("evil.com/", "..")
	f.Add("a@b", "{tenant}")
	f.Fuzz(func(t *testing.T, name, realm string) {
		r, err := tenant().Resolve(map[string]string{"tenant": name, "realm": realm}, always)
		if err != nil {
			wantKind(t, err, Input)
			return
		}
		u := r.URL()
		if r.Host() != name+".example.com:8443" || u.Path != "/"+realm+"/token" || u.RawQuery != "v=1" || u.User != nil || u.Fragment != "" || u.Scheme != "https" {
			t.Errorf("%q and %q lead to %s", name, realm, r.TokenURL)
		}
		if strings.ContainsAny(realm, "./%") || realm == "" {
			t.Errorf("%q was taken", realm)
		}
	})
}

// Any URL that is taken must mean the same to net/url, which the transport uses,
// as to Host, which decides whether credentials may go there.
func FuzzResolvedURLsAreWhatTheyLookLike(f *testing.F) {
	f.Add("https://sso.example.com/token", "a")
	f.Add("https://{p}.example.com:0443/", "a")
	f.Add("https://a@b/", "")
	f.Add("https://[::1]:1/{p}", "b")
	f.Add("https://example.com\\@evil.com/", "")
	f.Fuzz(func(t *testing.T, tokenURL, value string) {
		d := Definition{TokenURL: tokenURL}
		if strings.Contains(tokenURL, "{p}") {
			d.Parameters = []Parameter{{Name: "p", Default: value}}
		}
		r, err := d.Resolve(nil, always)
		if err != nil {
			wantKind(t, err, Input)
			return
		}
		u := r.URL()
		authority, _ := splitAuthority(r.TokenURL)
		if u.Scheme != "https" || u.User != nil || u.Host != authority || u.Hostname() == "" || u.Fragment != "" || strings.ContainsAny(r.TokenURL, "{} \\") {
			t.Errorf("%q was taken", r.TokenURL)
		}
		if again := (Resolved{Definition: Definition{TokenURL: "https://" + r.Host()}}).Host(); again != r.Host() {
			t.Errorf("the host %s of %q is not canonical", r.Host(), r.TokenURL)
		}
	})
}

func TestDurationsAreReadAndWrittenAsGoDoes(t *testing.T) {
	var d Definition
	if err := json.Unmarshal([]byte(`{"tokenLifetime":"4m59s"}`), &d); err != nil || d.TokenLifetime.Duration != 299*time.Second {
		t.Errorf("got %s (%v), want 299 s", d.TokenLifetime, err)
	}
	out, err := json.Marshal(d)
	if err != nil || string(out) != `{"tokenLifetime":"4m59s"}` {
		t.Errorf("got %s (%v): what is not set must not be written", out, err)
	}
	if err := json.Unmarshal([]byte(`{"tokenLifetime":null}`), &d); err != nil || d.TokenLifetime.Duration != 299*time.Second {
		t.Errorf("got %s (%v), want null to change nothing", d.TokenLifetime, err)
	}
	for _, wrong := range []string{`{"tokenLifetime":300}`, `{"tokenLifetime":"300"}`, `{"tokenLifetime":""}`} {
		if err := json.Unmarshal([]byte(wrong), &d); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}
