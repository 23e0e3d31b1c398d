package provider

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/providertoken/operator/internal/token"
)

// Canonical names of credentials: those of RFC 6749's request parameters. They
// are also the keys under which a credential Secret holds them by default.
const (
	CredClientID     = "client_id"
	CredClientSecret = "client_secret"
	CredUsername     = "username"
	CredPassword     = "password"
	// CredRefreshToken is the credential of the grant RefreshToken.
	CredRefreshToken = "refresh_token"
	// CredPrivateKey signs assertions, or belongs to CredCertificate: PEM (PKCS #8,
	// PKCS #1, SEC 1) or a JWK (RFC 7517).
	CredPrivateKey = "private_key"
	// CredKeyID is the kid of CredPrivateKey; optional.
	CredKeyID = "key_id"
	// CredCertificate is a PEM certificate chain.
	CredCertificate = "certificate"
	// CredAssertion is a ready-made assertion of the grant JWTBearer (RFC 7521 §4.1).
	CredAssertion = "assertion"
	// CredClientAssertion is a ready-made assertion for FederatedJWT (RFC 7521 §4.2).
	CredClientAssertion = "client_assertion"
	// CredSubjectToken and CredActorToken are those of RFC 8693 §2.1; the latter is optional.
	CredSubjectToken = "subject_token"
	CredActorToken   = "actor_token"
)

// Credentials holds credentials by canonical name.
type Credentials map[string]token.Secret

// canonicalNames lists the credentials that every definition may speak of.
func canonicalNames() []string {
	return []string{
		CredClientID, CredClientSecret, CredUsername, CredPassword, CredRefreshToken, CredPrivateKey, CredKeyID,
		CredCertificate, CredAssertion, CredClientAssertion, CredSubjectToken, CredActorToken,
	}
}

// CredentialNames lists all credentials that some way in may want: the canonical
// names, then the definition's extra ones and those of its methods.
func (d Definition) CredentialNames() []string {
	names := canonicalNames()
	all := d.ExtraCredentials
	for _, m := range d.Methods {
		all = append(slices.Clip(all), m.ExtraCredentials...)
	}
	for _, extra := range all {
		if !slices.Contains(names, extra.Name) {
			names = append(names, extra.Name)
		}
	}
	return names
}

// Keys lists where a credential Secret may hold the credential with that canonical
// name: under the canonical name, as a Secret of type kubernetes.io/tls names it, and
// in the provider's own words. Behind a '#' there is a JSON pointer into what the key holds.
func (d Definition) Keys(name string) []string {
	keys := []string{name}
	switch name {
	case CredCertificate:
		keys = append(keys, "tls.crt")
	case CredPrivateKey:
		keys = append(keys, "tls.key")
	}
	return append(keys, d.CredentialKeys[name]...)
}

// Find returns the credential with that canonical name from whatever key answers for
// with content: the first of Keys that has some. An object behind a pointer, such as a
// JWK, is returned as JSON.
func (d Definition) Find(name string, key func(string) ([]byte, bool)) (token.Secret, bool) {
	for _, k := range d.Keys(name) {
		if found, ok := FindKey(k, key); ok {
			return found, true
		}
	}
	return token.Secret{}, false
}

// FindKey is Find for one key, with or without a JSON pointer behind a '#'.
func FindKey(key string, content func(string) ([]byte, bool)) (token.Secret, bool) {
	base, pointer, inside := strings.Cut(key, "#")
	found, ok := content(base)
	if ok && inside {
		found = inJSON(found, pointer)
	}
	return token.NewSecret(string(found)), ok && len(found) > 0
}

// inJSON is what a pointer finds in a JSON document, as text; nil for nothing.
func inJSON(document []byte, pointer string) []byte {
	members, ok := parseObject(document)
	if !ok || !isPointer(pointer) {
		return nil
	}
	switch found := lookup(members, pointer).(type) {
	case string:
		return []byte(found)
	case json.Number:
		return []byte(found)
	case object:
		text, err := json.Marshal(found)
		if err != nil {
			return nil
		}
		return text
	}
	return nil
}

// called names a credential for people: "client_id (or project_id)".
func (d Definition) called(name string) string {
	others := d.Keys(name)[1:]
	if len(others) == 0 {
		return name
	}
	return fmt.Sprintf("%s (or %s)", name, strings.Join(others, ", "))
}

// allCalled names several credentials for people.
func (d Definition) allCalled(names []string) string {
	words := make([]string, 0, len(names))
	for _, name := range names {
		words = append(words, d.called(name))
	}
	return listed(words)
}

