package providersim_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/token"
)

func dialectsB() []dialect {
	expiring := func(life time.Duration, source token.ExpirySource, scopes ...string) token.Token {
		return token.Token{Type: "Bearer", IssuedAt: start(), ExpiresAt: start().Add(life), ExpirySource: source, Scopes: scopes}
	}
	return []dialect{
		{
			entry: "GitHubApp",
			urls:  map[string]string{"installation=42": "https://api.github.com/app/installations/42/access_tokens"},
			credentials: map[string]string{
				"client_id": providersim.GitHubClientID, "private_key": inPEM(clientKey()),
			},
			wrong:    "private_key",
			host:     func(b *bench) *providersim.Host { return b.GitHubApp.Host },
			tokenURL: func(b *bench) string { return b.GitHubApp.TokenURL() },
			kind:     providersim.KindInstallation,
			denied:   provider.Error{Kind: provider.Denied, Status: 401},
			want:     expiring(time.Hour, token.ExpiresAt),
		},
		{
			entry: "GoogleServiceAccount",
			urls:  map[string]string{"": "https://oauth2.googleapis.com/token"},
			credentials: map[string]string{
				"client_email": providersim.GoogleClientEmail, "private_key": inPEM(clientKey()), "key_id": providersim.GoogleKeyID,
			},
			wrong:    "private_key",
			host:     func(b *bench) *providersim.Host { return b.GoogleServiceAccount.Host },
			tokenURL: func(b *bench) string { return b.GoogleServiceAccount.TokenURL() },
			kind:     providersim.KindJWTBearer,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_grant", Status: 400},
			want:     expiring(time.Hour, token.ExpiresIn, providersim.GoogleScope),
			scopes:   []string{providersim.GoogleScope},
		},
		{
			entry: "PayPal",
			urls: map[string]string{
				"":                    "https://api-m.paypal.com/v1/oauth2/token",
				"environment=live":    "https://api-m.paypal.com/v1/oauth2/token",
				"environment=sandbox": "https://api-m.sandbox.paypal.com/v1/oauth2/token",
			},
			credentials: map[string]string{
				"client_id": providersim.PayPalClientID, "client_secret": providersim.PayPalClientSecret,
			},
			wrong:    "client_secret",
			host:     func(b *bench) *providersim.Host { return b.PayPal.Host },
			tokenURL: func(b *bench) string { return b.PayPal.TokenURL() },
			kind:     providersim.KindClientCredentials,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 401},
			want:     expiring(31668*time.Second, token.ExpiresIn, "https://uri.paypal.com/services/invoicing", "openid"),
		},
		{
			entry: "Salesforce", method: "JWTBearer",
			urls: map[string]string{
				"":                       "https://login.salesforce.com/services/oauth2/token",
				"environment=production": "https://login.salesforce.com/services/oauth2/token",
				"environment=developer":  "https://login.salesforce.com/services/oauth2/token",
				"environment=sandbox":    "https://test.salesforce.com/services/oauth2/token",
				"environment=scratch":    "https://test.salesforce.com/services/oauth2/token",
			},
			credentials: map[string]string{
				"client_id": providersim.SalesforceConsumerKey, "username": providersim.SalesforceUsername,
				"private_key": inPEM(clientKey()),
			},
			wrong:    "private_key",
			host:     func(b *bench) *providersim.Host { return b.Salesforce.Host },
			tokenURL: func(b *bench) string { return b.Salesforce.TokenURL() },
			kind:     providersim.KindJWTBearer,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_grant", Status: 400},
			want:     expiring(15*time.Minute, token.Configured, "api"),
		},
		{
			entry: "Salesforce", method: "ClientCredentials",
			urls: map[string]string{
				"domain=acme": "https://acme.my.salesforce.com/services/oauth2/token",
				"domain=acme-dev-ed,domainKind=developer": "https://acme-dev-ed.develop.my.salesforce.com/services/oauth2/token",
				"domain=acme--uat,domainKind=sandbox":     "https://acme--uat.sandbox.my.salesforce.com/services/oauth2/token",
				"domain=acme,domainKind=scratch":          "https://acme.scratch.my.salesforce.com/services/oauth2/token",
			},
			freeHost: true,
			credentials: map[string]string{
				"client_id": providersim.SalesforceConsumerKey, "client_secret": providersim.SalesforceConsumerSecret,
			},
			wrong:    "client_secret",
			host:     func(b *bench) *providersim.Host { return b.Salesforce.Host },
			tokenURL: func(b *bench) string { return b.Salesforce.TokenURL() },
			kind:     providersim.KindClientCredentials,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400},
			want:     expiring(15*time.Minute, token.Configured, "api"),
		},
		{
			entry: "Zoom",
			urls:  map[string]string{"": "https://zoom.us/oauth/token"},
			credentials: map[string]string{
				"client_id": providersim.ZoomClientID, "client_secret": providersim.ZoomClientSecret, "account_id": providersim.ZoomAccountID,
			},
			wrong:    "client_secret",
			host:     func(b *bench) *providersim.Host { return b.Zoom.Host },
			tokenURL: func(b *bench) string { return b.Zoom.TokenURL() },
			kind:     providersim.KindAccountCredentials,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400},
			want:     expiring(time.Hour, token.ExpiresIn, "meeting:read:admin", "user:read:admin"),
		},
	}
}

