package providersim_test

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/providertoken/operator/internal/providersim"
)

const clientProof = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func (b *bench) keycloak() call {
	header := formHeader()
	header.Set("Authorization", basic(url.QueryEscape(providersim.KeycloakClientID), url.QueryEscape(providersim.KeycloakClientSecret)))
	return call{method: http.MethodPost, url: b.Keycloak.TokenURL(), header: header, form: url.Values{"grant_type": {"client_credentials"}}}
}

func (b *bench) auth0() call {
	return call{method: http.MethodPost, url: b.Auth0.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"client_credentials"}, "audience": {providersim.Auth0Audience},
		"client_id": {providersim.Auth0ClientID}, "client_secret": {providersim.Auth0ClientSecret},
	}}
}

func (b *bench) okta() call {
	header := formHeader()
	header.Set("Authorization", basic(providersim.OktaClientID, providersim.OktaClientSecret))
	return call{method: http.MethodPost, url: b.Okta.TokenURL("default"), header: header, form: url.Values{
		"grant_type": {"client_credentials"}, "scope": {providersim.OktaCustomScope},
	}}
}

func (b *bench) entraID() call {
	return call{method: http.MethodPost, url: b.EntraID.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"client_credentials"}, "scope": {providersim.EntraIDScope},
		"client_id": {providersim.EntraIDClientID}, "client_secret": {providersim.EntraIDClientSecret},
	}}
}

func (b *bench) cognito() call {
	header := formHeader()
	header.Set("Authorization", basic(providersim.CognitoClientID, providersim.CognitoClientSecret))
	return call{method: http.MethodPost, url: b.Cognito.TokenURL(), header: header, form: url.Values{"grant_type": {"client_credentials"}}}
}

func (b *bench) zitadel() call {
	header := formHeader()
	header.Set("Authorization", basic(url.QueryEscape(providersim.ZitadelClientID), url.QueryEscape(providersim.ZitadelClientSecret)))
	return call{method: http.MethodPost, url: b.Zitadel.TokenURL(), header: header, form: url.Values{
		"grant_type": {"client_credentials"}, "scope": {"openid"},
	}}
}

func TestKeycloakRefusesWhatTheServerRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                      {edit: []func(*call){method("GET")}, status: 405, body: "HTTP 405"},
		"another path":             {edit: []func(*call){at("/")}, status: 404, body: "HTTP 404"},
		"another realm":            {edit: []func(*call){func(c *call) { c.url = strings.Replace(c.url, "demo-realm", "other", 1) }}, status: 404, body: "Realm does not exist"},
		"a JSON body":              {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 415, body: "HTTP 415"},
		"no grant type":            {edit: []func(*call){drop("grant_type"), set("scope", "email")}, status: 400, body: "Missing form parameter: grant_type"},
		"another grant type":       {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"a repeated field":         {edit: []func(*call){again("grant_type")}, status: 400, body: "duplicated parameter"},
		"an unknown field":         {edit: []func(*call){set("audience", "x")}, status: 400, body: "invalid_request"},
		"a query":                  {edit: []func(*call){at("?grant_type=client_credentials")}, status: 400, body: "invalid_request"},
		"no credentials":           {edit: []func(*call){noHeader("Authorization")}, status: 400, body: "Missing client_id parameter"},
		"a wrong secret":           {edit: []func(*call){header("Authorization", basic(url.QueryEscape(providersim.KeycloakClientID), "wrong"))}, status: 401, body: "unauthorized_client"},
		"no secret":                {edit: []func(*call){noHeader("Authorization"), set("client_id", providersim.KeycloakClientID)}, status: 401, body: "unauthorized_client"},
		"an unknown client":        {edit: []func(*call){header("Authorization", basic("nobody", "wrong"))}, status: 401, body: "invalid_client"},
		"a Basic header as it is":  {edit: []func(*call){header("Authorization", basic(providersim.KeycloakClientID, providersim.KeycloakClientSecret))}, status: 401, body: "invalid_client"},
		"the secret twice":         {edit: []func(*call){set("client_secret", providersim.KeycloakClientSecret)}, status: 400, body: "more than one way"},
		"an assertion beside it":   {edit: []func(*call){set("client_assertion", "x")}, status: 400, body: "more than one way"},
		"an unknown scope":         {edit: []func(*call){set("scope", "nothing")}, status: 400, body: "invalid_scope"},
		"a secret of another kind": {edit: []func(*call){noHeader("Authorization"), set("client_id", signingClient), set("client_secret", "x")}, status: 401, body: "unauthorized_client"},
		"no certificate":           {edit: []func(*call){noHeader("Authorization"), set("client_id", tlsClient)}, status: 401, body: "invalid_client"},
	}.run(t, (*bench).keycloak)
}

func TestAuth0RefusesWhatTheTenantRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                         {edit: []func(*call){method("GET")}, status: 404, body: "Not Found"},
		"another path":                {edit: []func(*call){at("/")}, status: 404, body: "Not Found"},
		"a body that is no form":      {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 400, body: "invalid_request"},
		"a query":                     {edit: []func(*call){at("?audience=x")}, status: 400, body: "invalid_request"},
		"no grant type":               {edit: []func(*call){drop("grant_type")}, status: 400, body: "invalid_request"},
		"another grant type":          {edit: []func(*call){set("grant_type", "password")}, status: 403, body: "unauthorized_client"},
		"a repeated field":            {edit: []func(*call){again("audience")}, status: 400, body: "invalid_request"},
		"an unknown field":            {edit: []func(*call){set("resource", "x")}, status: 400, body: "invalid_request"},
		"a wrong secret":              {edit: []func(*call){set("client_secret", "wrong")}, status: 401, body: `"access_denied"`},
		"an unknown client":           {edit: []func(*call){set("client_id", "nobody")}, status: 401, body: "Unauthorized"},
		"a header":                    {edit: []func(*call){header("Authorization", basic(providersim.Auth0ClientID, providersim.Auth0ClientSecret)), drop("client_secret")}, status: 401, body: "access_denied"},
		"no audience":                 {edit: []func(*call){drop("audience")}, status: 403, body: "No audience parameter was provided"},
		"an API that does not exist":  {edit: []func(*call){set("audience", "x")}, status: 403, body: "Service not found: x"},
		"a scope that is not granted": {edit: []func(*call){set("scope", "write:demo")}, status: 403, body: "Client has not been granted scopes: write:demo"},
	}.run(t, (*bench).auth0)
}

