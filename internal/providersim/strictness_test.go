package providersim_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/providertoken/operator/internal/providersim"
)

func (b *bench) hosts() []*providersim.Host {
	hosts := []*providersim.Host{b.PlantPredict.Host, b.SpatiaFi.Host, b.UP42.Host, b.UP42Project.Host, b.Generic.Host}
	return slices.Concat(hosts, b.hostsA(), b.hostsB())
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func (b *bench) plantPredict() call {
	return call{method: http.MethodPost, url: b.PlantPredict.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"client_credentials"}, "scope": {"transactions/post transactions/get"},
		"client_id": {providersim.PlantPredictClientID}, "client_secret": {providersim.PlantPredictClientSecret},
	}}
}

func (b *bench) up42Project() call {
	header := formHeader()
	header.Set("Authorization", basic(providersim.UP42ProjectID, providersim.UP42ProjectKey))
	return call{method: http.MethodPost, url: b.UP42Project.TokenURL(), header: header, form: url.Values{"grant_type": {"client_credentials"}}}
}

func (b *bench) up42() call {
	return call{method: http.MethodPost, url: b.UP42.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"password"}, "client_id": {"up42-api"},
		"username": {providersim.UP42Username}, "password": {providersim.UP42Password},
	}}
}

func (b *bench) up42Refresh(token any) call {
	return b.up42().edit(func(c *call) {
		c.form = url.Values{"grant_type": {"refresh_token"}, "client_id": {"up42-api"}, "refresh_token": {fmt.Sprint(token)}}
	})
}

func (b *bench) spatiaFiLogin() call {
	return call{method: http.MethodGet, url: b.SpatiaFi.LoginURL(), header: http.Header{
		"Authorization": {basic(providersim.SpatiaFiUsername, providersim.SpatiaFiPassword)},
	}}
}

func (b *bench) spatiaFiClients(loginToken string) call {
	return call{method: http.MethodPost, url: b.SpatiaFi.ClientsURL(), header: http.Header{"Authorization": {"Bearer " + loginToken}}}
}

// assertion is a client assertion in the making.
type assertion struct {
	header map[string]any
	claims jwt.MapClaims
	method jwt.SigningMethod
	key    any
}

func (b *bench) assertion() *assertion {
	return &assertion{
		header: map[string]any{"alg": "HS256", "typ": "JWT"},
		claims: jwt.MapClaims{
			"iss": providersim.SpatiaFiClientID, "sub": providersim.SpatiaFiClientID, "aud": b.SpatiaFi.TokenURL(),
			"iat": b.clock.Now().Unix(), "exp": b.clock.Now().Add(time.Minute).Unix(), "jti": "once",
		},
		method: jwt.SigningMethodHS256,
		key:    []byte(providersim.SpatiaFiClientSecret),
	}
}

func (a *assertion) sign(t *testing.T) string {
	t.Helper()
	signed, err := (&jwt.Token{Header: a.header, Claims: a.claims, Method: a.method}).SignedString(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (b *bench) spatiaFiToken(t *testing.T, edits ...func(*assertion)) call {
	t.Helper()
	a := b.assertion()
	for _, edit := range edits {
		edit(a)
	}
	return call{method: http.MethodPost, url: b.SpatiaFi.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {a.sign(t)},
	}}
}

func set(name, value string) func(*call) { return func(c *call) { c.form.Set(name, value) } }

func drop(names ...string) func(*call) {
	return func(c *call) {
		for _, name := range names {
			c.form.Del(name)
		}
	}
}

func again(name string) func(*call) {
	return func(c *call) { c.form[name] = []string{c.form.Get(name), c.form.Get(name)} }
}

func header(name, value string) func(*call) { return func(c *call) { c.header.Set(name, value) } }

func noHeader(name string) func(*call) { return func(c *call) { c.header.Del(name) } }

func method(m string) func(*call) { return func(c *call) { c.method = m } }

func at(suffix string) func(*call) { return func(c *call) { c.url += suffix } }

func body(s string) func(*call) { return func(c *call) { c.body = s } }

// refusals is a table: what is changed in a good request, and what comes of it.
type refusals map[string]struct {
	edit   []func(*call)
	status int
	body   string // contained; empty means an empty body
}

func (table refusals) run(t *testing.T, good func(*bench) call) {
	t.Helper()
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			a := b.send(t, good(b).edit(c.edit...))
			if a.status != c.status || !strings.Contains(a.body, c.body) || (c.body == "" && a.body != "") {
				t.Errorf("got %d %q, want %d %q", a.status, a.body, c.status, c.body)
			}
			for _, h := range b.hosts() {
				if h.Issued() != 0 {
					t.Error("a token was issued")
				}
			}
			if a := b.send(t, good(b)); a.status/100 != 2 {
				t.Errorf("the unchanged request: got %d %q", a.status, a.body)
			}
		})
	}
}