// sent is one request as it arrived, with assertions taken apart.
type sent struct {
	Method, Path, Query string
	ContentType         []string
	Accept              []string
	Authorization       []string
	Form                url.Values
	Body                string // where it is no form
	Header, Claims      map[string]any
}

// capture writes down what the next request is, and lets it pass.
func capture(t *testing.T, into *sent) providersim.Script {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*into = sent{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, ContentType: r.Header["Content-Type"],
			Accept: r.Header["Accept"], Authorization: slices.Clone(r.Header["Authorization"]), Body: string(body),
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			if into.Form, err = url.ParseQuery(into.Body); err != nil {
				t.Error(err)
			}
			into.Body = ""
		}
		into.takeApart(t)
		next(w, r)
	}
}

// takeApart moves an assertion's content to where it can be compared: a signature
// is the simulator's to verify.
func (s *sent) takeApart(t *testing.T) {
	t.Helper()
	compact := s.Form.Get("assertion")
	if compact != "" {
		s.Form.Set("assertion", "…")
	} else if len(s.Authorization) == 1 && strings.HasPrefix(s.Authorization[0], "Bearer ") {
		compact, s.Authorization[0] = strings.TrimPrefix(s.Authorization[0], "Bearer "), "Bearer …"
	}
	if compact == "" {
		return
	}
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(compact, claims)
	if err != nil {
		t.Error(err)
		return
	}
	s.Header, s.Claims = parsed.Header, claims
}