func TestOktaRefusesWhatTheOrgRefuses(t *testing.T) {
	t.Parallel()
	toOrg := func(c *call) { c.url = strings.Replace(c.url, "/oauth2/default/", "/oauth2/", 1) }
	refusals{
		"GET":                  {edit: []func(*call){method("GET")}, status: 405, body: `"errorCode":"E0000022"`},
		"an unknown server":    {edit: []func(*call){func(c *call) { c.url = strings.Replace(c.url, "default", "other", 1) }}, status: 404, body: "E0000007"},
		"a JSON body":          {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 415, body: "E0000021"},
		"a repeated field":     {edit: []func(*call){again("scope")}, status: 400, body: "invalid_request"},
		"an unknown field":     {edit: []func(*call){set("audience", "x")}, status: 400, body: "invalid_request"},
		"a query":              {edit: []func(*call){at("?scope=x")}, status: 400, body: "invalid_request"},
		"another grant type":   {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"no credentials":       {edit: []func(*call){noHeader("Authorization")}, status: 400, body: "A client_id must be provided in the request."},
		"a wrong secret":       {edit: []func(*call){header("Authorization", basic(providersim.OktaClientID, "wrong"))}, status: 401, body: "The client secret supplied for a confidential client is invalid."},
		"an unknown client":    {edit: []func(*call){header("Authorization", basic("nobody", "wrong"))}, status: 401, body: `"errorSummary":"Invalid value for 'client_id' parameter."`},
		"the secret twice":     {edit: []func(*call){set("client_secret", "x")}, status: 401, body: "Cannot supply multiple client credentials."},
		"no scope":             {edit: []func(*call){drop("scope")}, status: 400, body: "'scope' must be provided"},
		"an unknown scope":     {edit: []func(*call){set("scope", "nothing")}, status: 400, body: "One or more scopes are not configured"},
		"a secret for the org": {edit: []func(*call){toOrg}, status: 401, body: "must use the private_key_jwt token_endpoint_auth_method"},
	}.run(t, (*bench).okta)
}

func TestEntraIDRefusesWhatTheTenantRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                        {edit: []func(*call){method("GET")}, status: 400, body: "AADSTS900561"},
		"v1.0":                       {edit: []func(*call){func(c *call) { c.url = strings.Replace(c.url, "/v2.0", "", 1) }}, status: 404},
		"another tenant":             {edit: []func(*call){func(c *call) { c.url = strings.Replace(c.url, "0b5e1f2a", "00000000", 1) }}, status: 400, body: "AADSTS90002"},
		"a JSON body":                {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 400, body: "AADSTS900144"},
		"a query":                    {edit: []func(*call){at("?scope=x")}, status: 400, body: "AADSTS900144"},
		"a repeated field":           {edit: []func(*call){again("scope")}, status: 400, body: "invalid_request"},
		"an unknown field":           {edit: []func(*call){set("resource", "x")}, status: 400, body: "AADSTS9002313"},
		"no grant type":              {edit: []func(*call){drop("grant_type")}, status: 400, body: "'grant_type'"},
		"another grant type":         {edit: []func(*call){set("grant_type", "x")}, status: 400, body: "AADSTS70003"},
		"no client":                  {edit: []func(*call){drop("client_id")}, status: 400, body: "'client_id'"},
		"an unknown client":          {edit: []func(*call){set("client_id", "nobody")}, status: 400, body: `"unauthorized_client"`},
		"no proof":                   {edit: []func(*call){drop("client_secret")}, status: 401, body: "AADSTS7000218"},
		"a wrong secret":             {edit: []func(*call){set("client_secret", "wrong")}, status: 401, body: "AADSTS7000215: Invalid client secret provided."},
		"a secret of another client": {edit: []func(*call){set("client_id", entraClient)}, status: 401, body: "AADSTS7000215"},
		"two proofs":                 {edit: []func(*call){set("client_assertion", "x")}, status: 400, body: "AADSTS90023"},
		"no scope":                   {edit: []func(*call){drop("scope")}, status: 400, body: "'scope'"},
		"a scope of users":           {edit: []func(*call){set("scope", "https://graph.microsoft.com/Mail.Read")}, status: 400, body: `AADSTS1002012`},
		"two scopes":                 {edit: []func(*call){set("scope", providersim.EntraIDScope+" "+providersim.EntraIDAPIScope)}, status: 400, body: "invalid_scope"},
		"an unknown resource":        {edit: []func(*call){set("scope", "api://nobody/.default")}, status: 400, body: "AADSTS500011"},
	}.run(t, (*bench).entraID)
}

func TestEntraIDAnswersWithItsErrorObject(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	a := b.send(t, b.entraID().edit(set("client_secret", "wrong")))
	for _, member := range []string{"error", "error_description", "error_codes", "timestamp", "trace_id", "correlation_id", "error_uri"} {
		if a.fields[member] == nil {
			t.Errorf("there is no %s in %s", member, a.body)
		}
	}
	if fmt.Sprint(a.fields["error_codes"]) != "[7.000215e+06]" || !strings.Contains(a.body, `\r\nTrace ID: `) {
		t.Errorf("got %s", a.body)
	}
}

func TestCognitoRefusesWhatUserPoolsRefuse(t *testing.T) {
	t.Parallel()
	refusals{
		"a JSON body":         {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 405},
		"a query":             {edit: []func(*call){at("?scope=x")}, status: 400, body: "invalid_request"},
		"a wrong secret":      {edit: []func(*call){header("Authorization", basic(providersim.CognitoClientID, "wrong"))}, status: 400, body: `{"error":"invalid_client"}`},
		"PlantPredict's pool": {edit: []func(*call){header("Authorization", basic(providersim.PlantPredictClientID, providersim.PlantPredictClientSecret))}, status: 400, body: "invalid_client"},
		"an unknown scope":    {edit: []func(*call){set("scope", "transactions/get")}, status: 400, body: "invalid_scope"},
		"an unknown field":    {edit: []func(*call){set("audience", "x")}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).cognito)
}

func TestZitadelRefusesWhatTheInstanceRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                 {edit: []func(*call){method("GET"), body("")}, status: 405},
		"another path":        {edit: []func(*call){at("/")}, status: 404, body: "404"},
		"a JSON body":         {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 400, body: "invalid_request"},
		"a query":             {edit: []func(*call){at("?scope=x")}, status: 400, body: "invalid_request"},
		"no grant type":       {edit: []func(*call){drop("grant_type")}, status: 400, body: "grant_type missing"},
		"another grant type":  {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"an unknown field":    {edit: []func(*call){set("audience", "x")}, status: 400, body: "error decoding form"},
		"a repeated field":    {edit: []func(*call){again("scope")}, status: 400, body: "error parsing form"},
		"no credentials":      {edit: []func(*call){noHeader("Authorization")}, status: 400, body: "client_id or client_assertion must be provided"},
		"a wrong secret":      {edit: []func(*call){header("Authorization", basic(url.QueryEscape(providersim.ZitadelClientID), "wrong"))}, status: 400, body: "Errors.User.Machine.Secret.Invalid"},
		"a header as it is":   {edit: []func(*call){header("Authorization", basic(providersim.ZitadelClientID, providersim.ZitadelClientSecret))}, status: 400, body: "invalid_request"},
		"an unknown client":   {edit: []func(*call){header("Authorization", basic("nobody", "wrong"))}, status: 400, body: "invalid_client"},
		"no scope":            {edit: []func(*call){drop("scope")}, status: 400, body: "The scope of your request is missing."},
		"an assertion beside": {edit: []func(*call){set("assertion", "x")}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).zitadel)
}

// proofCall is a good request with a JWT in it, that edits spoil before it is signed.
type proofCall struct {
	make func(b *bench, edits ...func(*assertion)) *assertion
	call func(b *bench, compact string) call
	// status and words of a refusal.
	status int
	words  string
	// lenient are the edits that do no harm here.
	lenient []string
}

func newProof(b *bench, client, audience string, m jwt.SigningMethod, key any, header map[string]any, edits []func(*assertion)) *assertion {
	a := &assertion{
		header: map[string]any{"alg": m.Alg(), "typ": "JWT"}, method: m, key: key,
		claims: jwt.MapClaims{
			"iss": client, "sub": client, "aud": audience, "jti": rand.Text(),
			"iat": b.clock.Now().Unix(), "exp": b.clock.Now().Add(50 * time.Second).Unix(),
		},
	}
	maps.Copy(a.header, header)
	for _, edit := range edits {
		edit(a)
	}
	return a
}

func inForm(c call, client, compact string) call {
	return c.edit(noHeader("Authorization"), drop("client_secret"), set("client_id", client),
		set("client_assertion_type", clientProof), set("client_assertion", compact))
}

