package provider

import (
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

// Keys lists the keys under which a credential Secret may hold the credential with
// that canonical name: the canonical name first, then the provider's own words.
func (d Definition) Keys(name string) []string {
	return append([]string{name}, d.CredentialKeys[name]...)
}

// called names a credential for people: "client_id (or project_id)".
func (d Definition) called(name string) string {
	others := d.CredentialKeys[name]
	if len(others) == 0 {
		return name
	}
	return fmt.Sprintf("%s (or %s)", name, strings.Join(others, ", "))
}

// required lists the credentials that a request cannot be made without. It reads
// definitions whose defaults are filled in.
func (d Definition) required() []string {
	var names []string
	if d.Grant == Password {
		names = append(names, CredUsername, CredPassword)
	}
	if d.ClientAuthentication == None {
		return names
	}
	if d.ClientID == "" {
		names = append(names, CredClientID)
	}
	return append(names, CredClientSecret)
}

// RequiredCredentials lists the canonical names of the credentials that NewRequest
// needs. A client_id that the definition knows itself is not among them.
func (r Resolved) RequiredCredentials() []string { return r.required() }

// Identity is who logs in: the username for the grant Password, otherwise the
// client's identifier. It tells logins apart and is meant to be hashed, not shown.
func (r Resolved) Identity(c Credentials) string {
	if r.Grant == Password {
		return c[CredUsername].Reveal()
	}
	if id := c[CredClientID]; !id.IsZero() {
		return id.Reveal()
	}
	return r.ClientID
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

func sendable(name, value string) bool {
	if slices.Contains([]string{CredUsername, CredPassword}, name) {
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
