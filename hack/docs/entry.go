package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/providertoken/operator/internal/provider"
)

// entry is one of the catalog, and all its ways in.
type entry struct {
	name       string
	definition provider.Definition
	ways       []way
}

// way is one way in: a method, or the whole definition when it has none.
type way struct {
	entry  string
	method string
	// definition is flattened: it has no methods, but its holes still.
	definition provider.Definition
	// resolved is the definition with example parameters and every default.
	resolved provider.Resolved
	// parameters are those that a user must set, with example values.
	parameters map[string]string
}

func readEntry(catalog *provider.Catalog, name string) (entry, error) {
	d, ok := catalog.Get(name)
	if !ok {
		return entry{}, fmt.Errorf("the catalog does not hold it")
	}
	e := entry{name: name, definition: d}
	if len(d.Methods) == 0 {
		w, err := newWay(name, "", d)
		e.ways = []way{w}
		return e, err
	}
	for _, m := range d.Methods {
		flat, err := d.WithMethod(m.Name)
		if err != nil {
			return entry{}, err
		}
		// The method's own words, not those of the whole.
		flat.Description = m.Description
		w, err := newWay(name, m.Name, flat)
		if err != nil {
			return entry{}, err
		}
		w.choose(d)
		e.ways = append(e.ways, w)
	}
	return e, nil
}

func newWay(entry, method string, d provider.Definition) (way, error) {
	w := way{entry: entry, method: method, definition: d, parameters: map[string]string{}}
	for _, p := range d.Parameters {
		if p.Default == "" {
			w.parameters[p.Name] = example(p)
		}
	}
	// A ready-made assertion is what a Secret rarely holds: only where nothing else will do.
	resolved, err := d.Resolve(w.parameters, func(name string) bool { return name != provider.CredAssertion })
	if err != nil {
		resolved, err = d.Resolve(w.parameters, func(string) bool { return true })
	}
	w.resolved = resolved
	return w, err
}

// choose names the method among the parameters, where the sample's keys alone would
// lead to another.
func (w *way) choose(d provider.Definition) {
	resolved, err := d.Resolve(w.parameters, func(name string) bool {
		return slices.Contains(w.resolved.RequiredCredentials(), name)
	})
	if err != nil || resolved.Method != w.method {
		w.parameters["method"] = w.method
	}
}

// example is a value that the parameter may have.
func example(p provider.Parameter) string {
	switch {
	case len(p.Values) > 0:
		return choices(p)[0]
	case p.Format == provider.HostFormat:
		return "sso.example.com"
	case strings.Contains(p.Description, "number"):
		return "12345678"
	default:
		return "example"
	}
}

// choices lists a parameter's values, the default first.
func choices(p provider.Parameter) []string {
	var names []string
	for name := range p.Values {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if (a == p.Default) != (b == p.Default) {
			if a == p.Default {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}

// optional lists the credentials that this way in uses when they are there.
func (w way) optional() []string {
	var names []string
	required := w.resolved.RequiredCredentials()
	if slices.Contains(required, provider.CredPrivateKey) && w.signs() {
		names = append(names, provider.CredKeyID)
	}
	if w.resolved.Grant == provider.TokenExchange {
		names = append(names, provider.CredActorToken)
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(required, name) })
}

// signs tells whether a signed assertion is part of the request.
func (w way) signs() bool {
	if a := w.resolved.ClientAuthentication; a == provider.SecretJWT || a == provider.PrivateKeyJWT {
		return true
	}
	return w.resolved.Grant == provider.JWTBearer && slices.Contains(w.resolved.RequiredCredentials(), provider.CredPrivateKey)
}

// hosts lists where the credentials can go, as far as the catalog decides it.
func (w way) hosts() []string {
	url := w.definition.TokenURL
	if url == "" {
		url = w.definition.IssuerURL
	}
	authority, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	hosts := []string{authority}
	for _, p := range w.definition.Parameters {
		hole := "{" + p.Name + "}"
		var filled []string
		for _, host := range hosts {
			if len(p.Values) == 0 || !strings.Contains(host, hole) {
				filled = append(filled, host)
				continue
			}
			for _, choice := range choices(p) {
				filled = append(filled, strings.ReplaceAll(host, hole, p.Values[choice]))
			}
		}
		hosts = filled
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