func proofCalls() map[string]proofCall {
	k := demoKeysA()
	kid := map[string]any{"kid": signingKeyID}
	return map[string]proofCall{
		"Keycloak": {
			make: func(b *bench, edits ...func(*assertion)) *assertion {
				return newProof(b, signingClient, b.Keycloak.Issuer(), jwt.SigningMethodES256, k.elliptic, kid, edits)
			},
			call:   func(b *bench, compact string) call { return inForm(b.keycloak(), signingClient, compact) },
			status: 400, words: "invalid_client", lenient: []string{"no kid", "no iat", "a good nbf", "exp in two minutes", "exp in nine minutes", "exp in eleven minutes", "exp in an hour and a half"},
		},
		"Auth0": {
			make: func(b *bench, edits ...func(*assertion)) *assertion {
				return newProof(b, signingClient, "https://"+b.Auth0.Address()+"/", jwt.SigningMethodRS256, k.client, kid, edits)
			},
			call:   func(b *bench, compact string) call { return inForm(b.auth0(), signingClient, compact) },
			status: 401, words: "invalid_client", lenient: []string{"no kid", "no iat", "a good nbf", "exp in two minutes", "PS256", "RS256", "iat two minutes ago"},
		},
		"Okta": {
			make: func(b *bench, edits ...func(*assertion)) *assertion {
				return newProof(b, signingClient, b.Okta.TokenURL("default"), jwt.SigningMethodRS256, k.client, kid, edits)
			},
			call:   func(b *bench, compact string) call { return inForm(b.okta(), signingClient, compact) },
			status: 401, words: "invalid_client",
			lenient: []string{"no kid", "no iat", "a good nbf", "exp in two minutes", "exp in nine minutes", "exp in eleven minutes", "iat two minutes ago", "RS256", "RS512"},
		},
		"EntraID": {
			make: func(b *bench, edits ...func(*assertion)) *assertion {
				return newProof(b, entraClient, b.EntraID.TokenURL(), jwt.SigningMethodPS256, k.client, map[string]any{"x5t#S256": thumbprint()}, edits)
			},
			call:   func(b *bench, compact string) call { return inForm(b.entraID(), entraClient, compact) },
			status: 401, words: "invalid_client",
			lenient: []string{"no kid", "another kid", "no iat", "a good nbf", "exp in two minutes", "exp in nine minutes", "iat two minutes ago", "PS256"},
		},
		"Zitadel": {
			make: func(b *bench, edits ...func(*assertion)) *assertion {
				return newProof(b, providersim.ZitadelUserID, "https://"+b.Zitadel.Address(), jwt.SigningMethodRS256, k.client,
					map[string]any{"kid": providersim.ZitadelKeyID}, edits)
			},
			call: func(b *bench, compact string) call {
				return b.zitadel().edit(noHeader("Authorization"),
					set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), set("assertion", compact))
			},
			status: 500, words: "server_error",
			lenient: []string{"exp in two minutes", "exp in nine minutes", "exp in eleven minutes", "iat two minutes ago", "RS256"},
		},
	}
}

func claim(name string, value any) func(*assertion) {
	return func(a *assertion) { a.claims[name] = value }
}

func without(name string) func(*assertion) { return func(a *assertion) { delete(a.claims, name) } }

func title(name string, value any) func(*assertion) {
	return func(a *assertion) { a.header[name] = value }
}

func signedAs(m jwt.SigningMethod, key any) func(*assertion) {
	return func(a *assertion) { a.method, a.key, a.header["alg"] = m, key, m.Alg() }
}

