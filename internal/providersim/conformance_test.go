package providersim_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/token"
)

// dialect is what is expected of one way into one catalog entry. Every way of
// every entry must have one: TestEveryCatalogEntryHasAConformanceTest.
type dialect struct {
	entry, method string
	// urls by parameters: the real token endpoints, "" standing for no parameters.
	urls        map[string]string
	credentials map[string]string
	// wrong is the credential that is spoiled for a refusal.
	wrong    string
	host     func(*bench) *providersim.Host
	tokenURL func(*bench) string
	kind     providersim.Kind
	// denied is what a wrong credential must come to.
	denied provider.Error
	want   token.Token // without secrets
	// refreshes tells that a refresh token comes along.
	refreshes bool
	// scopes to ask for, where the entry has none and the provider wants some.
	scopes []string
	// freeHost tells that a parameter of the user's own is part of the host.
	freeHost bool
	// parameters lead to the simulated provider, where the host is one of them: the entry
	// is then used as it is. TokenURL takes its place otherwise.
	parameters func(*bench) map[string]string
	// audience to ask for.
	audience string
}

func dialects() []dialect {
	expiring := func(life time.Duration, source token.ExpirySource, scopes ...string) token.Token {
		return token.Token{Type: "Bearer", IssuedAt: start(), ExpiresAt: start().Add(life), ExpirySource: source, Scopes: scopes}
	}
	return append(slices.Concat(dialectsA(), dialectsB()), []dialect{
		{
			entry: "PlantPredict",
			urls:  map[string]string{"": "https://terabase-prd.auth.us-west-2.amazoncognito.com/oauth2/token"},
			credentials: map[string]string{
				"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
			},
			wrong:    "client_secret",
			host:     func(b *bench) *providersim.Host { return b.PlantPredict.Host },
			tokenURL: func(b *bench) string { return b.PlantPredict.TokenURL() },
			kind:     providersim.KindClientCredentials,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400},
			want:     expiring(time.Hour, token.ExpiresIn),
		},
		{
			entry: "SpatiaFi", method: "AppToken",
			urls: map[string]string{"": "https://auth.spatiafi.com/api/v1/auth/jwt/token"},
			credentials: map[string]string{
				"client_id": providersim.SpatiaFiClientID, "client_secret": providersim.SpatiaFiClientSecret,
			},
			wrong:    "client_secret",
			host:     func(b *bench) *providersim.Host { return b.SpatiaFi.Host },
			tokenURL: func(b *bench) string { return b.SpatiaFi.TokenURL() },
			kind:     providersim.KindClientCredentials,
			denied:   provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 400},
			want:     expiring(15*time.Minute, token.ExpiresIn),
		},
		{
			entry: "SpatiaFi", method: "LoginToken",
			urls:        map[string]string{"": "https://auth.spatiafi.com/api/v1/auth/jwt/token/basic"},
			credentials: map[string]string{"username": providersim.SpatiaFiUsername, "password": providersim.SpatiaFiPassword},
			wrong:       "password",
			host:        func(b *bench) *providersim.Host { return b.SpatiaFi.Host },
			tokenURL:    func(b *bench) string { return b.SpatiaFi.LoginURL() },
			kind:        providersim.KindLogin,
			denied:      provider.Error{Kind: provider.LoginDenied, Status: 400},
			want:        expiring(15*time.Minute, token.ExpiresAt),
		},
		{
			entry: "UP42",
			urls: map[string]string{
				"":          "https://auth.up42.com/realms/public/protocol/openid-connect/token",
				"region=eu": "https://auth.up42.com/realms/public/protocol/openid-connect/token",
				"region=sa": "https://auth.sa.up42.com/realms/public/protocol/openid-connect/token",
			},
			credentials: map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password},
			wrong:       "password",
			host:        func(b *bench) *providersim.Host { return b.UP42.Host },
			tokenURL:    func(b *bench) string { return b.UP42.TokenURL() },
			kind:        providersim.KindPassword,
			denied:      provider.Error{Kind: provider.LoginDenied, Code: "invalid_grant", Status: 401},
			want:        expiring(5*time.Minute, token.ExpiresIn, "email", "profile"),
			refreshes:   true,
		},
		{
			entry: "UP42Project",
			urls:  map[string]string{"": "https://api.up42.com/oauth/token"},
			credentials: map[string]string{
				"client_id": providersim.UP42ProjectID, "client_secret": providersim.UP42ProjectKey,
			},
			wrong:    "client_secret",
			host:     func(b *bench) *providersim.Host { return b.UP42Project.Host },
			tokenURL: func(b *bench) string { return b.UP42Project.TokenURL() },
			kind:     providersim.KindClientCredentials,
			denied:   provider.Error{Kind: provider.Denied, Status: 401},
			want:     expiring(5*time.Minute, token.JWT),
		},
	}...)
}

func (d dialect) name() string { return strings.TrimSuffix(d.entry+"/"+d.method, "/") }

func dialectOf(t *testing.T, name string) dialect {
	t.Helper()
	for _, d := range dialects() {
		if d.name() == name {
			return d
		}
	}
	t.Fatalf("there is no dialect %s", name)
	return dialect{}
}

