package provider

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func overlay(t *testing.T, base, over Definition) Definition {
	t.Helper()
	d, err := Overlay(base, over)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWithMethodLeavesOneWayIn(t *testing.T) {
	d := builtin(t, "SpatiaFi")
	flat, err := d.WithMethod("LoginToken")
	if err != nil {
		t.Fatal(err)
	}
	if flat.Methods != nil || flat.Grant != Password || flat.UseRefreshToken != Never || flat.Documentation != d.Documentation {
		t.Errorf("got %+v", flat)
	}
	if err := flat.Validate(); err != nil {
		t.Error(err)
	}
	r, err := flat.Resolve(nil, only(CredUsername, CredPassword))
	if err != nil || r.Method != "" {
		t.Errorf("got method %q (%v)", r.Method, err)
	}
}

func TestWithMethodNamesTheMethodsThereAre(t *testing.T) {
	_, err := builtin(t, "SpatiaFi").WithMethod("Token")
	wantKind(t, err, Input)
	wantText(t, err, "AppToken, LoginToken")
	_, err = plain().WithMethod("Token")
	wantKind(t, err, Input)
	wantText(t, err, "only one way in")
}

func TestOverlaySetsFieldsMergesMapsAndReplacesLists(t *testing.T) {
	base := Definition{
		Description: "base", TokenURL: "https://base.example.com/", Grant: Password, ClientAuthentication: None, ClientID: "base",
		CredentialKeys: map[string][]string{"username": {"user"}, "password": {"pw"}},
		Scopes:         []string{"a", "b"}, FormParameters: map[string]string{"x": "1", "y": "1"},
		Request:       RequestFormat{Headers: map[string]string{"X-A": "1"}, BasicEncoding: Raw},
		Response:      ResponseFormat{AccessToken: []string{"/a", "/b"}, Scope: []string{"/s"}},
		TokenLifetime: Duration{time.Minute}, Limits: Limits{Concurrency: 1, PerSecond: 1},
	}
	over := Definition{
		Description: "over", ClientID: "over", CredentialKeys: map[string][]string{"password": {"secret"}},
		Scopes: []string{"c"}, FormParameters: map[string]string{"y": "2", "z": "2"},
		Request: RequestFormat{Headers: map[string]string{"X-B": "2"}}, Assertion: AssertionFormat{Lifetime: Duration{time.Second}},
		Response: ResponseFormat{AccessToken: []string{"/c"}}, TokenLifetime: Duration{time.Hour}, UseRefreshToken: Never,
		Limits: Limits{PerSecond: 2}, CABundle: "pem",
	}
	want := Definition{
		Description: "over", TokenURL: "https://base.example.com/", Grant: Password, ClientAuthentication: None, ClientID: "over",
		CredentialKeys: map[string][]string{"username": {"user"}, "password": {"secret"}},
		Scopes:         []string{"c"}, FormParameters: map[string]string{"x": "1", "y": "2", "z": "2"},
		Request: RequestFormat{Headers: map[string]string{"X-A": "1", "X-B": "2"}, BasicEncoding: Raw}, Assertion: AssertionFormat{Lifetime: Duration{time.Second}},
		Response:      ResponseFormat{AccessToken: []string{"/c"}, Scope: []string{"/s"}},
		TokenLifetime: Duration{time.Hour}, UseRefreshToken: Never, Limits: Limits{Concurrency: 1, PerSecond: 2}, CABundle: "pem",
	}
	if diff := cmp.Diff(want, overlay(t, base, over)); diff != "" {
		t.Error(diff)
	}
}

func TestAnotherTokenURLDropsTheHolesThatItLacks(t *testing.T) {
	d := overlay(t, builtin(t, "UP42"), Definition{TokenURL: "https://sso.example.com/realms/x/token"})
	if r := resolve(t, d, nil); r.TokenURL != "https://sso.example.com/realms/x/token" || r.ClientID != "up42-api" {
		t.Errorf("got %+v", r)
	}
	kept := overlay(t, builtin(t, "UP42"), Definition{TokenURL: "https://{region}.proxy.example.com/token"})
	if r := resolve(t, kept, map[string]string{"region": "sa"}); r.TokenURL != "https://auth.sa.proxy.example.com/token" {
		t.Errorf("got %s", r.TokenURL)
	}
}

func TestABaseWithSeveralWaysInWantsOneNamed(t *testing.T) {
	for name, over := range map[string]Definition{
		"a token URL":             {TokenURL: "https://a.example.com/"},
		"a grant":                 {Grant: Password},
		"a client authentication": {ClientAuthentication: SecretPost},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Overlay(builtin(t, "SpatiaFi"), over)
			wantKind(t, err, Input)
			wantText(t, err, "several ways in (AppToken, LoginToken)", "name one in method")
		})
	}
}

