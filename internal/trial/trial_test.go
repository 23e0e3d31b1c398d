package trial_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/token"
	"github.com/providertoken/operator/internal/trial"
)

var noon = time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)

type fixed struct{}

func (fixed) Now() time.Time { return noon }

// oracle answers whatever the test wants, and remembers what it was asked.
type oracle struct {
	answer func(provider.Request) (provider.Answer, error)
	asked  []provider.Request
}

func (o *oracle) Do(_ context.Context, req provider.Request, _ exchange.Trust) (provider.Answer, error) {
	o.asked = append(o.asked, req)
	a, err := o.answer(req)
	a.SentAt, a.ReceivedAt = noon, noon
	return a, err
}

// ways are the ways in which a request can carry a secret.
func ways() map[string]v1alpha1.ProviderDefinition {
	return map[string]v1alpha1.ProviderDefinition{
		"Basic":              {ClientAuthentication: "SecretBasic"},
		"Post":               {ClientAuthentication: "SecretPost"},
		"JSON":               {ClientAuthentication: "SecretPost", Request: &v1alpha1.RequestFormat{Body: "JSON"}},
		"JWT":                {ClientAuthentication: "SecretJWT"},
		"login":              {ClientAuthentication: "None", Grant: "Password"},
		"header":             {ClientAuthentication: "None", Grant: "Custom", GrantType: "x", ExtraCredentials: []v1alpha1.CredentialName{"api_key"}, Request: &v1alpha1.RequestFormat{Headers: map[string]v1alpha1.HeaderValue{"X-Tenant": "tenant/{api_key}"}}},
		"form":               {ClientAuthentication: "None", Grant: "Custom", GrantType: "x", ExtraCredentials: []v1alpha1.CredentialName{"api_key"}, FormParameters: map[string]v1alpha1.FormValue{"tenant": "a:{api_key}:b"}},
		"nested":             {ClientAuthentication: "None", Grant: "Custom", GrantType: "x", ExtraCredentials: []v1alpha1.CredentialName{"api_key"}, Request: &v1alpha1.RequestFormat{Body: "JSON", JSON: &runtime.RawExtension{Raw: []byte(`{"login":{"key":"{api_key}","list":["{api_key}"]},"plain":"text"}`)}}},
		"basic header login": {ClientAuthentication: "None", Grant: "Password", Request: &v1alpha1.RequestFormat{Method: "GET", Login: "BasicHeader"}},
		"subject token":      {ClientAuthentication: "None", Grant: "TokenExchange"},
		"refresh token":      {ClientAuthentication: "None", Grant: "RefreshToken"},
		"ready assertion":    {ClientAuthentication: "None", Grant: "JWTBearer"},
		"pointers that point at anything": {ClientAuthentication: "SecretPost", Response: &v1alpha1.ResponseFormat{
			TokenType: []v1alpha1.JSONPointer{"/scope", "/token_type"}, Scope: []v1alpha1.JSONPointer{"/access_token", "/echo"}, Error: []v1alpha1.JSONPointer{"/none"},
		}},
	}
}

// try makes a ProviderToken of a definition in a file, with secret wherever a credential is.
func try(tb interface{ Fatal(...any) }, def v1alpha1.ProviderDefinition, secret string, o *oracle) (string, string, bool) {
	def.TokenURL = "https://token.example.com/token"
	catalog, err := provider.Builtin()
	if err != nil {
		tb.Fatal(err)
	}
	var documents []manifest.Document
	for _, object := range []any{
		v1alpha1.ClusterTokenProvider{
			TypeMeta: metav1.TypeMeta{APIVersion: "providertoken.dev/v1alpha1", Kind: "ClusterTokenProvider"}, ObjectMeta: metav1.ObjectMeta{Name: "p"},
			Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: def},
		},
		corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Name: "s", Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider.p"}},
			StringData: map[string]string{
				"client_id": "the-client", "client_secret": secret, "username": "someone@example.com", "password": secret, "api_key": secret,
				"subject_token": secret, "refresh_token": secret, "assertion": secret,
			},
		},
	} {
		text, err := yaml.Marshal(object)
		if err != nil {
			tb.Fatal(err)
		}
		read, broken := manifest.Read("x", text)
		if len(broken) > 0 {
			tb.Fatal(broken[0])
		}
		documents = append(documents, read...)
	}
	shelf := manifest.NewShelf(documents)
	pt := &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Name: "t"},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "p"},
			Credentials: &v1alpha1.Credentials{SecretName: "s"},
		},
	}
	run := trial.Trial{
		Finder:    source.Finder{Objects: shelf, Secrets: shelf, Catalog: catalog, ClusterProviders: true, InlineProviders: true},
		Exchanger: o, Clock: fixed{}, NewID: func() string { return "id" },
		Keep: func(token.Secret) error { return nil },
	}
	plan, err := run.Prepare(context.Background(), pt)
	if err != nil {
		return err.Error(), err.Error(), false // a secret that cannot be sent: the error must not tell it either
	}
	report, err := plan.Send(context.Background())
	if err != nil {
		return err.Error(), err.Error(), false
	}
	var text bytes.Buffer
	if err := trial.Text(&text, report); err != nil {
		tb.Fatal(err)
	}
	asJSON := &bytes.Buffer{}
	e := json.NewEncoder(asJSON)
	e.SetEscapeHTML(false)
	if err := e.Encode(report); err != nil {
		tb.Fatal(err)
	}
	return text.String(), asJSON.String(), true
}