func TestPlantPredictRefusesWhatCognitoRefuses(t *testing.T) {
	t.Parallel()
	inHeader := header("Authorization", basic(providersim.PlantPredictClientID, providersim.PlantPredictClientSecret))
	refusals{
		"GET":                         {edit: []func(*call){method("GET"), body("")}, status: 405},
		"another path":                {edit: []func(*call){at("/")}, status: 404, body: "Not Found"},
		"a JSON body":                 {edit: []func(*call){header("Content-Type", "application/json"), body("{}")}, status: 405},
		"no content type":             {edit: []func(*call){noHeader("Content-Type")}, status: 405},
		"a nonsense content type":     {edit: []func(*call){header("Content-Type", ";")}, status: 405},
		"credentials in the query":    {edit: []func(*call){at("?client_id=" + providersim.PlantPredictClientID)}, status: 400, body: "invalid_request"},
		"an empty query":              {edit: []func(*call){at("?")}, status: 400, body: "invalid_request"},
		"a body that is no form":      {edit: []func(*call){body("grant_type=%zz")}, status: 400, body: "invalid_request"},
		"a repeated field":            {edit: []func(*call){again("grant_type")}, status: 400, body: "invalid_request"},
		"an empty field":              {edit: []func(*call){set("scope", "")}, status: 400, body: "invalid_request"},
		"an unknown field":            {edit: []func(*call){set("audience", "x")}, status: 400, body: "invalid_request"},
		"no grant type":               {edit: []func(*call){drop("grant_type")}, status: 400, body: "invalid_request"},
		"an unknown grant type":       {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"a grant type not allowed":    {edit: []func(*call){set("grant_type", "refresh_token")}, status: 400, body: "unauthorized_client"},
		"a wrong secret":              {edit: []func(*call){set("client_secret", "wrong")}, status: 400, body: `{"error":"invalid_client"}`},
		"an unknown client":           {edit: []func(*call){set("client_id", "wrong")}, status: 400, body: "invalid_client"},
		"no credentials":              {edit: []func(*call){drop("client_id", "client_secret")}, status: 400, body: "invalid_client"},
		"an unknown scope":            {edit: []func(*call){set("scope", "transactions/delete")}, status: 400, body: "invalid_scope"},
		"credentials twice":           {edit: []func(*call){inHeader}, status: 400, body: "invalid_request"},
		"another client in the body":  {edit: []func(*call){inHeader, drop("client_secret"), set("client_id", "x")}, status: 400, body: "invalid_request"},
		"a header that is not Basic":  {edit: []func(*call){header("Authorization", "Bearer x"), drop("client_secret")}, status: 400, body: "invalid_request"},
		"a header that is not Base64": {edit: []func(*call){header("Authorization", "Basic ?"), drop("client_secret")}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).plantPredict)
}

func TestPlantPredictGrants(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]func(*call){
		"with credentials in the body": nil,
		"with credentials in the header": {
			drop("client_id", "client_secret"), header("Authorization", basic(providersim.PlantPredictClientID, providersim.PlantPredictClientSecret)),
		},
		"without a scope":    {drop("scope")},
		"with one scope":     {set("scope", "transactions/get")},
		"with a charset too": {header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			a := b.send(t, b.plantPredict().edit(edits...))
			if a.status != 200 || !b.PlantPredict.Accepts(a.token()) || a.fields["token_type"] != "Bearer" || a.fields["expires_in"] != 3600.0 {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if len(a.fields) != 3 {
				t.Errorf("got fields beyond access_token, token_type, expires_in: %s", a.body)
			}
		})
	}
}