func TestConformanceTheNewRequestsAreWhatTheirDocumentationShows(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	jwtBearer := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"…"}}
	anyJSON := []string{"application/json"}
	ends := float64(epoch(time.Minute))
	for name, want := range map[string]func(*bench) sent{
		"GitHubApp": func(b *bench) sent {
			return sent{
				Method: "POST", Path: "/app/installations/" + providersim.GitHubInstallation + "/access_tokens",
				Accept: []string{"application/vnd.github+json"}, Authorization: []string{"Bearer …"},
				Header: map[string]any{"alg": "RS256", "typ": "JWT"},
				Claims: map[string]any{
					"iss": providersim.GitHubClientID, "aud": b.GitHubApp.TokenURL(), "jti": "first",
					"iat": float64(epoch(-time.Minute)), "exp": ends,
				},
			}
		},
		"GoogleServiceAccount": func(b *bench) sent {
			return sent{
				Method: "POST", Path: "/token", ContentType: []string{form}, Accept: anyJSON, Form: jwtBearer,
				Header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": providersim.GoogleKeyID},
				Claims: map[string]any{
					"iss": providersim.GoogleClientEmail, "aud": b.GoogleServiceAccount.TokenURL(), "jti": "first",
					"iat": float64(epoch(-10 * time.Second)), "exp": ends, "scope": providersim.GoogleScope,
				},
			}
		},
		"PayPal": func(*bench) sent {
			return sent{
				Method: "POST", Path: "/v1/oauth2/token", ContentType: []string{form}, Accept: anyJSON,
				Authorization: []string{basic(providersim.PayPalClientID, providersim.PayPalClientSecret)},
				Form:          url.Values{"grant_type": {"client_credentials"}},
			}
		},
		"Salesforce/JWTBearer": func(*bench) sent {
			return sent{
				Method: "POST", Path: "/services/oauth2/token", ContentType: []string{form}, Accept: anyJSON,
				Form:   jwtBearer,
				Header: map[string]any{"alg": "RS256", "typ": "JWT"},
				Claims: map[string]any{
					"iss": providersim.SalesforceConsumerKey, "sub": providersim.SalesforceUsername, "aud": "https://login.salesforce.com",
					"jti": "first", "iat": float64(epoch(-10 * time.Second)), "exp": ends,
				},
			}
		},
		"Salesforce/ClientCredentials": func(*bench) sent {
			return sent{
				Method: "POST", Path: "/services/oauth2/token", ContentType: []string{form}, Accept: anyJSON, Form: url.Values{
					"grant_type": {"client_credentials"}, "client_id": {providersim.SalesforceConsumerKey},
					"client_secret": {providersim.SalesforceConsumerSecret},
				},
			}
		},
		"Zoom": func(*bench) sent {
			return sent{
				Method: "POST", Path: "/oauth/token", ContentType: []string{form}, Accept: anyJSON,
				Authorization: []string{basic(providersim.ZoomClientID, providersim.ZoomClientSecret)},
				Form:          url.Values{"grant_type": {"account_credentials"}, "account_id": {providersim.ZoomAccountID}},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, d := newBench(t, providersim.Options{}), dialectOf(t, name)
			var got sent
			d.host(b).Next(capture(t, &got))
			b.userOf(t, d).mustFetch(t)
			if diff := cmp.Diff(want(b), got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConformanceAMissingKeyIsNamedByAllItsNames(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string][]string{
		"GitHubApp":            {"client_id", "private_key", "private-key.pem"},
		"GoogleServiceAccount": {"client_email", "key.json#/client_email", "private_key", "key.json#/private_key"},
		"PayPal":               {"client_id", "client_secret"},
		"Salesforce": {
			"client_id", "consumer_key", "private_key", "server.key", "username", "for JWTBearer",
			"client_secret", "consumer_secret", "for ClientCredentials",
		},
		"Zoom": {"client_id", "client_secret", "account_id"},
	} {
		definition, _ := catalog(t).Get(entry)
		_, err := definition.Resolve(map[string]string{}, func(string) bool { return false })
		got := failure(token.Token{}, err)(t)
		for _, name := range want {
			if got.Kind != provider.Input || !strings.Contains(got.Error(), name) {
				t.Errorf("%s: %q does not name %s", entry, got.Error(), name)
			}
		}
	}
}

func TestConformanceParametersAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect    string
		parameters map[string]string
		want       string
	}{
		"GitHub needs to know the installation": {"GitHubApp", nil, "installation"},
		"which is one segment of a path":        {"GitHubApp", map[string]string{"installation": "1/../2"}, "installation"},
		"and not only dots":                     {"GitHubApp", map[string]string{"installation": ".."}, "installation"},
		"Salesforce needs to know the domain":   {"Salesforce/ClientCredentials", nil, "domain"},
		"which is one label":                    {"Salesforce/ClientCredentials", map[string]string{"domain": "evil.example"}, "domain"},
		"and has no other end":                  {"Salesforce/ClientCredentials", map[string]string{"domain": "x", "domainKind": "evil"}, "domainKind"},
		"PayPal has two environments":           {"PayPal", map[string]string{"environment": "evil.example"}, "environment"},
		"and Google has no parameter":           {"GoogleServiceAccount", map[string]string{"region": "eu"}, "region"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dialectOf(t, c.dialect)
			definition, _ := catalog(t).Get(d.entry)
			_, err := definition.Resolve(c.parameters, func(name string) bool { return d.credentials[name] != "" })
			if got := failure(token.Token{}, err)(t); got.Kind != provider.Input || !strings.Contains(got.Error(), c.want) {
				t.Errorf("got %v", got.Error())
			}
		})
	}
}

// A platform team may settle the parameters in a ClusterTokenProvider with base; whoever
// uses that can then set none, and the host is no longer free.
func TestConformanceParametersCanBeSettled(t *testing.T) {
	t.Parallel()
	for _, d := range dialectsB() {
		definition, _ := catalog(t).Get(d.entry)
		for parameters, want := range d.urls {
			given := map[string]string{}
			for parameter := range strings.SplitSeq(parameters, ",") {
				if name, value, ok := strings.Cut(parameter, "="); ok {
					given[name] = value
				}
			}
			settled, err := definition.Fix(given)
			if err != nil {
				t.Errorf("%s %s: %v", d.name(), parameters, err)
				continue
			}
			resolved, err := settled.Resolve(nil, func(name string) bool { return d.credentials[name] != "" })
			if err != nil || resolved.TokenURL != want || (len(given) > 0 && resolved.FreeHost) {
				t.Errorf("%s %s: got %s, free host %v, %v", d.name(), parameters, resolved.TokenURL, resolved.FreeHost, err)
			}
		}
	}
}