func TestProvidersJudgeEveryPartOfAnAssertion(t *testing.T) {
	t.Parallel()
	k := demoKeysA()
	after := func(d time.Duration) int64 { return start().Add(d).Unix() }
	spoiled := map[string]func(*assertion){
		"no typ":                    func(a *assertion) { delete(a.header, "typ") },
		"another typ":               title("typ", "jwt"),
		"an unknown header":         title("crit", []string{"exp"}),
		"x5t":                       title("x5t", base64.RawURLEncoding.EncodeToString(sha1.New().Sum(nil))),
		"no kid":                    func(a *assertion) { delete(a.header, "kid") },
		"another kid":               title("kid", "other"),
		"a kid that is a number":    title("kid", 1),
		"no signature":              signedAs(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"HS256":                     signedAs(jwt.SigningMethodHS256, []byte("x")),
		"PS256":                     signedAs(jwt.SigningMethodPS256, k.client),
		"RS256":                     signedAs(jwt.SigningMethodRS256, k.client),
		"RS512":                     signedAs(jwt.SigningMethodRS512, k.client),
		"a stranger's key":          func(a *assertion) { a.key = strangerOf(a.method) },
		"another iss":               claim("iss", "other"),
		"another sub":               claim("sub", "other"),
		"both others":               func(a *assertion) { a.claims["iss"], a.claims["sub"] = "other", "other" },
		"no iss":                    without("iss"),
		"no sub":                    without("sub"),
		"no aud":                    without("aud"),
		"another aud":               claim("aud", "https://other.example/"),
		"aud in a list":             func(a *assertion) { a.claims["aud"] = []any{a.claims["aud"]} },
		"a slash behind aud":        func(a *assertion) { a.claims["aud"] = fmt.Sprint(a.claims["aud"], "/") },
		"no jti":                    without("jti"),
		"an empty jti":              claim("jti", ""),
		"a jti that is a number":    claim("jti", 1),
		"no exp":                    without("exp"),
		"exp now":                   claim("exp", after(-time.Minute)),
		"exp in text":               claim("exp", "2026-01-01"),
		"exp with a fraction":       claim("exp", float64(after(0))+50.5),
		"exp in two minutes":        claim("exp", after(2*time.Minute)),
		"exp in nine minutes":       claim("exp", after(9*time.Minute)),
		"exp in eleven minutes":     claim("exp", after(11*time.Minute)),
		"exp in an hour and a half": claim("exp", after(90*time.Minute)),
		"no iat":                    without("iat"),
		"iat in the future":         claim("iat", after(20*time.Second)),
		"iat two minutes ago":       claim("iat", after(-2*time.Minute)),
		"nbf in the future":         claim("nbf", after(20*time.Second)),
		"a good nbf":                claim("nbf", after(0)),
		"an unknown claim":          claim("scope", "x"),
	}
	for endpoint, c := range proofCalls() {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			for name, edit := range spoiled {
				a := b.send(t, c.call(b, c.make(b, edit).sign(t)))
				if slices.Contains(c.lenient, name) {
					if a.status != 200 {
						t.Errorf("%s: got %d %s, want it to be taken", name, a.status, a.body)
					}
					continue
				}
				// An issuer that nobody knows may get another status.
				if a.status == 200 || !strings.Contains(a.body, c.words) || (a.status != c.status && a.status != 401) {
					t.Errorf("%s: got %d %s, want %d %s", name, a.status, a.body, c.status, c.words)
				}
			}
		})
	}
}

func strangerOf(m jwt.SigningMethod) any {
	if m == jwt.SigningMethodES256 {
		return newEC()
	}
	return demoKeysA().stranger
}

func TestProvidersJudgeHowAnAssertionIsWritten(t *testing.T) {
	t.Parallel()
	for endpoint, c := range proofCalls() {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			good := c.make(b).sign(t)
			parts := strings.Split(good, ".")
			// twice has a member once more, before the true one, and is signed so.
			twice := func(i int, member string) string {
				content, err := base64.RawURLEncoding.DecodeString(parts[i])
				if err != nil {
					t.Fatal(err)
				}
				edited := slices.Clone(parts)
				edited[i] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(content), "{", "{"+member+",", 1)))
				signature, err := c.make(b).method.Sign(edited[0]+"."+edited[1], c.make(b).key)
				if err != nil {
					t.Fatal(err)
				}
				return edited[0] + "." + edited[1] + "." + base64.RawURLEncoding.EncodeToString(signature)
			}
			for name, compact := range map[string]string{
				"two parts":         parts[0] + "." + parts[1],
				"four parts":        good + ".",
				"padding":           good + "=",
				"an empty one":      parts[0] + "." + parts[1] + ".",
				"another signature": parts[0] + "." + parts[1] + "." + flipped(parts[2]),
				"alg twice":         twice(0, `"alg":"none"`),
				"aud twice":         twice(1, `"aud":"x"`),
				"no JSON":           "e30x." + parts[1] + "." + parts[2],
			} {
				a := b.send(t, c.call(b, compact))
				if a.status != c.status && a.status != 401 || !strings.Contains(a.body, c.words) {
					t.Errorf("%s: got %d %s", name, a.status, a.body)
				}
			}
			if a := b.send(t, c.call(b, good)); a.status != 200 {
				t.Errorf("the good one: got %d %s", a.status, a.body)
			}
			if a := b.send(t, c.call(b, good)); a.status != c.status || !strings.Contains(a.body, c.words) {
				t.Errorf("a replay: got %d %s", a.status, a.body)
			}
		})
	}
}