// repetition is how and where an answer repeats a secret.
type repetition struct {
	status  int
	headers http.Header
	body    string
}

// echoes are the forms in which programs repeat what they were sent.
func echoes() []func(string) string {
	return []func(string) string{
		func(s string) string { return s },
		url.QueryEscape,
		url.PathEscape,
		strings.ToUpper,
		func(s string) string { return hex.EncodeToString([]byte(s)) },
		func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("the-client:"+s)) },
		func(s string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte("someone@example.com:"+s))
		},
		func(s string) string { return fmt.Sprintf("{\"client_secret\":%q}", s) },
		func(s string) string { return "client_secret=" + url.QueryEscape(s) + "&grant_type=x" },
	}
}

func drawRepetition(t *rapid.T, secret, access string) repetition {
	filler := rapid.StringMatching(`[a-z .,:;=<>"'&/?-]{0,12}`)
	echo := func(label string) string {
		what := rapid.SampledFrom([]string{secret, access}).Draw(t, label+" what")
		form := rapid.SampledFrom(echoes()).Draw(t, label+" form")
		return filler.Draw(t, label+" before") + form(what) + filler.Draw(t, label+" after")
	}
	names := rapid.SampledFrom([]string{
		"error", "error_description", "error_uri", "message", "scope", "token_type", "access_token", "refresh_token", "id_token", "expires_in", "expires_at",
		"code", "detail", "title", "status", "type", "debug", "echo", "data", "timestamp", "reason", "errorCode",
	})
	r := repetition{headers: http.Header{"Date": {noon.Format(http.TimeFormat)}}}
	r.status = rapid.SampledFrom([]int{200, 200, 201, 302, 400, 401, 403, 404, 429, 500, 503}).Draw(t, "status")
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"Location", "Www-Authenticate", "X-Request-Id", "Server", "Retry-After", "Cache-Control", "Content-Type"}), 0, 3, rapid.ID[string]).Draw(t, "headers") {
		value := echo(name)
		if name == "Location" {
			value = "https://elsewhere.example.com/" + value
		}
		r.headers.Set(name, value)
	}
	members := map[string]any{}
	if rapid.Bool().Draw(t, "granted") {
		members["access_token"], members["expires_in"] = access, 300
	}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		name := names.Draw(t, "name")
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			members[name] = map[string]any{names.Draw(t, "inner"): echo("nested")}
		case 1:
			members[name] = []any{echo("listed"), map[string]any{echo("deep key"): echo("deep")}}
		case 2:
			members[echo("key")] = true
		default:
			members[name] = echo("value")
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	switch rapid.IntRange(0, 5).Draw(t, "body") {
	case 0:
		r.body = "<html><body>" + echo("page") + "</body></html>"
	case 1:
		r.body = "error=invalid_client&error_description=" + url.QueryEscape(echo("form"))
		r.headers.Set("Content-Type", "application/x-www-form-urlencoded")
	case 2:
		r.body = echo("text")
	default:
		r.body = string(text)
	}
	return r
}

// shows finds a secret, in any form, in anything that was written.
func shows(output, secret string) string {
	lower := strings.ToLower(output)
	for _, form := range echoes() {
		echo := form(secret)
		if _, proof, found := strings.Cut(echo, "Basic "); found {
			echo = proof
		}
		for _, quoted := range []string{echo, strings.Trim(fmt.Sprintf("%q", echo), `"`)} {
			if strings.Contains(lower, strings.ToLower(quoted)) {
				return quoted
			}
		}
	}
	return ""
}

