package provider

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// maxLifetime is longer than any lease that is worth believing.
	maxLifetime = 10 * 365 * 24 * time.Hour
	// maxAssertionLifetime is what the most generous vendor SDK uses.
	maxAssertionLifetime = time.Hour
	// maxSecretKey is the longest key of a Kubernetes Secret.
	maxSecretKey = 253
)

// Validate tells whether a token can be requested with this definition at all, as
// far as that is known without credentials and parameters. The error is an *Error
// of kind Input about the first problem. Fields left empty are valid where they
// have a default.
func (d Definition) Validate() error {
	if len(d.Methods) == 0 {
		return d.validateOne()
	}
	seen := map[string]bool{}
	for _, m := range d.Methods {
		if !isName(m.Name) || seen[m.Name] {
			return inputf("use letters, digits, hyphens and underscores, and each name once", "a method has no usable name")
		}
		seen[m.Name] = true
		if err := d.validateMethod(m); err != nil {
			return err
		}
	}
	return nil
}

func (d Definition) validateMethod(m Method) error {
	if len(m.Methods) > 0 {
		return inputf("list all methods side by side", "the method %s has methods of its own", m.Name)
	}
	if len(m.CredentialKeys) > 0 {
		// Keys is asked before the method is known.
		return inputf("move them to the definition", "the method %s has credentialKeys of its own", m.Name)
	}
	flat, err := d.WithMethod(m.Name)
	if err != nil {
		return err
	}
	return flat.validateOne()
}

func (d Definition) validateOne() error {
	d = d.withDefaults()
	checks := []func(Definition) error{
		Definition.validateTerms,
		Definition.validateCombination,
		Definition.validateEndpoint,
		Definition.validateClient,
		Definition.validateFields,
		Definition.validateHeaders,
		Definition.validatePointers,
		Definition.validateNumbers,
		Definition.validateCABundle,
	}
	for _, check := range checks {
		if err := check(d); err != nil {
			return err
		}
	}
	return nil
}

// validateTerms refuses words that the API does not know.
func (d Definition) validateTerms() error {
	terms := []struct {
		field, value string
		known        []string
	}{
		{"grant", string(d.Grant), []string{string(ClientCredentials), string(Password)}},
		{"clientAuthentication", string(d.ClientAuthentication), []string{string(SecretBasic), string(SecretPost), string(SecretJWT), string(None)}},
		{"request.method", d.Request.Method, []string{http.MethodPost, http.MethodGet}},
		{"request.basicEncoding", string(d.Request.BasicEncoding), []string{string(FormEncoded), string(Raw)}},
		{"request.login", string(d.Request.Login), []string{string(LoginInBody), string(LoginInBasicHeader)}},
		{"useRefreshToken", string(d.UseRefreshToken), []string{string(Auto), string(Never)}},
	}
	for _, t := range terms {
		if !slices.Contains(t.known, t.value) {
			return inputf("use one of "+strings.Join(t.known, ", "), "%s has an unknown value", t.field)
		}
	}
	return nil
}

// validateCombination refuses what cannot go into one request together.
func (d Definition) validateCombination() error {
	if d.Grant == ClientCredentials && d.ClientAuthentication == None {
		return inputf("choose a clientAuthentication that proves something",
			"the grant ClientCredentials needs a client that proves itself (RFC 6749 §4.4)")
	}
	if d.Request.Login == LoginInBasicHeader && d.Grant != Password {
		return inputf("set grant to Password", "request.login places a username and a password, which only the grant Password has")
	}
	if d.Request.Login == LoginInBasicHeader && d.ClientAuthentication != None {
		return inputf("set clientAuthentication to None", "a login in the Basic header leaves no place for a client")
	}
	if d.Request.Method == http.MethodGet && d.needsBody() {
		return inputf("use POST, or send everything in the Basic header", "a GET has no body, and this definition needs one")
	}
	return nil
}

func (d Definition) needsBody() bool {
	inHeader := d.Request.Login == LoginInBasicHeader ||
		(d.Grant == ClientCredentials && d.ClientAuthentication == SecretBasic)
	return !inHeader || len(d.Scopes) > 0 || len(d.FormParameters) > 0
}

