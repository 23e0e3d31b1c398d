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

// Resolved is a definition with every choice made: it has no Methods, no
// Parameters, no holes in TokenURL, and no field whose default is still open
// (Limits are the operator's to fill).
type Resolved struct {
	Definition
	// Method is the name of the chosen method; empty when the definition has only one way in.
	Method string
	// FreeHost tells that a parameter without a list of values is part of the host,
	// so that whoever sets it decides where the credentials go.
	FreeHost bool
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
	if err := checkNames(parameters, append(d.choices(), way.definition.parameterNames()...)); err != nil {
		return Resolved{}, err
	}
	values, err := way.definition.parameterValues(parameters)
	if err != nil {
		return Resolved{}, err
	}
	resolved := Resolved{Definition: way.definition, Method: way.name, FreeHost: way.definition.freeHost()}
	resolved.TokenURL = fill(resolved.TokenURL, values)
	resolved.Parameters = nil
	return resolved, checkTokenURL(resolved.TokenURL)
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

func (w wayIn) missing(has func(string) bool) []string {
	var names []string
	for _, name := range w.definition.required() {
		if !has(name) {
			names = append(names, w.definition.called(name))
		}
	}
	return names
}

func missingCredentials(ways []wayIn, has func(string) bool) error {
	if len(ways) == 1 {
		missing := strings.Join(ways[0].missing(has), " and ")
		return inputf("add what is missing to the Secret, under that key", "the credentials lack %s", missing)
	}
	alternatives := make([]string, 0, len(ways))
	for _, w := range ways {
		alternatives = append(alternatives, fmt.Sprintf("%s for %s", strings.Join(w.missing(has), " and "), w.name))
	}
	return inputf("add the keys of one of them to the Secret", "the credentials lack %s", strings.Join(alternatives, ", or "))
}

// choices lists the parameters that fill no hole.
func (d Definition) choices() []string {
	if len(d.Methods) == 0 {
		return nil
	}
	return []string{methodParameter}
}

func (d Definition) parameterNames() []string {
	names := make([]string, 0, len(d.Parameters))
	for _, p := range d.Parameters {
		names = append(names, p.Name)
	}
	return names
}

// parameterValues returns what goes into each hole of the TokenURL.
func (d Definition) parameterValues(given map[string]string) (map[string]string, error) {
	values := make(map[string]string, len(d.Parameters))
	for _, p := range d.Parameters {
		value, err := p.value(given)
		if err != nil {
			return nil, err
		}
		values[p.Name] = value
	}
	return values, nil
}

func checkNames(given map[string]string, known []string) error {
	slices.Sort(known)
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

func (p Parameter) value(given map[string]string) (string, error) {
	value, ok := given[p.Name]
	if !ok && p.Default == "" {
		return "", inputf("set it", "the parameter %s is required", p.Name)
	}
	if !ok {
		value = p.Default
	}
	if len(p.Values) == 0 {
		if !isDNSLabel(value) {
			return "", inputf("use lower-case letters, digits and hyphens, at most 63 (RFC 1123)", "the parameter %s is not a DNS label", p.Name)
		}
		return value, nil
	}
	filled, ok := p.Values[value]
	if !ok {
		return "", inputf("use one of "+strings.Join(slices.Sorted(maps.Keys(p.Values)), ", "),
			"the parameter %s has a value that the provider does not know", p.Name)
	}
	return filled, nil
}

func (d Definition) freeHost() bool {
	authority, _ := splitAuthority(d.TokenURL)
	return slices.ContainsFunc(d.Parameters, func(p Parameter) bool {
		return len(p.Values) == 0 && strings.Contains(authority, hole(p.Name))
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
	d.Assertion.Lifetime = cmp.Or(d.Assertion.Lifetime, Duration{defaultAssertionLifetime})
	d.UseRefreshToken = cmp.Or(d.UseRefreshToken, Auto)
	if d.Request.Method != http.MethodPost || d.Request.Login != LoginInBody {
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
