package provider

import (
	"maps"
	"slices"
	"strings"
)

// Fix settles parameters once and for all: whoever resolves the definition afterwards
// cannot set them, and a host that one of them is part of is no longer free. An unknown
// name, or a value that its parameter does not take, is an *Error of kind Input.
func (d Definition) Fix(values map[string]string) (Definition, error) {
	if len(values) == 0 {
		return d.clone(), nil
	}
	fixed, rest := d.clone(), maps.Clone(values)
	if method, ok := values[methodParameter]; ok && len(d.Methods) > 0 {
		flat, err := d.WithMethod(method)
		if err != nil {
			return Definition{}, err
		}
		fixed = flat
		delete(rest, methodParameter)
	}
	filled, err := fixed.settle(rest)
	if err != nil {
		return Definition{}, err
	}
	fixed = fixed.settled(filled)
	for i, m := range fixed.Methods {
		fixed.Methods[i].Definition = m.settled(filled)
	}
	return fixed, nil
}

// settle turns values of parameters, also those of methods, into what goes into their holes.
func (d Definition) settle(values map[string]string) (map[string]string, error) {
	known := map[string]Parameter{}
	for _, m := range d.Methods {
		for _, p := range m.Parameters {
			known[p.Name] = p
		}
	}
	for _, p := range d.Parameters {
		known[p.Name] = p
	}
	filled := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p, ok := known[name]
		if !ok {
			fix := "remove it: there are none to set"
			if len(known) > 0 {
				fix = "use only " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
			}
			return nil, inputf(fix, "the parameter %.63q is unknown", name)
		}
		value, err := p.value(values)
		if err != nil {
			return nil, err
		}
		filled[name] = value
	}
	return filled, nil
}

// settled has values in the holes, and no parameters for them any more.
func (d Definition) settled(values map[string]string) Definition {
	d = d.withTexts(func(_ place, text string) string { return fill(text, values) })
	d.TokenURL, d.IssuerURL = fill(d.TokenURL, values), fill(d.IssuerURL, values)
	if d.Provisioning != nil {
		d.Provisioning.URL = fill(d.Provisioning.URL, values)
	}
	d.Parameters = slices.DeleteFunc(d.Parameters, func(p Parameter) bool {
		_, is := values[p.Name]
		return is
	})
	return d
}