func flipped(signature string) string {
	content, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return ""
	}
	content[0] ^= 1
	return base64.RawURLEncoding.EncodeToString(content)
}

func TestProvidersJudgeTheFieldsBesideAnAssertion(t *testing.T) {
	t.Parallel()
	for endpoint, c := range proofCalls() {
		if endpoint == "Zitadel" {
			continue // the JWT is the grant there, and has no fields beside it
		}
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			for name, edit := range map[string]func(*call){
				"another client_id":             set("client_id", "other"),
				"another client_assertion_type": set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
				"no client_assertion_type":      drop("client_assertion_type"),
				"no client_assertion":           drop("client_assertion"),
				"a header":                      header("Authorization", basic("x", "y")),
				"a secret":                      set("client_secret", "x"),
			} {
				if a := b.send(t, c.call(b, c.make(b).sign(t)).edit(edit)); a.status < 400 || a.status > 401 {
					t.Errorf("%s: got %d %s", name, a.status, a.body)
				}
			}
			a := b.send(t, c.call(b, c.make(b).sign(t)).edit(drop("client_id")))
			if taken := endpoint != "EntraID"; (a.status == 200) != taken {
				t.Errorf("no client_id: got %d %s", a.status, a.body)
			}
		})
	}
}

func TestZitadelTakesNothingBesideAnAssertion(t *testing.T) {
	t.Parallel()
	c := proofCalls()["Zitadel"]
	b := newBench(t, providersim.Options{})
	for name, edit := range map[string]func(*call){
		"a client_id": set("client_id", providersim.ZitadelUserID),
		"a header":    header("Authorization", basic("x", "y")),
		"no scope":    drop("scope"),
	} {
		if a := b.send(t, c.call(b, c.make(b).sign(t)).edit(edit)); a.status != 400 {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
}

func TestAClustersTokenIsJudged(t *testing.T) {
	t.Parallel()
	k := demoKeysA()
	keycloak := func(b *bench, compact string) call {
		return inForm(b.keycloak(), "", compact).edit(drop("client_id"))
	}
	entra := func(b *bench, compact string) call { return inForm(b.entraID(), entraWorkload, compact) }
	for name, c := range map[string]struct {
		call     func(*bench, string) call
		audience func(*bench) string
	}{
		"Keycloak": {keycloak, func(b *bench) string { return b.Keycloak.Issuer() }},
		"EntraID":  {entra, func(*bench) string { return providersim.EntraIDExchange }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			audience := c.audience(b)
			for problem, compact := range map[string]string{
				"another audience":   clusterToken(k.cluster, "https://other.example"),
				"the token endpoint": clusterToken(k.cluster, b.Keycloak.TokenURL()),
				"two audiences":      clusterToken(k.cluster, "", func(m jwt.MapClaims) { m["aud"] = []string{audience, "other"} }),
				"another subject":    clusterToken(k.cluster, audience, func(m jwt.MapClaims) { m["sub"] = "system:serviceaccount:team:default" }),
				"another issuer":     clusterToken(k.cluster, audience, func(m jwt.MapClaims) { m["iss"] = "https://other.example" }),
				"a stranger's key":   clusterToken(k.stranger, audience),
				"over":               clusterToken(k.cluster, audience, func(m jwt.MapClaims) { m["exp"] = start().Unix() }),
				"not yet":            clusterToken(k.cluster, audience, func(m jwt.MapClaims) { m["nbf"] = start().Add(time.Minute).Unix() }),
				"no exp":             clusterToken(k.cluster, audience, func(m jwt.MapClaims) { delete(m, "exp") }),
				"no JWT":             "x.y.z",
			} {
				if a := b.send(t, c.call(b, compact)); a.status < 400 || a.status > 401 || !strings.Contains(a.body, "invalid_client") {
					t.Errorf("%s: got %d %s", problem, a.status, a.body)
				}
			}
			good := clusterToken(k.cluster, audience)
			for range 2 { // a cluster hands the same one out again
				if a := b.send(t, c.call(b, good)); a.status != 200 {
					t.Errorf("a good one: got %d %s", a.status, a.body)
				}
			}
		})
	}
}

func TestEntraIDTakesAClustersTokenForItsApplicationOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	good := clusterToken(demoKeysA().cluster, providersim.EntraIDExchange)
	if a := b.send(t, inForm(b.entraID(), entraClient, good)); a.status != 401 || !strings.Contains(a.body, "AADSTS700213") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestAuth0WantsTheSlashBehindItsDomain(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	c := proofCalls()["Auth0"]
	for _, audience := range []string{"https://" + b.Auth0.Address(), b.Auth0.TokenURL()} {
		if a := b.send(t, c.call(b, c.make(b, claim("aud", audience)).sign(t))); a.status != 401 {
			t.Errorf("%s: got %d %s", audience, a.status, a.body)
		}
	}
}

func TestKeycloakTakesNoClusterTokenOlderThanAnHour(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	old := clusterToken(demoKeysA().cluster, b.Keycloak.Issuer(), func(m jwt.MapClaims) {
		m["iat"], m["exp"] = start().Add(-61*time.Minute).Unix(), start().Add(time.Hour).Unix()
	})
	a := b.send(t, inForm(b.keycloak(), "", old).edit(drop("client_id")))
	if a.status != 400 || !strings.Contains(a.body, "too far in the past") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestKeycloakRefusesAClientIDThatIsNotTheTokensSubject(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	good := clusterToken(demoKeysA().cluster, b.Keycloak.Issuer())
	for id, want := range map[string]int{workload: 400, clusterUser: 200} {
		if a := b.send(t, inForm(b.keycloak(), id, good)); a.status != want {
			t.Errorf("client_id %s: got %d %s, want %d", id, a.status, a.body, want)
		}
	}
}

func TestKeycloakLooksAtTheCertificate(t *testing.T) {
	t.Parallel()
	k := demoKeysA()
	for name, c := range map[string]struct {
		certificate certified
		client      string
		want        int
	}{
		"the client's":           {k.certificate, tlsClient, 200},
		"of another authority":   {k.impostor, tlsClient, 401},
		"with another name":      {k.namesake, tlsClient, 401},
		"of another client":      {k.certificate, "nobody", 401},
		"of a client of secrets": {k.certificate, providersim.KeycloakClientID, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			b.client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{{
				Certificate: [][]byte{c.certificate.certificate.Raw}, PrivateKey: k.client,
			}}
			a := b.send(t, b.keycloak().edit(noHeader("Authorization"), set("client_id", c.client)))
			if a.status != c.want {
				t.Errorf("got %d %s, want %d", a.status, a.body, c.want)
			}
		})
	}
}

func TestIdentityProvidersAnswerAsDocumented(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call func(*bench) call
		want string
	}{
		"Auth0":    {(*bench).auth0, `{"expires_in":86400,"scope":"read:demo","token_type":"Bearer"}`},
		"Cognito":  {(*bench).cognito, `{"expires_in":3600,"token_type":"Bearer"}`},
		"EntraID":  {(*bench).entraID, `{"expires_in":3599,"ext_expires_in":3599,"token_type":"Bearer"}`},
		"Keycloak": {(*bench).keycloak, `{"expires_in":300,"not-before-policy":0,"refresh_expires_in":0,"scope":"profile email","token_type":"Bearer"}`},
		"Okta":     {(*bench).okta, `{"expires_in":3600,"scope":"demo.read","token_type":"Bearer"}`},
		"Zitadel":  {(*bench).zitadel, `{"expires_in":43199,"token_type":"Bearer"}`},
	} {
		b := newBench(t, providersim.Options{})
		a := b.send(t, c.call(b))
		if a.status != 200 || a.token() == "" {
			t.Fatalf("%s: got %d %s", name, a.status, a.body)
		}
		delete(a.fields, "access_token")
		got, err := json.Marshal(a.fields)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
