package providersim_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/providersim"
)

// The keys that clients sign with here: one that the simulators know, and a stranger's.
// They are made once, since making one takes as long as a hundred tests.
var (
	clientKey   = sync.OnceValue(newKey)
	strangerKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// inPEM is a key as vendors hand it out: PKCS #1 from GitHub, PKCS #8 from Google.
func inPEM(key *rsa.PrivateKey) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// introduceB makes clientKey known to those providers that verify signatures.
func (b *bench) introduceB() {
	public := &clientKey().PublicKey
	b.GoogleServiceAccount.SetServiceAccount(providersim.GoogleClientEmail, providersim.GoogleKeyID, public)
	b.GitHubApp.SetKey(public)
	b.Salesforce.SetCertificate(public)
}

func (b *bench) hostsB() []*providersim.Host {
	return []*providersim.Host{b.GoogleServiceAccount.Host, b.GitHubApp.Host, b.Salesforce.Host, b.Zoom.Host, b.PayPal.Host}
}

// rs256 signs like a client that knows what it does, but for the edits.
func rs256(claims jwt.MapClaims, kid string, edits ...func(*assertion)) string {
	a := &assertion{
		header: map[string]any{"alg": "RS256", "typ": "JWT"}, claims: claims, method: jwt.SigningMethodRS256, key: clientKey(),
	}
	if kid != "" {
		a.header["kid"] = kid
	}
	for _, edit := range edits {
		edit(a)
	}
	signed, err := (&jwt.Token{Header: a.header, Claims: a.claims, Method: a.method}).SignedString(a.key)
	if err != nil {
		panic(err)
	}
	return signed
}

func stating(name string, value any) func(*assertion) {
	return func(a *assertion) { a.claims[name] = value }
}

func omitting(name string) func(*assertion) {
	return func(a *assertion) { delete(a.claims, name) }
}

func head(name string, value any) func(*assertion) {
	return func(a *assertion) { a.header[name] = value }
}

func headless(name string) func(*assertion) {
	return func(a *assertion) { delete(a.header, name) }
}

func byStranger(a *assertion) { a.key = strangerKey() }

// byDigest signs with the public key as if it were a secret, the classic confusion.
func byDigest(a *assertion) {
	a.header["alg"], a.method, a.key = "HS256", jwt.SigningMethodHS256, x509.MarshalPKCS1PublicKey(&clientKey().PublicKey)
}

func unsigned(a *assertion) {
	a.header["alg"], a.method, a.key = "none", jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
}

// epoch is so long after the bench's start.
func epoch(d time.Duration) int64 { return start().Add(d).Unix() }

func (b *bench) google(edits ...func(*assertion)) call {
	return call{method: http.MethodPost, url: b.GoogleServiceAccount.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"assertion": {rs256(jwt.MapClaims{
			"iss": providersim.GoogleClientEmail, "scope": providersim.GoogleScope, "aud": b.GoogleServiceAccount.TokenURL(),
			"iat": epoch(0), "exp": epoch(time.Hour), "jti": "once",
		}, providersim.GoogleKeyID, edits...)},
	}}
}

// built is a call whose assertion was edited.
func built(build func(*bench, ...func(*assertion)) call, edits ...func(*assertion)) func(*bench) call {
	return func(b *bench) call { return build(b, edits...) }
}

// wrongAssertions is refusals for what is signed; every one is sent, then a good one.
type wrongAssertions map[string]struct {
	edits  []func(*assertion)
	status int
	body   string
}

func (table wrongAssertions) run(t *testing.T, build func(*bench, ...func(*assertion)) call) {
	t.Helper()
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			a := b.send(t, built(build, c.edits...)(b))
			if a.status != c.status || !strings.Contains(a.body, c.body) {
				t.Errorf("got %d %q, want %d %q", a.status, a.body, c.status, c.body)
			}
			for _, h := range b.hostsB() {
				if h.Issued() != 0 {
					t.Error("a token was issued")
				}
			}
			if a := b.send(t, build(b)); a.status/100 != 2 {
				t.Errorf("the unchanged request: got %d %q", a.status, a.body)
			}
		})
	}
}

func TestGoogleRefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                     {edit: []func(*call){method("GET")}, status: 404, body: "404"},
		"another path":            {edit: []func(*call){at("/")}, status: 404, body: "404"},
		"a query":                 {edit: []func(*call){at("?")}, status: 400, body: "invalid_request"},
		"no content type":         {edit: []func(*call){noHeader("Content-Type")}, status: 400, body: "invalid_request"},
		"no grant type":           {edit: []func(*call){drop("grant_type")}, status: 400, body: "unsupported_grant_type"},
		"another grant type":      {edit: []func(*call){set("grant_type", "client_credentials")}, status: 400, body: "unsupported_grant_type"},
		"no assertion":            {edit: []func(*call){drop("assertion")}, status: 400, body: "invalid_request"},
		"two assertions":          {edit: []func(*call){again("assertion")}, status: 400, body: "invalid_request"},
		"a scope in the body":     {edit: []func(*call){set("scope", providersim.GoogleScope)}, status: 400, body: "invalid_request"},
		"a client_id in the body": {edit: []func(*call){set("client_id", "1")}, status: 400, body: "invalid_request"},
		"an Authorization header": {edit: []func(*call){header("Authorization", "Bearer x")}, status: 400, body: "invalid_request"},
		"no JWT":                  {edit: []func(*call){set("assertion", "x.y.z")}, status: 400, body: "invalid_grant"},
	}.run(t, func(b *bench) call { return b.google() })
	wrongAssertions{
		"a stranger's signature":      {[]func(*assertion){byStranger}, 400, "Invalid JWT Signature."},
		"the public key for a secret": {[]func(*assertion){byDigest}, 400, "invalid_grant"},
		"no signature":                {[]func(*assertion){unsigned}, 400, "invalid_grant"},
		"another key id":              {[]func(*assertion){head("kid", "x")}, 400, "Invalid JWT Signature."},
		"no key id":                   {[]func(*assertion){headless("kid")}, 400, "Invalid JWT Signature."},
		"another typ":                 {[]func(*assertion){head("typ", "at+jwt")}, 400, "invalid_grant"},
		"a header of one's own":       {[]func(*assertion){head("x5t", "x")}, 400, "invalid_grant"},
		"an unknown account":          {[]func(*assertion){stating("iss", "x@y.example")}, 400, "account not found"},
		"another audience":            {[]func(*assertion){stating("aud", "https://accounts.google.com/o/oauth2/token")}, 400, "Failed audience check"},
		"a list of audiences":         {[]func(*assertion){func(a *assertion) { a.claims["aud"] = []any{a.claims["aud"]} }}, 400, "Failed audience check"},
		"an hour and a second":        {[]func(*assertion){stating("exp", epoch(time.Hour+time.Second))}, 400, "short-lived token"},
		"over":                        {[]func(*assertion){stating("iat", epoch(-time.Hour)), stating("exp", epoch(0))}, 400, "short-lived token"},
		"from the future":             {[]func(*assertion){stating("iat", epoch(time.Second))}, 400, "short-lived token"},
		"no iat":                      {[]func(*assertion){omitting("iat")}, 400, "short-lived token"},
		"milliseconds":                {[]func(*assertion){stating("exp", epoch(0)*1000)}, 400, "short-lived token"},
		"exp in a string":             {[]func(*assertion){stating("exp", "1772600867")}, 400, "short-lived token"},
		"no scope":                    {[]func(*assertion){omitting("scope")}, 400, "invalid_scope"},
		"a scope that is not granted": {[]func(*assertion){stating("scope", "openid")}, 400, "invalid_scope"},
		"a comma between scopes":      {[]func(*assertion){stating("scope", providersim.GoogleScope+","+providersim.GoogleScope)}, 400, "invalid_scope"},
		"somebody to act for":         {[]func(*assertion){stating("sub", "user@example.com")}, 401, "unauthorized_client"},
		"itself to act for":           {[]func(*assertion){stating("sub", providersim.GoogleClientEmail)}, 401, "unauthorized_client"},
		"a claim of one's own":        {[]func(*assertion){stating("tenant", "x")}, 400, "invalid_grant"},
	}.run(t, (*bench).google)
}