// eachDialect runs a parallel subtest with a bench of its own for every dialect.
func eachDialect(t *testing.T, test func(t *testing.T, b *bench, d dialect)) {
	t.Helper()
	for _, d := range dialects() {
		t.Run(d.name(), func(t *testing.T) {
			t.Parallel()
			test(t, newBench(t, providersim.Options{}), d)
		})
	}
}

func catalog(t *testing.T) *provider.Catalog {
	t.Helper()
	c, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// definition is the catalog's own but for the token endpoint, which is the simulated one.
func (d dialect) definition(t *testing.T, b *bench) provider.Definition {
	t.Helper()
	definition, ok := catalog(t).Get(d.entry)
	if !ok {
		t.Fatalf("the catalog has no %s", d.entry)
	}
	if d.method != "" {
		way, err := definition.WithMethod(d.method)
		if err != nil {
			t.Fatal(err)
		}
		definition = way
	}
	if d.parameters != nil {
		return definition
	}
	overlaid, err := provider.Overlay(definition, provider.Definition{TokenURL: d.tokenURL(b)})
	if err != nil {
		t.Fatal(err)
	}
	return overlaid
}

func secrets(values map[string]string) provider.Credentials {
	c := provider.Credentials{}
	for name, value := range values {
		c[name] = token.NewSecret(value)
	}
	return c
}

// user is a program that gets tokens the way the operator does.
type user struct {
	resolved provider.Resolved
	client   *exchange.Client
	trust    exchange.Trust
	input    provider.RequestInput
}

func (b *bench) user(t *testing.T, definition provider.Definition, credentials map[string]string) *user {
	t.Helper()
	return b.userWith(t, definition, nil, credentials)
}

func (b *bench) userWith(t *testing.T, definition provider.Definition, parameters, credentials map[string]string) *user {
	t.Helper()
	resolved, err := definition.Resolve(parameters, func(name string) bool { return credentials[name] != "" })
	if err != nil {
		t.Fatal(err)
	}
	return &user{
		resolved: resolved,
		client:   b.exchanger(t, exchange.Options{}),
		trust:    exchange.Trust{CABundle: b.CABundle()},
		input:    provider.RequestInput{Credentials: secrets(credentials), Now: b.clock.Now(), ID: "first"},
	}
}

func (b *bench) userOf(t *testing.T, d dialect) *user {
	t.Helper()
	var parameters map[string]string
	if d.parameters != nil {
		parameters = d.parameters(b)
	}
	u := b.userWith(t, d.definition(t, b), parameters, d.issued(b))
	u.input.Scopes, u.input.Audience = d.scopes, d.audience
	return u
}

func (b *bench) exchanger(t *testing.T, o exchange.Options) *exchange.Client {
	t.Helper()
	o.Clock = b.clock
	o.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	client, err := exchange.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// fetch does one exchange; a failure is a *provider.Error.
func (u *user) fetch(ctx context.Context) (token.Token, error) {
	request, err := u.resolved.NewRequest(u.input)
	if err != nil {
		return token.Token{}, err
	}
	answer, err := u.client.Do(ctx, request, u.trust)
	if err != nil {
		return token.Token{}, err
	}
	return u.resolved.Decode(request, answer)
}

func (u *user) mustFetch(t *testing.T) token.Token {
	t.Helper()
	got, err := u.fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (u *user) mustFail(t *testing.T) provider.Error {
	t.Helper()
	return failure(u.fetch(t.Context()))(t)
}

func failure(_ token.Token, err error) func(*testing.T) provider.Error {
	return func(t *testing.T) provider.Error {
		t.Helper()
		var failed *provider.Error
		if !errors.As(err, &failed) {
			t.Fatalf("got %v, want a *provider.Error", err)
		}
		return *failed
	}
}

// told is a failure without its wording.
func told(e provider.Error) provider.Error {
	return provider.Error{Kind: e.Kind, Code: e.Code, Status: e.Status, RetryAfter: e.RetryAfter}
}

// public is a token without its secrets.
func public(t token.Token) token.Token {
	t.Access, t.Refresh, t.RefreshExpiresAt = token.Secret{}, token.Secret{}, time.Time{}
	slices.Sort(t.Scopes)
	return t
}

func diffTokens(want, got token.Token) string {
	return cmp.Diff(want, public(got), cmp.Comparer(func(a, b token.Secret) bool { return a == b }))
}

func TestEveryCatalogEntryHasAConformanceTest(t *testing.T) {
	t.Parallel()
	var want, got []string
	c := catalog(t)
	for _, name := range c.Names() {
		definition, _ := c.Get(name)
		for _, m := range definition.Methods {
			want = append(want, name+"/"+m.Name)
		}
		if len(definition.Methods) == 0 {
			want = append(want, name)
		}
	}
	for _, d := range dialects() {
		got = append(got, d.name())
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ways into the catalog's entries (-catalog +dialects):\n%s", diff)
	}
}

func TestTheCatalogNamesTheRealEndpoints(t *testing.T) {
	t.Parallel()
	for _, d := range dialects() {
		for parameters, want := range d.urls {
			given := map[string]string{}
			for parameter := range strings.SplitSeq(parameters, ",") {
				if name, value, ok := strings.Cut(parameter, "="); ok {
					given[name] = value
				}
			}
			definition, _ := catalog(t).Get(d.entry)
			resolved, err := definition.Resolve(given, func(name string) bool { return d.credentials[name] != "" })
			if err != nil {
				t.Errorf("%s %s: %v", d.name(), parameters, err)
				continue
			}
			if resolved.TokenURL != want || resolved.Method != d.method || resolved.FreeHost != d.freeHost {
				t.Errorf("%s %s: got %s, method %q, free host %v", d.name(), parameters, resolved.TokenURL, resolved.Method, resolved.FreeHost)
			}
		}
	}
}

func TestConformanceGrant(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		got := b.userOf(t, d).mustFetch(t)
		if diff := diffTokens(d.want, got); diff != "" {
			t.Errorf("token (-want +got):\n%s", diff)
		}
		if got.Refresh.IsZero() == d.refreshes {
			t.Errorf("refresh token: got %v, want %v", !got.Refresh.IsZero(), d.refreshes)
		}
		b.clock.Step(got.Lifetime() - time.Second)
		if !d.host(b).Accepts(got.Access.Reveal()) {
			t.Error("the provider refuses the token although it is said to live")
		}
		if d.host(b).Count(d.kind) != 1 || d.host(b).Issued() != 1 {
			t.Errorf("got calls %v", d.host(b).Calls())
		}
	})
}

func TestConformanceAShortDemoLifetimeIsSeenInEveryForm(t *testing.T) {
	t.Parallel()
	for _, d := range dialects() {
		if d.want.ExpirySource == token.Configured {
			continue // such a provider tells no lifetime at all
		}
		t.Run(d.name(), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{Lifetime: 30 * time.Second})
			if got := b.userOf(t, d).mustFetch(t); got.Lifetime() != 30*time.Second {
				t.Errorf("got a lifetime of %v by %s, want 30 s", got.Lifetime(), got.ExpirySource)
			}
		})
	}
}