func TestPlantPredictCanRefuseWith401AndLearnClients(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.PlantPredict.RefuseWith(401)
	other := b.plantPredict().edit(set("client_id", "other"), set("client_secret", "secret"))
	if a := b.send(t, other); a.status != 401 || a.fields["error"] != "invalid_client" {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.PlantPredict.SetCredentials("other", "secret")
	if a := b.send(t, other); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestUP42ProjectRefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	encoded := basic(url.QueryEscape(providersim.UP42ProjectID), url.QueryEscape(providersim.UP42ProjectKey))
	refusals{
		"GET":                   {edit: []func(*call){method("GET")}, status: 405, body: `"code":405`},
		"another path":          {edit: []func(*call){at("/")}, status: 404, body: `"code":404`},
		"no grant type":         {edit: []func(*call){drop("grant_type")}, status: 415, body: `"code":415`},
		"no content type":       {edit: []func(*call){noHeader("Content-Type")}, status: 415, body: `"code":415`},
		"two content types":     {edit: []func(*call){func(c *call) { c.header.Add("Content-Type", c.header.Get("Content-Type")) }}, status: 415, body: `"code":415`},
		"another grant type":    {edit: []func(*call){set("grant_type", "password")}, status: 400, body: `"code":400`},
		"an unknown field":      {edit: []func(*call){set("scope", "x")}, status: 400, body: `"code":400`},
		"a query":               {edit: []func(*call){at("?grant_type=client_credentials")}, status: 400, body: `"code":400`},
		"no credentials":        {edit: []func(*call){noHeader("Authorization")}, status: 401, body: `"code":401`},
		"a wrong key":           {edit: []func(*call){header("Authorization", basic(providersim.UP42ProjectID, "wrong"))}, status: 401, body: `"code":401`},
		"an unknown project":    {edit: []func(*call){header("Authorization", basic("wrong", "wrong"))}, status: 401, body: `"code":401`},
		"a form-encoded header": {edit: []func(*call){header("Authorization", encoded)}, status: 401, body: `"code":401`},
		"two headers":           {edit: []func(*call){func(c *call) { c.header.Add("Authorization", "Basic eDp4") }}, status: 401, body: `"code":401`},
		"credentials in the body": {
			edit:   []func(*call){noHeader("Authorization"), set("client_id", providersim.UP42ProjectID), set("client_secret", "x")},
			status: 400, body: `"code":400`,
		},
	}.run(t, (*bench).up42Project)
}

func TestUP42ProjectHidesTheTokenInDataAndItsExpiryInTheToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	a := b.send(t, b.up42Project())
	data, _ := a.fields["data"].(map[string]any)
	token, _ := data["accessToken"].(string)
	if !b.UP42Project.Accepts(token) || a.token() != "" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token, claims)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["alg"] != "HS512" || claims["exp"] != float64(start().Add(5*time.Minute).Unix()) {
		t.Errorf("got %v %v", parsed.Header, claims)
	}
	b.UP42Project.AlsoTopLevel(true)
	a = b.send(t, b.up42Project())
	if !b.UP42Project.Accepts(a.token()) || a.fields["token_type"] != "bearer" || a.fields["expires_in"] != nil {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.UP42Project.SetCredentials(providersim.UP42ProjectID, "rotated")
	if a = b.send(t, b.up42Project()); a.status != 401 {
		t.Errorf("after a change of the key: got %d", a.status)
	}
}

func TestSpatiaFiLoginRefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	encoded := basic(url.QueryEscape(providersim.SpatiaFiUsername), url.QueryEscape(providersim.SpatiaFiPassword))
	refusals{
		"POST":                  {edit: []func(*call){method("POST")}, status: 405, body: "Method Not Allowed"},
		"another path":          {edit: []func(*call){at("/")}, status: 404, body: "Not Found"},
		"a query":               {edit: []func(*call){at("?a=b")}, status: 422, body: "detail"},
		"a body":                {edit: []func(*call){body("a=b")}, status: 422, body: "detail"},
		"no credentials":        {edit: []func(*call){noHeader("Authorization")}, status: 401, body: "Not authenticated"},
		"another scheme":        {edit: []func(*call){header("Authorization", "Bearer x")}, status: 401, body: "Not authenticated"},
		"a wrong password":      {edit: []func(*call){header("Authorization", basic(providersim.SpatiaFiUsername, "wrong"))}, status: 400, body: `{"detail":"LOGIN_BAD_CREDENTIALS"}`},
		"an unknown user":       {edit: []func(*call){header("Authorization", basic("nobody", "wrong"))}, status: 400, body: "LOGIN_BAD_CREDENTIALS"},
		"a form-encoded header": {edit: []func(*call){header("Authorization", encoded)}, status: 400, body: "LOGIN_BAD_CREDENTIALS"},
	}.run(t, (*bench).spatiaFiLogin)
}

func TestSpatiaFiCountsFailedLoginsAndKnowsOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	other := b.spatiaFiLogin().edit(header("Authorization", basic("other", "pw")))
	b.send(t, other)
	b.SpatiaFi.SetLogin("other", "pw")
	a := b.send(t, other)
	if b.SpatiaFi.FailedLogins() != 1 || a.status != 200 || a.fields["expires_in"] != nil {
		t.Errorf("%d failed logins, then %d %s", b.SpatiaFi.FailedLogins(), a.status, a.body)
	}
}

