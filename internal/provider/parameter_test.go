package provider

import (
	"strings"
	"testing"
)

// hosted is a definition of somebody's own installation.
func hosted() Definition {
	return Definition{
		IssuerURL: "https://{host}/realms/{realm}",
		Parameters: []Parameter{
			{Name: "host", Format: HostFormat},
			{Name: "realm", Format: SegmentFormat},
			{Name: "audience", Default: "api"},
		},
		FormParameters: map[string]string{"aud": "https://{audience}.{host}/"},
	}
}

func TestParametersFillURLsAndTexts(t *testing.T) {
	d := hosted()
	d.Assertion = AssertionFormat{Issuer: "i {realm}", Subject: "s {realm}", Audience: "a {realm}", KeyID: "k {realm} {client_id}", Claims: map[string]string{"c": "c {realm}"}}
	d.Request = RequestFormat{Body: JSONBody, Headers: map[string]string{"X-Realm": "{realm}"}, JSON: map[string]any{"{realm}": []any{"{realm}", 1.0, map[string]any{"x": "{realm}{client_id}"}}}}
	r := resolve(t, d, map[string]string{"host": "sso.example.com:8443", "realm": "Corp_1.x"})
	if r.IssuerURL != "https://sso.example.com:8443/realms/Corp_1.x" || !r.FreeHost {
		t.Errorf("got %s, free %t", r.IssuerURL, r.FreeHost)
	}
	if got := r.FormParameters["aud"]; got != "https://api.sso.example.com:8443/" {
		t.Errorf("got the field %s", got)
	}
	a := r.Assertion
	got := strings.Join([]string{a.Issuer, a.Subject, a.Audience, a.KeyID, a.Claims["c"], r.Request.Headers["X-Realm"]}, "; ")
	if got != "i Corp_1.x; s Corp_1.x; a Corp_1.x; k Corp_1.x {client_id}; c Corp_1.x; Corp_1.x" {
		t.Errorf("got %s", got)
	}
	if text, err := jsonText(r.Request.JSON); err != nil || text != `{"{realm}":["Corp_1.x",1,{"x":"Corp_1.x{client_id}"}]}` {
		t.Errorf("got %s (%v)", text, err)
	}
	if d.Request.Headers["X-Realm"] != "{realm}" || d.Assertion.Claims["c"] != "c {realm}" {
		t.Error("the definition itself was filled")
	}
}

func TestAParameterIsWhatItsFormatSays(t *testing.T) {
	tests := []struct {
		format ParameterFormat
		taken  []string
		not    []string
	}{
		{LabelFormat, []string{"a", "acme-1"}, []string{"", "A", "a.b", "-a", "{x}", "a/b"}},
		{SegmentFormat, []string{"Acme_1.x-y", "6f1c-22", ".well", strings.Repeat("a", 128)},
			[]string{"", ".", "..", "...", "a/b", "a%2fb", "a?b", "a#b", "ä", "{x}", "a b", strings.Repeat("a", 129)}},
		{HostFormat, []string{"sso.example.com", "SSO.Example.com:8443", "192.0.2.1", "[2001:db8::1]:8443", "localhost"},
			[]string{"", "a/b", "a@b", "a:b", "a:", "a:0", "a:65536", "a..b", "-a", "2001:db8::1", "[::1", "a?b", "a#b", "ä.example.com", "a.example.com.", "{x}", "a b", ":8443"}},
	}
	for _, tt := range tests {
		p := Parameter{Name: "p", Format: tt.format}
		for _, value := range tt.taken {
			if got, err := p.value(map[string]string{"p": value}); err != nil || got != value {
				t.Errorf("%s refuses %q: %v", tt.format, value, err)
			}
		}
		for _, value := range tt.not {
			if _, err := p.value(map[string]string{"p": value}); err == nil {
				t.Errorf("%s takes %q", tt.format, value)
			} else if len(value) > 5 && strings.Contains(err.Error(), value) {
				t.Errorf("%q repeats the value", err)
			}
		}
	}
}

// Whoever sets a host must not be able to move the rest of the URL.
func FuzzAHostIsAHostAndNothingElse(f *testing.F) {
	f.Add("sso.example.com", "main")
	f.Add("a@evil.example.com", "..")
	f.Add("[::1]:8443", "a/b")
	f.Fuzz(func(t *testing.T, host, realm string) {
		d := Definition{TokenURL: "https://{host}/r/{realm}/token", Parameters: hosted().Parameters[:2]}
		r, err := d.Resolve(map[string]string{"host": host, "realm": realm}, always)
		if err != nil {
			wantKind(t, err, Input)
			return
		}
		u := r.URL()
		if u.Host != host || u.Path != "/r/"+realm+"/token" || u.RawPath != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !r.FreeHost {
			t.Errorf("%q and %q lead to %s", host, realm, r.TokenURL)
		}
	})
}