func TestConformanceASkewedProviderClockDoesNoHarm(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-7 * time.Minute, 7 * time.Minute} {
		for _, d := range dialects() {
			if d.signs() && skew < 0 {
				continue // a provider that lags refuses an assertion from its future, rightly
			}
			t.Run(fmt.Sprint(d.name(), skew), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, providersim.Options{})
				d.host(b).SetClockSkew(skew)
				u := b.userOf(t, d)
				if d.signs() {
					u.input.Now = u.input.Now.Add(skew)
				}
				if got := u.mustFetch(t); got.Lifetime() != d.want.Lifetime() {
					t.Errorf("got a lifetime of %v by %s, want %v", got.Lifetime(), got.ExpirySource, d.want.Lifetime())
				}
			})
		}
	}
}

func TestConformanceWrongCredentials(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		d.credentials = maps.Clone(d.credentials)
		d.credentials[d.wrong] = d.spoiled()
		got := b.userOf(t, d).mustFail(t)
		if diff := cmp.Diff(d.denied, told(got)); diff != "" {
			t.Errorf("failure (-want +got):\n%s", diff)
		}
		outage := d.denied.Kind == provider.Unavailable // what the provider calls it
		if (got.Fix == "" && !outage) || !got.SentMaybe {
			t.Errorf("got %#v, want a fix, and the admission that it was sent", got)
		}
		if n := len(d.host(b).Calls()); n != 1 {
			t.Errorf("got %d requests, want exactly one: each may lock an account", n)
		}
	})
}

func TestConformanceRefusalKinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script providersim.Script
		want   provider.Error
	}{
		"429":                     {providersim.Status(429), provider.Error{Kind: provider.Throttled, Status: 429}},
		"429 with Retry-After":    {providersim.Status(429, providersim.RetryAfter("30")), provider.Error{Kind: provider.Throttled, Status: 429, RetryAfter: 30 * time.Second}},
		"429 with a date":         {providersim.Status(429, providersim.RetryAfter(start().Add(time.Minute).Format(http.TimeFormat))), provider.Error{Kind: provider.Throttled, Status: 429, RetryAfter: time.Minute}},
		"429 until next year":     {providersim.Status(429, providersim.RetryAfter("31536000")), provider.Error{Kind: provider.Throttled, Status: 429, RetryAfter: time.Hour}},
		"503 with Retry-After":    {providersim.Status(503, providersim.RetryAfter("10")), provider.Error{Kind: provider.Throttled, Status: 503, RetryAfter: 10 * time.Second}},
		"Cognito's 400":           {providersim.TooManyRequests(), provider.Error{Kind: provider.Throttled, Code: "TooManyRequestsException", Status: 400}},
		"slow_down":               {providersim.JSON(400, `{"error":"slow_down"}`), provider.Error{Kind: provider.Throttled, Code: "slow_down", Status: 400}},
		"500":                     {providersim.Status(500), provider.Error{Kind: provider.Unavailable, Status: 500}},
		"502 with a page":         {providersim.HTML(502), provider.Error{Kind: provider.Unavailable, Status: 502}},
		"503":                     {providersim.HTML(503), provider.Error{Kind: provider.Unavailable, Status: 503}},
		"408":                     {providersim.Status(408), provider.Error{Kind: provider.Unavailable, Status: 408}},
		"425":                     {providersim.Status(425), provider.Error{Kind: provider.Unavailable, Status: 425}},
		"temporarily_unavailable": {providersim.JSON(400, `{"error":"temporarily_unavailable"}`), provider.Error{Kind: provider.Unavailable, Code: "temporarily_unavailable", Status: 400}},
		"200 with a page":         {providersim.HTML(200), provider.Error{Kind: provider.Unavailable, Status: 200}},
		"200 with garbage":        {providersim.Garbage200(), provider.Error{Kind: provider.Unavailable, Status: 200}},
		"200 with nothing":        {providersim.Empty200(), provider.Error{Kind: provider.Unavailable, Status: 200}},
		"200 without a token":     {providersim.JSON(200, `{"token_type":"bearer"}`), provider.Error{Kind: provider.Unavailable, Status: 200}},
		"204":                     {providersim.Status(204), provider.Error{Kind: provider.Unavailable, Status: 204}},
		"an endless answer":       {providersim.Oversized(1 << 20), provider.Error{Kind: provider.Unavailable}},
		"a gzip bomb":             {providersim.GzipBomb(2 << 20), provider.Error{Kind: provider.Unavailable}},
		"a cut connection":        {providersim.Drop(), provider.Error{Kind: provider.Unavailable}},
		"a lost answer":           {providersim.LoseAnswer(), provider.Error{Kind: provider.Unavailable}},
		"a cut-off answer":        {providersim.CutOff(), provider.Error{Kind: provider.Unavailable}},
		"404":                     {providersim.HTML(404), provider.Error{Kind: provider.Misconfigured, Status: 404}},
		"405":                     {providersim.Status(405), provider.Error{Kind: provider.Misconfigured, Status: 405}},
		"415":                     {providersim.Status(415), provider.Error{Kind: provider.Misconfigured, Status: 415}},
		"unauthorized_client":     {providersim.JSON(400, `{"error":"unauthorized_client"}`), provider.Error{Kind: provider.Denied, Code: "unauthorized_client", Status: 400}},
		"invalid_scope":           {providersim.JSON(400, `{"error":"invalid_scope"}`), provider.Error{Kind: provider.Denied, Code: "invalid_scope", Status: 400}},
		"invalid_client, 200":     {providersim.JSON(200, `{"error":"invalid_client"}`), provider.Error{Kind: provider.Denied, Code: "invalid_client", Status: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachDialect(t, func(t *testing.T, b *bench, d dialect) {
				t.Helper()
				d.host(b).Next(c.script)
				u := b.userOf(t, d)
				got := u.mustFail(t)
				if diff := cmp.Diff(c.want, told(got)); diff != "" {
					t.Errorf("failure (-want +got):\n%s", diff)
				}
				if !got.SentMaybe {
					t.Error("a request that arrived is said not to have been sent")
				}
				if n := len(d.host(b).Calls()); n != 1 {
					t.Errorf("got %d requests, want exactly one", n)
				}
				u.input.ID = "second"
				if next := u.mustFetch(t); !d.host(b).Accepts(next.Access.Reveal()) {
					t.Error("the next token is refused")
				}
			})
		})
	}
}

func TestConformanceARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		d.host(b).Next(providersim.Redirect(b.Generic.TokenURL()))
		if got := b.userOf(t, d).mustFail(t); got.Kind != provider.Misconfigured || got.Status != 307 {
			t.Errorf("got %#v", got)
		}
		if n := len(b.Generic.Calls()); n != 0 {
			t.Errorf("the other host got %d requests, with credentials in them", n)
		}
	})
}

func TestConformanceNothingThatAProviderSendsIsTold(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		for _, script := range []providersim.Script{
			providersim.JSON(400, `{"error":"leaked-value","error_description":"leaked-value","detail":"leaked-value"}`),
			providersim.JSON(200, `{"access_token":"leaked-value\u0000","token_type":"leaked-value"}`),
			providersim.Answer(500, "text/leaked-value", "leaked-value", providersim.RetryAfter("leaked-value")),
			providersim.Redirect("https://leaked-value.example/"),
		} {
			d.host(b).Next(script)
			got := b.userOf(t, d).mustFail(t)
			for _, text := range append(slices.Collect(maps.Values(d.credentials)), "leaked-value") {
				if strings.Contains(fmt.Sprintf("%#v %+v %s", got, got, got.Error()), text) {
					t.Errorf("%#v tells a secret or what the provider sent", got)
				}
			}
		}
	})
}

func TestConformanceAnExchangeThatHangsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		arrival := providersim.NewGate()
		d.host(b).Next(providersim.Hold(arrival))
		u := b.userOf(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wait sync.WaitGroup
		var err error
		wait.Go(func() { _, err = u.fetch(ctx) })
		if err := arrival.Await(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		wait.Wait()
		if got := failure(token.Token{}, err)(t); got.Kind != provider.Unavailable || !got.SentMaybe {
			t.Errorf("got %#v", got)
		}
	})
}