func (d Definition) validateEndpoint() error {
	if d.TokenURL == "" {
		return inputf("set it", "tokenURL is missing")
	}
	sample := make(map[string]string, len(d.Parameters))
	for _, p := range d.Parameters {
		if err := d.validateParameter(p); err != nil {
			return err
		}
		if _, twice := sample[p.Name]; twice {
			return inputf("declare it once", "the parameter %s is declared twice", p.Name)
		}
		sample[p.Name] = p.sample()
	}
	return checkTokenURL(fill(d.TokenURL, sample))
}

func (d Definition) validateParameter(p Parameter) error {
	if !isName(p.Name) || p.Name == methodParameter {
		return inputf("use letters, digits, hyphens and underscores; method is taken", "a parameter has no usable name")
	}
	if err := d.validateHole(p); err != nil {
		return err
	}
	for choice, value := range p.Values {
		if choice == "" || !isText(choice) || !isPathSafe(value) {
			return inputf("use letters, digits, dots, hyphens and underscores", "the parameter %s lists a value that cannot stand in a URL", p.Name)
		}
	}
	if p.Default == "" {
		return nil
	}
	_, err := p.value(nil)
	return err
}

func (d Definition) validateHole(p Parameter) error {
	authority, rest := splitAuthority(d.TokenURL)
	host, port, _ := strings.Cut(authority, ":")
	path, query, _ := strings.Cut(rest, "?")
	if strings.Contains(port, hole(p.Name)) || strings.Contains(query, hole(p.Name)) {
		return inputf("use it in the host or the path only", "the parameter %s stands in the port or the query of tokenURL", p.Name)
	}
	if !strings.Contains(host, hole(p.Name)) && !strings.Contains(path, hole(p.Name)) {
		return inputf("write "+hole(p.Name)+" where it belongs, or remove it", "the parameter %s does not occur in tokenURL", p.Name)
	}
	return nil
}

// sample is something that may stand in the parameter's hole.
func (p Parameter) sample() string {
	for _, choice := range slices.Sorted(maps.Keys(p.Values)) {
		return p.Values[choice]
	}
	return "x"
}

func (d Definition) validateClient() error {
	if !isVSCHAR(d.ClientID) {
		return inputf("use printable ASCII (RFC 6749 appendix A.1)", "clientID holds characters that cannot be sent")
	}
	taken := map[string]bool{CredUsername: true, CredPassword: true, CredClientID: true, CredClientSecret: true}
	for _, name := range slices.Sorted(maps.Keys(d.CredentialKeys)) {
		if !slices.Contains([]string{CredUsername, CredPassword, CredClientID, CredClientSecret}, name) {
			return inputf("use only username, password, client_id and client_secret", "credentialKeys names a credential that does not exist")
		}
		for _, key := range d.CredentialKeys[name] {
			if taken[key] || !isSecretKey(key) {
				return inputf("use each key of a Secret once", "credentialKeys of %s lists a key that is taken or impossible", name)
			}
			taken[key] = true
		}
	}
	return nil
}

func (d Definition) validateFields() error {
	if !allScopeTokens(d.Scopes) {
		return inputf("list each scope by itself (RFC 6749 appendix A.4)", "scopes holds something that is not a scope")
	}
	for _, name := range slices.Sorted(maps.Keys(d.FormParameters)) {
		if reservedField(name) {
			return inputf("use the definition's own fields for it", "formParameters must not hold %s", strings.ToLower(name))
		}
		if name == "" || !isText(name) || !isText(d.FormParameters[name]) {
			return inputf("use text without control characters", "formParameters holds something that cannot be sent")
		}
	}
	return nil
}

// reservedField claims that a form field carries a credential or decides what is
// asked for, so that only the operator itself may send it.
func reservedField(name string) bool {
	switch strings.ToLower(name) {
	case "grant_type", "scope",
		"client_id", "client_secret", "client_assertion", "client_assertion_type",
		"username", "password", "refresh_token", "assertion",
		"code", "code_verifier", "device_code", "redirect_uri",
		"subject_token", "subject_token_type", "actor_token", "actor_token_type":
		return true
	}
	return false
}