func TestParametersStandWhereTheirFormatAllows(t *testing.T) {
	tests := []struct {
		name, url string
		p         Parameter
		mention   string
	}{
		{"a segment in the host", "https://{p}.example.com/", Parameter{Format: SegmentFormat}, "format Segment stands in the host"},
		{"a host that is a part", "https://{p}.example.com/", Parameter{Format: HostFormat}, "not the whole authority"},
		{"a host with a port behind", "https://{p}:8443/", Parameter{Format: HostFormat}, "not the whole authority"},
		{"a host in the path", "https://{p}/{p}", Parameter{Format: HostFormat}, "not the whole authority"},
		{"a label in the port", "https://a.example.com:{p}/", Parameter{}, "the port"},
		{"a segment in the query", "https://a.example.com/?a={p}", Parameter{Format: SegmentFormat}, "the query"},
		{"a segment in the fragment", "https://a.example.com/?a=b#{p}", Parameter{Format: SegmentFormat}, "the fragment"},
		{"an unknown format", "https://{p}.example.com/", Parameter{Format: "URL"}, "Label, Segment, Host"},
		{"a format and values", "https://{p}.example.com/", Parameter{Format: HostFormat, Values: map[string]string{"a": "b"}}, "both a format and a list"},
		{"a default that is no host", "https://{p}/", Parameter{Format: HostFormat, Default: "a/b"}, "not a host"},
		{"a default that is no segment", "https://a.example.com/{p}", Parameter{Format: SegmentFormat, Default: "a/b"}, "not a segment"},
		{"a credential's name", "https://{client_id}.example.com/", Parameter{Name: "client_id"}, "name of a credential"},
		{"no hole at all", "https://a.example.com/", Parameter{}, "does not occur in any URL or text"},
	}
	for _, tt := range tests {
		for _, issuer := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				if tt.p.Name == "" {
					tt.p.Name = "p"
				}
				d := Definition{TokenURL: tt.url, Parameters: []Parameter{tt.p}}
				if issuer {
					d.TokenURL, d.IssuerURL = "", tt.url
				}
				err := d.Validate()
				wantKind(t, err, Input)
				wantText(t, err, tt.mention)
			})
		}
	}
}

func TestHolesAreFoundAndOtherBracesStay(t *testing.T) {
	values := map[string]string{"a": "1", "b-c": "{a}", "D_9": "3"}
	for text, want := range map[string]string{
		"{a}{a}":            "11",
		"{b-c}":             "{a}",
		"{{a}}":             "{1}",
		"{D_9":              "{D_9",
		`{"x": {"y": {a}}}`: `{"x": {"y": 1}}`,
		"{x} {} { a } {1}":  "{x} {} { a } {1}",
		"":                  "",
	} {
		if got := fill(text, values); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

func TestAMethodTakesTheSharedParametersThatItNeeds(t *testing.T) {
	d := Definition{
		TokenURL:   "https://{tenant}.example.com/token",
		Parameters: []Parameter{{Name: "tenant"}, {Name: "org"}},
		Methods: []Method{
			{Name: "A", Definition: Definition{Scopes: []string{"a"}}},
			{Name: "B", Definition: Definition{FormParameters: map[string]string{"org": "{org}"}, ExtraCredentials: []ExtraCredential{{Name: "extra"}}}},
		},
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Resolve(map[string]string{"tenant": "t", "method": "A"}, only(CredClientID, CredClientSecret)); err != nil || r.Method != "A" || r.TokenURL != "https://t.example.com/token" {
		t.Errorf("got %s by %q (%v)", r.TokenURL, r.Method, err)
	}
	// What another way in needs is no mistake.
	if _, err := d.Resolve(map[string]string{"tenant": "t", "org": "o", "method": "A"}, always); err != nil {
		t.Error(err)
	}
	_, err := d.Resolve(map[string]string{"tenant": "t", "method": "B"}, always)
	wantKind(t, err, Input)
	wantText(t, err, "org is required")
	d.Parameters = append(d.Parameters, Parameter{Name: "idle"})
	err = d.Validate()
	wantKind(t, err, Input)
	wantText(t, err, "idle does not occur")
}