// listed is "a, b and c".
func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// required lists the credentials that a request cannot be made without, in the order
// in which people expect them. readyMade tells that the grant's assertion is not to be
// signed. It reads definitions whose defaults are filled in.
func (d Definition) required(readyMade bool) []string {
	var names []string
	want := func(more ...string) {
		for _, name := range more {
			known := name == CredClientID && d.ClientID != ""
			if !known && !slices.Contains(names, name) && slices.Contains(d.CredentialNames(), name) {
				names = append(names, name)
			}
		}
	}
	switch d.Grant {
	case Password:
		want(CredUsername, CredPassword)
	case RefreshToken:
		want(CredRefreshToken)
	case TokenExchange:
		want(CredSubjectToken)
	case JWTBearer:
		if readyMade {
			want(CredAssertion)
		}
	default: // the client's own credentials are all
	}
	switch d.ClientAuthentication {
	case SecretBasic, SecretPost, SecretJWT:
		want(CredClientID, CredClientSecret)
	case PrivateKeyJWT:
		want(CredClientID, CredPrivateKey)
	case FederatedJWT:
		want(CredClientAssertion)
	case TLS:
		want(CredClientID, CredCertificate, CredPrivateKey)
	default: // none
	}
	for _, text := range d.assertionTexts(readyMade) {
		want(holesIn(text)...)
	}
	if d.signsGrant(readyMade) {
		want(CredPrivateKey)
	}
	if d.Assertion.Thumbprint && d.signsWithKey(readyMade) {
		want(CredCertificate)
	}
	d.withTexts(func(p place, text string) string {
		if p != inAssertion {
			want(holesIn(text)...)
		}
		return text
	})
	for _, extra := range d.ExtraCredentials {
		want(extra.Name)
	}
	return names
}

// RequiredCredentials lists the canonical names of the credentials that NewRequest
// needs. A client_id that the definition knows itself is not among them.
func (r Resolved) RequiredCredentials() []string { return r.required(r.ReadyMade) }

// FederatedCredentials lists those of the required credentials that are tokens of
// somebody whom the token endpoint trusts, so that the token of a workload identity can
// stand for them.
func (r Resolved) FederatedCredentials() []string {
	return slices.DeleteFunc(r.required(r.ReadyMade), func(name string) bool {
		return name != CredSubjectToken && name != CredAssertion && name != CredClientAssertion
	})
}

// IdentityAudience is whom such a token should be meant for.
func (r Resolved) IdentityAudience() string { return cmp.Or(r.Assertion.Audience, r.TokenURL) }

// Identity is who logs in: the username for the grant Password, otherwise the
// client's identifier, and whom an assertion or a token that stands for somebody is
// about. It tells logins apart and is meant to be hashed, not shown.
func (r Resolved) Identity(c Credentials) string {
	if r.Grant == Password {
		return c[CredUsername].Reveal()
	}
	parts := []string{r.knownClientID(c)}
	switch r.Grant {
	case JWTBearer:
		parts = append(parts, r.assertedIdentity(c)...)
	case TokenExchange:
		parts = append(parts, bearerOf(c[CredSubjectToken])...)
	default: // the client speaks for itself
	}
	if r.ClientAuthentication == FederatedJWT && parts[0] == "" {
		parts = append(parts, bearerOf(c[CredClientAssertion])...)
	}
	return strings.Join(parts, "\n")
}

// assertedIdentity is issuer and subject of the grant's assertion.
func (r Resolved) assertedIdentity(c Credentials) []string {
	if ready := c[CredAssertion]; !ready.IsZero() {
		return bearerOf(ready)
	}
	value := func(name string) (string, bool) {
		if name == CredClientID {
			return r.knownClientID(c), true
		}
		return c[name].Reveal(), true
	}
	return []string{expand(r.Assertion.issuer(), value), expand(r.Assertion.subject(), value)}
}

// bearerOf is issuer and subject of a token if it is a JWT. It does not belong to the
// one who is asked, so nothing is verified.
func bearerOf(s token.Secret) []string {
	claims, ok := jwtClaims(s.Reveal())
	if !ok {
		return nil
	}
	issuer, _ := claims["iss"].(string)
	subject, _ := claims["sub"].(string)
	return []string{issuer, subject}
}

// knownClientID is the credential, else the definition's; it may be empty.
func (r Resolved) knownClientID(c Credentials) string {
	return cmp.Or(c[CredClientID].Reveal(), r.ClientID)
}

// credential returns a credential that is fit to be sent, or an error that names
// its key and never its content.
func (r Resolved) credential(c Credentials, name string) (string, error) {
	value := c[name].Reveal()
	if value == "" {
		return "", inputf("put a value under that key", "the credential %s is missing or empty", r.called(name))
	}
	if strings.HasSuffix(value, "\n") {
		return "", inputf("write it without one: use printf rather than echo, or kubectl create secret --from-literal",
			"the credential %s ends in a newline", r.called(name))
	}
	if !sendable(name, value) {
		return "", inputf("check how the Secret was written",
			"the credential %s holds characters that cannot be sent (RFC 6749 appendix A)", r.called(name))
	}
	return value, nil
}

// sendable goes by RFC 6749 appendix A for the credentials that it knows.
func sendable(name, value string) bool {
	known := slices.Contains(canonicalNames(), name)
	if !known || name == CredUsername || name == CredPassword {
		return isText(value)
	}
	return isVSCHAR(value)
}

// isVSCHAR claims that s is made of *VSCHAR, RFC 6749 appendix A: printable ASCII.
func isVSCHAR(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// isText claims that s is UTF-8 without control characters, which is RFC 6749
// appendix A's UNICODECHARNOCRLF without the tabulator.
func isText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7F {
			return false
		}
	}
	return true
}

// isScopeToken claims that s is a scope-token, RFC 6749 appendix A.4.
func isScopeToken(s string) bool {
	if s == "" || !isVSCHAR(s) {
		return false
	}
	return !strings.ContainsAny(s, " \"\\")
}