func TestSpatiaFiProvisionsAppCredentialsForLoginTokensOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	login := b.send(t, b.spatiaFiLogin()).token()
	app := b.send(t, b.spatiaFiToken(t)).token()
	for name, c := range map[string]struct {
		call   call
		status int
	}{
		"an app token":      {b.spatiaFiClients(app), 401},
		"no token":          {b.spatiaFiClients(login).edit(noHeader("Authorization")), 401},
		"another scheme":    {b.spatiaFiClients(login).edit(header("Authorization", "Basic "+login)), 401},
		"a made-up token":   {b.spatiaFiClients("x"), 401},
		"GET":               {b.spatiaFiClients(login).edit(method("GET")), 405},
		"a body":            {b.spatiaFiClients(login).edit(body("{}")), 422},
		"no trailing slash": {b.spatiaFiClients(login).edit(func(c *call) { c.url = strings.TrimSuffix(c.url, "/") }), 307},
	} {
		a := b.send(t, c.call)
		if a.status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, a.status, a.body, c.status)
		}
		if a.status == 307 && a.header.Get("Location") != b.SpatiaFi.ClientsURL() {
			t.Errorf("%s: got Location %s", name, a.header.Get("Location"))
		}
	}
	if got := len(b.SpatiaFi.Provisioned()); got != 0 {
		t.Fatalf("%d clients were made by refused requests", got)
	}
	a := b.send(t, b.spatiaFiClients(login))
	id, _ := a.fields["client_id"].(string)
	secret, _ := a.fields["client_secret"].(string)
	if a.status/100 != 2 || id == "" || secret == "" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	again := b.send(t, b.spatiaFiClients(login))
	if again.fields["client_id"] == id || len(b.SpatiaFi.Provisioned()) != 2 {
		t.Error("a repeated request leaves no orphan")
	}
	with := b.send(t, b.spatiaFiToken(t, func(a *assertion) {
		a.claims["iss"], a.claims["sub"], a.claims["jti"], a.key = id, id, "provisioned", []byte(secret)
	}))
	if with.status != 200 {
		t.Errorf("the app credentials do not work: %d %s", with.status, with.body)
	}
	b.clock.Step(15 * time.Minute)
	if a := b.send(t, b.spatiaFiClients(login)); a.status != 401 {
		t.Errorf("with an expired login token: got %d", a.status)
	}
}

func TestSpatiaFiTokenRefusesRequestsOfAnotherForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit   func(*call)
		status int
		body   string
	}{
		"GET":                    {method("GET"), 405, "Method Not Allowed"},
		"no content type":        {noHeader("Content-Type"), 422, "detail"},
		"a scope":                {set("scope", "x"), 422, "detail"},
		"a client id":            {set("client_id", providersim.SpatiaFiClientID), 422, "detail"},
		"no grant type":          {drop("grant_type"), 422, "detail"},
		"a repeated field":       {again("client_assertion"), 422, "detail"},
		"a query":                {at("?x=y"), 400, "invalid_request"},
		"an authorization":       {header("Authorization", "Basic eDp5"), 400, "invalid_request"},
		"another grant":          {set("grant_type", "password"), 400, "unsupported_grant_type"},
		"another assertion type": {set("client_assertion_type", "urn:other"), 400, "invalid_client"},
		"no JWT":                 {set("client_assertion", "x"), 400, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			good := b.spatiaFiToken(t)
			if a := b.send(t, good.edit(c.edit)); a.status != c.status || !strings.Contains(a.body, c.body) {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, c.status, c.body)
			}
			if a := b.send(t, good); a.status != 200 {
				t.Errorf("the unchanged request: got %d %s", a.status, a.body)
			}
		})
	}
}

func TestSpatiaFiTokenRefusesAssertionsOfAnotherForm(t *testing.T) {
	t.Parallel()
	now := start().Unix()
	claim := func(name string, value any) func(*assertion) {
		return func(a *assertion) { a.claims[name] = value }
	}
	for name, edit := range map[string]func(*assertion){
		"HS384": func(a *assertion) { a.method, a.header["alg"] = jwt.SigningMethodHS384, "HS384" },
		"no signature": func(a *assertion) {
			a.method, a.header["alg"], a.key = jwt.SigningMethodNone, "none", jwt.UnsafeAllowNoneSignatureType
		},
		"a wrong secret":          func(a *assertion) { a.key = []byte("wrong") },
		"a Base64 secret":         func(a *assertion) { a.key = []byte(base64.StdEncoding.EncodeToString(a.key.([]byte))) },
		"a further header":        func(a *assertion) { a.header["kid"] = "1" },
		"another typ":             func(a *assertion) { a.header["typ"] = "jwt" },
		"no typ":                  func(a *assertion) { delete(a.header, "typ") },
		"an unknown issuer":       claim("iss", "nobody"),
		"another subject":         claim("sub", "nobody"),
		"another audience":        claim("aud", "https://auth.spatiafi.com/api/v1/auth/jwt/token/"),
		"a list of audiences":     func(a *assertion) { a.claims["aud"] = []any{a.claims["aud"]} },
		"a further claim":         claim("nbf", now),
		"no jti":                  func(a *assertion) { delete(a.claims, "jti") },
		"an empty jti":            claim("jti", ""),
		"a jti that is a number":  claim("jti", 1),
		"iat in the future":       claim("iat", now+11),
		"iat as a string":         claim("iat", "1"),
		"exp with a fraction":     claim("exp", float64(now)+30.5),
		"exp over":                claim("exp", now),
		"more than an hour":       claim("exp", now+3601),
		"more than an hour, back": claim("iat", now-3600),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			if a := b.send(t, b.spatiaFiToken(t, edit)); a.status != 400 || a.fields["error"] != "invalid_client" {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if a := b.send(t, b.spatiaFiToken(t)); a.status != 200 {
				t.Errorf("the unchanged assertion: got %d %s", a.status, a.body)
			}
		})
	}
}