func TestConformanceADrippingAnswerEndsWithTheDeadlineOnTheWhole(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		d.host(b).Next(providersim.SlowBody(time.Millisecond))
		u := b.userOf(t, d)
		u.client = b.exchanger(t, exchange.Options{Timeout: 200 * time.Millisecond})
		if got := u.mustFail(t); got.Kind != provider.Unavailable {
			t.Errorf("got %#v", got)
		}
	})
}

func TestConformanceABlackHoleEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	holes, err := b.BlackHoles(1)
	if err != nil {
		t.Fatal(err)
	}
	u := b.user(t, provider.Definition{TokenURL: "https://" + holes[0] + "/token"}, map[string]string{"client_id": "a", "client_secret": "b"})
	u.client = b.exchanger(t, exchange.Options{Timeout: 50 * time.Millisecond})
	if got := u.mustFail(t); got.Kind != provider.Unavailable || got.SentMaybe {
		t.Errorf("got %#v, want Unavailable and certainly not sent", got)
	}
}

// A reused connection that breaks makes net/http send some requests once more by
// itself: by HTTP/1.1 every GET, which is SpatiaFi's login.
func TestConformanceARequestWhoseAnswerIsLostIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for name, http1 := range map[string]bool{"HTTP 1": true, "HTTP 2": false} {
		for _, d := range dialects() {
			t.Run(name+" "+d.name(), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, providersim.Options{HTTP1: http1})
				u := b.userOf(t, d)
				for i, script := range []providersim.Script{providersim.LoseAnswer(), providersim.Drop(), providersim.CutOff()} {
					u.input.ID = fmt.Sprint("good", i)
					u.mustFetch(t) // leaves a connection to reuse
					d.host(b).Next(script)
					u.input.ID = fmt.Sprint("lost", i)
					if got := u.mustFail(t); got.Kind != provider.Unavailable || !got.SentMaybe {
						t.Errorf("got %#v", got)
					}
					if n, want := d.host(b).Count(d.kind), 2*(i+1); n != want {
						t.Fatalf("got %d requests, want %d", n, want)
					}
				}
			})
		}
	}
}

func TestConformanceOnlyTheGivenAuthorityIsTrusted(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		stranger := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.trust.CABundle = stranger.CABundle()
		if got := u.mustFail(t); got.Kind != provider.Misconfigured || got.SentMaybe {
			t.Errorf("got %#v, want Misconfigured and certainly not sent", got)
		}
		if n := len(d.host(b).Calls()); n != 0 {
			t.Errorf("got %d requests from a client that should not have trusted the host", n)
		}
	})
}

func TestConformanceLoopbackIsRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	u := b.userOf(t, dialectOf(t, "PlantPredict"))
	guarded, err := exchange.New(exchange.Options{Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	u.client = guarded
	if got := u.mustFail(t); got.Kind != provider.Misconfigured || len(b.PlantPredict.Calls()) != 0 {
		t.Errorf("got %#v", got)
	}
}

func TestConformanceRequestsNameTheOperator(t *testing.T) {
	t.Parallel()
	eachDialect(t, func(t *testing.T, b *bench, d dialect) {
		t.Helper()
		u := b.userOf(t, d)
		u.client = b.exchanger(t, exchange.Options{UserAgent: "operator/test"})
		u.mustFetch(t)
		if got := d.host(b).Calls()[0].UserAgent; got != "operator/test" {
			t.Errorf("got User-Agent %q", got)
		}
	})
}

func TestPlantPredictSpeaksCognito(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "PlantPredict")
	t.Run("asks for the catalog's scopes", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		b.userOf(t, d).mustFetch(t)
		if got := b.PlantPredict.Calls()[0].Form.Get("scope"); got != "transactions/post transactions/get" {
			t.Errorf("got scope %q", got)
		}
	})
	t.Run("takes 401 for a refused client too", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		b.PlantPredict.RefuseWith(401)
		b.PlantPredict.SetCredentials(providersim.PlantPredictClientID, "rotated")
		if got := b.userOf(t, d).mustFail(t); got.Kind != provider.Denied || got.Code != "invalid_client" || got.Status != 401 {
			t.Errorf("got %#v", got)
		}
	})
	t.Run("is told when a scope is not granted", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.input.Scopes = []string{"transactions/delete"}
		if got := u.mustFail(t); got.Kind != provider.Denied || got.Code != "invalid_scope" {
			t.Errorf("got %#v", got)
		}
	})
	t.Run("reads the throttling of other AWS services", func(t *testing.T) {
		t.Parallel()
		for _, body := range []string{
			`{"__type":"TooManyRequestsException","message":"Rate exceeded"}`,
			`{"__type":"com.amazonaws#TooManyRequestsException"}`,
			`{"code":"TooManyRequestsException"}`,
		} {
			b := newBench(t, providersim.Options{})
			b.PlantPredict.Next(providersim.JSON(400, body))
			if got := b.userOf(t, d).mustFail(t); got.Kind != provider.Throttled {
				t.Errorf("%s: got %#v", body, got)
			}
		}
	})
	t.Run("could authenticate in the header as well", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		definition, err := provider.Overlay(d.definition(t, b), provider.Definition{ClientAuthentication: provider.SecretBasic})
		if err != nil {
			t.Fatal(err)
		}
		b.user(t, definition, d.credentials).mustFetch(t)
	})
}

