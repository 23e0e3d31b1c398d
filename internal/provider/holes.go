package provider

import (
	"maps"
	"slices"
	"strings"
)

// hole is how the parameter or the credential with that name is written in a text.
func hole(name string) string { return "{" + name + "}" }

// place is where a text of a definition goes.
type place int

const (
	// inBody is a value in the body: encoded, so that any text can stand there.
	inBody place = iota
	// inHeader is the value of a request header.
	inHeader
	// inAssertion is in an assertion, which whoever sees it can read.
	inAssertion
)

// expand puts values into the holes of a text. What has a hole's form and no value
// stays as it is, and values are not searched for holes.
func expand(text string, value func(name string) (string, bool)) string {
	var out strings.Builder
	for {
		before, name, rest, found := nextHole(text)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if filled, ok := value(name); ok {
			out.WriteString(filled)
		} else {
			out.WriteString(hole(name))
		}
		text = rest
	}
}

// holesIn lists the names in the holes of a text, in their order.
func holesIn(text string) []string {
	var names []string
	expand(text, func(name string) (string, bool) {
		names = append(names, name)
		return "", true
	})
	return names
}

// nextHole finds {name}. Other braces are ordinary characters, since a text may be
// JSON or a query language.
func nextHole(text string) (before, name, rest string, found bool) {
	for from := 0; ; {
		open := strings.IndexByte(text[from:], '{')
		if open < 0 {
			return text, "", "", false
		}
		open += from
		end := open + 1
		for end < len(text) && onlyOf(text[end:end+1], "-_") {
			end++
		}
		if end < len(text) && text[end] == '}' && isName(text[open+1:end]) {
			return text[:open], text[open+1 : end], text[end+1:], true
		}
		from = open + 1
	}
}

// in is expand's view of a map.
func in(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

// fill puts values into the holes.
func fill(text string, values map[string]string) string { return expand(text, in(values)) }

// withTexts returns a copy in which every text that may have holes is what f makes of
// it. URLs are not among them.
func (d Definition) withTexts(f func(place, string) string) Definition {
	d = d.clone()
	replaceAll(d.FormParameters, inBody, f)
	replaceAll(d.Request.Headers, inHeader, f)
	replaceAll(d.Assertion.Claims, inAssertion, f)
	a := &d.Assertion
	a.Issuer, a.Subject = f(inAssertion, a.Issuer), f(inAssertion, a.Subject)
	a.Audience, a.KeyID = f(inAssertion, a.Audience), f(inAssertion, a.KeyID)
	if d.Request.JSON != nil {
		d.Request.JSON, _ = mapTexts(d.Request.JSON, func(s string) string { return f(inBody, s) }).(map[string]any)
	}
	return d
}

func replaceAll(texts map[string]string, p place, f func(place, string) string) {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		texts[name] = f(p, texts[name])
	}
}

// mapTexts copies a JSON value, with every text in it changed by f. Names of members
// are no texts.
func mapTexts(value any, f func(string) string) any {
	switch v := value.(type) {
	case string:
		return f(v)
	case map[string]any:
		members := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			members[name] = mapTexts(v[name], f)
		}
		return members
	case []any:
		elements := make([]any, 0, len(v))
		for _, e := range v {
			elements = append(elements, mapTexts(e, f))
		}
		return elements
	}
	return value
}

// urls lists the definition's URLs that parameters may stand in.
func (d Definition) urls() []string {
	urls := []string{d.TokenURL, d.IssuerURL}
	if d.Provisioning != nil {
		urls = append(urls, d.Provisioning.URL)
	}
	return urls
}

// holes is the set of all names in holes, those of URLs included.
func (d Definition) holes() map[string]bool {
	names := map[string]bool{}
	note := func(text string) {
		for _, name := range holesIn(text) {
			names[name] = true
		}
	}
	for _, u := range d.urls() {
		note(u)
	}
	d.withTexts(func(_ place, text string) string {
		note(text)
		return text
	})
	return names
}