func TestSpatiaFiTokenRefusesAnAssertionTheSecondTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	first := b.spatiaFiToken(t)
	if a := b.send(t, first); a.status != 200 || a.fields["expires_in"] != 900.0 || a.fields["expires_at"] != nil {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if a := b.send(t, first); a.status != 400 {
		t.Errorf("the same assertion again: got %d", a.status)
	}
	b.SpatiaFi.AnswerExpiresAt(true)
	a := b.send(t, b.spatiaFiToken(t, func(a *assertion) { a.claims["jti"] = "twice" }))
	if a.status != 200 || a.fields["expires_in"] != nil || a.fields["expires_at"] != float64(start().Add(15*time.Minute).Unix()) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.clock.Step(time.Hour)
	if a := b.send(t, b.spatiaFiToken(t)); a.status != 200 {
		t.Errorf("a jti whose assertion is long over: got %d %s", a.status, a.body)
	}
	b.SpatiaFi.SetCredentials(providersim.SpatiaFiClientID, "rotated")
	if a := b.send(t, b.spatiaFiToken(t, func(a *assertion) { a.claims["jti"] = "thrice" })); a.status != 400 {
		t.Errorf("after a change of the secret: got %d", a.status)
	}
}

func TestUP42RefusesWhatKeycloakRefuses(t *testing.T) {
	t.Parallel()
	refusals{
		"GET":                      {edit: []func(*call){method("GET")}, status: 405, body: "405"},
		"another path":             {edit: []func(*call){at("/")}, status: 404, body: "404"},
		"JSON":                     {edit: []func(*call){header("Content-Type", "application/json")}, status: 415, body: "415"},
		"no content type":          {edit: []func(*call){noHeader("Content-Type")}, status: 415, body: "415"},
		"a query":                  {edit: []func(*call){at("?username=x")}, status: 400, body: "invalid_request"},
		"a repeated field":         {edit: []func(*call){again("username")}, status: 400, body: "duplicated parameter"},
		"no grant type":            {edit: []func(*call){drop("grant_type")}, status: 400, body: "Missing form parameter: grant_type"},
		"an unknown grant type":    {edit: []func(*call){set("grant_type", "magic")}, status: 400, body: "unsupported_grant_type"},
		"client credentials":       {edit: []func(*call){set("grant_type", "client_credentials")}, status: 401, body: "unauthorized_client"},
		"another client":           {edit: []func(*call){set("client_id", "other")}, status: 401, body: "invalid_client"},
		"no client":                {edit: []func(*call){drop("client_id")}, status: 401, body: "invalid_client"},
		"a client authentication":  {edit: []func(*call){header("Authorization", basic("up42-api", ""))}, status: 401, body: "invalid_client"},
		"an unknown field":         {edit: []func(*call){set("client_secret", "x")}, status: 400, body: "invalid_request"},
		"no username":              {edit: []func(*call){drop("username")}, status: 400, body: "invalid_request"},
		"no password":              {edit: []func(*call){drop("password")}, status: 400, body: "invalid_request"},
		"an unknown scope":         {edit: []func(*call){set("scope", "root")}, status: 400, body: "invalid_scope"},
		"a wrong password":         {edit: []func(*call){set("password", "wrong")}, status: 401, body: `"error":"invalid_grant"`},
		"an unknown user":          {edit: []func(*call){set("username", "nobody")}, status: 401, body: "invalid_grant"},
		"an unknown refresh token": {edit: []func(*call){set("grant_type", "refresh_token"), set("refresh_token", "x"), drop("username", "password")}, status: 400, body: "invalid_grant"},
		"a refresh without token":  {edit: []func(*call){set("grant_type", "refresh_token"), drop("username", "password")}, status: 400, body: "invalid_request"},
		"a refresh with password":  {edit: []func(*call){set("grant_type", "refresh_token"), set("refresh_token", "x")}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).up42)
}

