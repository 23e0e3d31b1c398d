package providersim

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const formType = "application/x-www-form-urlencoded"

// unbookedKey marks a request whose token must not be entered into the books.
type unbookedKey struct{}

// request is what a provider judges.
type request struct {
	*http.Request
	body     []byte
	now      time.Time
	unbooked bool
}

// isForm tells whether the body is declared as a form; parameters such as charset are fine.
func (q request) isForm() bool {
	values := q.Header.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	media, _, err := mime.ParseMediaType(values[0])
	return err == nil && media == formType
}

// form parses the body; ok is false for a body that is no form, and for a field
// without a value or with two (RFC 6749 §3.2), except where repeatable.
func (q request) form(repeatable ...string) (form url.Values, ok bool) {
	form, err := url.ParseQuery(string(q.body))
	if err != nil {
		return nil, false
	}
	for name, values := range form {
		if slices.Contains(values, "") {
			return nil, false
		}
		if len(values) > 1 && !slices.Contains(repeatable, name) {
			return nil, false
		}
	}
	return form, true
}

// only tells whether the form has no other fields than these.
func only(form url.Values, fields ...string) bool {
	for name := range form {
		if !slices.Contains(fields, name) {
			return false
		}
	}
	return true
}

// authorization splits the Authorization header; both are empty if there is not exactly one.
func (q request) authorization() (scheme, value string) {
	values := q.Header.Values("Authorization")
	if len(values) != 1 {
		return "", ""
	}
	scheme, value, _ = strings.Cut(values[0], " ")
	return scheme, value
}

// rawBasic reads user and password as RFC 7617 has them: as they are, the
// password may hold colons.
func (q request) rawBasic() (user, password string, ok bool) {
	scheme, value := q.authorization()
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}

// formBasic reads client id and secret as RFC 6749 §2.3.1 has them: each form-encoded.
func (q request) formBasic() (id, secret string, ok bool) {
	user, password, ok := q.rawBasic()
	if !ok {
		return "", "", false
	}
	id, err := url.QueryUnescape(user)
	if err != nil {
		return "", "", false
	}
	secret, err = url.QueryUnescape(password)
	return id, secret, err == nil
}

// kindOfGrant tells requests apart by grant_type.
func kindOfGrant(_ *http.Request, form url.Values) Kind {
	switch kind := Kind(form.Get("grant_type")); kind {
	case KindClientCredentials, KindPassword, KindRefreshToken:
		return kind
	default:
		return KindOther
	}
}

// reply is one answer of a provider.
type reply struct {
	status int
	header http.Header
	body   string
}

func (p reply) with(name, value string) reply {
	p.header.Set(name, value)
	return p
}

func (p reply) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.header)
	w.WriteHeader(p.status)
	_, _ = w.Write([]byte(p.body))
}

// refusal has an empty body unless one is given.
func refusal(status int, body string) reply {
	header := http.Header{}
	if body != "" {
		header.Set("Content-Type", "text/html; charset=utf-8")
	}
	return reply{status: status, header: header, body: body}
}

// jsonReply forbids caching, as RFC 6749 §5.1 demands of token answers.
func jsonReply(status int, fields map[string]any) reply {
	body, err := json.Marshal(fields)
	if err != nil {
		return refusal(http.StatusInternalServerError, "")
	}
	return reply{status: status, body: string(body), header: http.Header{
		"Content-Type":  {"application/json;charset=UTF-8"},
		"Cache-Control": {"no-store"},
		"Pragma":        {"no-cache"},
	}}
}

// oauthError is RFC 6749 §5.2; description may be empty.
func oauthError(status int, code, description string) reply {
	fields := map[string]any{"error": code}
	if description != "" {
		fields["error_description"] = description
	}
	return jsonReply(status, fields)
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// clientCredentials reads client_secret_basic or client_secret_post; ok is false
// when both are used (RFC 6749 §2.3: not more than one). A client_id in the body
// may repeat the header's. Without any credentials the id is empty.
func (q request) clientCredentials(form url.Values) (id, secret string, ok bool) {
	if q.Header.Get("Authorization") == "" {
		return form.Get("client_id"), form.Get("client_secret"), true
	}
	id, secret, ok = q.formBasic()
	if !ok || form.Has("client_secret") {
		return "", "", false
	}
	return id, secret, !form.Has("client_id") || form.Get("client_id") == id
}
