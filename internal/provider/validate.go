package provider

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
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
	// maxBackdate is more than any clock that is worth trusting is wrong by.
	maxBackdate = 10 * time.Minute
	// maxSecretKey is the longest key of a Kubernetes Secret.
	maxSecretKey = 253
)

// Validate tells whether a token can be requested with this definition at all, as
// far as that is known without credentials and parameters. The error is an *Error
// of kind Input about the first problem. Fields left empty are valid where they
// have a default.
func (d Definition) Validate() error {
	if err := d.validateCredentials(); err != nil {
		return err
	}
	if len(d.Methods) == 0 {
		if d.Provisioning != nil {
			return inputf("list both ways in under methods", "provisioning needs methods")
		}
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
	if err := d.validateSharedParameters(); err != nil {
		return err
	}
	return d.validateProvisioning()
}

func (d Definition) validateMethod(m Method) error {
	if len(m.Methods) > 0 {
		return inputf("list all methods side by side", "the method %s has methods of its own", m.Name)
	}
	if len(m.CredentialKeys) > 0 {
		// Keys is asked before the method is known.
		return inputf("move them to the definition", "the method %s has credentialKeys of its own", m.Name)
	}
	if m.Provisioning != nil {
		return inputf("move it to the definition", "the method %s has a provisioning of its own", m.Name)
	}
	flat, err := d.WithMethod(m.Name)
	if err != nil {
		return err
	}
	return flat.validateOne()
}

// validateSharedParameters looks for those that no way in has a use for, which
// WithMethod forgives.
func (d Definition) validateSharedParameters() error {
	holes := d.holes()
	for _, m := range d.Methods {
		maps.Copy(holes, m.holes())
	}
	for _, p := range d.Parameters {
		if !holes[p.Name] {
			return inputf("write "+hole(p.Name)+" where it belongs, or remove it", "the parameter %s does not occur in any URL or text", p.Name)
		}
	}
	return nil
}

func (d Definition) validateOne() error {
	d = d.withDefaults()
	checks := []func(Definition) error{
		Definition.validateTerms,
		Definition.validateGrant,
		Definition.validateCombination,
		Definition.validateParameters,
		Definition.validateEndpoint,
		Definition.validateHoles,
		Definition.validateAssertion,
		Definition.validateFields,
		Definition.validateJSON,
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
		{"grant", string(d.Grant), words(ClientCredentials, Password, RefreshToken, JWTBearer, TokenExchange, Custom)},
		{"clientAuthentication", string(d.ClientAuthentication), words(SecretBasic, SecretPost, SecretJWT, PrivateKeyJWT, FederatedJWT, TLS, None)},
		{"assertion.algorithm", cmp.Or(d.Assertion.Algorithm, "RS256"), append(secretAlgorithms(), keyAlgorithms()...)},
		{"request.method", d.Request.Method, words(http.MethodPost, http.MethodGet)},
		{"request.basicEncoding", string(d.Request.BasicEncoding), words(FormEncoded, Raw)},
		{"request.login", string(d.Request.Login), words(LoginInBody, LoginInBasicHeader)},
		{"request.assertion", string(d.Request.Assertion), words(AssertionInBody, AssertionInHeader)},
		{"request.scopes", string(d.Request.Scopes), words(ScopesInBody, ScopesInAssertion, NoScopes)},
		{"request.body", string(d.Request.Body), words(FormBody, JSONBody)},
		{"useRefreshToken", string(d.UseRefreshToken), words(Auto, Never)},
	}
	for _, t := range terms {
		if !slices.Contains(t.known, t.value) {
			return inputf("use one of "+strings.Join(t.known, ", "), "%s has an unknown value", t.field)
		}
	}
	return nil
}

func words[T ~string](terms ...T) []string {
	all := make([]string, 0, len(terms))
	for _, t := range terms {
		all = append(all, string(t))
	}
	return all
}

// validateGrant looks at what only some grants have.
func (d Definition) validateGrant() error {
	if d.Grant != Custom && d.GrantType != "" {
		return inputf("set grant to Custom, or remove it", "grantType belongs to the grant Custom")
	}
	if d.Grant == Custom && (d.GrantType == "" || !isVSCHAR(d.GrantType)) {
		return inputf("set grantType to the value of grant_type, in printable ASCII", "the grant Custom needs a grantType")
	}
	if d.Grant == Custom && standardGrant(d.GrantType) != "" {
		// As a login it would go unnoticed that a refusal may lock the account.
		return inputf("set grant to "+string(standardGrant(d.GrantType)), "grantType names a grant that has a name of its own")
	}
	for name, value := range map[string]string{
		"subjectTokenType":   d.TokenExchange.SubjectTokenType,
		"actorTokenType":     d.TokenExchange.ActorTokenType,
		"requestedTokenType": d.TokenExchange.RequestedTokenType,
	} {
		if u, err := url.Parse(value); value != "" && (err != nil || !u.IsAbs() || !isVSCHAR(value)) {
			return inputf("write a URI such as "+jwtTokenType+" (RFC 8693 §3)", "tokenExchange.%s is not a token type", name)
		}
	}
	return nil
}

// standardGrant is the name, in this API, of a value of grant_type; empty for others.
func standardGrant(grantType string) Grant {
	for _, g := range []Grant{ClientCredentials, Password, RefreshToken, JWTBearer, TokenExchange} {
		if strings.EqualFold(g.onTheWire(""), grantType) {
			return g
		}
	}
	return ""
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
	if d.Request.Assertion == AssertionInHeader && d.Grant != JWTBearer {
		return inputf("set grant to JWTBearer", "request.assertion places an assertion, which only the grant JWTBearer has")
	}
	if d.Request.Assertion == AssertionInHeader && d.ClientAuthentication != None {
		return inputf("set clientAuthentication to None", "an assertion in the Authorization header leaves no place for a client")
	}
	if d.Request.Scopes == ScopesInAssertion && d.Grant != JWTBearer {
		return inputf("set grant to JWTBearer, or leave request.scopes out", "only the grant JWTBearer has an assertion that scopes can be in")
	}
	if d.Request.Scopes == NoScopes && len(d.Scopes) > 0 {
		return inputf("remove one of them", "request.scopes is None, and scopes holds some")
	}
	if len(d.Request.JSON) > 0 && d.Request.Body != JSONBody {
		return inputf("set request.body to JSON", "request.json belongs to a JSON body")
	}
	if d.Request.Method == http.MethodGet && d.needsBody() {
		return inputf("use POST, or send everything in the header", "a GET has no body, and this definition needs one")
	}
	if d.Grant == RefreshToken && d.UseRefreshToken == Never {
		return inputf("leave useRefreshToken out", "the grant RefreshToken uses refresh tokens, and each may come with its successor")
	}
	return nil
}

func (d Definition) needsBody() bool {
	inHeader := d.Request.Login == LoginInBasicHeader || d.Request.Assertion == AssertionInHeader ||
		(d.Grant == ClientCredentials && d.ClientAuthentication == SecretBasic)
	scopes := len(d.Scopes) > 0 && d.Request.Scopes == ScopesInBody
	return !inHeader || scopes || len(d.FormParameters) > 0 || d.Request.Body == JSONBody
}

func (d Definition) validateEndpoint() error {
	sample := d.samples()
	d.TokenURL, d.IssuerURL = fill(d.TokenURL, sample), fill(d.IssuerURL, sample)
	return d.checkEndpoint()
}

// validateHoles refuses names that nobody knows, and credentials in places where they
// would be seen or could not stand.
func (d Definition) validateHoles() error {
	var first error
	d.withTexts(func(p place, text string) string {
		for _, name := range holesIn(text) {
			if first == nil {
				first = d.validateHole(p, name)
			}
		}
		return text
	})
	return first
}

func (d Definition) validateHole(p place, name string) error {
	if slices.Contains(d.parameterNames(), name) {
		return nil
	}
	if !slices.Contains(d.CredentialNames(), name) {
		return inputf("declare a parameter or an extra credential of that name, or correct it",
			"a text holds %s, which is neither a parameter nor a credential", hole(name))
	}
	if name == CredPrivateKey || name == CredCertificate {
		return inputf("remove it: private keys sign, and never leave", "a text must not hold %s", hole(name))
	}
	if p == inAssertion && secretInAssertion(name) {
		return inputf("remove it: whoever sees the assertion can read it", "an assertion must not hold %s", hole(name))
	}
	return nil
}

// secretInAssertion claims that the credential must not stand in an assertion, which is
// signed and not encrypted.
func secretInAssertion(name string) bool {
	return slices.Contains(canonicalNames(), name) && name != CredClientID && name != CredUsername && name != CredKeyID
}

func (d Definition) validateAssertion() error {
	a := d.Assertion
	if a.Algorithm != "" {
		if d.signsWithKey(false) && !slices.Contains(keyAlgorithms(), a.Algorithm) {
			return inputf("use one of "+strings.Join(keyAlgorithms(), ", "), "assertion.algorithm is for a secret, and the assertion is signed with a private key")
		}
		if d.ClientAuthentication == SecretJWT && d.Grant != JWTBearer && !slices.Contains(secretAlgorithms(), a.Algorithm) {
			return inputf("use one of "+strings.Join(secretAlgorithms(), ", "), "assertion.algorithm is for a private key, and the assertion is signed with a secret")
		}
	}
	for name, text := range map[string]string{"issuer": a.Issuer, "subject": a.Subject, "audience": a.Audience, "keyID": a.KeyID} {
		if !isText(text) {
			return inputf("use text without control characters", "assertion.%s holds something that cannot be sent", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Claims)) {
		if reservedClaim(name) || (name == "scope" && d.Request.Scopes == ScopesInAssertion) {
			return inputf("use the definition's own fields for it", "assertion.claims must not hold %s", name)
		}
		if name == "" || !isText(name) || !isText(a.Claims[name]) {
			return inputf("use text without control characters", "assertion.claims holds something that cannot be sent")
		}
	}
	return nil
}

// reservedClaim claims that the operator itself decides the claim.
func reservedClaim(name string) bool {
	return slices.Contains([]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}, name)
}

// validateCredentials looks at the names of credentials and of their keys, which belong
// to the whole definition.
func (d Definition) validateCredentials() error {
	for _, way := range append([]Definition{d}, methodDefinitions(d.Methods)...) {
		if !isVSCHAR(way.ClientID) {
			return inputf("use printable ASCII (RFC 6749 appendix A.1)", "clientID holds characters that cannot be sent")
		}
		if err := way.validateExtra(); err != nil {
			return err
		}
	}
	taken, used := map[string]bool{"tls.crt": true, "tls.key": true}, map[string]bool{}
	for _, name := range d.CredentialNames() {
		taken[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(d.CredentialKeys)) {
		if !slices.Contains(d.CredentialNames(), name) {
			return inputf("use only "+strings.Join(d.CredentialNames(), ", "), "credentialKeys names a credential that does not exist")
		}
		for _, key := range d.CredentialKeys[name] {
			base, pointer, inside := strings.Cut(key, "#")
			if taken[base] || used[key] || !isSecretKey(base) {
				return inputf("use each key of a Secret once", "credentialKeys of %s lists a key that is taken or impossible", name)
			}
			if inside && !isPointer(pointer) {
				return inputf("write it as key.json#/member/member (RFC 6901)", "credentialKeys of %s lists a key with something behind # that is not a JSON pointer", name)
			}
			used[key] = true
		}
	}
	return nil
}

func methodDefinitions(methods []Method) []Definition {
	all := make([]Definition, 0, len(methods))
	for _, m := range methods {
		all = append(all, m.Definition)
	}
	return all
}

func (d Definition) validateExtra() error {
	seen := map[string]bool{methodParameter: true}
	for _, name := range canonicalNames() {
		// A client's identifier that the client authentication can do without, and this
		// provider cannot.
		seen[name] = name != CredClientID
	}
	for _, extra := range d.ExtraCredentials {
		if !isCredentialName(extra.Name) || seen[extra.Name] {
			return inputf("use lower-case letters, digits and underscores, and each name once; the canonical names but client_id are taken",
				"an extra credential has no usable name")
		}
		seen[extra.Name] = true
	}
	return nil
}

// isCredentialName claims that s can name an extra credential, and be a hole and a key.
func isCredentialName(s string) bool {
	return isName(s) && s == strings.ToLower(s) && onlyOf(s, "_")
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

// validateJSON looks at the members of a JSON body.
func (d Definition) validateJSON() error {
	for _, name := range slices.Sorted(maps.Keys(d.Request.JSON)) {
		if reservedField(name) {
			return inputf("use the definition's own fields for it", "request.json must not hold %s", strings.ToLower(name))
		}
		if _, twice := d.FormParameters[name]; twice {
			return inputf("write it in one of them", "both formParameters and request.json hold a member of the same name")
		}
		if name == "" || !isText(name) {
			return inputf("use text without control characters", "request.json holds something that cannot be sent")
		}
	}
	return checkJSON("request.json", d.Request.JSON)
}

// checkJSON claims that the members can be written as JSON.
func checkJSON(field string, members map[string]any) error {
	if _, err := json.Marshal(members); err != nil {
		return inputf("use texts, numbers, true, false, null, lists and objects", "%s holds something that is no JSON value", field)
	}
	return nil
}

func (d Definition) validateHeaders() error {
	return checkHeaders("request.headers", d.Request.Headers)
}

func checkHeaders(field string, headers map[string]string) error {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !isHeaderName(name) {
			return inputf("use letters, digits and hyphens", "%s holds a name that is not one", field)
		}
		canonical := http.CanonicalHeaderKey(name)
		if reservedHeader(canonical) {
			return inputf("remove it: the operator decides it", "%s must not hold %s", field, canonical)
		}
		if seen[canonical] {
			return inputf("list it once", "%s holds %s twice", field, canonical)
		}
		seen[canonical] = true
		if !isHeaderValue(headers[name]) {
			return inputf("use printable ASCII without spaces around it", "the value of the request header %s cannot be sent", canonical)
		}
	}
	return nil
}

// isHeaderValue claims that s is a field-value (RFC 9110 §5.5) of printable ASCII.
func isHeaderValue(s string) bool { return isVSCHAR(s) && s == strings.TrimSpace(s) }

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
	if b := d.Assertion.Backdate.Duration; b < time.Second || b > maxBackdate {
		return inputf("use a duration from 1s to 10m", "assertion.backdate is out of range")
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

// validateProvisioning looks at the step that makes the credentials of one method with
// those of another.
func (d Definition) validateProvisioning() error {
	p := d.Provisioning
	if p == nil {
		return nil
	}
	names := d.methodNames()
	if p.From == p.To || !slices.Contains(names, p.From) || !slices.Contains(names, p.To) {
		return inputf("use two of "+strings.Join(names, ", "), "provisioning.from and provisioning.to do not name two methods")
	}
	for _, parameter := range d.Parameters {
		if err := parameter.validatePlaces(p.URL); err != nil {
			return err
		}
	}
	if err := checkURL("provisioning.url", fill(p.URL, d.samples())); err != nil {
		return err
	}
	if !slices.Contains(words(http.MethodPost, http.MethodPut), cmp.Or(p.Method, http.MethodPost)) {
		return inputf("use one of POST, PUT", "provisioning.method has an unknown value")
	}
	if err := checkHeaders("provisioning.headers", p.Headers); err != nil {
		return err
	}
	if err := checkJSON("provisioning.json", p.JSON); err != nil {
		return err
	}
	return d.validateProvisioned()
}

// validateProvisioned makes sure that what is made is what the method To lacks.
func (d Definition) validateProvisioned() error {
	p := d.Provisioning
	for _, name := range slices.Sorted(maps.Keys(p.Credentials)) {
		if !slices.Contains(d.CredentialNames(), name) {
			return inputf("use only "+strings.Join(d.CredentialNames(), ", "), "provisioning.credentials names a credential that does not exist")
		}
		if len(p.Credentials[name]) == 0 || slices.ContainsFunc(p.Credentials[name], func(s string) bool { return !isPointer(s) }) {
			return inputf("write it as /member/member (RFC 6901)", "provisioning.credentials of %s holds something that is not a JSON pointer", name)
		}
	}
	to, err := d.WithMethod(p.To)
	if err != nil {
		return err
	}
	for _, name := range to.withDefaults().required(false) {
		if _, made := p.Credentials[name]; !made {
			return inputf("say where it is in the answer", "provisioning.credentials lacks %s, which the method %s needs", name, p.To)
		}
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