func TestSpatiaFiAppToken(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "SpatiaFi/AppToken")
	t.Run("may state expires_at", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		b.SpatiaFi.AnswerExpiresAt(true)
		if got := b.userOf(t, d).mustFetch(t); got.ExpirySource != token.ExpiresAt || got.Lifetime() != 15*time.Minute {
			t.Errorf("got %v by %s", got.Lifetime(), got.ExpirySource)
		}
	})
	t.Run("needs a fresh jti each time", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		u := b.userOf(t, d)
		u.mustFetch(t)
		if got := u.mustFail(t); got.Kind != provider.Denied {
			t.Errorf("a replayed assertion: got %#v", got)
		}
		u.input.ID = "second"
		u.mustFetch(t)
	})
	t.Run("signs with secrets of any length", func(t *testing.T) {
		t.Parallel()
		for i, secret := range []string{"x", "c2VjcmV0", strings.Repeat("long", 100)} {
			b := newBench(t, providersim.Options{})
			b.SpatiaFi.SetCredentials("app", secret)
			u := b.user(t, d.definition(t, b), map[string]string{"client_id": "app", "client_secret": secret})
			u.input.ID = fmt.Sprint(i)
			u.mustFetch(t)
		}
	})
	t.Run("is preferred to the login when both are there", func(t *testing.T) {
		t.Parallel()
		definition, _ := catalog(t).Get("SpatiaFi")
		resolved, err := definition.Resolve(nil, func(string) bool { return true })
		if err != nil || resolved.Method != "AppToken" {
			t.Errorf("got %q and %v", resolved.Method, err)
		}
	})
}

func TestLoginsAndKeysGoOverTheWireAsTheyAre(t *testing.T) {
	t.Parallel()
	const nasty = `a+b%41 c&d=e:f"g'h/i\j?k#l`
	for name, c := range map[string]struct {
		learn       func(b *bench)
		credentials map[string]string
	}{
		"SpatiaFi/LoginToken": {
			func(b *bench) { b.SpatiaFi.SetLogin("ü+%41@example.com", nasty+"é✓") },
			map[string]string{"username": "ü+%41@example.com", "password": nasty + "é✓"},
		},
		"SpatiaFi/AppToken": {
			func(b *bench) { b.SpatiaFi.SetCredentials(nasty, nasty) },
			map[string]string{"client_id": nasty, "client_secret": nasty},
		},
		"UP42": {
			func(b *bench) { b.UP42.SetLogin(nasty+"ü", nasty+"é✓") },
			map[string]string{"username": nasty + "ü", "password": nasty + "é✓"},
		},
		"UP42Project": {
			func(b *bench) { b.UP42Project.SetCredentials("a+b%41 c", nasty) },
			map[string]string{"client_id": "a+b%41 c", "client_secret": nasty},
		},
		"PlantPredict": {
			func(b *bench) { b.PlantPredict.SetCredentials(nasty, nasty) },
			map[string]string{"client_id": nasty, "client_secret": nasty},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			c.learn(b)
			b.user(t, dialectOf(t, name).definition(t, b), c.credentials).mustFetch(t)
		})
	}
}

func TestUP42ProjectMayAnswerAtTheTopLevelToo(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "UP42Project")
	b := newBench(t, providersim.Options{})
	b.UP42Project.AlsoTopLevel(true)
	got := b.userOf(t, d).mustFetch(t)
	if diff := diffTokens(d.want, got); diff != "" || !b.UP42Project.Accepts(got.Access.Reveal()) {
		t.Errorf("token (-want +got):\n%s", diff)
	}
}

func TestUP42ProjectLivesAsLongAsTheDefinitionSaysWhenTheTokenIsOpaque(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.UP42Project.Next(providersim.OnSuccess(providersim.JSON(200, `{"data":{"accessToken":"opaque"}}`)))
	got := b.userOf(t, dialectOf(t, "UP42Project")).mustFetch(t)
	if got.Lifetime() != 299*time.Second || got.ExpirySource != token.Configured {
		t.Errorf("got %v by %s", got.Lifetime(), got.ExpirySource)
	}
}

func TestUP42ProjectKeysHaveTheProvidersOwnNames(t *testing.T) {
	t.Parallel()
	definition, _ := catalog(t).Get("UP42Project")
	if diff := cmp.Diff([]string{"client_id", "project_id"}, definition.Keys("client_id")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"client_secret", "project_api_key"}, definition.Keys("client_secret")); diff != "" {
		t.Error(diff)
	}
}

