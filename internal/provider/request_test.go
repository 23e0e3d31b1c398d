package provider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/token"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// golden is a request as the provider sees it.
type golden struct {
	Method, URL string
	Header      http.Header
	Body        string
	Grant       Grant
}

func form(more ...string) http.Header {
	h := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

func TestRequestsAreWhatProvidersWantByteForByte(t *testing.T) {
	proxied := plain()
	proxied.Request.Headers = map[string]string{"x-api-version": "2", "accept": "application/vnd.example+json"}
	proxied.FormParameters = map[string]string{"b": "ü", "a": "1 2", "audience": "default", "resource": "urn:default"}
	post := plain()
	post.ClientAuthentication, post.ClientID = SecretPost, "fixed"
	confidential := person()
	confidential.ClientAuthentication = SecretBasic
	get := plain()
	get.Request.Method = "GET"

	client := creds(CredClientID, "id", CredClientSecret, "s3cret")
	login := creds(CredUsername, "me@example.com", CredPassword, "p w:ü&=+")
	tests := []struct {
		name       string
		definition Definition
		parameters map[string]string
		in         RequestInput
		want       golden
	}{
		{"PlantPredict", builtin(t, "PlantPredict"), nil,
			RequestInput{Credentials: creds(CredClientID, "id", CredClientSecret, "s/cret+=")},
			golden{"POST", "https://terabase-prd.auth.us-west-2.amazoncognito.com/oauth2/token", form(),
				"grant_type=client_credentials&scope=transactions%2Fpost+transactions%2Fget&client_id=id&client_secret=s%2Fcret%2B%3D", ClientCredentials}},
		{"SpatiaFi by login", builtin(t, "SpatiaFi"), map[string]string{"method": "LoginToken"},
			RequestInput{Credentials: login},
			golden{"GET", "https://auth.spatiafi.com/api/v1/auth/jwt/token/basic",
				http.Header{"Accept": {"application/json"}, "Authorization": {basic("me@example.com", "p w:ü&=+")}}, "", Password}},
		{"UP42 project", builtin(t, "UP42Project"), nil,
			RequestInput{Credentials: creds(CredClientID, "5f2c-11", CredClientSecret, "key+/=:%")},
			golden{"POST", "https://api.up42.com/oauth/token", form("Authorization", basic("5f2c-11", "key+/=:%")),
				"grant_type=client_credentials", ClientCredentials}},
		{"UP42 account", builtin(t, "UP42"), map[string]string{"region": "sa"},
			RequestInput{Credentials: login},
			golden{"POST", "https://auth.sa.up42.com/realms/public/protocol/openid-connect/token", form(),
				"username=me%40example.com&password=p+w%3A%C3%BC%26%3D%2B&grant_type=password&client_id=up42-api", Password}},
		{"UP42 account, refresh", builtin(t, "UP42"), nil,
			RequestInput{RefreshToken: token.NewSecret("r/1"), Scopes: []string{"ignored"}},
			golden{"POST", "https://auth.up42.com/realms/public/protocol/openid-connect/token", form(),
				"grant_type=refresh_token&refresh_token=r%2F1&client_id=up42-api", RefreshToken}},
		{"an ordinary client form-encodes its Basic header", plain(), nil,
			RequestInput{Credentials: creds(CredClientID, "i:d", CredClientSecret, "s +")},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("i%3Ad", "s+%2B")),
				"grant_type=client_credentials", ClientCredentials}},
		{"an ordinary client asks for what the user wants", proxied, nil,
			RequestInput{Credentials: client, Scopes: []string{"a", "b"}, Audience: "https://api", Resources: []string{"https://r/1", "urn:r:2"}},
			golden{"POST", "https://sso.example.com/token",
				form("Authorization", basic("id", "s3cret"), "X-Api-Version", "2", "Accept", "application/vnd.example+json"),
				"grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fapi&resource=https%3A%2F%2Fr%2F1&resource=urn%3Ar%3A2&a=1+2&b=%C3%BC", ClientCredentials}},
		{"a definition's own fields are sent where the user has no wish", proxied, nil,
			RequestInput{Credentials: client},
			golden{"POST", "https://sso.example.com/token",
				form("Authorization", basic("id", "s3cret"), "X-Api-Version", "2", "Accept", "application/vnd.example+json"),
				"grant_type=client_credentials&a=1+2&audience=default&b=%C3%BC&resource=urn%3Adefault", ClientCredentials}},
		{"an empty list of scopes asks for none", builtin(t, "PlantPredict"), nil,
			RequestInput{Credentials: client, Scopes: []string{}},
			golden{"POST", "https://terabase-prd.auth.us-west-2.amazoncognito.com/oauth2/token", form(),
				"grant_type=client_credentials&client_id=id&client_secret=s3cret", ClientCredentials}},
		{"a definition may know the client", post, nil,
			RequestInput{Credentials: creds(CredClientSecret, "s")},
			golden{"POST", "https://sso.example.com/token", form(), "grant_type=client_credentials&client_id=fixed&client_secret=s", ClientCredentials}},
		{"a client among the credentials wins over the definition's", post, nil,
			RequestInput{Credentials: client},
			golden{"POST", "https://sso.example.com/token", form(), "grant_type=client_credentials&client_id=id&client_secret=s3cret", ClientCredentials}},
		{"a login of a confidential client", confidential, nil,
			RequestInput{Credentials: creds(CredUsername, "u", CredPassword, "p", CredClientID, "id", CredClientSecret, "s")},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("id", "s")), "username=u&password=p&grant_type=password", Password}},
		{"a refresh of a confidential client", confidential, nil,
			RequestInput{Credentials: client, RefreshToken: token.NewSecret("r")},
			golden{"POST", "https://sso.example.com/token", form("Authorization", basic("id", "s3cret")), "grant_type=refresh_token&refresh_token=r", RefreshToken}},
		{"a login without a client", person(), nil,
			RequestInput{Credentials: creds(CredUsername, "u", CredPassword, "p")},
			golden{"POST", "https://sso.example.com/token", form(), "username=u&password=p&grant_type=password", Password}},
		{"a GET by a client has no body", get, nil,
			RequestInput{Credentials: client},
			golden{"GET", "https://sso.example.com/token", http.Header{"Accept": {"application/json"}, "Authorization": {basic("id", "s3cret")}}, "", ClientCredentials}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := resolve(t, tt.definition, tt.parameters).NewRequest(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			got := golden{req.Method, req.URL, req.Header, req.Body.Reveal(), req.Grant}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSpatiaFiAppTokenIsAskedForWithAnAssertionOnly(t *testing.T) {
	const endpoint = "https://auth.spatiafi.com/api/v1/auth/jwt/token"
	r := resolve(t, builtin(t, "SpatiaFi"), map[string]string{"method": "AppToken"})
	// Shorter than RFC 7518 §3.2 wants: the provider decides its length.
	const secret = "short key"
	req, err := r.NewRequest(RequestInput{Credentials: creds(CredClientID, "app-1", CredClientSecret, secret), Now: sent(), ID: "fresh-1"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(golden{"POST", endpoint, form(), "", ClientCredentials}, golden{req.Method, req.URL, req.Header, "", req.Grant}); diff != "" {
		t.Error(diff)
	}
	const prefix = "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="
	assertion, ok := strings.CutPrefix(req.Body.Reveal(), prefix)
	if !ok || strings.ContainsAny(assertion, "&=") {
		t.Fatalf("the body does not hold exactly three fields: %s", req.Body.Reveal())
	}
	parts := strings.Split(assertion, ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if string(header) != `{"alg":"HS256","typ":"JWT"}` {
		t.Errorf("got header %s", header)
	}
	want := fmt.Sprintf(`{"aud":%q,"exp":%d,"iat":%d,"iss":"app-1","jti":"fresh-1","sub":"app-1"}`, endpoint, sent().Unix()+60, sent().Unix()-10)
	if string(payload) != want {
		t.Errorf("got claims %s, want %s", payload, want)
	}
	if err := jwt.SigningMethodHS256.Verify(parts[0]+"."+parts[1], must(base64.RawURLEncoding.DecodeString(parts[2])), []byte(secret)); err != nil {
		t.Errorf("the signature is not over the secret's bytes: %v", err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestAssertionNeedsFreshness(t *testing.T) {
	r := resolve(t, builtin(t, "SpatiaFi"), map[string]string{"method": "AppToken"})
	client := creds(CredClientID, "app-1", CredClientSecret, "s")
	for name, in := range map[string]RequestInput{
		"no identifier": {Credentials: client, Now: sent()},
		"no time":       {Credentials: client, ID: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.NewRequest(in)
			wantKind(t, err, Input)
		})
	}
}

func TestCredentialsThatCannotBeSentAreNamedAndNotShown(t *testing.T) {
	const canary = "hunter2"
	project := builtin(t, "UP42Project")
	tests := []struct {
		name        string
		definition  Definition
		credentials Credentials
		mentions    []string
	}{
		{"no username", person(), creds(CredPassword, canary), []string{"username", "missing or empty"}},
		{"empty password", person(), creds(CredUsername, canary, CredPassword, ""), []string{"password", "missing or empty"}},
		{"password with a newline", person(), creds(CredUsername, "u", CredPassword, canary+"\n"), []string{"password", "ends in a newline", "printf", "--from-literal"}},
		{"username with a control character", person(), creds(CredUsername, canary+"\x7f", CredPassword, "p"), []string{"username", "cannot be sent"}},
		{"username with NUL", person(), creds(CredUsername, "\x00"+canary, CredPassword, "p"), []string{"username", "cannot be sent"}},
		{"password that is not UTF-8", person(), creds(CredUsername, "u", CredPassword, canary+"\xff"), []string{"password", "cannot be sent"}},
		{"client_id with a newline inside", plain(), creds(CredClientID, canary+"\nx", CredClientSecret, "s"), []string{"client_id", "cannot be sent"}},
		{"client_secret beyond ASCII", plain(), creds(CredClientID, "id", CredClientSecret, canary+"ü"), []string{"client_secret", "cannot be sent"}},
		{"public client_id beyond ASCII", person(), creds(CredUsername, "u", CredPassword, "p", CredClientID, canary+"ü"), []string{"client_id", "cannot be sent"}},
		{"no client_id", plain(), creds(CredClientSecret, canary), []string{"client_id"}},
		{"no client_secret", plain(), creds(CredClientID, canary), []string{"client_secret"}},
		{"the provider's own words", project, creds(CredClientID, canary), []string{"client_secret (or project_api_key)"}},
		{"a colon in a raw Basic header", project, creds(CredClientID, canary+":x", CredClientSecret, "s"), []string{"client_id (or project_id)", "colon"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := resolve(t, tt.definition, nil).NewRequest(RequestInput{Credentials: tt.credentials})
			wantKind(t, err, Input)
			wantText(t, err, tt.mentions...)
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%q shows a credential", err)
			}
		})
	}
}

func TestWishesThatAnEndpointHasNoPlaceForAreRefused(t *testing.T) {
	client := creds(CredClientID, "id", CredClientSecret, "s", CredUsername, "u", CredPassword, "p")
	spatiafi := resolve(t, builtin(t, "SpatiaFi"), map[string]string{"method": "LoginToken"})
	ordinary := resolve(t, plain(), nil)
	never := plain()
	never.UseRefreshToken = Never
	tests := []struct {
		name string
		r    Resolved
		in   RequestInput
	}{
		{"scopes in a GET", spatiafi, RequestInput{Scopes: []string{"a"}}},
		{"an audience in a GET", spatiafi, RequestInput{Audience: "a"}},
		{"resources in a GET", spatiafi, RequestInput{Resources: []string{"urn:a"}}},
		{"a refresh at an endpoint that is not RFC 6749", spatiafi, RequestInput{RefreshToken: token.NewSecret("r")}},
		{"a refresh where the definition says never", resolve(t, never, nil), RequestInput{RefreshToken: token.NewSecret("r")}},
		{"a refresh token that cannot be sent", ordinary, RequestInput{RefreshToken: token.NewSecret("r\n")}},
		{"two scopes in one", ordinary, RequestInput{Scopes: []string{"a b"}}},
		{"an empty scope", ordinary, RequestInput{Scopes: []string{""}}},
		{"a quote in a scope", ordinary, RequestInput{Scopes: []string{`a"`}}},
		{"a scope beyond ASCII", ordinary, RequestInput{Scopes: []string{"ü"}}},
		{"a newline in the audience", ordinary, RequestInput{Audience: "a\nb"}},
		{"a relative resource", ordinary, RequestInput{Resources: []string{"/a"}}},
		{"a resource with a fragment", ordinary, RequestInput{Resources: []string{"https://a/#"}}},
		{"a resource that is no URI", ordinary, RequestInput{Resources: []string{"https://[a"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Credentials = client
			_, err := tt.r.NewRequest(tt.in)
			wantKind(t, err, Input)
		})
	}
}

func TestRequestsAndAnswersDoNotPrintWhatTheyHold(t *testing.T) {
	const canary = "hunter2"
	req, err := resolve(t, plain(), nil).NewRequest(RequestInput{Credentials: creds(CredClientID, "id", CredClientSecret, canary)})
	if err != nil {
		t.Fatal(err)
	}
	answer := answerOf(200, canary)
	var out strings.Builder
	logger := slog.New(slog.NewTextHandler(&out, nil))
	logger.Info("x", "req", req, "answer", answer, "pointers", []any{&req, &answer})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, req, &req, answer, &answer)
	}
	fmt.Fprint(&out, req.MarshalLog(), answer.MarshalLog())
	secrets := []string{canary, fmt.Sprintf("%x", canary), strings.TrimPrefix(req.Header.Get("Authorization"), "Basic "), "Authorization"}
	for _, secret := range secrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q shows %q", out.String(), secret)
		}
	}
	if !strings.Contains(out.String(), "POST https://sso.example.com/token") || !strings.Contains(out.String(), "HTTP 200") {
		t.Errorf("%q does not tell what it is", out.String())
	}
	for _, v := range []any{req, answer} {
		if text, err := json.Marshal(v); err == nil {
			t.Errorf("%T was marshalled to %s", v, text)
		}
	}
}

func TestIdentityIsWhoLogsIn(t *testing.T) {
	all := creds(CredUsername, "u", CredPassword, "p", CredClientID, "id", CredClientSecret, "s")
	fixed := plain()
	fixed.ClientID = "fixed"
	tests := []struct {
		name        string
		definition  Definition
		credentials Credentials
		want        string
	}{
		{"a person", person(), all, "u"},
		{"a client", plain(), all, "id"},
		{"a client that the definition knows", fixed, creds(CredClientSecret, "s"), "fixed"},
		{"another client than the definition knows", fixed, all, "id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := resolve(t, tt.definition, nil).Identity(tt.credentials); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A body must say the same to every reader: what goes in comes out, and nothing else.
func FuzzRequestBodyCannotBeSmuggledInto(f *testing.F) {
	f.Add("me@example.com", "p&grant_type=x", "aud&client_id=evil", "scope")
	f.Add("ü", "%26=+ ", "", "a")
	f.Fuzz(func(t *testing.T, username, password, audience, scope string) {
		r := resolve(t, builtin(t, "UP42"), nil)
		req, err := r.NewRequest(RequestInput{Credentials: creds(CredUsername, username, CredPassword, password), Audience: audience, Scopes: []string{scope}})
		if err != nil {
			wantKind(t, err, Input)
			return
		}
		values, err := url.ParseQuery(req.Body.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		want := url.Values{"username": {username}, "password": {password}, "grant_type": {"password"}, "client_id": {"up42-api"}, "scope": {scope}}
		if audience != "" {
			want["audience"] = []string{audience}
		}
		if diff := cmp.Diff(want, values); diff != "" {
			t.Error(diff)
		}
	})
}