func TestConformanceScopesAreRefusedWhereThereIsNoPlaceForThem(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"GitHubApp", "PayPal", "Salesforce/JWTBearer", "Salesforce/ClientCredentials", "Zoom"} {
		b, d := newBench(t, providersim.Options{}), dialectOf(t, name)
		u := b.userOf(t, d)
		u.input.Scopes = []string{"api"}
		if got := u.mustFail(t); got.Kind != provider.Input || len(d.host(b).Calls()) != 0 {
			t.Errorf("%s: got %#v", name, got)
		}
	}
}

// None of these hands out refresh tokens; one that came by mistake is not to be tried.
func TestConformanceTheNewEntriesUseNoRefreshTokens(t *testing.T) {
	t.Parallel()
	for _, d := range dialectsB() {
		b := newBench(t, providersim.Options{})
		if got := b.userOf(t, d).resolved.UseRefreshToken; got != provider.Never {
			t.Errorf("%s: got %s", d.name(), got)
		}
	}
}

func TestGoogleServiceAccountReadsTheKeyFile(t *testing.T) {
	t.Parallel()
	b, d := newBench(t, providersim.Options{}), dialectOf(t, "GoogleServiceAccount")
	definition := d.definition(t, b)
	secret := map[string][]byte{"key.json": keyFile(t)}
	found := map[string]string{}
	for _, name := range definition.CredentialNames() {
		value, ok := definition.Find(name, func(key string) ([]byte, bool) {
			content, ok := secret[key]
			return content, ok
		})
		if ok {
			found[name] = value.Reveal()
		}
	}
	// client_id is there in the file, and is not what Google's endpoint calls so.
	if diff := cmp.Diff([]string{"client_email", "key_id", "private_key"}, slices.Sorted(maps.Keys(found))); diff != "" {
		t.Fatalf("credentials (-want +got):\n%s", diff)
	}
	u := b.user(t, definition, found)
	u.input.Scopes = d.scopes
	u.mustFetch(t)
}

func TestGoogleServiceAccount(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "GoogleServiceAccount")
	t.Run("is told when no scope was asked for", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.input.Scopes = nil
		if got := u.mustFail(t); got.Code != "invalid_scope" || got.Kind != provider.Denied {
			t.Errorf("got %#v", got)
		}
	})
	t.Run("asks for several scopes in one claim", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.input.Scopes = []string{providersim.GoogleScope, "https://www.googleapis.com/auth/cloud-platform"}
		if got := u.mustFetch(t); len(got.Scopes) != 2 {
			t.Errorf("got %v", got.Scopes)
		}
	})
	t.Run("acts for a user whom a definition names", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		definition, err := provider.Overlay(d.definition(t, b), provider.Definition{Assertion: provider.AssertionFormat{Subject: "user@example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		u := b.user(t, definition, d.credentials)
		u.input.Scopes = d.scopes
		if got := u.mustFail(t); got.Kind != provider.Denied || got.Code != "unauthorized_client" || got.Status != 401 {
			t.Errorf("before it was allowed: got %#v", got)
		}
		b.GoogleServiceAccount.Delegate("user@example.com")
		u.mustFetch(t)
	})
	t.Run("is told that the account is gone", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		credentials := maps.Clone(d.credentials)
		credentials["client_email"] = "gone@demo-project.iam.gserviceaccount.com"
		u := b.user(t, d.definition(t, b), credentials)
		u.input.Scopes = d.scopes
		if got := u.mustFail(t); got.Kind != provider.Denied || got.Code != "invalid_grant" {
			t.Errorf("got %#v", got)
		}
	})
}

