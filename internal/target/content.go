package target

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// Content is what a target says of itself: the token, and the bookkeeping that
// belongs to the same write.
//
// A Secret keeps whole seconds. Whoever computes from a Content before it is
// published computes from AsPublished, so that memory and Secret agree.
type Content struct {
	// Token in the Secret. Its Refresh is never published.
	Token token.Token
	// Previous is the token that this one replaced, and PreviousExpiresAt its end;
	// both zero when it is not kept.
	Previous          token.Secret
	PreviousExpiresAt time.Time
	// Inputs is the versioned hash over what in the spec decides which token it is.
	Inputs string
	// RefreshAt is when the token was planned to be replaced; zero when not known.
	RefreshAt time.Time
	// HandledRefresh is the last value of the refresh-requested-at annotation that was served.
	HandledRefresh string
}

// AsPublished is c as Observe reads it back: instants in UTC and rounded down
// to whole seconds, no refresh token, nil for no scopes, no previous token that
// cannot be one.
func (c Content) AsPublished() Content {
	c.Token.Refresh, c.Token.RefreshExpiresAt = token.Secret{}, time.Time{}
	c.Token.IssuedAt = wholeSeconds(c.Token.IssuedAt)
	c.Token.ExpiresAt = wholeSeconds(c.Token.ExpiresAt)
	c.Token.Scopes = splitScopes(joinScopes(c.Token.Scopes))
	c.RefreshAt = wholeSeconds(c.RefreshAt)
	c.PreviousExpiresAt = wholeSeconds(c.PreviousExpiresAt)
	if !c.hasPrevious() {
		c = c.WithoutPrevious()
	}
	return c
}

// wholeSeconds rounds down: a token must never seem to live longer than it
// does, and a life that seems to begin earlier only ends up refreshed earlier.
func wholeSeconds(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

// describe writes down what tells about the token itself; the content hash covers it.
func describe(annotations map[string]string, t token.Token) {
	note(annotations, v1alpha1.IssuedAtAnnotation, formatInstant(t.IssuedAt))
	note(annotations, v1alpha1.ExpiresAtAnnotation, formatInstant(t.ExpiresAt))
	note(annotations, v1alpha1.ExpirySourceAnnotation, string(t.ExpirySource))
	note(annotations, v1alpha1.TokenTypeAnnotation, t.Type)
	note(annotations, v1alpha1.ScopesAnnotation, joinScopes(t.Scopes))
}

// note sets an annotation unless there is nothing to say.
func note(annotations map[string]string, key, value string) {
	if value != "" {
		annotations[key] = value
	}
}

// described are the keys of describe.
func described() [5]string {
	return [5]string{
		v1alpha1.IssuedAtAnnotation,
		v1alpha1.ExpiresAtAnnotation,
		v1alpha1.ExpirySourceAnnotation,
		v1alpha1.TokenTypeAnnotation,
		v1alpha1.ScopesAnnotation,
	}
}

// keepBooks writes down what goes along with the token in one write.
func keepBooks(annotations map[string]string, c Content) {
	note(annotations, v1alpha1.InputsAnnotation, c.Inputs)
	note(annotations, v1alpha1.RefreshAtAnnotation, formatInstant(c.RefreshAt))
	note(annotations, v1alpha1.RefreshHandledAnnotation, c.HandledRefresh)
}

// parseContent is the inverse of describe and keepBooks; false when there is
// no life of a token in the annotations. The access token is not among them.
func parseContent(annotations map[string]string) (Content, bool) {
	issued, ok := parseInstant(annotations[v1alpha1.IssuedAtAnnotation])
	if !ok {
		return Content{}, false
	}
	expires, ok := parseInstant(annotations[v1alpha1.ExpiresAtAnnotation])
	if !ok || !expires.After(issued) {
		return Content{}, false
	}
	refresh, _ := parseInstant(annotations[v1alpha1.RefreshAtAnnotation])
	return Content{
		Token: token.Token{
			Type:         annotations[v1alpha1.TokenTypeAnnotation],
			Scopes:       splitScopes(annotations[v1alpha1.ScopesAnnotation]),
			IssuedAt:     issued,
			ExpiresAt:    expires,
			ExpirySource: token.ExpirySource(annotations[v1alpha1.ExpirySourceAnnotation]),
		},
		Inputs:         annotations[v1alpha1.InputsAnnotation],
		RefreshAt:      refresh,
		HandledRefresh: annotations[v1alpha1.RefreshHandledAnnotation],
	}, true
}

func formatInstant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func parseInstant(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, false
	}
	return wholeSeconds(t), true
}

// joinScopes writes scopes as RFC 6749 §3.3 does.
func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }

func splitScopes(s string) []string {
	scopes := strings.Fields(s)
	if len(scopes) == 0 {
		return nil
	}
	return scopes
}

// Issued is when the token in a target was issued, by what the target says of itself;
// false when it says nothing of the kind.
func Issued(s *corev1.Secret) (time.Time, bool) {
	c, ok := parseContent(s.Annotations)
	return c.Token.IssuedAt, ok
}
