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
	if err := fixed.checkSettable(rest); err != nil {
		return Definition{}, err
	}
	filled, err := settle(fixed.Parameters, rest)
	if err != nil {
		return Definition{}, err
	}
	for i, m := range fixed.Methods {
		// A method may mean something else by a parameter of the same name.
		own, err := settle(m.Parameters, rest)
		if err != nil {
			return Definition{}, err
		}
		both := maps.Clone(filled)
		maps.Copy(both, own)
		fixed.Methods[i].Definition = m.settled(both)
	}
	return fixed.settled(filled), nil
}

// checkSettable refuses a value for a parameter that neither the definition nor a
// method of it has.
func (d Definition) checkSettable(values map[string]string) error {
	known := d.parameterNames()
	for _, m := range d.Methods {
		known = append(known, m.parameterNames()...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains(known, name) {
			continue
		}
		fix := "remove it: there are none to set"
		if len(known) > 0 {
			fix = "use only " + strings.Join(known, ", ")
		}
		return inputf(fix, "the parameter %.63q is unknown", name)
	}
	return nil
}

// settle turns values of parameters into what goes into their holes.
func settle(parameters []Parameter, values map[string]string) (map[string]string, error) {
	filled := map[string]string{}
	for _, p := range parameters {
		if _, given := values[p.Name]; !given {
			continue
		}
		value, err := p.value(values)
		if err != nil {
			return nil, err
		}
		filled[p.Name] = value
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