func TestUP42Refresh(t *testing.T) {
	t.Parallel()
	d := dialectOf(t, "UP42")
	// session is a user who has logged in once and holds a refresh token.
	session := func(t *testing.T) (*bench, *user, token.Token) {
		t.Helper()
		b := newBench(t, providersim.Options{})
		b.UP42.RotateRefreshTokens(true)
		u := b.userOf(t, d)
		first := u.mustFetch(t)
		u.input.RefreshToken = first.Refresh
		return b, u, first
	}
	t.Run("opens no session", func(t *testing.T) {
		t.Parallel()
		b, u, first := session(t)
		b.clock.Step(3 * time.Minute)
		second := u.mustFetch(t)
		if second.ExpiresAt != start().Add(8*time.Minute) || second.RefreshExpiresAt != start().Add(33*time.Minute) || second.Refresh == first.Refresh {
			t.Errorf("got %s, refresh until %s", second.ExpiresAt, second.RefreshExpiresAt)
		}
		if b.UP42.SessionsOpened() != 1 || b.UP42.Count(providersim.KindPassword) != 1 || b.UP42.Count(providersim.KindRefreshToken) != 1 {
			t.Errorf("got calls %v", b.UP42.Calls())
		}
	})
	t.Run("that is reused is refused as a refresh, not as a login", func(t *testing.T) {
		t.Parallel()
		b, u, _ := session(t)
		u.mustFetch(t)
		want := provider.Error{Kind: provider.RefreshDenied, Code: "invalid_grant", Status: 400}
		if diff := cmp.Diff(want, told(u.mustFail(t))); diff != "" {
			t.Errorf("failure (-want +got):\n%s", diff)
		}
		if b.UP42.FailedLogins() != 0 {
			t.Errorf("got %d failed logins", b.UP42.FailedLogins())
		}
	})
	t.Run("that is refused leaves the password to fall back on", func(t *testing.T) {
		t.Parallel()
		b, u, _ := session(t)
		b.UP42.KillSessions()
		if got := u.mustFail(t); got.Kind != provider.RefreshDenied {
			t.Errorf("got %#v", got)
		}
		u.input.RefreshToken = token.Secret{}
		if got := u.mustFetch(t); !b.UP42.Accepts(got.Access.Reveal()) {
			t.Error("the new token is refused")
		}
	})
	t.Run("that is throttled is not refused", func(t *testing.T) {
		t.Parallel()
		b, u, _ := session(t)
		b.UP42.NextOf(providersim.KindRefreshToken, providersim.Status(429, providersim.RetryAfter("5")))
		if got := u.mustFail(t); got.Kind != provider.Throttled || got.RetryAfter != 5*time.Second {
			t.Errorf("got %#v", got)
		}
		u.mustFetch(t)
	})
	t.Run("whose answer is lost has used the token up", func(t *testing.T) {
		t.Parallel()
		b, u, _ := session(t)
		b.UP42.Next(providersim.LoseAnswer())
		if got := u.mustFail(t); got.Kind != provider.Unavailable || !got.SentMaybe {
			t.Errorf("got %#v", got)
		}
		if got := u.mustFail(t); got.Kind != provider.RefreshDenied {
			t.Errorf("got %#v", got)
		}
	})
	t.Run("may not say until when it works", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, providersim.Options{})
		b.UP42.HideRefreshExpiry(true)
		if got := b.userOf(t, d).mustFetch(t); got.Refresh.IsZero() || !got.RefreshExpiresAt.IsZero() {
			t.Errorf("got a refresh token: %v, until %s", !got.Refresh.IsZero(), got.RefreshExpiresAt)
		}
	})
}

func TestUP42LoginDenialIsTheSameWhateverTheStatusAndWhenLocked(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 401} {
		b := newBench(t, providersim.Options{})
		b.UP42.RefuseWith(status)
		b.UP42.SetLockout(providersim.Lockout{Failures: 1, Wait: time.Minute})
		u := b.userOf(t, dialectOf(t, "UP42"))
		b.UP42.SetLogin(providersim.UP42Username, "rotated")
		wrong := u.mustFail(t)
		b.UP42.SetLogin(providersim.UP42Username, providersim.UP42Password)
		locked := u.mustFail(t)
		if wrong.Kind != provider.LoginDenied || wrong.Status != status {
			t.Errorf("got %#v", wrong)
		}
		if diff := cmp.Diff(wrong, locked); diff != "" || !b.UP42.Locked(providersim.UP42Username) {
			t.Errorf("a lock and a wrong password (-wrong +locked):\n%s", diff)
		}
	}
}

func TestCustomDefinitionsAuthenticateAsRFC6749Says(t *testing.T) {
	t.Parallel()
	// A colon is form-encoded away, and so may be in the user of a Basic header.
	credentials := map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret}
	for _, authentication := range []provider.ClientAuthentication{"", provider.SecretBasic, provider.SecretPost} {
		b := newBench(t, providersim.Options{})
		b.Generic.AllowFields("tenant")
		u := b.user(t, provider.Definition{
			TokenURL: b.Generic.TokenURL(), ClientAuthentication: authentication, Scopes: []string{"a", "b"},
			FormParameters: map[string]string{"tenant": "x y&z"},
		}, credentials)
		u.input.Audience, u.input.Resources = "https://api.example", []string{"https://a.example/x", "https://b.example"}
		got := u.mustFetch(t)
		if diff := cmp.Diff([]string{"a", "b"}, got.Scopes); diff != "" {
			t.Errorf("%s: scopes (-want +got):\n%s", authentication, diff)
		}
		want := url.Values{
			"grant_type": {"client_credentials"}, "scope": {"a b"}, "audience": {"https://api.example"},
			"resource": {"https://a.example/x", "https://b.example"},
		}
		if diff := cmp.Diff(want, b.Generic.Calls()[0].Form); diff != "" {
			t.Errorf("%s: form (-want +got):\n%s", authentication, diff)
		}
	}
}