func TestWhatOneOverlaysWinsOverEveryWayIn(t *testing.T) {
	base := builtin(t, "SpatiaFi")
	d := overlay(t, base, Definition{TokenLifetime: Duration{time.Minute}, Request: RequestFormat{Headers: map[string]string{"X-A": "1"}},
		CredentialKeys: map[string][]string{"password": {"pw"}}, Description: "ours"})
	for _, method := range []string{"AppToken", "LoginToken"} {
		r := resolve(t, d, map[string]string{"method": method})
		if r.TokenLifetime.Duration != time.Minute || r.Request.Headers["X-A"] != "1" || len(r.Keys(CredPassword)) != 2 {
			t.Errorf("%s: got %+v", method, r)
		}
	}
	if d.Description != "ours" || d.Methods[0].Description != base.Methods[0].Description {
		t.Error("the description of the whole took the place of a method's")
	}
	replaced := overlay(t, base, Definition{TokenURL: "https://a.example.com/", Methods: []Method{{Name: "Own"}}})
	if r := resolve(t, replaced, nil); r.Method != "Own" || r.TokenURL != "https://a.example.com/" {
		t.Errorf("got %+v", r)
	}
}

func TestOverlayingNothingChangesNothing(t *testing.T) {
	words := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		d := Definition{
			TokenURL: rapid.StringMatching(`https://[a-z]{0,3}`).Draw(t, "url"), ClientID: rapid.String().Draw(t, "client"),
			Scopes: words.Draw(t, "scopes"), FormParameters: rapid.MapOfN(rapid.String(), rapid.String(), 1, 3).Draw(t, "form"),
			Response:      ResponseFormat{Error: words.Draw(t, "error")},
			TokenLifetime: Duration{time.Duration(rapid.Int64().Draw(t, "life"))}, Limits: Limits{Concurrency: rapid.Int().Draw(t, "limit")},
			CredentialKeys: rapid.MapOfN(rapid.String(), words, 1, 3).Draw(t, "keys"),
		}
		left, err := Overlay(d, Definition{})
		if err != nil {
			t.Fatal(err)
		}
		right, err := Overlay(Definition{}, d)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, left) + cmp.Diff(d, right); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAnIssuerTakesThePlaceOfATokenURLAndTheOtherWayRound(t *testing.T) {
	base := Definition{TokenURL: "https://{realm}.example.com/", Parameters: []Parameter{{Name: "realm"}, {Name: "org"}}, FormParameters: map[string]string{"org": "{org}"}}
	d := overlay(t, base, Definition{IssuerURL: "https://sso.example.com"})
	if d.TokenURL != "" || d.IssuerURL != "https://sso.example.com" {
		t.Errorf("got %q and %q", d.TokenURL, d.IssuerURL)
	}
	if diff := cmp.Diff([]string{"org"}, d.parameterNames()); diff != "" {
		t.Errorf("a parameter without a hole stays, or one with a hole goes: %s", diff)
	}
	if d = overlay(t, d, Definition{TokenURL: "https://other.example.com/"}); d.IssuerURL != "" || d.TokenURL != "https://other.example.com/" {
		t.Errorf("got %q and %q", d.TokenURL, d.IssuerURL)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if d = overlay(t, d, Definition{FormParameters: map[string]string{"org": "ours"}}); d.Parameters != nil {
		t.Errorf("got the parameters %v, and no text has a hole", d.parameterNames())
	}
}

func TestAnotherGrantForgetsTheTypeOfACustomOne(t *testing.T) {
	base := with(func(d *Definition) { d.Grant, d.GrantType = Custom, "x" })
	if d := overlay(t, base, Definition{Scopes: []string{"a"}}); d.GrantType != "x" {
		t.Error("the type is lost")
	}
	if d := overlay(t, base, Definition{Grant: ClientCredentials}); d.GrantType != "" || d.Validate() != nil {
		t.Error("the type stays")
	}
}

func TestWhatMethodsShareCanBeOverlaid(t *testing.T) {
	base := Definition{TokenURL: "https://{tenant}.example.com/", Parameters: []Parameter{{Name: "tenant"}}, Methods: []Method{
		{Name: "A", Definition: Definition{ClientAuthentication: SecretPost}},
		{Name: "B", Definition: Definition{ClientAuthentication: PrivateKeyJWT, Parameters: []Parameter{{Name: "tenant"}, {Name: "key"}},
			Assertion: AssertionFormat{KeyID: "{key}"}}},
	}}
	d := overlay(t, base, Definition{IssuerURL: "https://sso.example.com"})
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := d.Resolve(map[string]string{"method": "B", "key": "k"}, always)
	if err != nil || r.IssuerURL != "https://sso.example.com" || r.Assertion.KeyID != "k" || r.ClientAuthentication != PrivateKeyJWT {
		t.Errorf("got %+v (%v)", r, err)
	}
	for _, over := range []Definition{{ClientAuthentication: TLS}, {IssuerURL: "https://a.example.com", ClientAuthentication: None}} {
		_, err = Overlay(base, over)
		wantKind(t, err, Input)
	}
	base.Methods[0].IssuerURL = "https://own.example.com"
	_, err = Overlay(base, Definition{TokenURL: "https://a.example.com/"})
	wantKind(t, err, Input)
}

func TestAFlatMethodHasNoProvisioning(t *testing.T) {
	flat, err := provisioned().WithMethod("B")
	if err != nil || flat.Provisioning != nil {
		t.Errorf("got %v (%v)", flat.Provisioning, err)
	}
	d := overlay(t, provisioned(), Definition{TokenLifetime: Duration{time.Minute}})
	if d.Provisioning == nil || d.Methods[0].Provisioning != nil || d.Validate() != nil {
		t.Error("the step did not stay where it was")
	}
}

func TestAMethodForgetsTheKeysOfWhatOnlyAnotherOneWants(t *testing.T) {
	d := Definition{
		TokenURL: "https://a.example.com/", CredentialKeys: map[string][]string{"user_id": {"key.json#/userId"}, CredClientID: {"app"}},
		Methods: []Method{
			{Name: "Key", Definition: Definition{
				Grant: JWTBearer, ClientAuthentication: None, ExtraCredentials: []ExtraCredential{{Name: "user_id"}},
				Assertion: AssertionFormat{Issuer: "{user_id}"},
			}},
			{Name: "Secret"},
		},
	}
	for name, want := range map[string]int{"Key": 2, "Secret": 1} {
		flat, err := d.WithMethod(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := flat.Validate(); err != nil || len(flat.CredentialKeys) != want {
			t.Errorf("%s: got keys %v (%v), want %d", name, flat.CredentialKeys, err, want)
		}
	}
	d.CredentialKeys["user_ld"] = []string{"x"}
	if flat, err := d.WithMethod("Secret"); err != nil || flat.Validate() == nil {
		t.Errorf("a key of a credential that nobody knows was forgotten (%v)", err)
	}
}
