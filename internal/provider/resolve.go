package provider

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// methodParameter is the parameter with which a user names one of several Methods.
const methodParameter = "method"

// defaultAssertionLifetime is short because an assertion is used at once (RFC 7523 §3).
const defaultAssertionLifetime = time.Minute

// defaultBackdate is for a provider whose clock is behind ours.
const defaultBackdate = 10 * time.Second

// jwtTokenType is RFC 8693 §3.
const jwtTokenType = "urn:ietf:params:oauth:token-type:jwt"

// Resolved is a definition with every choice made: it has no Methods, no
// Parameters, no holes but those of credentials, and no field whose default is still
// open (Limits are the operator's to fill). Only TokenURL may be, until WithEndpoint.
type Resolved struct {
	Definition
	// Method is the name of the chosen method; empty when the definition has only one way in.
	Method string
	// FreeHost tells that a parameter without a list of values is part of the host,
	// so that whoever sets it decides where the credentials go.
	FreeHost bool
	// ReadyMade tells that the credential assertion is there, so that the grant JWTBearer
	// signs nothing.
	ReadyMade bool
}

// Metadata is what an issuer says about itself (RFC 8414 §2), as far as it is used.
type Metadata struct {
	Issuer, TokenEndpoint string
	// MTLSTokenEndpoint is for clients that show a certificate (RFC 8705 §5); may be empty.
	MTLSTokenEndpoint string
}

// endpoint is where a client with that authentication asks for tokens.
func (m Metadata) endpoint(a ClientAuthentication) string {
	if a == TLS {
		return cmp.Or(m.MTLSTokenEndpoint, m.TokenEndpoint)
	}
	return m.TokenEndpoint
}

// NeedsDiscovery tells that only the issuer knows the token endpoint: see WithEndpoint.
func (r Resolved) NeedsDiscovery() bool { return r.TokenURL == "" }

// WithEndpoint fills in the token endpoint that the issuer's metadata tell. FreeHost
// stays what it is for the issuer; whether the endpoint's host is to be trusted is the
// caller's to decide. The error is an *Error of kind Input about the endpoint.
func (r Resolved) WithEndpoint(m Metadata) (Resolved, error) {
	endpoint := m.endpoint(r.ClientAuthentication)
	if err := checkURL("the token endpoint of the issuer's metadata", endpoint); err != nil {
		return Resolved{}, err
	}
	r.TokenURL = endpoint
	return r, nil
}

// Resolve makes every choice that a definition leaves open: the method (the
// parameter "method", else the first whose credentials are all there), the
// parameters and the defaults. has tells whether the credential with that
// canonical name is there under any of its Keys. Errors are *Error of kind Input:
// an invalid definition, an unknown or forbidden parameter, or missing credentials.
func (d Definition) Resolve(parameters map[string]string, has func(canonical string) bool) (Resolved, error) {
	if err := d.Validate(); err != nil {
		return Resolved{}, err
	}
	way, err := d.choose(parameters, has)
	if err != nil {
		return Resolved{}, err
	}
	if err := checkNames(parameters, d.choices()); err != nil {
		return Resolved{}, err
	}
	values, err := way.definition.parameterValues(parameters)
	if err != nil {
		return Resolved{}, err
	}
	resolved := Resolved{
		Definition: way.definition.filled(values),
		Method:     way.name,
		FreeHost:   way.definition.freeHost(),
		ReadyMade:  way.readyMade(has),
	}
	return resolved, resolved.checkEndpoint()
}

// filled puts parameters into all their holes; those of credentials stay.
func (d Definition) filled(values map[string]string) Definition {
	d = d.withTexts(func(_ place, text string) string { return fill(text, values) })
	d.TokenURL, d.IssuerURL = fill(d.TokenURL, values), fill(d.IssuerURL, values)
	d.Parameters, d.Provisioning = nil, nil
	return d
}

// checkEndpoint looks at the URLs of a definition without holes.
func (d Definition) checkEndpoint() error {
	if d.TokenURL == "" && d.IssuerURL == "" {
		return inputf("set it", "tokenURL is missing")
	}
	if d.IssuerURL != "" {
		if err := checkIssuerURL(d.IssuerURL); err != nil {
			return err
		}
	}
	if d.TokenURL == "" {
		return nil
	}
	return checkTokenURL(d.TokenURL)
}

// wayIn is one flattened method, or the whole definition when it has none.
type wayIn struct {
	name       string
	definition Definition
}

func (d Definition) choose(parameters map[string]string, has func(string) bool) (wayIn, error) {
	ways, err := d.waysIn(parameters)
	if err != nil {
		return wayIn{}, err
	}
	for _, w := range ways {
		if len(w.missing(has)) == 0 {
			return w, nil
		}
	}
	return wayIn{}, missingCredentials(ways, has)
}

