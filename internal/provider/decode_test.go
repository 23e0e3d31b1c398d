package provider

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/providertoken/operator/internal/token"
)

// read is a token with its secrets laid open, for comparison.
type read struct {
	Access, Refresh, Type string
	Scopes                []string
	Life                  time.Duration
	Source                token.ExpirySource
	RefreshLife           time.Duration
}

func open(t token.Token) read {
	r := read{Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), Type: t.Type, Scopes: t.Scopes, Life: t.Lifetime(), Source: t.ExpirySource}
	if !t.RefreshExpiresAt.IsZero() {
		r.RefreshLife = t.RefreshExpiresAt.Sub(t.IssuedAt)
	}
	return r
}

// decode asks a definition what it makes of an answer to its primary request.
func decode(t *testing.T, d Definition, a Answer) (token.Token, error) {
	t.Helper()
	r := resolve(t, d, nil)
	return r.Decode(Request{Grant: r.Grant}, a)
}

func TestDecodeReadsWhatProvidersSend(t *testing.T) {
	silent := plain()
	silent.TokenLifetime = Duration{5 * time.Minute}
	github := plain()
	github.Response = ResponseFormat{AccessToken: []string{"/token"}}
	slack := plain()
	slack.Response = ResponseFormat{
		AccessToken: []string{"/authed_user/access_token"}, ExpiresIn: []string{"/authed_user/expires_in"},
		TokenType: []string{"/nothing"}, Scope: []string{"/authed_user/scope"},
	}
	wechat := plain()
	wechat.Response = ResponseFormat{Error: []string{"/errcode"}}
	odd := plain()
	odd.Response = ResponseFormat{AccessToken: []string{"/nothing", "/a~1b/1/~0c"}}
	spatiafi, err := builtin(t, "SpatiaFi").WithMethod("AppToken")
	if err != nil {
		t.Fatal(err)
	}
	now := sent().Unix()
	hour := time.Hour
	tests := []struct {
		name       string
		definition Definition
		body       string
		want       read
	}{
		{"RFC 6749 §5.1", plain(), `{"access_token":"a","token_type":"bearer","expires_in":3600,"scope":"x y","refresh_token":"r"}`,
			read{Access: "a", Refresh: "r", Type: "Bearer", Scopes: []string{"x", "y"}, Life: hour, Source: token.ExpiresIn}},
		{"PlantPredict", builtin(t, "PlantPredict"), `{"access_token":"a","token_type":"Bearer","expires_in":3600}`,
			read{Access: "a", Type: "Bearer", Life: hour, Source: token.ExpiresIn}},
		{"SpatiaFi with expires_at", spatiafi, fmt.Sprintf(`{"access_token":"a","token_type":"bearer","expires_at":%d}`, now+900),
			read{Access: "a", Type: "Bearer", Life: 15 * time.Minute, Source: token.ExpiresAt}},
		{"SpatiaFi with expires_in", spatiafi, `{"access_token":"a","token_type":"bearer","expires_in":900}`,
			read{Access: "a", Type: "Bearer", Life: 15 * time.Minute, Source: token.ExpiresIn}},
		{"UP42 project, older answer", builtin(t, "UP42Project"), `{"error":null,"data":{"accessToken":"a"}}`,
			read{Access: "a", Type: "Bearer", Life: 299 * time.Second, Source: token.Configured}},
		{"UP42 project, later answer", builtin(t, "UP42Project"), `{"data":{"accessToken":"a"},"access_token":"a","token_type":"bearer"}`,
			read{Access: "a", Type: "Bearer", Life: 299 * time.Second, Source: token.Configured}},
		{"UP42 project, a JWT", builtin(t, "UP42Project"), fmt.Sprintf(`{"data":{"accessToken":%q}}`, jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, now+300))),
			read{Access: jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, now+300)), Type: "Bearer", Life: 5 * time.Minute, Source: token.JWT}},
		{"UP42 account (Keycloak)", builtin(t, "UP42"),
			`{"access_token":"a","expires_in":300,"refresh_expires_in":1800,"refresh_token":"r","token_type":"Bearer","not-before-policy":0,"session_state":"s","scope":"email profile"}`,
			read{Access: "a", Refresh: "r", Type: "Bearer", Scopes: []string{"email", "profile"}, Life: 5 * time.Minute, Source: token.ExpiresIn, RefreshLife: 30 * time.Minute}},
		{"Keycloak's offline token states no life", builtin(t, "UP42"), `{"access_token":"a","expires_in":300,"refresh_expires_in":0,"refresh_token":"r"}`,
			read{Access: "a", Refresh: "r", Type: "Bearer", Life: 5 * time.Minute, Source: token.ExpiresIn}},
		{"Azure AD v1: strings", plain(), `{"access_token":"a","expires_in":"3599","token_type":"Bearer"}`,
			read{Access: "a", Type: "Bearer", Life: 3599 * time.Second, Source: token.ExpiresIn}},
		{"a float", plain(), `{"access_token":"a","expires_in":3600.0}`, read{Access: "a", Type: "Bearer", Life: hour, Source: token.ExpiresIn}},
		{"a float in a string", plain(), `{"access_token":"a","expires_in":" 3600.9 "}`, read{Access: "a", Type: "Bearer", Life: hour, Source: token.ExpiresIn}},
		{"an exponent", plain(), `{"access_token":"a","expires_in":3.6e3}`, read{Access: "a", Type: "Bearer", Life: hour, Source: token.ExpiresIn}},
		{"Adobe: milliseconds", plain(), `{"access_token":"a","expires_in":86399947}`, read{Access: "a", Type: "Bearer", Life: 86399 * time.Second, Source: token.ExpiresIn}},
		{"a year is a year", plain(), `{"access_token":"a","expires_in":31536000}`, read{Access: "a", Type: "Bearer", Life: 365 * 24 * hour, Source: token.ExpiresIn}},
		{"for ever is ten years", plain(), `{"access_token":"a","expires_in":9999999999999}`, read{Access: "a", Type: "Bearer", Life: maxLifetime, Source: token.ExpiresIn}},
		{"more than a float holds is ten years", plain(), `{"access_token":"a","expires_in":1e999}`, read{Access: "a", Type: "Bearer", Life: maxLifetime, Source: token.ExpiresIn}},
		{"expires_at in milliseconds", plain(), fmt.Sprintf(`{"access_token":"a","expires_at":%d}`, (now+900)*1000), read{Access: "a", Type: "Bearer", Life: 15 * time.Minute, Source: token.ExpiresAt}},
		{"expires_at in a string", plain(), fmt.Sprintf(`{"access_token":"a","expires_at":"%d"}`, now+900), read{Access: "a", Type: "Bearer", Life: 15 * time.Minute, Source: token.ExpiresAt}},
		{"expires_at beyond all years", plain(), `{"access_token":"a","expires_at":1e300}`, read{Access: "a", Type: "Bearer", Life: maxLifetime, Source: token.ExpiresAt}},
		{"GitHub App: token and RFC 3339", github, `{"token":"ghs_a","expires_at":"2026-03-01T13:00:00Z","permissions":{"a":["b",{"c":1}]}}`,
			read{Access: "ghs_a", Type: "Bearer", Life: hour, Source: token.ExpiresAt}},
		{"RFC 3339 with an offset", plain(), `{"access_token":"a","expires_at":"2026-03-01T15:00:00.5+02:00"}`, read{Access: "a", Type: "Bearer", Life: hour, Source: token.ExpiresAt}},
		{"expires_in before expires_at", plain(), fmt.Sprintf(`{"access_token":"a","expires_in":60,"expires_at":%d}`, now+900), read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"expires_in null, then expires_at", plain(), fmt.Sprintf(`{"access_token":"a","expires_in":null,"expires_at":%d}`, now+900), read{Access: "a", Type: "Bearer", Life: 15 * time.Minute, Source: token.ExpiresAt}},
		{"nothing, then tokenLifetime", silent, `{"access_token":"a"}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in null", silent, `{"access_token":"a","expires_in":null}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in empty", silent, `{"access_token":"a","expires_in":""}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in zero", silent, `{"access_token":"a","expires_in":0}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in in words", silent, `{"access_token":"a","expires_in":"never","expires_at":"tomorrow"}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in NaN", silent, `{"access_token":"a","expires_in":"NaN"}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in hexadecimal", silent, `{"access_token":"a","expires_in":"0x10p4"}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in full of signs", silent, `{"access_token":"a","expires_in":"+-1-e"}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"expires_in of another type", silent, `{"access_token":"a","expires_in":[1],"expires_at":{}}`, read{Access: "a", Type: "Bearer", Life: 5 * time.Minute, Source: token.Configured}},
		{"GitHub: a form", plain(), `access_token=gho_a&scope=repo%2Cgist&token_type=bearer&expires_in=28800`,
			read{Access: "gho_a", Type: "Bearer", Scopes: []string{"repo,gist"}, Life: 8 * hour, Source: token.ExpiresIn}},
		{"Slack: nested", slack, `{"ok":true,"authed_user":{"access_token":"xoxp","token_type":"user","expires_in":43200,"scope":"chat:write"}}`,
			read{Access: "xoxp", Type: "Bearer", Scopes: []string{"chat:write"}, Life: 12 * hour, Source: token.ExpiresIn}},
		{"WeChat: errcode 0", wechat, `{"errcode":0,"access_token":"a","expires_in":7200}`, read{Access: "a", Type: "Bearer", Life: 2 * hour, Source: token.ExpiresIn}},
		{"pointers with escapes and indices", odd, `{"a/b":["no",{"~c":"a"}],"expires_in":60}`, read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"error members that say nothing", plain(), `{"error":"","access_token":"a","expires_in":60}`, read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"error false", plain(), `{"error":false,"access_token":"a","expires_in":60}`, read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"error as empty list", plain(), `{"error":[],"access_token":"a","expires_in":60}`, read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"error as empty object", plain(), `{"error":{},"access_token":"a","expires_in":60}`, read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"a byte order mark", plain(), "\uFEFF\n{\"access_token\":\"a\",\"expires_in\":60}\n", read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"another type of token", plain(), `{"access_token":"a","token_type":"mac_x","expires_in":60}`, read{Access: "a", Type: "mac_x", Life: time.Minute, Source: token.ExpiresIn}},
		{"a token that is no access token (RFC 8693 §2.2.1)", plain(), `{"access_token":"a","token_type":"N_A","expires_in":60}`, read{Access: "a", Life: time.Minute, Source: token.ExpiresIn}},
		{"token_type null", plain(), `{"access_token":"a","token_type":null,"expires_in":60}`, read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"scopes as a list, with some that nobody may see", plain(), `{"access_token":"a","expires_in":60,"scope":["x","<b>\u0007","y z",3,"y"]}`,
			read{Access: "a", Type: "Bearer", Scopes: []string{"x", "y"}, Life: time.Minute, Source: token.ExpiresIn}},
		{"far too many scopes", plain(), `{"access_token":"a","expires_in":60,"scope":"` + strings.Repeat("x ", 1000) + strings.Repeat("y", 1000) + `"}`,
			read{Access: "a", Type: "Bearer", Scopes: strings.Fields(strings.Repeat("x ", maxScopes)), Life: time.Minute, Source: token.ExpiresIn}},
		{"a refresh token that cannot be sent back", plain(), `{"access_token":"a","expires_in":60,"refresh_token":"r\n","refresh_expires_in":9}`,
			read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
		{"a refresh token where the definition says never", builtin(t, "PlantPredict"), `{"access_token":"a","expires_in":60,"refresh_token":"r"}`,
			read{Access: "a", Type: "Bearer", Life: time.Minute, Source: token.ExpiresIn}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, contentType := range []string{"application/json", "text/plain; charset=utf-8", ""} {
				a := answerOf(200, tt.body)
				a.Header.Set("Content-Type", contentType)
				got, err := decode(t, tt.definition, a)
				if err != nil {
					t.Fatalf("%s: %v", contentType, err)
				}
				if diff := cmp.Diff(tt.want, open(got)); diff != "" {
					t.Errorf("%s: %s", contentType, diff)
				}
				if !got.IssuedAt.Equal(sent()) {
					t.Errorf("issued at %s, want the instant of sending", got.IssuedAt)
				}
			}
		})
	}
}

