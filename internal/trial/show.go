package trial

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/provider"
)

// pair is a field of a request's body as it is.
type pair struct {
	name, value string
	// literal tells that it is JSON of another type than text.
	literal bool
}

// fields takes a request's body apart again.
func fields(req provider.Request) []pair {
	body := req.Body.Reveal()
	if body == "" {
		return nil
	}
	if req.Header.Get("Content-Type") == "application/json" {
		return members(body)
	}
	var all []pair
	for part := range strings.SplitSeq(body, "&") {
		name, value, _ := strings.Cut(part, "=")
		// What cannot be decoded is not shown.
		plainName, err := url.QueryUnescape(name)
		if err != nil {
			plainName = "?"
		}
		plainValue, err := url.QueryUnescape(value)
		if err != nil {
			plainValue = ""
		}
		all = append(all, pair{name: plainName, value: plainValue})
	}
	return all
}

// members are those of a JSON object, in their order.
func members(body string) []pair {
	decoder := json.NewDecoder(strings.NewReader(body))
	if _, err := decoder.Token(); err != nil {
		return nil
	}
	var all []pair
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return all
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return all
		}
		var text string
		if json.Unmarshal(value, &text) == nil {
			all = append(all, pair{name: fmt.Sprint(name), value: text})
			continue
		}
		all = append(all, pair{name: fmt.Sprint(name), value: string(value), literal: true})
	}
	return all
}

// told are the fields of a request that say what is asked for, and not who asks.
func told(name string) bool {
	switch name {
	case "grant_type", "scope", "audience", "resource", "client_id", "client_assertion_type",
		"subject_token_type", "actor_token_type", "requested_token_type":
		return true
	}
	return false
}

// sounding claims that a name promises a secret.
func sounding(name string) bool {
	return regexp.MustCompile(`(?i)secret|passw|token$|assertion|api.?key|private|\bkey$|pin$|credential`).MatchString(name)
}

// showRequest shows what is sent.
func (p *Plan) showRequest() Request {
	shown := Request{Method: p.request.Method, URL: p.mask.text(p.request.URL), Certificate: p.request.Certificate != nil}
	header := p.request.Header.Clone()
	for _, name := range slices.Sorted(maps.Keys(header)) {
		shown.Headers = append(shown.Headers, Field{name, p.header(name, header.Get(name))})
	}
	literals := p.literals()
	for _, f := range fields(p.request) {
		value := "‹" + p.shape(f.name, f.value) + "›"
		if told(f.name) || (literals[f.value] && !sounding(f.name)) {
			value = p.mask.text(f.value)
		}
		shown.Body = append(shown.Body, Field{f.name, value})
	}
	return shown
}

func (p *Plan) header(name, value string) string {
	switch name {
	case "Accept", "Content-Type":
		return p.mask.text(value)
	case "Authorization":
		scheme, proof, _ := strings.Cut(value, " ")
		what := "user and password"
		if scheme == "Bearer" {
			what = "assertion"
		}
		return scheme + " ‹" + p.shape(what, proof) + "›"
	}
	for configured, text := range p.resolved.Request.Headers {
		if http.CanonicalHeaderKey(configured) == name && !strings.Contains(text, "{") && !sounding(name) {
			return p.mask.text(value)
		}
	}
	return "‹" + p.shape(name, value) + "›"
}

// literals are the texts that the definition itself puts into a body, as they are.
func (p *Plan) literals() map[string]bool {
	found := map[string]bool{}
	for _, text := range p.resolved.FormParameters {
		found[text] = !strings.Contains(text, "{")
	}
	for _, value := range p.resolved.Request.JSON {
		if text, ok := value.(string); ok {
			found[text] = !strings.Contains(text, "{")
			continue
		}
		if text, err := json.Marshal(value); err == nil {
			found[string(text)] = !strings.Contains(string(text[1:]), "{")
		}
	}
	return found
}

// shape tells what a secret looks like: its name, its length, and of a JWT what it says.
func (p *Plan) shape(name, value string) string {
	text := fmt.Sprintf("%s, %s", name, count(value))
	header, claims, isJWT := provider.Claims(value)
	if !isJWT {
		return text
	}
	return text + ", " + p.jwt(header, claims)
}

func count(value string) string {
	n := len([]rune(value))
	switch {
	case n == 0:
		return "empty"
	case n == 1:
		return "1 character"
	case strings.HasPrefix(value, "-----BEGIN "):
		return strconv.Itoa(n) + " characters of PEM"
	}
	return strconv.Itoa(n) + " characters"
}

// jwt tells of a JWT who says it to whom, for how long: RFC 7519 §4.1, and its header.
func (p *Plan) jwt(header, claims map[string]any) string {
	var said []string
	add := func(name string, value any) {
		switch v := value.(type) {
		case string:
			said = append(said, name+"="+p.mask.prose(v))
		case json.Number:
			said = append(said, name+"="+p.mask.text(v.String()))
		case []any:
			var all []string
			for _, e := range v {
				if s, ok := e.(string); ok {
					all = append(all, p.mask.prose(s))
				}
			}
			said = append(said, name+"="+strings.Join(all, ","))
		}
	}
	for _, name := range []string{"alg", "typ"} {
		add(name, header[name])
	}
	for _, name := range []string{"iss", "aud", "scope", "scp"} {
		add(name, claims[name])
	}
	for _, name := range []string{"iat", "exp"} {
		if n, ok := claims[name].(json.Number); ok {
			if seconds, err := n.Float64(); err == nil && seconds > 0 && seconds < 1e11 {
				add(name, time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339))
			}
		}
	}
	return "JWT: " + strings.Join(said, " ")
}

