package provider

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryCredentialHasItsKeys(t *testing.T) {
	d := plain()
	d.CredentialKeys = map[string][]string{CredPrivateKey: {"key.json#/private_key"}, "account_id": {"ACCOUNT"}}
	for name, want := range map[string][]string{
		CredPrivateKey:  {"private_key", "tls.key", "key.json#/private_key"},
		CredCertificate: {"certificate", "tls.crt"},
		CredUsername:    {"username"},
		"account_id":    {"account_id", "ACCOUNT"},
	} {
		if diff := cmp.Diff(want, d.Keys(name)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAllCredentialsOfAllWaysInAreListed(t *testing.T) {
	d := Definition{ExtraCredentials: []ExtraCredential{{Name: "a"}}, Methods: []Method{
		{Name: "M", Definition: Definition{ExtraCredentials: []ExtraCredential{{Name: "b"}, {Name: "a"}}}},
	}}
	want := []string{
		"client_id", "client_secret", "username", "password", "refresh_token", "private_key", "key_id",
		"certificate", "assertion", "client_assertion", "subject_token", "actor_token", "a", "b",
	}
	if diff := cmp.Diff(want, d.CredentialNames()); diff != "" {
		t.Error(diff)
	}
}

func TestCredentialsAreFoundUnderTheirKeysAndInsideJSON(t *testing.T) {
	d := plain()
	d.CredentialKeys = map[string][]string{
		CredPrivateKey: {"key.json#/private_key", "key.json#/jwk"},
		CredClientID:   {"key.json#/a~1b/0", "key.json#/number", "last"},
	}
	tests := []struct {
		name, credential string
		secret           map[string]string
		want             string
		found            bool
	}{
		{"its own name", CredClientID, map[string]string{"client_id": "own", "last": "other"}, "own", true},
		{"a key of a TLS Secret", CredPrivateKey, map[string]string{"tls.key": "pem\n"}, "pem\n", true},
		{"an empty key before one with content", CredClientID, map[string]string{"client_id": "", "last": "other"}, "other", true},
		{"a text in JSON", CredPrivateKey, map[string]string{"key.json": `{"private_key":"a\nb"}`}, "a\nb", true},
		{"an element in JSON", CredClientID, map[string]string{"key.json": ` {"a/b":["x","y"]} `}, "x", true},
		{"a number in JSON", CredClientID, map[string]string{"key.json": `{"number":12345678901234567890}`}, "12345678901234567890", true},
		{"an object in JSON", CredPrivateKey, map[string]string{"key.json": `{"jwk":{"kty":"EC","n":1}}`}, `{"kty":"EC","n":1}`, true},
		{"another type in JSON", CredPrivateKey, map[string]string{"key.json": `{"private_key":true}`}, "", false},
		{"an empty text in JSON", CredPrivateKey, map[string]string{"key.json": `{"private_key":""}`}, "", false},
		{"no JSON", CredPrivateKey, map[string]string{"key.json": "pem"}, "", false},
		{"JSON with a member twice", CredPrivateKey, map[string]string{"key.json": `{"private_key":"a","private_key":"b"}`}, "", false},
		{"another key", CredPrivateKey, map[string]string{"private_key.pem": "x"}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, found := d.Find(tt.credential, func(key string) ([]byte, bool) {
				content, ok := tt.secret[key]
				return []byte(content), ok
			})
			if got.Reveal() != tt.want || found != tt.found {
				t.Errorf("got %q, %t; want %q, %t", got.Reveal(), found, tt.want, tt.found)
			}
		})
	}
}

// Whatever a Secret and a pointer hold: what is found is what any reader of the JSON finds.
func FuzzFind(f *testing.F) {
	f.Add(`{"private_key":"a"}`, "private_key")
	f.Add(`{"a":{"b":["c",1]}}`, "a/b/0")
	f.Add(`{"a/b":"c","a":1e400}`, "a~1b")
	f.Add(`[`, "0")
	f.Add("\v{\"a\":{}}", "a") // no blank of RFC 8259 §2
	f.Fuzz(func(t *testing.T, document, name string) {
		d := plain()
		d.CredentialKeys = map[string][]string{CredPrivateKey: {"k#/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)}}
		found, ok := d.Find(CredPrivateKey, func(key string) ([]byte, bool) { return []byte(document), key == "k" })
		if ok == found.IsZero() {
			t.Fatalf("found %t without content, or content without", ok)
		}
		if !ok {
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(document), &members); err != nil {
			t.Fatalf("something was found in %q: %v", document, err)
		}
		raw, has := members[name]
		var text string
		if err := json.Unmarshal(raw, &text); err == nil && text != found.Reveal() || !has {
			t.Errorf("found %q under %q of %q", found.Reveal(), name, document)
		}
	})
}

func TestWhatIsRequiredFollowsFromTheDefinition(t *testing.T) {
	signs := func(d *Definition) { d.Grant, d.ClientAuthentication = JWTBearer, None }
	tests := []struct {
		name      string
		change    func(*Definition)
		has       func(string) bool
		want      string
		federated string
	}{
		{"a secret", func(*Definition) {}, always, "client_id client_secret", ""},
		{"a secret of a client that is known", func(d *Definition) { d.ClientID = "x" }, always, "client_secret", ""},
		{"a signed assertion", func(d *Definition) { d.ClientAuthentication = PrivateKeyJWT }, always, "client_id private_key", ""},
		{"a signed assertion of other texts", func(d *Definition) {
			d.ClientAuthentication, d.Assertion = PrivateKeyJWT, AssertionFormat{Thumbprint: true, KeyID: "{key_id}", Claims: map[string]string{"a": "{username}"}}
		}, always, "client_id private_key key_id username certificate", ""},
		{"a federated client", func(d *Definition) { d.ClientAuthentication = FederatedJWT }, always, "client_assertion", "client_assertion"},
		{"a certificate", func(d *Definition) { d.ClientAuthentication = TLS }, always, "client_id certificate private_key", ""},
		{"a refresh token", func(d *Definition) { d.Grant, d.ClientAuthentication = RefreshToken, None }, always, "refresh_token", ""},
		{"an exchange", func(d *Definition) { d.Grant = TokenExchange }, always, "subject_token client_id client_secret", "subject_token"},
		{"an assertion that is there", signs, always, "assertion", "assertion"},
		{"an assertion that is not", signs, only(CredClientID, CredPrivateKey), "client_id private_key", ""},
		{"an assertion about another", func(d *Definition) { signs(d); d.Assertion.Issuer = "me" }, only(CredPrivateKey), "private_key", ""},
		{"a grant of its own", func(d *Definition) {
			d.Grant, d.GrantType, d.ExtraCredentials = Custom, "x", []ExtraCredential{{Name: "account_id"}, {Name: "idle"}}
			d.Parameters = []Parameter{{Name: "p", Default: "p"}}
			d.FormParameters = map[string]string{"a": "{account_id}{p}", "b": "{username}"}
			d.Request = RequestFormat{Headers: map[string]string{"X": "{client_id}"}, Body: JSONBody, JSON: map[string]any{"c": []any{"{password}"}}}
		}, always, "client_id client_secret account_id username password idle", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := with(tt.change).Resolve(nil, tt.has)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.RequiredCredentials(), " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := strings.Join(r.FederatedCredentials(), " "); got != tt.federated {
				t.Errorf("a workload's token can stand for %q, want %q", got, tt.federated)
			}
		})
	}
}

func TestWhatIsMissingIsToldWithWhatIsWanted(t *testing.T) {
	d := with(func(d *Definition) {
		d.ExtraCredentials, d.FormParameters = []ExtraCredential{{Name: "account_id"}}, map[string]string{"account_id": "{account_id}"}
	})
	_, err := d.Resolve(nil, only(CredClientID, CredClientSecret))
	wantKind(t, err, Input)
	const want = "the credentials lack account_id; this provider wants client_id, client_secret and account_id: add what is missing to the Secret, under that key"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestAnIdentityAudienceIsTheAssertionsOrTheEndpoint(t *testing.T) {
	d := with(func(d *Definition) { d.ClientAuthentication = FederatedJWT })
	if got := resolve(t, d, nil).IdentityAudience(); got != "https://sso.example.com/token" {
		t.Errorf("got %s", got)
	}
	d.Assertion.Audience = "api://{p}"
	d.Parameters = []Parameter{{Name: "p", Default: "x"}}
	if got := resolve(t, d, nil).IdentityAudience(); got != "api://x" {
		t.Errorf("got %s", got)
	}
}

func TestIdentityFollowsTheGrant(t *testing.T) {
	workload := jwtWith(`{"iss":"https://k8s","sub":"system:serviceaccount:a:b"}`)
	tests := []struct {
		name        string
		change      func(*Definition)
		credentials Credentials
		want        string
	}{
		{"a refresh token's client", func(d *Definition) { d.Grant = RefreshToken }, creds(CredClientID, "id", CredRefreshToken, "r"), "id"},
		{"whom an assertion is about", func(d *Definition) {
			d.Grant, d.ClientAuthentication, d.Assertion = JWTBearer, None, AssertionFormat{Subject: "{username}"}
		}, creds(CredClientID, "id", CredUsername, "u"), "id\nid\nu"},
		{"whom a ready-made assertion is about", func(d *Definition) { d.Grant, d.ClientAuthentication = JWTBearer, None },
			creds(CredAssertion, workload), "\nhttps://k8s\nsystem:serviceaccount:a:b"},
		{"whom a subject token is about", func(d *Definition) { d.Grant = TokenExchange },
			creds(CredClientID, "id", CredSubjectToken, workload), "id\nhttps://k8s\nsystem:serviceaccount:a:b"},
		{"a subject token that says nothing", func(d *Definition) { d.Grant = TokenExchange }, creds(CredClientID, "id", CredSubjectToken, "opaque"), "id"},
		{"a federated client", func(d *Definition) { d.ClientAuthentication = FederatedJWT }, creds(CredClientAssertion, workload),
			"\nhttps://k8s\nsystem:serviceaccount:a:b"},
		{"a federated client with a name", func(d *Definition) { d.ClientAuthentication = FederatedJWT }, creds(CredClientAssertion, workload, CredClientID, "id"), "id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := resolve(t, with(tt.change), nil).Identity(tt.credentials); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestADiscoveredEndpointIsCheckedAndKeepsTheRest(t *testing.T) {
	r := resolve(t, hosted(), map[string]string{"host": "sso.example.com", "realm": "r"})
	if !r.NeedsDiscovery() || r.IssuerURL != "https://sso.example.com/realms/r" {
		t.Fatalf("got %+v", r)
	}
	_, err := r.NewRequest(RequestInput{Credentials: creds(CredClientID, "id", CredClientSecret, "s")})
	wantKind(t, err, Input)
	m := Metadata{Issuer: r.IssuerURL, TokenEndpoint: "https://login.example.com/token", MTLSTokenEndpoint: "https://mtls.example.com/token"}
	found, err := r.WithEndpoint(m)
	if err != nil || found.TokenURL != m.TokenEndpoint || !found.FreeHost || found.NeedsDiscovery() || found.Host() != "login.example.com:443" {
		t.Errorf("got %s, free %t (%v)", found.TokenURL, found.FreeHost, err)
	}
	r.ClientAuthentication = TLS
	if found, err = r.WithEndpoint(m); err != nil || found.TokenURL != m.MTLSTokenEndpoint {
		t.Errorf("got %s (%v), want the endpoint for certificates", found.TokenURL, err)
	}
	m.MTLSTokenEndpoint = ""
	if found, err = r.WithEndpoint(m); err != nil || found.TokenURL != m.TokenEndpoint {
		t.Errorf("got %s (%v), want the only endpoint", found.TokenURL, err)
	}
	for _, wrong := range []string{"", "http://sso.example.com/", "https://u@sso.example.com/", "https://sso.example.com/#", "https://{host}/"} {
		_, err = r.WithEndpoint(Metadata{TokenEndpoint: wrong})
		wantKind(t, err, Input)
		wantText(t, err, "metadata")
	}
}

func TestAClientIdentifierCanBeDemandedThatOthersDoWithout(t *testing.T) {
	d := Definition{TokenURL: "https://sso.example.com/token", ClientAuthentication: FederatedJWT}
	if _, err := d.Resolve(nil, only(CredClientAssertion)); err != nil {
		t.Fatal(err)
	}
	d.ExtraCredentials = []ExtraCredential{{Name: CredClientID}}
	if _, err := d.Resolve(nil, only(CredClientAssertion)); err == nil {
		t.Error("nobody asked for client_id")
	} else {
		wantText(t, err, CredClientID)
	}
	d.ClientID = "fixed"
	if _, err := d.Resolve(nil, only(CredClientAssertion)); err != nil {
		t.Errorf("the definition knows it itself: %v", err)
	}
}