// A clock that is wrong must neither shorten nor lengthen a token's life.
func TestExpiryIsMeasuredByTheProvidersClock(t *testing.T) {
	server := sent().Add(-3 * time.Hour)
	unix := func(d time.Duration) int64 { return server.Add(d).Unix() }
	tests := []struct {
		name   string
		date   bool
		body   string
		want   time.Duration
		source token.ExpirySource
	}{
		{"an instant, by the Date header", true, fmt.Sprintf(`{"access_token":"a","expires_at":%d}`, unix(time.Hour)), time.Hour, token.ExpiresAt},
		{"a JWT, by the Date header", true, fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"exp":%d}`, unix(time.Hour)))), time.Hour, token.JWT},
		{"a JWT that was issued a while ago, by the Date header", true,
			fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, unix(-50*time.Minute), unix(10*time.Minute)))), 10 * time.Minute, token.JWT},
		{"a JWT that claims to be from the future, by iat", true,
			fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, unix(time.Minute), unix(6*time.Minute)))), 5 * time.Minute, token.JWT},
		{"a JWT without a Date, by iat", false, fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, unix(0), unix(time.Hour)))), time.Hour, token.JWT},
		{"a JWT whose iat makes no sense", true, fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, unix(2*time.Hour), unix(time.Hour)))), time.Hour, token.JWT},
		{"a JWT with a padded payload", true, fmt.Sprintf(`{"access_token":"a.%s.c"}`, base64.URLEncoding.EncodeToString(fmt.Appendf(nil, `{ "exp":%d}`, unix(time.Hour)))), time.Hour, token.JWT},
		{"a life needs no clock", true, `{"access_token":"a","expires_in":60}`, time.Minute, token.ExpiresIn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := answerOf(200, tt.body)
			a.Header.Del("Date")
			if tt.date {
				a.Header.Set("Date", server.Format(http.TimeFormat))
			}
			got, err := decode(t, plain(), a)
			if err != nil {
				t.Fatal(err)
			}
			if got.Lifetime() != tt.want || got.ExpirySource != tt.source {
				t.Errorf("got %s by %s, want %s by %s", got.Lifetime(), got.ExpirySource, tt.want, tt.source)
			}
		})
	}
}

func TestInstantsWithoutADateAreMeasuredByTheLocalClock(t *testing.T) {
	for _, body := range []string{
		fmt.Sprintf(`{"access_token":"a","expires_at":%d}`, sent().Unix()+60),
		fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"exp":%d}`, sent().Unix()+60))),
	} {
		a := answerOf(200, body)
		a.Header = http.Header{}
		got, err := decode(t, plain(), a)
		if err != nil || got.Lifetime() != time.Minute {
			t.Errorf("got %s (%v), want a minute", got.Lifetime(), err)
		}
	}
}