func TestGitHubAppNarrowsWhatATokenMayDo(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "GitHubApp")
	b := newBench(t, providersim.Options{})
	definition, err := provider.Overlay(d.definition(t, b), provider.Definition{Request: provider.RequestFormat{JSON: map[string]any{
		"repositories": []any{providersim.GitHubRepository},
		"permissions":  map[string]any{"issues": "read"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	var got sent
	b.GitHubApp.Next(capture(t, &got))
	issued := b.user(t, definition, d.credentials).mustFetch(t)
	granted, ok := b.GitHubApp.Granted(issued.Access.Reveal())
	want := providersim.GitHubGrant{Permissions: map[string]string{"issues": "read"}, Repositories: []string{providersim.GitHubRepository}}
	if diff := cmp.Diff(want, granted); !ok || diff != "" {
		t.Errorf("granted (-want +got):\n%s", diff)
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(got.Body), &members); err != nil || len(members) != 2 {
		t.Errorf("got the body %s, %v", got.Body, err)
	}
	if diff := cmp.Diff([]string{"application/json"}, got.ContentType); diff != "" {
		t.Errorf("content type (-want +got):\n%s", diff)
	}
}

func TestGitHubApp(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "GitHubApp")
	t.Run("may be named by its number", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		credentials := maps.Clone(d.credentials)
		credentials["client_id"] = providersim.GitHubAppID
		b.user(t, d.definition(t, b), credentials).mustFetch(t)
	})
	t.Run("is told that it is suspended", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		b.GitHubApp.Suspend(true)
		if got := b.userOf(t, d).mustFail(t); got.Kind != provider.Denied || got.Status != 403 {
			t.Errorf("got %#v", got)
		}
	})
	t.Run("pauses when GitHub asks for it, with either status", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{403, 429} {
			b := newBench(t, providersim.Options{})
			b.GitHubApp.Next(providersim.SecondaryRateLimit(status, "60"))
			want := provider.Error{Kind: provider.Throttled, Status: status, RetryAfter: time.Minute}
			if diff := cmp.Diff(want, told(b.userOf(t, d).mustFail(t))); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		}
	})
	t.Run("bears a clock that is fast by half a minute", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.input.Now = u.input.Now.Add(30 * time.Second)
		u.mustFetch(t)
	})
}

func TestSalesforceSpeaksToTheServerOfTheEnvironment(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "Salesforce/JWTBearer")
	b := newBench(t, providersim.Options{})
	resolved, err := d.definition(t, b).Resolve(map[string]string{"environment": "sandbox"}, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	u := b.userOf(t, d)
	u.resolved = resolved
	var got sent
	b.Salesforce.Next(capture(t, &got))
	u.mustFetch(t)
	if got.Claims["aud"] != "https://test.salesforce.com" {
		t.Errorf("got aud %v", got.Claims["aud"])
	}
}

func TestSalesforceIsToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect string
		change  map[string]string
		login   bool
		code    string
	}{
		"a user who is not approved": {"Salesforce/JWTBearer", map[string]string{"username": "other@example.com"}, false, "invalid_grant"},
		"an app that is not known":   {"Salesforce/JWTBearer", map[string]string{"client_id": "other"}, false, "invalid_client_id"},
		"an app without a secret":    {"Salesforce/ClientCredentials", map[string]string{"client_id": "other"}, false, "invalid_client_id"},
		"not the org's own domain":   {"Salesforce/ClientCredentials", nil, true, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, d := newBench(t, providersim.Options{}), dialectOf(t, c.dialect)
			b.Salesforce.OnLoginHost(c.login)
			credentials := maps.Clone(d.credentials)
			maps.Copy(credentials, c.change)
			want := provider.Error{Kind: provider.Denied, Code: c.code, Status: 400}
			if diff := cmp.Diff(want, told(b.user(t, d.definition(t, b), credentials).mustFail(t))); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSalesforcePrefersTheKeyToTheSecret(t *testing.T) {
	t.Parallel()
	definition, _ := catalog(t).Get("Salesforce")
	resolved, err := definition.Resolve(nil, func(string) bool { return true })
	if err != nil || resolved.Method != "JWTBearer" {
		t.Errorf("got %q, %v", resolved.Method, err)
	}
}

func TestZoomIsToldThatTheAccountIsNotIts(t *testing.T) {
	t.Parallel()
	b, d := newBench(t, providersim.Options{}), dialectOf(t, "Zoom")
	credentials := maps.Clone(d.credentials)
	credentials["account_id"] = "other"
	got := b.user(t, d.definition(t, b), credentials).mustFail(t)
	if got.Kind != provider.Denied || got.Code != "invalid_request" {
		t.Errorf("got %#v", got)
	}
}

func TestPayPalMayStateSecondsInAString(t *testing.T) {
	t.Parallel()
	b, d := newBench(t, providersim.Options{}), dialectOf(t, "PayPal")
	b.PayPal.ExpiresInAsString(true)
	if diff := diffTokens(d.want, b.userOf(t, d).mustFetch(t)); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	b.PayPal.Next(providersim.PayPalRateLimit())
	if got := b.userOf(t, d).mustFail(t); got.Kind != provider.Throttled {
		t.Errorf("got %#v", got)
	}
}