func TestUP42AnswersAsKeycloakDoes(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	a := b.send(t, b.up42().edit(set("scope", "openid email")))
	for name, want := range map[string]any{
		"expires_in": 300.0, "refresh_expires_in": 1800.0, "token_type": "Bearer", "not-before-policy": 0.0, "scope": "email profile",
	} {
		if a.fields[name] != want {
			t.Errorf("got %s %v, want %v", name, a.fields[name], want)
		}
	}
	if !b.UP42.Accepts(a.token()) || a.fields["refresh_token"] == "" || a.fields["session_state"] == "" || len(a.fields) != 8 {
		t.Errorf("got %s", a.body)
	}
	b.UP42.HideRefreshExpiry(true)
	if a := b.send(t, b.up42()); a.fields["refresh_expires_in"] != 0.0 {
		t.Errorf("hidden: got %v", a.fields["refresh_expires_in"])
	}
	b.UP42.RefuseWith(400)
	if a := b.send(t, b.up42().edit(set("password", "wrong"))); a.status != 400 || a.fields["error"] != "invalid_grant" {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestUP42RefreshKeepsTheSessionAndLoginsOpenNewOnes(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	first := b.send(t, b.up42())
	b.clock.Step(4 * time.Minute)
	refreshed := b.send(t, b.up42Refresh(first.fields["refresh_token"]))
	if refreshed.status != 200 || refreshed.fields["session_state"] != first.fields["session_state"] || !b.UP42.Accepts(refreshed.token()) {
		t.Fatalf("got %d %s", refreshed.status, refreshed.body)
	}
	if again := b.send(t, b.up42Refresh(first.fields["refresh_token"])); again.status != 200 {
		t.Errorf("without rotation a refresh token works twice: got %d", again.status)
	}
	if b.UP42.SessionsOpened() != 1 || b.UP42.Sessions() != 1 {
		t.Errorf("%d sessions opened, %d alive, want 1 and 1", b.UP42.SessionsOpened(), b.UP42.Sessions())
	}
	b.send(t, b.up42())
	if b.UP42.SessionsOpened() != 2 || b.UP42.Sessions() != 2 {
		t.Errorf("%d sessions opened, %d alive, want 2 and 2", b.UP42.SessionsOpened(), b.UP42.Sessions())
	}
	b.clock.Step(27 * time.Minute) // the first token is over, its session is not
	if a := b.send(t, b.up42Refresh(first.fields["refresh_token"])); a.status != 400 || a.fields["error_description"] != "Token is not active" {
		t.Errorf("an old refresh token: got %d %s", a.status, a.body)
	}
	b.clock.Step(time.Hour)
	if a := b.send(t, b.up42Refresh(refreshed.fields["refresh_token"])); a.status != 400 || a.fields["error_description"] != "Session not active" {
		t.Errorf("after the session: got %d %s", a.status, a.body)
	}
	if b.UP42.Sessions() != 0 {
		t.Errorf("%d sessions alive, want none", b.UP42.Sessions())
	}
}

func TestUP42SessionsEndAfterTenHoursHoweverOftenTheyAreRefreshed(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.UP42.SetRefreshLifetime(4 * time.Hour)
	a := b.send(t, b.up42())
	for range 3 {
		b.clock.Step(3 * time.Hour)
		a = b.send(t, b.up42Refresh(a.fields["refresh_token"]))
	}
	if a.fields["refresh_expires_in"] != 3600.0 {
		t.Errorf("an hour before the end: got refresh_expires_in %v", a.fields["refresh_expires_in"])
	}
	b.clock.Step(59 * time.Minute)
	a = b.send(t, b.up42Refresh(a.fields["refresh_token"]))
	if a.fields["expires_in"] != 60.0 {
		t.Errorf("a minute before the end: got expires_in %v", a.fields["expires_in"])
	}
	b.clock.Step(time.Minute)
	if b.UP42.Accepts(a.token()) {
		t.Error("the access token outlives its session")
	}
}

func TestUP42RotationKillsTheSessionOnReuse(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.UP42.RotateRefreshTokens(true)
	first := b.send(t, b.up42())
	second := b.send(t, b.up42Refresh(first.fields["refresh_token"]))
	if second.status != 200 || !b.UP42.Accepts(second.token()) {
		t.Fatalf("got %d %s", second.status, second.body)
	}
	if reuse := b.send(t, b.up42Refresh(first.fields["refresh_token"])); reuse.status != 400 || reuse.fields["error"] != "invalid_grant" {
		t.Errorf("reuse: got %d %s", reuse.status, reuse.body)
	}
	if b.UP42.Accepts(second.token()) || b.send(t, b.up42Refresh(second.fields["refresh_token"])).status != 400 {
		t.Error("the session outlives the reuse")
	}
	third := b.send(t, b.up42())
	b.UP42.KillSessions()
	if b.UP42.Accepts(third.token()) || b.UP42.Sessions() != 0 {
		t.Error("a killed session lives")
	}
}

func TestUP42LocksAndAnswersALockAsAWrongPassword(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lockout  *providersim.Lockout // nil: Keycloak's defaults
		failures int
		apart    time.Duration
		locked   bool
	}{
		"two failures within a second":    {&providersim.Lockout{Failures: 30, Quick: time.Second, Wait: time.Minute}, 2, 999 * time.Millisecond, true},
		"two failures a second apart":     {&providersim.Lockout{Failures: 30, Quick: time.Second, Wait: time.Minute}, 2, time.Second, false},
		"as many failures as are allowed": {&providersim.Lockout{Failures: 3, Quick: time.Second, Wait: time.Minute}, 3, 2 * time.Second, true},
		"one failure fewer":               {&providersim.Lockout{Failures: 3, Quick: time.Second, Wait: time.Minute}, 2, 2 * time.Second, false},
		"detection off":                   {&providersim.Lockout{}, 50, 0, false},
		"thirty failures, by default":     {nil, 30, time.Second, true},
		"twenty-nine, by default":         {nil, 29, time.Second, false},
		"two quick ones, by default":      {nil, 2, 999 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			if c.lockout != nil {
				b.UP42.SetLockout(*c.lockout)
			}
			var wrong answer
			for range c.failures {
				b.clock.Step(c.apart)
				wrong = b.send(t, b.up42().edit(set("password", "wrong")))
			}
			if b.UP42.Locked(providersim.UP42Username) != c.locked || b.UP42.WasLocked(providersim.UP42Username) != c.locked {
				t.Fatalf("got locked %v, want %v", b.UP42.Locked(providersim.UP42Username), c.locked)
			}
			right := b.send(t, b.up42())
			if !c.locked {
				if right.status != 200 || b.UP42.FailedLogins() != c.failures {
					t.Errorf("got %d after %d failed logins", right.status, b.UP42.FailedLogins())
				}
				return
			}
			if right.status != wrong.status || right.body != wrong.body {
				t.Errorf("a lock can be told from a wrong password: %d %s, %d %s", right.status, right.body, wrong.status, wrong.body)
			}
			if got := b.UP42.FailedLogins(); got != c.failures+1 {
				t.Errorf("got %d failed logins, want %d", got, c.failures+1)
			}
			b.clock.Step(time.Minute)
			if a := b.send(t, b.up42()); a.status != 200 || b.UP42.Locked(providersim.UP42Username) {
				t.Errorf("after the wait: got %d", a.status)
			}
			if !b.UP42.WasLocked(providersim.UP42Username) {
				t.Error("the lock is forgotten")
			}
		})
	}
}