func (d Definition) waysIn(parameters map[string]string) ([]wayIn, error) {
	if len(d.Methods) == 0 {
		return []wayIn{{definition: d.withDefaults()}}, nil
	}
	names := d.methodNames()
	if name, ok := parameters[methodParameter]; ok {
		names = []string{name}
	}
	ways := make([]wayIn, 0, len(names))
	for _, name := range names {
		flat, err := d.WithMethod(name)
		if err != nil {
			return nil, err
		}
		ways = append(ways, wayIn{name: name, definition: flat.withDefaults()})
	}
	return ways, nil
}

func (w wayIn) readyMade(has func(string) bool) bool {
	return w.definition.Grant == JWTBearer && has(CredAssertion)
}

func (w wayIn) missing(has func(string) bool) []string {
	return slices.DeleteFunc(w.definition.required(w.readyMade(has)), has)
}

// wants lists what there has to be, for people.
func (w wayIn) wants(has func(string) bool) string {
	return fmt.Sprintf("%s wants %s", cmp.Or(w.name, "this provider"), w.definition.allCalled(w.definition.required(w.readyMade(has))))
}

func missingCredentials(ways []wayIn, has func(string) bool) error {
	if len(ways) == 1 {
		w, fix := ways[0], "add what is missing to the Secret, under that key"
		missing := w.missing(has)
		if len(missing) < len(w.definition.required(w.readyMade(has))) {
			fix = w.wants(has) + ": " + fix
		}
		return inputf(fix, "the credentials lack %s", w.definition.allCalled(missing))
	}
	alternatives, wants := make([]string, 0, len(ways)), make([]string, 0, len(ways))
	for _, w := range ways {
		alternatives = append(alternatives, fmt.Sprintf("%s for %s", w.definition.allCalled(w.missing(has)), w.name))
		wants = append(wants, w.wants(has))
	}
	return inputf(strings.Join(wants, ", ")+": add the keys of one of them to the Secret",
		"the credentials lack %s", strings.Join(alternatives, ", or "))
}

// choices lists the parameters that may be set, whichever way in is taken.
func (d Definition) choices() []string {
	names := d.parameterNames()
	for _, m := range d.Methods {
		names = append(names, m.parameterNames()...)
	}
	if len(d.Methods) > 0 {
		names = append(names, methodParameter)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func checkNames(given map[string]string, known []string) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(known, name) {
			continue
		}
		fix := "remove it: this provider has no parameters"
		if len(known) > 0 {
			fix = "use only " + strings.Join(known, ", ")
		}
		return inputf(fix, "the parameter %.63q is unknown", name)
	}
	return nil
}

func (d Definition) freeHost() bool {
	authority, _ := splitAuthority(cmp.Or(d.TokenURL, d.IssuerURL))
	return slices.ContainsFunc(d.Parameters, func(p Parameter) bool {
		return p.free() && strings.Contains(authority, hole(p.Name))
	})
}

// withDefaults fills in what the fields' documentation promises.
func (d Definition) withDefaults() Definition {
	d = d.clone()
	d.Grant = cmp.Or(d.Grant, ClientCredentials)
	d.ClientAuthentication = cmp.Or(d.ClientAuthentication, SecretBasic)
	d.Request.Method = cmp.Or(d.Request.Method, http.MethodPost)
	d.Request.BasicEncoding = cmp.Or(d.Request.BasicEncoding, FormEncoded)
	d.Request.Login = cmp.Or(d.Request.Login, LoginInBody)
	d.Request.Assertion = cmp.Or(d.Request.Assertion, AssertionInBody)
	d.Request.Scopes = cmp.Or(d.Request.Scopes, ScopesInBody)
	d.Request.Body = cmp.Or(d.Request.Body, FormBody)
	d.Assertion.Lifetime = cmp.Or(d.Assertion.Lifetime, Duration{defaultAssertionLifetime})
	d.Assertion.Backdate = cmp.Or(d.Assertion.Backdate, Duration{defaultBackdate})
	if d.Grant == TokenExchange {
		d.TokenExchange.SubjectTokenType = cmp.Or(d.TokenExchange.SubjectTokenType, jwtTokenType)
		d.TokenExchange.ActorTokenType = cmp.Or(d.TokenExchange.ActorTokenType, jwtTokenType)
	}
	d.UseRefreshToken = cmp.Or(d.UseRefreshToken, Auto)
	if d.Request.Method != http.MethodPost || d.Request.Login != LoginInBody || d.Request.Assertion != AssertionInBody {
		// Such an endpoint does not speak RFC 6749 §6.
		d.UseRefreshToken = Never
	}
	d.Response = mergeResponses(defaultResponse(), d.Response)
	return d
}

// defaultResponse holds the members of RFC 6749 §5, and the names that are common
// for what it does not name.
func defaultResponse() ResponseFormat {
	return ResponseFormat{
		AccessToken:      []string{"/access_token"},
		TokenType:        []string{"/token_type"},
		ExpiresIn:        []string{"/expires_in"},
		ExpiresAt:        []string{"/expires_at"},
		RefreshToken:     []string{"/refresh_token"},
		RefreshExpiresIn: []string{"/refresh_expires_in", "/refresh_token_expires_in"},
		Scope:            []string{"/scope"},
		Error:            []string{"/error"},
	}
}