func TestGoogleAnswersAsDocumentedAndLetsUsersBeActedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	a := b.send(t, b.google())
	if !b.GoogleServiceAccount.Accepts(a.token()) || a.fields["expires_in"] != 3600.0 ||
		a.fields["token_type"] != "Bearer" || a.fields["scope"] != providersim.GoogleScope || len(a.fields) != 4 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.GoogleServiceAccount.Delegate("user@example.com")
	if a := b.send(t, b.google(stating("sub", "user@example.com"))); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func (b *bench) gitHub(edits ...func(*assertion)) call {
	return call{method: http.MethodPost, url: b.GitHubApp.TokenURL(), header: http.Header{
		"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}, "User-Agent": {"test"},
		"Authorization": {"Bearer " + rs256(jwt.MapClaims{
			"iss": providersim.GitHubClientID, "iat": epoch(-time.Minute), "exp": epoch(10 * time.Minute),
		}, "", edits...)},
	}}
}

func wish(content string) []func(*call) {
	return []func(*call){header("Content-Type", "application/json"), body(content)}
}

func TestGitHubRefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                           {edit: []func(*call){method("GET")}, status: 404, body: "Not Found"},
		"a slash at the end":            {edit: []func(*call){at("/")}, status: 404, body: "Not Found"},
		"a query":                       {edit: []func(*call){at("?a=b")}, status: 404, body: "Not Found"},
		"another installation":          {edit: []func(*call){func(c *call) { c.url = strings.Replace(c.url, "2718", "1828", 1) }}, status: 404, body: "Not Found"},
		"no User-Agent":                 {edit: []func(*call){header("User-Agent", "")}, status: 403, body: "User-Agent"},
		"another Accept":                {edit: []func(*call){header("Accept", "application/json")}, status: 415, body: "Accept"},
		"no version":                    {edit: []func(*call){noHeader("X-Github-Api-Version")}, status: 400, body: "version"},
		"another version":               {edit: []func(*call){header("X-Github-Api-Version", "2019-01-01")}, status: 400, body: "version"},
		"no Authorization":              {edit: []func(*call){noHeader("Authorization")}, status: 401, body: "A JSON web token could not be decoded"},
		"two of them":                   {edit: []func(*call){func(c *call) { c.header.Add("Authorization", c.header.Get("Authorization")) }}, status: 401, body: "decoded"},
		"another scheme":                {edit: []func(*call){func(c *call) { c.header.Set("Authorization", "token x.y.z") }}, status: 401, body: "decoded"},
		"a form":                        {edit: []func(*call){header("Content-Type", "application/x-www-form-urlencoded"), body("a=b")}, status: 415, body: "Content-Type"},
		"no JSON":                       {edit: wish(`{`), status: 400, body: "Problems parsing JSON"},
		"a field of OAuth":              {edit: wish(`{"grant_type":"x"}`), status: 422, body: "is not a permitted key"},
		"a repository that is not ours": {edit: wish(`{"repositories":["hello-world","other"]}`), status: 422, body: "at least one repository"},
		"a permission that is not ours": {edit: wish(`{"permissions":{"administration":"read"}}`), status: 422, body: "permissions requested"},
		"more than we have":             {edit: wish(`{"permissions":{"contents":"write"}}`), status: 422, body: "permissions requested"},
		"permissions in a list":         {edit: wish(`{"permissions":["contents"]}`), status: 422, body: "Invalid request."},
	}.run(t, func(b *bench) call { return b.gitHub() })
	wrongAssertions{
		"a stranger's signature":      {[]func(*assertion){byStranger}, 401, "could not be decoded"},
		"the public key for a secret": {[]func(*assertion){byDigest}, 401, "could not be decoded"},
		"no signature":                {[]func(*assertion){unsigned}, 401, "could not be decoded"},
		"another App":                 {[]func(*assertion){stating("iss", "1")}, 404, "Integration not found"},
		"a number for an issuer":      {[]func(*assertion){stating("iss", 314159)}, 404, "Integration not found"},
		"ten minutes and a second":    {[]func(*assertion){stating("exp", epoch(10*time.Minute+time.Second))}, 401, "too far in the future"},
		"over":                        {[]func(*assertion){stating("exp", epoch(0))}, 401, "must be a numeric value"},
		"exp in a string":             {[]func(*assertion){stating("exp", "1772600867")}, 401, "must be a numeric value"},
		"from the future":             {[]func(*assertion){stating("iat", epoch(time.Second))}, 401, "must be an Integer"},
		"iat with a fraction":         {[]func(*assertion){stating("iat", 1772600000.5)}, 401, "must be an Integer"},
		"no iat":                      {[]func(*assertion){omitting("iat")}, 401, "must be an Integer"},
		"another typ":                 {[]func(*assertion){head("typ", "x")}, 401, "could not be decoded"},
		"a subject":                   {[]func(*assertion){stating("sub", "x")}, 401, "could not be decoded"},
	}.run(t, (*bench).gitHub)
}

