package controller

import (
	"slices"
	"strings"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

// leastEcho is the shortest secret that is looked for in what a provider says: a
// shorter one is found in anything.
const leastEcho = 4

// tellable are the scopes of an answer that may be shown to people: status is read by
// those who may not read Secrets. Where a namespace wrote the definition, its JSON
// pointers may name any member of the answer, the token itself among them; then only
// what was asked for is told. From anybody, nothing that holds a secret of this
// exchange is, nor what is no plain text.
func (a *attempt) tellable(got token.Token) []string {
	asked := a.res.Scopes
	if a.input.Scopes != nil {
		asked = a.input.Scopes
	}
	secrets := a.secrets(got)
	return slices.DeleteFunc(slices.Clone(got.Scopes), func(scope string) bool {
		if slices.Contains(asked, scope) {
			return false // nothing new
		}
		return a.trust.PublicOnly || !plain(scope) || slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(scope, s) })
	})
}

// secrets are those of the request and of the answer. A client's identifier is none.
func (a *attempt) secrets(got token.Token) []string {
	all := []token.Secret{got.Access, got.Refresh, a.issued}
	for name, value := range a.input.Credentials {
		if name != provider.CredClientID && name != provider.CredKeyID {
			all = append(all, value)
		}
	}
	var found []string
	for _, s := range all {
		if text := s.Reveal(); len(text) >= leastEcho {
			found = append(found, text)
		}
	}
	return found
}

// plain claims that a scope-token (RFC 6749 section 3.3) has no character that markup
// or quoting in any language is made of.
func plain(scope string) bool { return !strings.ContainsAny(scope, "<>'`{}|^") }

// shownType is a token's type as status tells it: one that is known, since a
// definition may take any member of the answer for it.
func shownType(t string) string {
	for _, known := range []string{"", "Bearer", "DPoP", "PoP", "MAC", "Basic", "JWT", "Token", "SSWS"} {
		if strings.EqualFold(t, known) {
			return t
		}
	}
	return "other"
}