func (d Definition) validateHeaders() error {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(d.Request.Headers)) {
		if !isHeaderName(name) {
			return inputf("use letters, digits and hyphens", "request.headers holds a name that is not one")
		}
		canonical := http.CanonicalHeaderKey(name)
		if reservedHeader(canonical) {
			return inputf("remove it: the operator decides it", "request.headers must not hold %s", canonical)
		}
		if seen[canonical] {
			return inputf("list it once", "request.headers holds %s twice", canonical)
		}
		seen[canonical] = true
		value := d.Request.Headers[name]
		if !isVSCHAR(value) || value != strings.TrimSpace(value) {
			return inputf("use printable ASCII without spaces around it", "the value of the request header %s cannot be sent", canonical)
		}
	}
	return nil
}

// reservedHeader claims that a header carries a credential, frames the message or
// steers a proxy. The name is in canonical form.
func reservedHeader(name string) bool {
	switch name {
	case "Authorization", "Cookie", "Cookie2", "Host", "User-Agent",
		"Content-Type", "Content-Length", "Content-Encoding", "Accept-Encoding",
		"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect",
		"Date", "Dpop", "Forwarded", "Via":
		return true
	}
	return strings.HasPrefix(name, "Proxy-") || strings.HasPrefix(name, "X-Forwarded-")
}

func (d Definition) validatePointers() error {
	f := d.Response
	all := slices.Concat(f.AccessToken, f.TokenType, f.ExpiresIn, f.ExpiresAt, f.RefreshToken, f.RefreshExpiresIn, f.Scope, f.Error)
	for _, pointer := range all {
		if !isPointer(pointer) {
			return inputf("write it as /member/member (RFC 6901)", "response holds something that is not a JSON pointer")
		}
	}
	return nil
}

func (d Definition) validateNumbers() error {
	if l := d.TokenLifetime.Duration; l != 0 && (l < time.Second || l > maxLifetime) {
		return inputf("use a duration from 1s to ten years", "tokenLifetime is out of range")
	}
	if l := d.Assertion.Lifetime.Duration; l < time.Second || l > maxAssertionLifetime {
		return inputf("use a duration from 1s to 1h", "assertion.lifetime is out of range")
	}
	if d.Limits.Concurrency < 0 || d.Limits.PerSecond < 0 {
		return inputf("use positive numbers, or none", "limits are negative")
	}
	return nil
}

func (d Definition) validateCABundle() error {
	if d.CABundle == "" {
		return nil
	}
	certificates := 0
	rest := []byte(d.CABundle)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return inputf("list certificates only, each in PEM", "caBundle holds something that is not a certificate")
		}
		certificates++
	}
	if certificates == 0 {
		return inputf("write it in PEM, from BEGIN CERTIFICATE to END CERTIFICATE", "caBundle holds no certificate")
	}
	return nil
}

func allScopeTokens(scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !isScopeToken(s) })
}

// checkTargets looks at what a user asks to be in the token.
func checkTargets(in RequestInput) error {
	if !allScopeTokens(in.Scopes) {
		return inputf("list each scope by itself (RFC 6749 appendix A.4)", "scopes holds something that is not a scope")
	}
	if !isText(in.Audience) {
		return inputf("use text without control characters", "audience cannot be sent")
	}
	for _, resource := range in.Resources {
		u, err := url.Parse(resource)
		if err != nil || !u.IsAbs() || strings.Contains(resource, "#") || !isVSCHAR(resource) {
			return inputf("write absolute URIs without a fragment (RFC 8707 §2)", "resources holds something that is not a resource indicator")
		}
	}
	return nil
}

// isName claims that s can name a parameter or a method.
func isName(s string) bool {
	return s != "" && len(s) <= 63 && isAlpha(s[0]) && onlyOf(s, "-_")
}

// isPathSafe claims that s can stand in a URL's host or path without a meaning of its own.
func isPathSafe(s string) bool {
	return s != "" && s != "." && s != ".." && onlyOf(s, ".-_")
}

func isSecretKey(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxSecretKey && onlyOf(s, ".-_")
}

func isHeaderName(s string) bool { return s != "" && onlyOf(s, "-_") }

// onlyOf claims that s holds ASCII letters, digits and the others only.
func onlyOf(s, others string) bool {
	for i := range len(s) {
		if !isAlpha(s[i]) && !isDigit(s[i]) && strings.IndexByte(others, s[i]) < 0 {
			return false
		}
	}
	return true
}
