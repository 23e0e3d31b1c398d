package provider

import (
	"slices"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/token"
)

const (
	// maxToken is the longest access or refresh token in bytes: headers beyond it
	// are refused by every server that a token could be sent to.
	maxToken = 32 << 10
	// maxTokenType is the longest token_type in bytes.
	maxTokenType = 64
	// maxScopes is how many granted scopes are kept.
	maxScopes = 64
	// maxScope is the longest granted scope in bytes that is kept.
	maxScope = 256
)

// Decode turns an answer to req into a token. A refusal is looked for before
// success, because some providers refuse with status 200.
//
// The error is always an *Error with SentMaybe set. A token never has an empty
// access token, one with characters outside VSCHAR (RFC 6749 appendix A.12), or an expiry
// that is not between one second and ten years after IssuedAt. Both instants are whole
// seconds. Refresh is zero when the answer has none, or the definition says
// Never; after a refresh the old refresh token then stays in force (RFC 6749 §6).
func (r Resolved) Decode(req Request, a Answer) (token.Token, error) {
	document, readable := parseBody(a.Body, a.Header.Get("Content-Type"))
	if refusal := r.refusal(req, a, document); refusal != nil {
		return token.Token{}, refusal
	}
	if !readable {
		return token.Token{}, nonsense(a, "the answer is neither a JSON object nor a form",
			"check that tokenURL is the token endpoint and that nothing between answers in its place")
	}
	return r.accept(document, a)
}

func (r Resolved) accept(document object, a Answer) (token.Token, error) {
	access := firstString(document, r.Response.AccessToken)
	if access == "" {
		return token.Token{}, nonsense(a, "the answer holds no access token", "check response.accessToken in the provider's definition")
	}
	if !isToken(access) {
		return token.Token{}, nonsense(a, "the answer holds an access token that is too long or has impossible characters (RFC 6749 appendix A.12)", "")
	}
	tokenType, ok := tokenType(firstString(document, r.Response.TokenType))
	if !ok {
		return token.Token{}, nonsense(a, "the answer holds a token_type that cannot stand in a header", "")
	}
	life, source, err := r.lifetime(document, access, a)
	if err != nil {
		return token.Token{}, err
	}
	issued := a.SentAt.UTC().Truncate(time.Second)
	t := token.Token{
		Access:       token.NewSecret(access),
		Type:         tokenType,
		Scopes:       r.grantedScopes(document),
		IssuedAt:     issued,
		ExpiresAt:    issued.Add(life),
		ExpirySource: source,
	}
	r.addRefresh(&t, document)
	return t, nil
}

// addRefresh takes over a refresh token that can be sent back; any other is as good as none.
func (r Resolved) addRefresh(t *token.Token, document object) {
	refresh := firstString(document, r.Response.RefreshToken)
	if r.UseRefreshToken == Never || !isToken(refresh) {
		return
	}
	t.Refresh = token.NewSecret(refresh)
	if life, pointer := findDuration(document, r.Response.RefreshExpiresIn); pointer != "" {
		t.RefreshExpiresAt = t.IssuedAt.Add(max(0, life.Truncate(time.Second)))
	}
}

// findDuration is the first duration that a pointer finds, and that pointer.
func findDuration(document object, pointers []string) (found time.Duration, pointer string) {
	for _, pointer := range pointers {
		if life, ok := duration(lookup(document, pointer)); ok {
			return life, pointer
		}
	}
	return 0, ""
}

// grantedScopes reads scope as a string (RFC 6749 §3.3) or a list. They are shown
// to people, so what is not a scope-token is left out.
func (r Resolved) grantedScopes(document object) []string {
	scopes, _ := r.findScopes(document)
	return scopes
}

func (r Resolved) findScopes(document object) (scopes []string, pointer string) {
	for _, pointer := range r.Response.Scope {
		if scopes := plausibleScopes(lookup(document, pointer)); len(scopes) > 0 {
			return scopes, pointer
		}
	}
	return nil, ""
}

func plausibleScopes(value any) []string {
	var words []string
	switch v := value.(type) {
	case string:
		words = strings.Fields(v)
	case []any:
		for _, e := range v {
			word, _ := e.(string)
			words = append(words, word)
		}
	}
	words = slices.DeleteFunc(words, func(s string) bool { return !isScopeToken(s) || len(s) > maxScope })
	return words[:min(len(words), maxScopes)]
}

// tokenType normalises "bearer" in any case, and takes a missing type for it; false for what is no
// type-name (RFC 6749 appendix A.13) and could not be the scheme of a header. It is empty for
// "N_A", a token that is for no header at all (RFC 8693 §2.2.1).
func tokenType(s string) (string, bool) {
	if s == "" || strings.EqualFold(s, "Bearer") {
		return "Bearer", true
	}
	if strings.EqualFold(s, "N_A") {
		return "", true
	}
	return s, len(s) <= maxTokenType && onlyOf(s, "-._")
}

func isToken(s string) bool { return s != "" && len(s) <= maxToken && isVSCHAR(s) }

// firstString is the first string with content that a pointer finds.
func firstString(document object, pointers []string) string {
	s, _ := findString(document, pointers)
	return s
}

// findString is firstString, and which pointer found it.
func findString(document object, pointers []string) (found, pointer string) {
	for _, pointer := range pointers {
		if s, _ := lookup(document, pointer).(string); s != "" {
			return s, pointer
		}
	}
	return "", ""
}

// nonsense is an Error about an answer of success that makes no sense.
func nonsense(a Answer, problem, fix string) *Error {
	return &Error{Kind: Unavailable, Status: a.Status, Problem: problem, Fix: fix, SentMaybe: true}
}