// texts are all strings of a JSON document, as they are.
func texts(document string) string {
	var value any
	if json.Unmarshal([]byte(document), &value) != nil {
		return document
	}
	var all strings.Builder
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				all.WriteString(name + "\n")
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		default:
			fmt.Fprintln(&all, v)
		}
	}
	walk(value)
	return all.String()
}

func TestNoSecretIsShownWhereverItStandsInRequestOrAnswer(t *testing.T) {
	all := ways()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		way := rapid.SampledFrom(sorted(names)).Draw(t, "way")
		secret := rapid.OneOf(
			rapid.StringMatching(`[!-~]{10,40}`),
			rapid.StringMatching(`[A-Za-z0-9]{12,40}`),
			rapid.StringMatching(`[1-9][0-9]{11,15}`),
			rapid.StringMatching(`[!-~]{4,10}[ äöüß€][!-~]{4,10}`),
		).Draw(t, "secret")
		access := rapid.StringMatching(`[A-Za-z0-9_.~+/-]{16,80}`).Draw(t, "access token")
		r := drawRepetition(t, secret, access)
		o := &oracle{answer: func(provider.Request) (provider.Answer, error) {
			return provider.Answer{Status: r.status, Header: r.headers, Body: []byte(r.body)}, nil
		}}
		text, document, _ := try(t, all[way], secret, o)
		for _, output := range []string{text, document, texts(document)} {
			if found := shows(output, secret); found != "" {
				t.Fatalf("the secret %q is shown (as %q) of answer\n%v\n%s\nin\n%s", secret, found, r.headers, r.body, output)
			}
			// The token is secret where it came as one.
			if strings.Contains(r.body, `"access_token":"`+access+`"`) {
				if found := shows(output, access); found != "" {
					t.Fatalf("the token %q is shown (as %q) of answer\n%v\n%s\nin\n%s", access, found, r.headers, r.body, output)
				}
			}
		}
	})
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

func TestEveryWayOfCarryingASecretIsReallyTried(t *testing.T) {
	for name, def := range ways() {
		o := &oracle{answer: func(provider.Request) (provider.Answer, error) {
			return provider.Answer{Status: 200, Header: http.Header{}, Body: []byte(`{"access_token":"an-access-token-1","expires_in":300}`)}, nil
		}}
		const secret = "a-distinctive-secret-0815"
		text, _, sent := try(t, def, secret, o)
		if !sent || len(o.asked) != 1 {
			t.Errorf("%s: was not sent: %s", name, text)
			continue
		}
		all := o.asked[0].Body.Reveal() + fmt.Sprint(map[string][]string(o.asked[0].Header))
		// In a Basic header and in a signature it is not to be seen.
		if name != "JWT" && o.asked[0].Header.Get("Authorization") == "" && !strings.Contains(all, secret) {
			t.Errorf("%s: the request carries no secret", name)
		}
		if !strings.Contains(text, "characters›") && !strings.Contains(text, "characters, ") {
			t.Errorf("%s: nothing tells that something is hidden:\n%s", name, text)
		}
	}
}

func TestAPrivateKeyIsShownInNoLine(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	lines := strings.Split(text, "\n")
	m := trial.NewMask(text)
	for _, echo := range []string{text, lines[1], "a key " + lines[2] + " of yours", lines[1][5:40]} {
		shown := m.Text(echo)
		for _, line := range lines {
			if !strings.HasPrefix(line, "-----") && len(line) > 8 && strings.Contains(shown, line[:min(len(line), 30)]) {
				t.Errorf("%q is shown as %q", echo, shown)
			}
		}
	}
}

// frame is what stands in the place of a secret.
const frame = "‹hidden›"

func FuzzMaskedTextsHoldNoSecret(f *testing.F) {
	f.Add("pass:word+with%41 and=more&", "before ", " after")
	f.Add("ääääÄ\u200b\u202e!", "", "\x1b[31m")
	f.Add("aaaaaaaa", "aaa", "aaaa")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < 4 || strings.Contains(frame, secret) {
			t.Skip("found in anything")
		}
		m := trial.NewMask(secret)
		for _, echo := range append(echoes(), func(s string) string { return s + s }) {
			shown := m.Text(before + echo(secret) + after)
			if strings.Contains(shown, secret) {
				t.Errorf("%q shows %q", shown, secret)
			}
			if prose := m.Prose(before + echo(secret) + after); strings.Contains(prose, secret) {
				t.Errorf("%q shows %q", prose, secret)
			}
		}
	})
}