func TestUP42ForgetsFailuresAfterASuccessAndLearnsPasswords(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.UP42.SetLockout(providersim.Lockout{Failures: 2, Wait: time.Minute})
	b.send(t, b.up42().edit(set("password", "new")))
	b.send(t, b.up42())
	b.UP42.SetLogin(providersim.UP42Username, "new")
	b.send(t, b.up42())
	if a := b.send(t, b.up42().edit(set("password", "new"))); a.status != 200 || b.UP42.WasLocked(providersim.UP42Username) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	b.UP42.SetLogin("other", "pw")
	if a := b.send(t, b.up42().edit(set("username", "other"), set("password", "pw"))); a.status != 200 {
		t.Errorf("another user: got %d %s", a.status, a.body)
	}
	if b.UP42.Locked("nobody") || b.UP42.WasLocked("nobody") {
		t.Error("an unknown user is locked")
	}
}

func TestGenericRefusesWhatRFC6749Refuses(t *testing.T) {
	t.Parallel()
	raw := header("Authorization", basic(providersim.GenericClientID, providersim.GenericClientSecret))
	refusals{
		"GET":                   {edit: []func(*call){method("GET")}, status: 405},
		"another path":          {edit: []func(*call){at("/")}, status: 404, body: "Not Found"},
		"no content type":       {edit: []func(*call){noHeader("Content-Type")}, status: 415},
		"a query":               {edit: []func(*call){at("?scope=a")}, status: 400, body: "invalid_request"},
		"an unknown field":      {edit: []func(*call){set("tenant", "x")}, status: 400, body: "invalid_request"},
		"a repeated field":      {edit: []func(*call){again("client_id")}, status: 400, body: "invalid_request"},
		"no grant type":         {edit: []func(*call){drop("grant_type")}, status: 400, body: "invalid_request"},
		"another grant type":    {edit: []func(*call){set("grant_type", "password")}, status: 400, body: "unsupported_grant_type"},
		"a wrong secret":        {edit: []func(*call){set("client_secret", "wrong")}, status: 401, body: "invalid_client"},
		"an unknown scope":      {edit: []func(*call){set("scope", "a z")}, status: 400, body: "invalid_scope"},
		"credentials twice":     {edit: []func(*call){raw}, status: 400, body: "invalid_request"},
		"a raw header, badly":   {edit: []func(*call){raw, drop("client_id", "client_secret")}, status: 401, body: "invalid_client"},
		"a broken encoding":     {edit: []func(*call){header("Authorization", basic("%zz", "x")), drop("client_id", "client_secret")}, status: 400, body: "invalid_request"},
		"an unknown client":     {edit: []func(*call){set("client_id", "x")}, status: 401, body: "invalid_client"},
		"a header without user": {edit: []func(*call){header("Authorization", "Basic eA=="), drop("client_id", "client_secret")}, status: 400, body: "invalid_request"},
	}.run(t, (*bench).generic)
}