// showAnswer shows what came back.
func (p *Plan) showAnswer(a provider.Answer) *Answer {
	document, readable := a.Members()
	if readable {
		p.learnAnswer(document)
	}
	shown := &Answer{Status: a.Status, Took: a.ReceivedAt.Sub(a.SentAt).Round(time.Millisecond).String()}
	for _, name := range []string{"Content-Type", "Date", "Retry-After", "Cache-Control", "Location", "Www-Authenticate", "X-Request-Id", "Server"} {
		if value := a.Header.Get(name); value != "" {
			shown.Headers = append(shown.Headers, Field{name, p.answerHeader(name, value)})
		}
	}
	switch {
	case readable:
		shown.Body = p.document("", document)
	case len(a.Body) == 0:
		shown.Text = "(empty)"
	case a.Status >= 200 && a.Status <= 299:
		// It may be a token in a form that is not understood.
		shown.Text = fmt.Sprintf("‹%d bytes that are neither a JSON object nor a form›", len(a.Body))
	default:
		shown.Text = clip(p.mask.prose(excerpt(string(a.Body))), 300)
	}
	return shown
}

// learnAnswer lets the mask know the secrets of an answer.
func (p *Plan) learnAnswer(document map[string]any) {
	for _, pointers := range [][]string{p.resolved.Response.AccessToken, p.resolved.Response.RefreshToken} {
		for _, pointer := range pointers {
			if text, ok := at(document, pointer).(string); ok {
				p.mask.hide(text)
			}
		}
	}
	p.walk("", document, func(name string, text string) {
		if len(text) >= gram && !speaks(name) {
			p.mask.hide(text)
		}
	})
}

// walk visits every text of a document.
func (p *Plan) walk(name string, value any, visit func(name, text string)) {
	switch v := value.(type) {
	case string:
		visit(name, v)
	case map[string]any:
		for key, inner := range v {
			p.walk(key, inner, visit)
		}
	case []any:
		for _, inner := range v {
			p.walk(name, inner, visit)
		}
	}
}

// speaks claims that a member of an answer is for people to read: RFC 6749 §5, and what
// providers of the catalog call their errors.
func speaks(name string) bool {
	switch strings.ToLower(name) {
	case "token_type", "scope", "scp", "scopes", "error", "error_description", "error_uri", "message", "error_message",
		"errorcode", "errorsummary", "code", "title", "detail", "details", "reason", "status", "type", "issued_token_type",
		"timestamp", "expires_at", "expires_in", "expires_on", "suberror", "__type":
		return true
	}
	return false
}

func (p *Plan) document(prefix string, members map[string]any) []Field {
	var shown []Field
	for _, name := range slices.Sorted(maps.Keys(members)) {
		// A name is chosen by the provider, too.
		label := p.mask.prose(prefix + name)
		if inner, ok := members[name].(map[string]any); ok && strings.Count(label, ".") < 4 && len(inner) > 0 {
			shown = append(shown, p.document(prefix+name+".", inner)...)
			continue
		}
		shown = append(shown, Field{label, p.member(name, members[name])})
	}
	return shown
}

func (p *Plan) member(name string, value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		if sounding(name) {
			return "‹" + count(v.String()) + "›"
		}
		return p.mask.text(v.String())
	case string:
		if speaks(name) {
			return strconv.Quote(clip(p.mask.prose(v), 500))
		}
		return "‹" + p.shape("text", v) + "›"
	case []any:
		if !speaks(name) {
			return fmt.Sprintf("‹a list of %d›", len(v))
		}
		var all []string
		for _, e := range v[:min(len(v), 10)] {
			all = append(all, p.member(name, e))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case map[string]any:
		return fmt.Sprintf("‹an object of %d members›", len(v))
	}
	return "‹a value›"
}

func (p *Plan) answerHeader(name, value string) string {
	if name == "Location" {
		// Of a redirect only where to: its query may repeat the request.
		u, err := url.Parse(value)
		if err != nil {
			return "‹not a URL›"
		}
		u.RawQuery, u.Fragment, u.User = "", "", nil
		value = u.String()
	}
	return clip(p.mask.prose(value), 200)
}

// at evaluates a JSON pointer (RFC 6901 §4).
func at(document any, pointer string) any {
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := document.(type) {
		case map[string]any:
			document = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			document = v[i]
		default:
			return nil
		}
	}
	return document
}

// excerpt is the beginning of a page without its markup.
func excerpt(s string) string {
	s = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`).ReplaceAllString(s, " ")
	return strings.Join(strings.Fields(s), " ")
}

func clip(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "…"
}