func TestGitHubGrantsWhatTheBodyNarrows(t *testing.T) {
	t.Parallel()
	all := map[string]string{"contents": "read", "issues": "write", "metadata": "read"}
	for name, c := range map[string]struct {
		edits     []func(*call)
		signed    []func(*assertion)
		want      providersim.GitHubGrant
		selection string
	}{
		"all without a body":     {nil, nil, providersim.GitHubGrant{Permissions: all}, "all"},
		"by the app's number":    {nil, []func(*assertion){stating("iss", providersim.GitHubAppID)}, providersim.GitHubGrant{Permissions: all}, "all"},
		"with an empty object":   {wish(`{}`), nil, providersim.GitHubGrant{Permissions: all}, "all"},
		"with aud and jti":       {nil, []func(*assertion){stating("aud", "x"), stating("jti", "x")}, providersim.GitHubGrant{Permissions: all}, "all"},
		"one repository":         {wish(`{"repositories":["hello-world"]}`), nil, providersim.GitHubGrant{Permissions: all, Repositories: []string{"hello-world"}}, "selected"},
		"less of one permission": {wish(`{"permissions":{"issues":"read"}}`), nil, providersim.GitHubGrant{Permissions: map[string]string{"issues": "read"}}, "all"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			a := b.send(t, b.gitHub(c.signed...).edit(c.edits...))
			token, _ := a.fields["token"].(string)
			got, ok := b.GitHubApp.Granted(token)
			if diff := cmp.Diff(c.want, got); !ok || diff != "" || a.status != 201 || !b.GitHubApp.Accepts(token) {
				t.Errorf("%d %s; granted (-want +got):\n%s", a.status, a.body, diff)
			}
			if a.fields["expires_at"] != "2026-03-04T06:06:07Z" || a.fields["repository_selection"] != c.selection || a.fields["expires_in"] != nil {
				t.Errorf("got %s", a.body)
			}
		})
	}
	b := newBench(t, providersim.Options{})
	b.GitHubApp.Suspend(true)
	if a := b.send(t, b.gitHub()); a.status != 403 || !strings.Contains(a.body, "suspended") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func (b *bench) salesforceJWT(edits ...func(*assertion)) call {
	return call{method: http.MethodPost, url: b.Salesforce.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"assertion": {rs256(jwt.MapClaims{
			"iss": providersim.SalesforceConsumerKey, "sub": providersim.SalesforceUsername, "aud": "https://login.salesforce.com",
			"exp": epoch(3 * time.Minute),
		}, "", edits...)},
	}}
}

