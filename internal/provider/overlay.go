package provider

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Overlay lays over on base: a field that over sets wins. Maps are merged by key; every
// list replaces the base's whole. TokenURL and IssuerURL are two ways to say one thing,
// so that either replaces both, and another Grant needs its own GrantType. The base's
// parameters that have no hole left are dropped.
//
// A base with several Methods keeps them, and what over sets wins over each of
// them too, unless over brings Methods of its own. What tells the methods apart
// cannot be overlaid on several at once (TokenURL, IssuerURL, Grant and
// ClientAuthentication, where a method sets it): that is an *Error of kind Input, and
// WithMethod is the way out.
func Overlay(base, over Definition) (Definition, error) {
	if len(over.Methods) > 0 {
		base.Provisioning = nil // it speaks of the methods that are replaced
	}
	if len(base.Methods) == 0 || len(over.Methods) > 0 {
		return merge(base, over).withoutOrphans(over), nil
	}
	if slices.ContainsFunc(base.Methods, func(m Method) bool { return m.ownWord(over) }) {
		return Definition{}, inputf("name one in method",
			"the base has several ways in (%s), and tokenURL, issuerURL, grant and clientAuthentication belong to one of them",
			strings.Join(base.methodNames(), ", "))
	}
	merged := merge(base, over)
	// Keys and texts belong to the whole definition, not to one way in.
	over.CredentialKeys, over.Description, over.Documentation, over.Provisioning = nil, "", "", nil
	for i, m := range merged.Methods {
		merged.Methods[i].Definition = merge(m.Definition, over)
	}
	return merged.withoutOrphans(over), nil
}

// ownWord claims that over would replace what tells this method from the others.
func (m Method) ownWord(over Definition) bool {
	return ((over.TokenURL != "" || over.IssuerURL != "") && (m.TokenURL != "" || m.IssuerURL != "")) ||
		(over.Grant != "" && m.Grant != "") ||
		(over.ClientAuthentication != "" && m.ClientAuthentication != "")
}

// withoutOrphans forgets the base's parameters that over left no hole for: Validate
// would refuse them, and whoever replaces a URL or a text cannot remove them.
func (d Definition) withoutOrphans(over Definition) Definition {
	if over.Parameters != nil {
		return d
	}
	holes := d.holes()
	for i, m := range d.Methods {
		own := merge(d.shared(), m.Definition).holes()
		maps.Copy(holes, own)
		d.Methods[i].Definition = m.withoutIdleParameters(own)
	}
	return d.withoutIdleParameters(holes)
}

// WithMethod flattens one of the definition's Methods into a definition that has
// none: the method's fields laid over the shared ones, without the shared parameters
// that this way in has no use for. An unknown name is an *Error of kind Input that
// lists the known ones.
func (d Definition) WithMethod(name string) (Definition, error) {
	for _, m := range d.Methods {
		if m.Name != name {
			continue
		}
		flat := merge(d.shared(), m.Definition)
		maps.DeleteFunc(flat.CredentialKeys, func(credential string, _ []string) bool {
			// Known to the definition, and to another method only.
			return slices.Contains(d.CredentialNames(), credential) && !slices.Contains(flat.CredentialNames(), credential)
		})
		if m.Parameters == nil {
			flat = flat.withoutIdleParameters(flat.holes())
		}
		return flat, nil
	}
	if len(d.Methods) == 0 {
		return Definition{}, inputf("leave method out", "the definition has only one way in, which has no name")
	}
	return Definition{}, inputf("use one of "+strings.Join(d.methodNames(), ", "), "the definition has no method of that name")
}

// shared is what all methods have in common.
func (d Definition) shared() Definition {
	d.Methods, d.Provisioning = nil, nil
	return d
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
	tokenURL, issuerURL := base.TokenURL, base.IssuerURL
	if over.TokenURL != "" || over.IssuerURL != "" {
		tokenURL, issuerURL = over.TokenURL, over.IssuerURL
	}
	grantType := base.GrantType
	if over.Grant != "" || over.GrantType != "" {
		grantType = over.GrantType
	}
	return Definition{
		Description:          cmp.Or(over.Description, base.Description),
		Documentation:        cmp.Or(over.Documentation, base.Documentation),
		TokenURL:             tokenURL,
		IssuerURL:            issuerURL,
		Parameters:           mergeParameters(base.Parameters, over.Parameters),
		Grant:                cmp.Or(over.Grant, base.Grant),
		GrantType:            grantType,
		ClientAuthentication: cmp.Or(over.ClientAuthentication, base.ClientAuthentication),
		ClientID:             cmp.Or(over.ClientID, base.ClientID),
		CredentialKeys:       mergeKeys(base.CredentialKeys, over.CredentialKeys),
		ExtraCredentials:     replace(base.ExtraCredentials, over.ExtraCredentials),
		Assertion:            mergeAssertions(base.Assertion, over.Assertion),
		TokenExchange: TokenExchangeFormat{
			SubjectTokenType:   cmp.Or(over.TokenExchange.SubjectTokenType, base.TokenExchange.SubjectTokenType),
			ActorTokenType:     cmp.Or(over.TokenExchange.ActorTokenType, base.TokenExchange.ActorTokenType),
			RequestedTokenType: cmp.Or(over.TokenExchange.RequestedTokenType, base.TokenExchange.RequestedTokenType),
		},
		Scopes:          replace(base.Scopes, over.Scopes),
		FormParameters:  mergeMaps(base.FormParameters, over.FormParameters),
		Request:         mergeRequests(base.Request, over.Request),
		Response:        mergeResponses(base.Response, over.Response),
		TokenLifetime:   cmp.Or(over.TokenLifetime, base.TokenLifetime),
		UseRefreshToken: cmp.Or(over.UseRefreshToken, base.UseRefreshToken),
		Limits: Limits{
			Concurrency: cmp.Or(over.Limits.Concurrency, base.Limits.Concurrency),
			PerSecond:   cmp.Or(over.Limits.PerSecond, base.Limits.PerSecond),
		},
		CABundle:     cmp.Or(over.CABundle, base.CABundle),
		Methods:      cloneMethods(replace(base.Methods, over.Methods)),
		Provisioning: cmp.Or(over.Provisioning, base.Provisioning).clone(),
	}
}

func (d Definition) clone() Definition { return merge(Definition{}, d) }

func (p *ProvisioningStep) clone() *ProvisioningStep {
	if p == nil {
		return nil
	}
	copied := *p
	copied.Headers = maps.Clone(p.Headers)
	copied.JSON = mergeJSON(nil, p.JSON)
	copied.Credentials = mergeKeys(nil, p.Credentials)
	return &copied
}

func mergeRequests(base, over RequestFormat) RequestFormat {
	return RequestFormat{
		Method:        cmp.Or(over.Method, base.Method),
		Headers:       mergeMaps(base.Headers, over.Headers),
		BasicEncoding: cmp.Or(over.BasicEncoding, base.BasicEncoding),
		Login:         cmp.Or(over.Login, base.Login),
		Assertion:     cmp.Or(over.Assertion, base.Assertion),
		Scopes:        cmp.Or(over.Scopes, base.Scopes),
		Body:          cmp.Or(over.Body, base.Body),
		JSON:          mergeJSON(base.JSON, over.JSON),
	}
}

// mergeJSON merges the members of the outermost object only.
func mergeJSON(base, over map[string]any) map[string]any {
	merged := mergeMaps(base, over)
	for name, value := range merged {
		merged[name] = mapTexts(value, func(s string) string { return s })
	}
	return merged
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

func mergeParameters(base, over []Parameter) []Parameter {
	merged := replace(base, over)
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
