package provider

import (
	"maps"
	"slices"
	"strings"
)

// Fix settles parameters once and for all: Resolve takes no other value for them
// afterwards, and a host that one of them is part of is no longer free. An unknown
// name, or a value that its parameter does not take, is an *Error of kind Input.
func (d Definition) Fix(values map[string]string) (Definition, error) {
	fixed := d.clone()
	known := map[string]bool{}
	if method, ok := values[methodParameter]; ok && len(fixed.Methods) > 0 {
		flat, err := fixed.WithMethod(method)
		if err != nil {
			return Definition{}, err
		}
		fixed, known[methodParameter] = flat, true
	}
	err := fixed.fixParameters(values, known)
	for i := range fixed.Methods {
		if err == nil {
			err = fixed.Methods[i].fixParameters(values, known)
		}
	}
	if err != nil {
		return Definition{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !known[name] {
			fix := "remove it: there are none to set"
			if all := fixed.settable(); len(all) > 0 {
				fix = "use only " + strings.Join(all, ", ")
			}
			return Definition{}, inputf(fix, "the parameter %.63q is unknown", name)
		}
	}
	return fixed, nil
}

// fixParameters leaves each parameter that has a value only that one.
func (d *Definition) fixParameters(values map[string]string, known map[string]bool) error {
	for i, p := range d.Parameters {
		given, ok := values[p.Name]
		if !ok {
			continue
		}
		filled, err := p.value(values)
		if err != nil {
			return err
		}
		known[p.Name] = true
		d.Parameters[i].Values = map[string]string{given: filled}
		d.Parameters[i].Default = given
	}
	return nil
}

// settable lists the parameters of a definition and of its methods.
func (d Definition) settable() []string {
	names := append(d.choices(), d.parameterNames()...)
	for _, m := range d.Methods {
		names = append(names, m.parameterNames()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