func (b *bench) salesforceClient() call {
	return call{method: http.MethodPost, url: b.Salesforce.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"client_credentials"}, "client_id": {providersim.SalesforceConsumerKey},
		"client_secret": {providersim.SalesforceConsumerSecret},
	}}
}

func TestSalesforceRefusesAssertionsThatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                  {edit: []func(*call){method("GET")}, status: 400, body: "must use HTTP POST"},
		"another path":         {edit: []func(*call){at("/")}, status: 404, body: "URL No Longer Exists"},
		"a query":              {edit: []func(*call){at("?a=b")}, status: 400, body: "invalid_request"},
		"JSON":                 {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 400, body: "invalid_request"},
		"two assertions":       {edit: []func(*call){again("assertion")}, status: 400, body: "invalid_request"},
		"a scope":              {edit: []func(*call){set("scope", "api")}, status: 400, body: "scope parameter not supported"},
		"another grant type":   {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"a secret too":         {edit: []func(*call){set("client_secret", providersim.SalesforceConsumerSecret)}, status: 400, body: "invalid_request"},
		"another client_id":    {edit: []func(*call){set("client_id", "x")}, status: 400, body: "invalid_client_id"},
		"a Basic header":       {edit: []func(*call){header("Authorization", basic("a", "b"))}, status: 400, body: "invalid_request"},
		"no assertion":         {edit: []func(*call){drop("assertion")}, status: 400, body: "invalid assertion"},
		"an assertion of dots": {edit: []func(*call){set("assertion", "..")}, status: 400, body: "invalid assertion"},
	}.run(t, func(b *bench) call { return b.salesforceJWT() })
	wrongAssertions{
		"a stranger's signature":        {[]func(*assertion){byStranger}, 400, "invalid assertion"},
		"the public key for a secret":   {[]func(*assertion){byDigest}, 400, "invalid assertion"},
		"no signature":                  {[]func(*assertion){unsigned}, 400, "invalid assertion"},
		"an unknown app":                {[]func(*assertion){stating("iss", "x")}, 400, "invalid_client_id"},
		"a user who is not approved":    {[]func(*assertion){stating("sub", "x")}, 400, "user hasn't approved this consumer"},
		"the app for a user":            {[]func(*assertion){stating("sub", providersim.SalesforceConsumerKey)}, 400, "user hasn't approved this consumer"},
		"no user":                       {[]func(*assertion){omitting("sub")}, 400, "invalid assertion"},
		"the token endpoint as aud":     {[]func(*assertion){stating("aud", "https://login.salesforce.com/services/oauth2/token")}, 400, "audience is invalid"},
		"three minutes and a second":    {[]func(*assertion){stating("exp", epoch(3*time.Minute+time.Second))}, 400, "expired authorization code"},
		"over":                          {[]func(*assertion){stating("exp", epoch(0))}, 400, "expired authorization code"},
		"from the future":               {[]func(*assertion){stating("iat", epoch(time.Second))}, 400, "invalid assertion"},
		"a claim that nobody asked for": {[]func(*assertion){stating("scope", "api")}, 400, "invalid assertion"},
	}.run(t, (*bench).salesforceJWT)
}

func TestSalesforceRefusesClientsThatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"a wrong secret":    {edit: []func(*call){set("client_secret", "x")}, status: 400, body: `{"error":"invalid_client","error_description":"invalid client credentials"}`},
		"an unknown app":    {edit: []func(*call){set("client_id", "x")}, status: 400, body: "invalid_client_id"},
		"no client":         {edit: []func(*call){drop("client_id", "client_secret")}, status: 400, body: "invalid_client_id"},
		"a scope":           {edit: []func(*call){set("scope", "api")}, status: 400, body: "scope parameter not supported"},
		"an unknown field":  {edit: []func(*call){set("audience", "x")}, status: 400, body: "invalid_request"},
		"credentials twice": {edit: []func(*call){header("Authorization", basic(providersim.SalesforceConsumerKey, "x"))}, status: 400, body: "multiple authentication methods"},
	}.run(t, (*bench).salesforceClient)
	b := newBench(t, providersim.Options{})
	b.Salesforce.OnLoginHost(true)
	if a := b.send(t, b.salesforceClient()); a.status != 400 || !strings.Contains(a.body, "request not supported on this domain") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestSalesforceStatesNoLifetime(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	inHeader := b.salesforceClient().edit(drop("client_id", "client_secret"), header("Authorization",
		basic(url.QueryEscape(providersim.SalesforceConsumerKey), url.QueryEscape(providersim.SalesforceConsumerSecret))))
	for _, c := range []call{b.salesforceJWT(), b.salesforceClient(), inHeader} {
		a := b.send(t, c)
		if !b.Salesforce.Accepts(a.token()) || a.fields["expires_in"] != nil || a.fields["instance_url"] == nil {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
}

func (b *bench) zoom() call {
	return call{method: http.MethodPost, url: b.Zoom.TokenURL(), header: http.Header{
		"Content-Type":  {"application/x-www-form-urlencoded"},
		"Authorization": {basic(providersim.ZoomClientID, providersim.ZoomClientSecret)},
	}, form: url.Values{"grant_type": {"account_credentials"}, "account_id": {providersim.ZoomAccountID}}}
}

func TestZoomRefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	const noClient = `{"error":"invalid_client","reason":"Invalid client_id or client_secret"}`
	refusals{
		"GET":                   {edit: []func(*call){method("GET")}, status: 405},
		"another path":          {edit: []func(*call){at("/")}, status: 404, body: "Not Found"},
		"the fields in a query": {edit: []func(*call){at("?grant_type=account_credentials&account_id=x")}, status: 400, body: "invalid_request"},
		"no content type":       {edit: []func(*call){noHeader("Content-Type")}, status: 400, body: "invalid_request"},
		"no client":             {edit: []func(*call){noHeader("Authorization")}, status: 400, body: noClient},
		"a wrong secret":        {edit: []func(*call){header("Authorization", basic(providersim.ZoomClientID, "x"))}, status: 400, body: noClient},
		"a form-encoded header": {edit: []func(*call){header("Authorization", basic(providersim.ZoomClientID, url.QueryEscape(providersim.ZoomClientSecret)))}, status: 400, body: noClient},
		"credentials in the body": {edit: []func(*call){
			noHeader("Authorization"), set("client_id", providersim.ZoomClientID), set("client_secret", providersim.ZoomClientSecret),
		}, status: 400, body: noClient},
		"client credentials":  {edit: []func(*call){set("grant_type", "client_credentials")}, status: 400, body: `"reason":"unsupported grant type"`},
		"no account":          {edit: []func(*call){drop("account_id")}, status: 400, body: "invalid_request"},
		"another account":     {edit: []func(*call){set("account_id", "x")}, status: 400, body: "invalid_request"},
		"two accounts":        {edit: []func(*call){again("account_id")}, status: 400, body: "invalid_request"},
		"a scope":             {edit: []func(*call){set("scope", "meeting:read")}, status: 400, body: "invalid_request"},
		"a client in the way": {edit: []func(*call){set("client_id", providersim.ZoomClientID)}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).zoom)
	b := newBench(t, providersim.Options{})
	a := b.send(t, b.zoom())
	if !b.Zoom.Accepts(a.token()) || a.fields["expires_in"] != 3600.0 || a.fields["token_type"] != "bearer" || a.fields["refresh_token"] != nil {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.Zoom.SetCredentials(providersim.ZoomClientID, "rotated")
	if a := b.send(t, b.zoom()); a.status != 400 {
		t.Errorf("after a change of the secret: got %d %s", a.status, a.body)
	}
}

func (b *bench) payPal() call {
	return call{method: http.MethodPost, url: b.PayPal.TokenURL(), header: http.Header{
		"Content-Type":  {"application/x-www-form-urlencoded"},
		"Authorization": {basic(providersim.PayPalClientID, providersim.PayPalClientSecret)},
	}, form: url.Values{"grant_type": {"client_credentials"}}}
}

func TestPayPalRefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	const noClient = `{"error":"invalid_client","error_description":"Client Authentication failed"}`
	refusals{
		"GET":                   {edit: []func(*call){method("GET")}, status: 405, body: "METHOD_NOT_SUPPORTED"},
		"another path":          {edit: []func(*call){at("/")}, status: 404, body: "RESOURCE_NOT_FOUND"},
		"JSON":                  {edit: []func(*call){header("Content-Type", "application/json")}, status: 415, body: "UNSUPPORTED_MEDIA_TYPE"},
		"a query":               {edit: []func(*call){at("?a=b")}, status: 400, body: "invalid_request"},
		"no client":             {edit: []func(*call){noHeader("Authorization")}, status: 401, body: noClient},
		"a wrong secret":        {edit: []func(*call){header("Authorization", basic(providersim.PayPalClientID, "x"))}, status: 401, body: noClient},
		"a form-encoded header": {edit: []func(*call){header("Authorization", basic(providersim.PayPalClientID, url.QueryEscape(providersim.PayPalClientSecret)))}, status: 401, body: noClient},
		"two headers":           {edit: []func(*call){func(c *call) { c.header.Add("Authorization", c.header.Get("Authorization")) }}, status: 401, body: noClient},
		"no grant type":         {edit: []func(*call){drop("grant_type"), body("x=y")}, status: 400, body: "invalid_request"},
		"another grant type":    {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"a grant type twice":    {edit: []func(*call){again("grant_type")}, status: 400, body: "invalid_request"},
		"a scope":               {edit: []func(*call){set("scope", "openid")}, status: 400, body: "invalid_request"},
		"a client in the body":  {edit: []func(*call){set("client_id", providersim.PayPalClientID)}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).payPal)
	b := newBench(t, providersim.Options{})
	a := b.send(t, b.payPal())
	if !b.PayPal.Accepts(a.token()) || a.fields["expires_in"] != 31668.0 || a.fields["app_id"] == nil || a.fields["nonce"] == nil {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.PayPal.ExpiresInAsString(true)
	if a := b.send(t, b.payPal()); a.fields["expires_in"] != "31668" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.PayPal.SetCredentials(providersim.PayPalClientID, "rotated")
	if a := b.send(t, b.payPal()); a.status != 401 {
		t.Errorf("after a change of the secret: got %d %s", a.status, a.body)
	}
}

func TestTheNewProvidersTellTheirRequestsApart(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	for _, c := range []call{b.google(), b.gitHub(), b.salesforceJWT(), b.salesforceClient(), b.zoom(), b.payPal()} {
		b.send(t, c)
	}
	got := map[string]providersim.Kind{}
	for _, h := range b.hostsB() {
		for _, c := range h.Calls() {
			got[h.Name()+" "+string(c.Kind)] = c.Kind
		}
	}
	want := map[string]providersim.Kind{
		"GitHubApp installation":         providersim.KindInstallation,
		"PayPal client_credentials":      providersim.KindClientCredentials,
		"Salesforce client_credentials":  providersim.KindClientCredentials,
		"Zoom account_credentials":       providersim.KindAccountCredentials,
		"Salesforce " + string(jwtGrant): jwtGrant, "GoogleServiceAccount " + string(jwtGrant): jwtGrant,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

const jwtGrant = providersim.KindJWTBearer

// keyFile is a service account's key as Google hands it out.
func keyFile(t *testing.T) []byte {
	t.Helper()
	members := map[string]string{
		"type": "service_account", "project_id": "demo-project", "private_key_id": providersim.GoogleKeyID,
		"private_key": inPEM(clientKey()), "client_email": providersim.GoogleClientEmail, "client_id": "103200000000000000000",
		"auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://oauth2.googleapis.com/token",
	}
	content, err := json.Marshal(maps.Clone(members))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
