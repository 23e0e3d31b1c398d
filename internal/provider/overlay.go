package provider

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Overlay lays over on base: a field that over sets wins. FormParameters,
// CredentialKeys and Request.Headers are merged by key; every other list replaces the base's
// whole. Parameters that an overlaid TokenURL has no hole for are dropped.
//
// A base with several Methods keeps them, and what over sets wins over each of
// them too, unless over brings Methods of its own. What tells the methods apart
// (TokenURL, Grant, ClientAuthentication) cannot be overlaid on several at once:
// that is an *Error of kind Input, and WithMethod is the way out.
func Overlay(base, over Definition) (Definition, error) {
	if len(base.Methods) == 0 || len(over.Methods) > 0 {
		return merge(base, over), nil
	}
	if over.TokenURL != "" || over.Grant != "" || over.ClientAuthentication != "" {
		return Definition{}, inputf("name one in method",
			"the base has several ways in (%s), and tokenURL, grant and clientAuthentication belong to one of them",
			strings.Join(base.methodNames(), ", "))
	}
	merged := merge(base, over)
	// Keys and texts belong to the whole definition, not to one way in.
	over.CredentialKeys, over.Description, over.Documentation = nil, "", ""
	for i, m := range merged.Methods {
		merged.Methods[i].Definition = merge(m.Definition, over)
	}
	return merged, nil
}

// WithMethod flattens one of the definition's Methods into a definition that has
// none: the method's fields laid over the shared ones. An unknown name is an
// *Error of kind Input that lists the known ones.
func (d Definition) WithMethod(name string) (Definition, error) {
	shared := d
	shared.Methods = nil
	for _, m := range d.Methods {
		if m.Name == name {
			return merge(shared, m.Definition), nil
		}
	}
	if len(d.Methods) == 0 {
		return Definition{}, inputf("leave method out", "the definition has only one way in, which has no name")
	}
	return Definition{}, inputf("use one of "+strings.Join(d.methodNames(), ", "), "the definition has no method of that name")
}

func (d Definition) methodNames() []string {
	names := make([]string, 0, len(d.Methods))
	for _, m := range d.Methods {
		names = append(names, m.Name)
	}
	return names
}

// merge shares no list or map with either side.
func merge(base, over Definition) Definition {
	return Definition{
		Description:          cmp.Or(over.Description, base.Description),
		Documentation:        cmp.Or(over.Documentation, base.Documentation),
		TokenURL:             cmp.Or(over.TokenURL, base.TokenURL),
		Parameters:           mergeParameters(base, over),
		Grant:                cmp.Or(over.Grant, base.Grant),
		ClientAuthentication: cmp.Or(over.ClientAuthentication, base.ClientAuthentication),
		ClientID:             cmp.Or(over.ClientID, base.ClientID),
		Assertion:            mergeAssertions(base.Assertion, over.Assertion),
		CredentialKeys:       mergeKeys(base.CredentialKeys, over.CredentialKeys),
		Scopes:               replace(base.Scopes, over.Scopes),
		FormParameters:       mergeMaps(base.FormParameters, over.FormParameters),
		Request:              mergeRequests(base.Request, over.Request),
		Response:             mergeResponses(base.Response, over.Response),
		TokenLifetime:        cmp.Or(over.TokenLifetime, base.TokenLifetime),
		UseRefreshToken:      cmp.Or(over.UseRefreshToken, base.UseRefreshToken),
		Limits: Limits{
			Concurrency: cmp.Or(over.Limits.Concurrency, base.Limits.Concurrency),
			PerSecond:   cmp.Or(over.Limits.PerSecond, base.Limits.PerSecond),
		},
		CABundle: cmp.Or(over.CABundle, base.CABundle),
		Methods:  cloneMethods(replace(base.Methods, over.Methods)),
	}
}

func (d Definition) clone() Definition { return merge(Definition{}, d) }

func mergeRequests(base, over RequestFormat) RequestFormat {
	return RequestFormat{
		Method:        cmp.Or(over.Method, base.Method),
		Headers:       mergeMaps(base.Headers, over.Headers),
		BasicEncoding: cmp.Or(over.BasicEncoding, base.BasicEncoding),
		Login:         cmp.Or(over.Login, base.Login),
		Assertion:     cmp.Or(over.Assertion, base.Assertion),
		Scopes:        cmp.Or(over.Scopes, base.Scopes),
		Body:          cmp.Or(over.Body, base.Body),
	}
}

func mergeAssertions(base, over AssertionFormat) AssertionFormat {
	return AssertionFormat{
		Algorithm:  cmp.Or(over.Algorithm, base.Algorithm),
		Issuer:     cmp.Or(over.Issuer, base.Issuer),
		Subject:    cmp.Or(over.Subject, base.Subject),
		Audience:   cmp.Or(over.Audience, base.Audience),
		KeyID:      cmp.Or(over.KeyID, base.KeyID),
		Lifetime:   cmp.Or(over.Lifetime, base.Lifetime),
		Backdate:   cmp.Or(over.Backdate, base.Backdate),
		Thumbprint: over.Thumbprint || base.Thumbprint,
		Claims:     mergeMaps(base.Claims, over.Claims),
	}
}

func mergeResponses(base, over ResponseFormat) ResponseFormat {
	return ResponseFormat{
		AccessToken:      replace(base.AccessToken, over.AccessToken),
		TokenType:        replace(base.TokenType, over.TokenType),
		ExpiresIn:        replace(base.ExpiresIn, over.ExpiresIn),
		ExpiresAt:        replace(base.ExpiresAt, over.ExpiresAt),
		RefreshToken:     replace(base.RefreshToken, over.RefreshToken),
		RefreshExpiresIn: replace(base.RefreshExpiresIn, over.RefreshExpiresIn),
		Scope:            replace(base.Scope, over.Scope),
		Error:            replace(base.Error, over.Error),
	}
}

// mergeParameters forgets the base's parameters that another TokenURL has no hole
// for: Validate would refuse them, and whoever replaces the URL cannot remove them.
func mergeParameters(base, over Definition) []Parameter {
	merged := replace(base.Parameters, over.Parameters)
	if over.TokenURL != "" && over.Parameters == nil {
		merged = slices.DeleteFunc(merged, func(p Parameter) bool {
			return !strings.Contains(over.TokenURL, hole(p.Name))
		})
	}
	for i := range merged {
		merged[i].Values = maps.Clone(merged[i].Values)
	}
	return merged
}

func mergeKeys(base, over map[string][]string) map[string][]string {
	merged := mergeMaps(base, over)
	for name, keys := range merged {
		merged[name] = slices.Clone(keys)
	}
	return merged
}

func cloneMethods(methods []Method) []Method {
	for i := range methods {
		methods[i].Definition = methods[i].clone()
	}
	return methods
}

func mergeMaps[V any](base, over map[string]V) map[string]V {
	if base == nil {
		return maps.Clone(over)
	}
	merged := maps.Clone(base)
	maps.Copy(merged, over)
	return merged
}

func replace[T any](base, over []T) []T {
	if over != nil {
		return slices.Clone(over)
	}
	return slices.Clone(base)
}