func TestGenericGrants(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	encoded := basic(url.QueryEscape(providersim.GenericClientID), url.QueryEscape(providersim.GenericClientSecret))
	b.Generic.AllowScopes("a", "z")
	b.Generic.AllowFields("tenant")
	b.Generic.SetCredentials("other", "pw")
	for name, edits := range map[string][]func(*call){
		"with a form-encoded header": {header("Authorization", encoded), drop("client_id", "client_secret")},
		"with an allowed scope":      {set("scope", "a z")},
		"with an allowed field":      {set("tenant", "x")},
		"with audience and resources": {set("audience", "x"), func(c *call) {
			c.form["resource"] = []string{"https://a.example", "https://b.example"}
		}},
		"with another client": {set("client_id", "other"), set("client_secret", "pw")},
	} {
		a := b.send(t, b.generic().edit(edits...))
		if a.status != 200 || !b.Generic.Accepts(a.token()) {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
		if name == "with an allowed scope" && a.fields["scope"] != "a z" {
			t.Errorf("%s: got scope %v", name, a.fields["scope"])
		}
	}
}

func TestGenericSaysWhatItIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{Lifetime: time.Minute})
	b.Generic.SetAnswer("text/plain", `{"token":"{token}","in":"{expires_in}","at":{expires_at},"for":"{expires_at_rfc3339}"}`)
	a := b.send(t, b.generic())
	end := start().Add(time.Minute)
	token, _ := a.fields["token"].(string)
	if !b.Generic.Accepts(token) || a.header.Get("Content-Type") != "text/plain" ||
		a.fields["in"] != "60" || a.fields["at"] != float64(end.Unix()) || a.fields["for"] != end.Format(time.RFC3339) {
		t.Errorf("got %s", a.body)
	}
	if a := b.send(t, b.generic().edit(set("client_secret", "wrong"))); a.status != 401 {
		t.Errorf("a refused request: got %d %s", a.status, a.body)
	}
}

func TestGenericCanHandOutTheSameTokenWithLessAndLessLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{Lifetime: time.Minute})
	b.Generic.ReuseTokens(true)
	first := b.send(t, b.generic())
	b.clock.Step(50 * time.Second)
	second := b.send(t, b.generic())
	if second.token() != first.token() || second.fields["expires_in"] != 10.0 || b.Generic.Issued() != 1 {
		t.Errorf("got %s", second.body)
	}
	b.clock.Step(10 * time.Second)
	if third := b.send(t, b.generic()); third.token() == first.token() || third.fields["expires_in"] != 60.0 {
		t.Errorf("got %s", third.body)
	}
}

func TestTheResourceTakesGetOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	token := b.send(t, b.generic()).token()
	for name, c := range map[string]struct {
		call   call
		status int
	}{
		"POST":           {call{method: "POST", url: b.Generic.ResourceURL()}, 405},
		"another scheme": {call{method: "GET", url: b.Generic.ResourceURL(), header: http.Header{"Authorization": {"Token " + token}}}, 401},
		"any case":       {call{method: "GET", url: b.Generic.ResourceURL(), header: http.Header{"Authorization": {"bearer " + token}}}, 200},
	} {
		if a := b.send(t, c.call); a.status != c.status {
			t.Errorf("%s: got %d, want %d", name, a.status, c.status)
		}
	}
}