// What providers are known to answer, served over the wire.
func TestAnswersOfOtherProvidersAreUnderstood(t *testing.T) {
	t.Parallel()
	const jsonType, formType = "application/json", "application/x-www-form-urlencoded"
	nested := provider.ResponseFormat{AccessToken: []string{"/authed_user/access_token"}}
	named := provider.ResponseFormat{AccessToken: []string{"/token"}, ExpiresAt: []string{"/expires_at"}}
	for name, c := range map[string]struct {
		contentType, body string
		response          provider.ResponseFormat
		source            token.ExpirySource
		life              time.Duration
	}{
		"seconds in a string (Azure AD v1, PayPal)": {jsonType, `{"access_token":"{token}","expires_in":"{expires_in}"}`, provider.ResponseFormat{}, token.ExpiresIn, time.Hour},
		"seconds with a fraction":                   {jsonType, `{"access_token":"{token}","expires_in":{expires_in}.0}`, provider.ResponseFormat{}, token.ExpiresIn, time.Hour},
		"null":                                      {jsonType, `{"access_token":"{token}","expires_in":null}`, provider.ResponseFormat{}, token.Configured, 7 * time.Minute},
		"empty":                                     {jsonType, `{"access_token":"{token}","expires_in":""}`, provider.ResponseFormat{}, token.Configured, 7 * time.Minute},
		"nothing at all (Salesforce, Facebook)":     {jsonType, `{"access_token":"{token}"}`, provider.ResponseFormat{}, token.Configured, 7 * time.Minute},
		"milliseconds (Adobe)":                      {jsonType, `{"access_token":"{token}","expires_in":86399000}`, provider.ResponseFormat{}, token.ExpiresIn, 86399 * time.Second},
		"an epoch":                                  {jsonType, `{"access_token":"{token}","expires_at":{expires_at}}`, provider.ResponseFormat{}, token.ExpiresAt, time.Hour},
		"an instant (GitHub Apps)":                  {jsonType, `{"token":"{token}","expires_at":"{expires_at_rfc3339}"}`, named, token.ExpiresAt, time.Hour},
		"a form (GitHub)":                           {formType, `access_token={token}&token_type=bearer&expires_in={expires_in}`, provider.ResponseFormat{}, token.ExpiresIn, time.Hour},
		"text (WeChat)":                             {"text/plain", `{"access_token":"{token}","expires_in":{expires_in}}`, provider.ResponseFormat{}, token.ExpiresIn, time.Hour},
		"a nested token (Slack)":                    {jsonType, `{"ok":true,"authed_user":{"access_token":"{token}"}}`, nested, token.Configured, 7 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			b.Generic.SetAnswer(c.contentType, c.body)
			u := b.user(t, provider.Definition{
				TokenURL: b.Generic.TokenURL(), Response: c.response, TokenLifetime: provider.Duration{Duration: 7 * time.Minute},
			}, map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
			got := u.mustFetch(t)
			if !b.Generic.Accepts(got.Access.Reveal()) || got.ExpirySource != c.source || got.Lifetime() != c.life {
				t.Errorf("got %v by %s, accepted %v", got.Lifetime(), got.ExpirySource, b.Generic.Accepts(got.Access.Reveal()))
			}
		})
	}
}

func TestRefusalsOfOtherProvidersAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script providersim.Script
		want   provider.Kind
	}{
		"a form with status 200 (GitHub)":   {providersim.Answer(200, "application/x-www-form-urlencoded", "error=incorrect_client_credentials"), provider.Denied},
		"not ok with status 200 (Slack)":    {providersim.JSON(200, `{"ok":false,"error":"invalid_client_id"}`), provider.Denied},
		"an object (Facebook)":              {providersim.JSON(400, `{"error":{"type":"OAuthException","code":1,"message":"x"}}`), provider.Denied},
		"a token beside an error":           {providersim.JSON(200, `{"access_token":"x","expires_in":60,"error":"invalid_client"}`), provider.Denied},
		"throttled with status 200":         {providersim.JSON(200, `{"ok":false,"error":"ratelimited"}`), provider.Throttled},
		"a status without words":            {providersim.Status(403), provider.Denied},
		"an error that nobody has heard of": {providersim.JSON(400, `{"error":"gremlins"}`), provider.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			b.Generic.Next(c.script)
			u := b.user(t, provider.Definition{TokenURL: b.Generic.TokenURL()},
				map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
			if got := u.mustFail(t); got.Kind != c.want {
				t.Errorf("got %#v", got)
			}
		})
	}
}