func TestAJWTThatExpiresEarlierThanTheAnswerSaysIsBelieved(t *testing.T) {
	now := sent().Unix()
	tests := []struct {
		name      string
		expiresIn int
		exp       int64
		want      time.Duration
		source    token.ExpirySource
	}{
		{"milliseconds for seconds", 3600000, now + 3600, time.Hour, token.JWT},
		{"half the life", 3600, now + 1800, 30 * time.Minute, token.JWT},
		{"clocks that differ", 3600, now + 3598, time.Hour, token.ExpiresIn},
		{"exactly as much as clocks may differ", 3600, now + 3540, time.Hour, token.ExpiresIn},
		{"a JWT that lives longer", 300, now + 3600, 5 * time.Minute, token.ExpiresIn},
		{"a JWT that has expired by its own account", 300, now - 10, 5 * time.Minute, token.ExpiresIn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			access := jwtWith(fmt.Sprintf(`{"exp":%d}`, tt.exp))
			got, err := decode(t, plain(), answerOf(200, fmt.Sprintf(`{"access_token":%q,"expires_in":%d}`, access, tt.expiresIn)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Lifetime() != tt.want || got.ExpirySource != tt.source {
				t.Errorf("got %s by %s, want %s by %s", got.Lifetime(), got.ExpirySource, tt.want, tt.source)
			}
		})
	}
}

func TestTokensThatOnlyLookLikeJWTsTellNoExpiry(t *testing.T) {
	for _, access := range []string{"a.b", "a.b.c.d.e", "..", "a.!!.c", "a.bm90IGpzb24.c", jwtWith(`{"exp":"soon"}`), jwtWith(`{}`), jwtWith(`{"exp":1,"exp":2}`)} {
		_, err := decode(t, plain(), answerOf(200, fmt.Sprintf(`{"access_token":%q}`, access)))
		e := wantKind(t, err, Misconfigured)
		wantText(t, e, "tokenLifetime")
	}
}

func TestLifeBeginsOnAWholeSecond(t *testing.T) {
	a := answerOf(200, `{"access_token":"a","expires_in":60.7}`)
	a.SentAt = sent().Add(700 * time.Millisecond).In(time.FixedZone("", 7200))
	got, err := decode(t, plain(), a)
	if err != nil {
		t.Fatal(err)
	}
	if got.IssuedAt != sent() || got.ExpiresAt != sent().Add(time.Minute) {
		t.Errorf("got %s to %s", got.IssuedAt, got.ExpiresAt)
	}
}

func TestAnswersOfSuccessThatMakeNoSenseAreNotBelieved(t *testing.T) {
	now := sent().Unix()
	tests := []struct {
		name, body string
		contains   string
	}{
		{"nothing", ``, "neither a JSON object nor a form"},
		{"white space", "\n\t ", "neither"},
		{"HTML", `<html><body>access_token=a</body></html>`, "neither"},
		{"HTML with a query in it", `<a href="?x&access_token=a">`, "neither"},
		{"JSON that is cut off", `{"access_token":"a","expires_in":`, "neither"},
		{"trailing garbage", `{"access_token":"a","expires_in":60}x`, "neither"},
		{"two objects", `{"access_token":"a","expires_in":60}{}`, "neither"},
		{"a member twice", `{"access_token":"a","access_token":"b","expires_in":60}`, "neither"},
		{"a member twice, deep inside", `{"access_token":"a","expires_in":60,"x":[{"y":1,"y":2}]}`, "neither"},
		{"a form field twice", `access_token=a&access_token=b&expires_in=60`, "neither"},
		{"a malformed form", `access_token=%zz&expires_in=60`, "neither"},
		{"an array", `[{"access_token":"a"}]`, "neither"},
		{"a string", `"a"`, "neither"},
		{"no token", `{"token_type":"bearer","expires_in":60}`, "no access token"},
		{"a null token", `{"access_token":null,"expires_in":60}`, "no access token"},
		{"an empty token", `{"access_token":"","expires_in":60}`, "no access token"},
		{"a token that is a number", `{"access_token":17,"expires_in":60}`, "no access token"},
		{"a token with a newline", `{"access_token":"a\nb","expires_in":60}`, "impossible characters"},
		{"a token beyond ASCII", `{"access_token":"aü","expires_in":60}`, "impossible characters"},
		{"a token that is not UTF-8", "{\"access_token\":\"a\xff\",\"expires_in\":60}", "impossible characters"},
		{"a token that is too long", `{"access_token":"` + strings.Repeat("a", maxToken+1) + `","expires_in":60}`, "too long"},
		{"a token type with a space", `{"access_token":"a","token_type":"Bearer x","expires_in":60}`, "token_type"},
		{"a token type with a newline", `{"access_token":"a","token_type":"Bearer\r\nX: y","expires_in":60}`, "token_type"},
		{"a token type that is too long", `{"access_token":"a","token_type":"` + strings.Repeat("a", maxTokenType+1) + `","expires_in":60}`, "token_type"},
		{"a negative life", `{"access_token":"a","expires_in":-1}`, "expired already"},
		{"an endlessly negative life", `{"access_token":"a","expires_in":-1e999}`, "expired already"},
		{"less than a second", `{"access_token":"a","expires_in":0.9}`, "expired already"},
		{"an instant in the past", fmt.Sprintf(`{"access_token":"a","expires_at":%d}`, now-1), "expired already"},
		{"an instant before all time", `{"access_token":"a","expires_at":-1e300}`, "expired already"},
		{"a JWT that has expired", fmt.Sprintf(`{"access_token":%q}`, jwtWith(fmt.Sprintf(`{"exp":%d}`, now-1))), "expired already"},
	}
	silent := plain()
	silent.TokenLifetime = Duration{time.Minute}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(t, silent, answerOf(200, tt.body))
			e := wantKind(t, err, Unavailable)
			wantText(t, e, tt.contains)
			if !e.SentMaybe || e.Status != 200 || e.Code != "" {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestNothingThatTellsAnExpiryIsTheDefinitionsFault(t *testing.T) {
	for _, body := range []string{`{"access_token":"a"}`, `{"access_token":"a","expires_in":null,"token_type":"Bearer"}`, `{"access_token":"a","expires_in":0}`} {
		_, err := decode(t, plain(), answerOf(200, body))
		e := wantKind(t, err, Misconfigured)
		wantText(t, e, "set tokenLifetime")
		if !e.SentMaybe {
			t.Error("the request was sent")
		}
	}
}

func TestAFormIsOneIfItSaysSo(t *testing.T) {
	d := plain()
	d.Response.AccessToken = []string{"/token"}
	a := answerOf(200, "token=a&expires_in=60")
	_, err := decode(t, d, a)
	wantKind(t, err, Unavailable)
	a.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if got, err := decode(t, d, a); err != nil || got.Access.Reveal() != "a" {
		t.Errorf("got error %v, want a token", err)
	}
}

func TestRefusalsAreToldApart(t *testing.T) {
	const (
		clients, people, refreshes = ClientCredentials, Password, RefreshToken
	)
	tests := []struct {
		name   string
		grant  Grant
		status int
		body   string
		kind   Kind
		code   string
	}{
		{"a client is unknown", clients, 401, `{"error":"invalid_client"}`, Denied, "invalid_client"},
		{"a client is unknown, Cognito's way", clients, 400, `{"error":"invalid_client"}`, Denied, "invalid_client"},
		{"a client may not", clients, 400, `{"error":"unauthorized_client"}`, Denied, "unauthorized_client"},
		{"a scope is not granted", clients, 400, `{"error":"invalid_scope","error_description":"hunter2"}`, Denied, "invalid_scope"},
		{"a resource is unknown", clients, 400, `{"error":"invalid_target"}`, Denied, "invalid_target"},
		{"a grant is unknown", clients, 400, `{"error":"unsupported_grant_type"}`, Denied, "unsupported_grant_type"},
		{"a request is invalid", clients, 400, `{"error":"invalid_request"}`, Denied, "invalid_request"},
		{"invalid_grant for a client", clients, 400, `{"error":"invalid_grant"}`, Denied, "invalid_grant"},
		{"a client without a reason", clients, 401, ``, Denied, ""},
		{"a client with an unknown reason", clients, 403, `{"error":"hunter2"}`, Denied, ""},

		{"a wrong password, Keycloak", people, 401, `{"error":"invalid_grant","error_description":"Invalid user credentials"}`, LoginDenied, "invalid_grant"},
		{"a wrong password, RFC 6749", people, 400, `{"error":"invalid_grant"}`, LoginDenied, "invalid_grant"},
		{"a wrong password at 200", people, 200, `{"error":"invalid_grant","access_token":"a","expires_in":60}`, LoginDenied, "invalid_grant"},
		{"a wrong password at 500", people, 500, `{"error":"invalid_grant"}`, LoginDenied, "invalid_grant"},
		{"a wrong password, SpatiaFi", people, 400, `{"detail":"LOGIN_BAD_CREDENTIALS"}`, LoginDenied, ""},
		{"a wrong password without a word", people, 401, ``, LoginDenied, ""},
		{"a wrong password in HTML", people, 403, `<html>`, LoginDenied, ""},
		{"a login that FastAPI finds malformed", people, 422, `{"detail":[]}`, LoginDenied, ""},
		{"a login with an unknown reason", people, 400, `{"error":"account_locked_hunter2"}`, LoginDenied, ""},
		{"a login that is denied access", people, 403, `{"error":"access_denied"}`, LoginDenied, "access_denied"},
		{"the client of a login", people, 401, `{"error":"invalid_client"}`, Denied, "invalid_client"},
		{"the client of a login may not", people, 400, `{"error":"unauthorized_client"}`, Denied, "unauthorized_client"},
		{"a login at the wrong path", people, 404, ``, Misconfigured, ""},

		{"a refresh token is used up", refreshes, 400, `{"error":"invalid_grant"}`, RefreshDenied, "invalid_grant"},
		{"a refresh token is used up, with 401", refreshes, 401, `{"error":"invalid_grant"}`, RefreshDenied, "invalid_grant"},
		{"a refresh without a reason", refreshes, 400, ``, RefreshDenied, ""},
		{"a refresh is not supported", refreshes, 400, `{"error":"unsupported_grant_type"}`, RefreshDenied, "unsupported_grant_type"},
		{"a refresh is not allowed", refreshes, 400, `{"error":"unauthorized_client"}`, RefreshDenied, "unauthorized_client"},
		{"a refresh is not there", refreshes, 404, ``, RefreshDenied, ""},
		{"a refresh by an unknown client", refreshes, 401, `{"error":"invalid_client"}`, Denied, "invalid_client"},
		{"a refresh that is throttled", refreshes, 429, ``, Throttled, ""},
		{"a refresh that is throttled by code", refreshes, 400, `{"error":"slow_down"}`, Throttled, "slow_down"},
		{"a refresh that fails", refreshes, 502, ``, Unavailable, ""},
		{"a refresh that times out", refreshes, 408, ``, Unavailable, ""},

		{"too many requests", people, 429, `{"error":"invalid_grant"}`, Throttled, "invalid_grant"},
		{"too many requests, GitHub's way", clients, 403, `{"error":"slow_down"}`, Throttled, "slow_down"},
		{"Slack's way of throttling", clients, 200, `{"ok":false,"error":"ratelimited"}`, Throttled, "ratelimited"},

		{"a server error", people, 500, ``, Unavailable, ""},
		{"a server error with a word", clients, 500, `{"error":"Internal Server Error hunter2"}`, Unavailable, ""},
		{"a server error by code", people, 400, `{"error":"server_error"}`, Unavailable, "server_error"},
		{"a bad gateway", people, 502, `<html>`, Unavailable, ""},
		{"a service that is away and does not say until when", clients, 503, ``, Unavailable, ""},
		{"a request that took too long", people, 408, ``, Unavailable, ""},
		{"a request that came too early", people, 425, ``, Unavailable, ""},
		{"a status that is none", people, 0, ``, Unavailable, ""},

		{"a redirect", people, 302, `{"error":"invalid_grant"}`, Misconfigured, "invalid_grant"},
		{"a permanent redirect", clients, 308, ``, Misconfigured, ""},
		{"no such page", clients, 404, `<html>`, Misconfigured, ""},
		{"the wrong method", clients, 405, ``, Misconfigured, ""},
		{"the wrong media type", clients, 415, ``, Misconfigured, ""},
		{"a proxy that wants a password", clients, 407, ``, Misconfigured, ""},
		{"an OAuth error at 404", clients, 404, `{"error":"invalid_client"}`, Denied, "invalid_client"},

		{"Facebook's object", clients, 400, `{"error":{"message":"hunter2","type":"OAuthException","code":190}}`, Denied, "OAuthException"},
		{"an object without a known code", clients, 400, `{"error":{"message":"hunter2"}}`, Denied, ""},
		{"a list of errors", clients, 200, `{"error":[{"code":"invalid_scope"}]}`, Denied, "invalid_scope"},
		{"Slack's refusal at 200", clients, 200, `{"ok":false,"error":"bad_client_secret"}`, Denied, "bad_client_secret"},
		{"Slack's refusal without a word", clients, 200, `{"ok":false,"access_token":"a","expires_in":60}`, Denied, ""},
		{"GitHub's form at 200", clients, 200, `error=incorrect_client_credentials&error_description=hunter2`, Denied, "incorrect_client_credentials"},
		{"an error that is true", clients, 200, `{"error":true,"access_token":"a"}`, Denied, ""},
		{"an error that is a number", clients, 200, `{"error":40013,"access_token":"a"}`, Denied, ""},
		{"an error that is an endless number", clients, 200, `{"error":1e999,"access_token":"a"}`, Denied, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := plain()
			if tt.grant != ClientCredentials {
				d = person()
			}
			_, err := resolve(t, d, nil).Decode(Request{Grant: tt.grant}, answerOf(tt.status, tt.body))
			e := wantKind(t, err, tt.kind)
			if e.Code != tt.code || e.Status != tt.status || !e.SentMaybe || e.RetryAfter != 0 {
				t.Errorf("got %+v, want code %q and status %d", e, tt.code, tt.status)
			}
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("%q shows what the provider sent", e)
			}
			because := tt.code
			if because == "" {
				because = fmt.Sprintf("HTTP %d", tt.status)
			}
			wantText(t, e, "("+because+")")
		})
	}
}

func TestCognitoThrottlesInManyWays(t *testing.T) {
	for _, body := range []string{
		`{"error":"TooManyRequestsException"}`,
		`{"__type":"TooManyRequestsException","message":"Rate exceeded"}`,
		`{"__type":"com.amazonaws.cognito#TooManyRequestsException"}`,
		`{"code":"TooManyRequestsException"}`,
		`{"error":{"code":"TooManyRequestsException"}}`,
	} {
		_, err := decode(t, builtin(t, "PlantPredict"), answerOf(400, body))
		if e := wantKind(t, err, Throttled); e.Code != "TooManyRequestsException" {
			t.Errorf("got code %q", e.Code)
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	tests := []struct {
		name       string
		definition Definition
		status     int
		body       string
		want       string
	}{
		{"a login", person(), 400, `{"error":"invalid_grant"}`,
			"the token endpoint refused the username or password (invalid_grant); correct username and password in the credential Secret, and check that the account is not locked"},
		{"a client", plain(), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client's credentials (invalid_client); correct client_id and client_secret in the credential Secret"},
		{"a project", builtin(t, "UP42Project"), 401, ``,
			"the token endpoint refused the client's credentials (HTTP 401); correct client_id (or project_id) and client_secret (or project_api_key) in the credential Secret"},
		{"the client of a login", person(), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client (invalid_client); check the client of the provider's definition"},
		{"a client with a key", with(func(d *Definition) { d.ClientAuthentication = PrivateKeyJWT }), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client's credentials (invalid_client); correct client_id and private_key (or tls.key) in the credential Secret, and check that the provider knows the key's public half"},
		{"a federated client", with(func(d *Definition) { d.ClientAuthentication = FederatedJWT }), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client's credentials (invalid_client); check client_assertion, and that the provider trusts whoever issued it for this client and audience"},
		{"a client with a certificate", with(func(d *Definition) { d.ClientAuthentication = TLS }), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client's credentials (invalid_client); correct client_id, certificate (or tls.crt) and private_key (or tls.key), and check that the provider knows this certificate or its authority"},
		{"an account of a provider's own grant", with(func(d *Definition) {
			d.Grant, d.GrantType, d.ExtraCredentials = Custom, "x", []ExtraCredential{{Name: "account_id"}}
		}), 400, `{"error":"invalid_grant"}`,
			"the token endpoint refused the client's credentials (invalid_grant); correct client_id, client_secret and account_id in the credential Secret"},
		{"a key of a provider's own grant", with(func(d *Definition) {
			d.Grant, d.GrantType, d.ClientAuthentication, d.ExtraCredentials = Custom, "x", None, []ExtraCredential{{Name: "api_key"}}
		}), 401, ``,
			"the token endpoint refused the client's credentials (HTTP 401); correct api_key in the credential Secret"},
		{"the client of a confidential login", with(func(d *Definition) { d.Grant = Password }), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client (invalid_client); check the client of the provider's definition"},
		{"an assertion", with(func(d *Definition) { d.Grant, d.ClientAuthentication = JWTBearer, None }), 400, `{"error":"invalid_grant"}`,
			"the token endpoint refused the assertion (invalid_grant); check assertion, and that the provider trusts whoever issued it for this audience"},
		{"the client beside an assertion", with(func(d *Definition) { d.Grant = JWTBearer }), 401, `{"error":"invalid_client"}`,
			"the token endpoint refused the client's credentials (invalid_client); correct client_id and client_secret in the credential Secret"},
		{"a subject token", with(func(d *Definition) { d.Grant = TokenExchange }), 403, ``,
			"the token endpoint refused the subject token (HTTP 403); check subject_token, and that the provider trusts whoever issued it for this audience"},
		{"a refresh token", with(func(d *Definition) { d.Grant = RefreshToken }), 400, `{"error":"invalid_grant"}`,
			"the token endpoint refused the refresh token (invalid_grant); authorize the client anew, and put the new refresh token under refresh_token in the credential Secret"},
		{"a user of an app", plain(), 400, `{"error":"invalid_app_access"}`,
			"the provider does not let this user use this client (invalid_app_access); ask the provider to allow it"},
		{"a scope", plain(), 400, `{"error":"invalid_scope"}`,
			"the provider does not grant these scopes (invalid_scope); correct scopes, or ask the provider to grant them"},
		{"a redirect", plain(), 307, ``,
			"the token endpoint redirects, which is never followed (HTTP 307); set tokenURL to where it redirects, if that is to be trusted"},
		{"a wrong path", plain(), 404, ``, "the token endpoint does not exist (HTTP 404); correct tokenURL, or the parameters that are part of it"},
		{"a proxy", plain(), 407, ``, "a proxy wants to be authenticated to (HTTP 407); correct the operator's egress proxy"},
		{"a wrong method", plain(), 405, ``,
			"the token endpoint does not take this kind of request (HTTP 405); check tokenURL and request in the provider's definition"},
		{"an outage", plain(), 502, ``, "the token endpoint failed (HTTP 502); check whether the provider has an outage"},
		{"a pause", plain(), 429, ``,
			"the provider asks for a pause (HTTP 429); if this lasts, ask the provider for a higher limit, or need fewer tokens of it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(t, tt.definition, answerOf(tt.status, tt.body))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestASignedAssertionThatIsRefusedNamesItsKey(t *testing.T) {
	d := with(func(d *Definition) { d.Grant, d.ClientAuthentication = JWTBearer, None })
	r, err := d.Resolve(nil, only(CredClientID, CredPrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Decode(Request{Grant: JWTBearer}, answerOf(400, `{"error":"invalid_grant"}`))
	wantKind(t, err, Denied)
	wantText(t, err, "refused the assertion", "correct private_key (or tls.key)", "public half")
}

// Behind a refresh token that is the credential itself there is nothing to fall back to.
func TestARefreshTokenThatIsTheCredentialIsRefusedAsOne(t *testing.T) {
	d := with(func(d *Definition) { d.Grant = RefreshToken })
	for _, tt := range []struct {
		status int
		body   string
		want   Kind
	}{
		{400, `{"error":"invalid_grant"}`, RefreshDenied},
		{200, `{"error":"bad_refresh_token"}`, RefreshDenied},
		{400, ``, RefreshDenied},
		{401, `{"error":"invalid_client"}`, Denied},
		{400, `{"error":"invalid_scope"}`, Denied},
		{404, ``, Misconfigured},
		{503, ``, Unavailable},
	} {
		_, err := decode(t, d, answerOf(tt.status, tt.body))
		if e := wantKind(t, err, tt.want); !e.SentMaybe {
			t.Errorf("%d %s: it looks as if nothing was sent", tt.status, tt.body)
		}
	}
}

func TestCreatedIsASuccess(t *testing.T) {
	d := with(func(d *Definition) { d.Response = ResponseFormat{AccessToken: []string{"/token"}} })
	got, err := decode(t, d, answerOf(201, `{"token":"ghs_1","expires_at":"2026-03-01T13:00:00Z","permissions":{}}`))
	if err != nil || got.Access.Reveal() != "ghs_1" || got.Lifetime() != time.Hour {
		t.Errorf("got a life of %s (%v)", got.Lifetime(), err)
	}
}

func TestRetryAfterIsHeard(t *testing.T) {
	tests := []struct {
		name, value string
		status      int
		kind        Kind
		want        time.Duration
	}{
		{"seconds", "120", 429, Throttled, 2 * time.Minute},
		{"seconds with an outage that says until when", "30", 503, Throttled, 30 * time.Second},
		{"seconds with another outage", "30", 502, Unavailable, 30 * time.Second},
		{"an instant, by the provider's clock", "Sun, 01 Mar 2026 09:05:00 GMT", 429, Throttled, 5 * time.Minute},
		{"an instant in the past", "Sun, 01 Mar 2026 08:00:00 GMT", 429, Throttled, 0},
		{"more than an hour", "7200", 429, Throttled, time.Hour},
		{"an instant next year", "Mon, 01 Mar 2027 12:05:00 GMT", 429, Throttled, time.Hour},
		{"more than an integer holds", "99999999999999999999999", 429, Throttled, time.Hour},
		{"a negative number", "-5", 429, Throttled, 0},
		{"a ban on a login, which may be a lock", "30", 403, LoginDenied, 30 * time.Second},
		{"words", "later", 503, Throttled, 0},
		{"nothing", "", 429, Throttled, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := answerOf(tt.status, "")
			// A local clock three hours ahead.
			a.Header.Set("Date", sent().Add(-3*time.Hour).Format(http.TimeFormat))
			if tt.value != "" {
				a.Header.Set("Retry-After", tt.value)
			}
			_, err := decode(t, person(), a)
			if e := wantKind(t, err, tt.kind); e.RetryAfter != tt.want {
				t.Errorf("got %s, want %s", e.RetryAfter, tt.want)
			}
		})
	}
}

// GitHub's secondary rate limit; with a code that says why, a refusal stays one.
func TestRetryAfterTurnsABanOfAClientIntoAPause(t *testing.T) {
	for body, want := range map[string]Kind{`{"message":"x"}`: Throttled, ``: Throttled, `{"error":"access_denied"}`: Denied} {
		a := answerOf(http.StatusForbidden, body)
		a.Header.Set("Retry-After", "60")
		_, err := decode(t, plain(), a)
		if e := wantKind(t, err, want); e.RetryAfter != time.Minute {
			t.Errorf("%s: got %s", body, e.RetryAfter)
		}
	}
}

// sentences is everything that an error of Decode may say. A new one must be added
// here, by somebody who has seen that nothing of the answer gets into it.
func sentences() []string {
	return []string{
		"the answer is neither a JSON object nor a form",
		"the answer holds no access token",
		"the answer holds an access token that is too long or has impossible characters (RFC 6749 appendix A.12)",
		"the answer holds a token_type that cannot stand in a header",
		"the answer holds a token that has expired already",
		"nothing says when the token expires",
		"the token endpoint refused the username or password",
		"the token endpoint refused the refresh token",
		"the provider asks for a pause",
		"the token endpoint failed",
		"the provider does not grant these scopes",
		"the provider does not know this audience or resource",
		"the provider does not let this client use this grant",
		"the provider does not support this grant",
		"the provider did not understand the request",
		"the token endpoint refused the client",
		"the token endpoint refused the client's credentials",
		"the token endpoint redirects, which is never followed",
		"the token endpoint does not exist",
		"a proxy wants to be authenticated to",
		"the token endpoint does not take this kind of request",
	}
}

// checkDecoded holds what Decode promises of whatever a provider sends.
func checkDecoded(t interface{ Fatalf(string, ...any) }, a Answer, got token.Token, err error) {
	if err == nil {
		if !got.IssuedAt.Before(got.ExpiresAt) || got.ExpiresAt.After(got.IssuedAt.Add(maxLifetime)) {
			t.Fatalf("a token lives from %s to %s", got.IssuedAt, got.ExpiresAt)
		}
		if !isToken(got.Access.Reveal()) || got.Type == "" || !isVSCHAR(got.Type) || got.ExpirySource == "" {
			t.Fatalf("a token of type %q from source %q", got.Type, got.ExpirySource)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || !e.SentMaybe || e.Status != a.Status || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
		t.Fatalf("got error %#v", err)
	}
	if e.Code != "" && meaningOf(e.Code) == unknown {
		t.Fatalf("the code %q is not on the list", e.Code)
	}
	said := strings.TrimSuffix(e.Problem, " ("+e.Code+")")
	said = strings.TrimSuffix(said, fmt.Sprintf(" (HTTP %d)", a.Status))
	if !slices.Contains(sentences(), said) {
		t.Fatalf("%q is not in our own words", e.Problem)
	}
}

func FuzzDecode(f *testing.F) {
	now := sent().Unix()
	for _, body := range []string{
		`{"access_token":"a","token_type":"bearer","expires_in":3600,"scope":"x y","refresh_token":"r","refresh_expires_in":1}`,
		fmt.Sprintf(`{"access_token":%q,"expires_at":%d}`, jwtWith(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, now+300)), now*1000),
		`{"access_token":"a","expires_in":"9e99","expires_at":"2026-03-01T13:00:00Z"}`,
		`{"access_token":"a","expires_in":-0.5,"token_type":"a b"}`,
		`{"data":{"accessToken":"a"},"error":{"code":"invalid_grant"}}`,
		`{"ok":false,"error":["invalid_scope"]}`,
		`access_token=a&expires_in=60&scope=x`, `error=slow_down`, `<html>`, "\uFEFF{}", `{"a":1,"a":2}`, `[`, ``,
	} {
		f.Add([]byte(body), 200, "application/json", "Sun, 01 Mar 2026 12:00:00 GMT", "")
		f.Add([]byte(body), 400, "application/x-www-form-urlencoded", "", "120")
	}
	ways := []Resolved{resolve(f, plain(), nil), resolve(f, person(), nil), resolve(f, builtin(f, "UP42Project"), nil), resolve(f, builtin(f, "PlantPredict"), nil)}
	f.Fuzz(func(t *testing.T, body []byte, status int, contentType, date, retryAfter string) {
		a := Answer{Status: status, Body: body, SentAt: sent(), ReceivedAt: sent().Add(time.Second),
			Header: http.Header{"Content-Type": {contentType}, "Date": {date}, "Retry-After": {retryAfter}}}
		for _, r := range ways {
			for _, grant := range []Grant{r.Grant, RefreshToken} {
				got, err := r.Decode(Request{Grant: grant}, a)
				checkDecoded(t, a, got, err)
			}
		}
	})
}

func TestWhateverNumbersComeATokenLivesAPlausibleTime(t *testing.T) {
	r := resolve(t, plain(), nil)
	rapid.Check(t, func(t *rapid.T) {
		number := func(label string) any {
			return rapid.OneOf(
				rapid.Just[any](nil),
				rapid.Map(rapid.Float64(), func(f float64) any { return f }),
				rapid.Map(rapid.Int64(), func(i int64) any { return i }),
				rapid.Map(rapid.Int64Range(-10, 1e5), func(i int64) any { return sent().Unix() + i }),
				rapid.Map(rapid.Float64(), func(f float64) any { return fmt.Sprint(f) }),
			).Draw(t, label)
		}
		claims, _ := json.Marshal(map[string]any{"exp": number("exp"), "iat": number("iat")})
		body, err := json.Marshal(map[string]any{
			"access_token": jwtWith(string(claims)), "expires_in": number("expires_in"), "expires_at": number("expires_at"),
			"refresh_token": "r", "refresh_expires_in": number("refresh_expires_in"),
		})
		if err != nil {
			t.Skip("JSON knows no such number")
		}
		a := answerOf(200, string(body))
		if rapid.Bool().Draw(t, "dated") {
			a.Header.Set("Date", sent().Add(time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "skew"))).Format(http.TimeFormat))
		} else {
			a.Header.Del("Date")
		}
		got, err := r.Decode(Request{Grant: ClientCredentials}, a)
		checkDecoded(t, a, got, err)
		if err == nil && !got.RefreshExpiresAt.IsZero() && got.RefreshExpiresAt.Before(got.IssuedAt) {
			t.Fatalf("the refresh token expired at %s, before it came", got.RefreshExpiresAt)
		}
	})
}
