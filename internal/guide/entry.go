// Package guide tells people what they need to know of an entry of the catalog, and
// writes what they apply.
//
// It reads definitions only; it does no I/O.
package guide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/providertoken/operator/internal/provider"
)

// Entry is one of the catalog, and all its ways in.
type Entry struct {
	Name       string
	Definition provider.Definition
	Ways       []Way
}

// Way is one way in: a method, or the whole definition when it has none.
type Way struct {
	// Entry is the name of the catalog's entry, and Method the way's; empty when there is only one.
	Entry, Method string
	// Definition is flattened: it has no methods, but its holes still.
	Definition provider.Definition
	// Resolved is the definition with example parameters and every default.
	Resolved provider.Resolved
	// Parameters are those that a user must set, with example values.
	Parameters map[string]string
}

// Read reads an entry of the catalog.
func Read(catalog *provider.Catalog, name string) (Entry, error) {
	d, ok := catalog.Get(name)
	if !ok {
		return Entry{}, fmt.Errorf("the catalog does not hold it")
	}
	e := Entry{Name: name, Definition: d}
	if len(d.Methods) == 0 {
		w, err := newWay(name, "", d)
		e.Ways = []Way{w}
		return e, err
	}
	for _, m := range d.Methods {
		flat, err := d.WithMethod(m.Name)
		if err != nil {
			return Entry{}, err
		}
		// The method's own words, not those of the whole.
		flat.Description = m.Description
		w, err := newWay(name, m.Name, flat)
		if err != nil {
			return Entry{}, err
		}
		w.choose(d)
		e.Ways = append(e.Ways, w)
	}
	return e, nil
}

func newWay(entry, method string, d provider.Definition) (Way, error) {
	w := Way{Entry: entry, Method: method, Definition: d, Parameters: map[string]string{}}
	for _, p := range d.Parameters {
		if p.Default == "" {
			w.Parameters[p.Name] = example(p)
		}
	}
	// A ready-made assertion is what a Secret rarely holds: only where nothing else will do.
	resolved, err := d.Resolve(w.Parameters, func(name string) bool { return name != provider.CredAssertion })
	if err != nil {
		resolved, err = d.Resolve(w.Parameters, func(string) bool { return true })
	}
	w.Resolved = resolved
	return w, err
}

// choose names the method among the parameters, where the sample's keys alone would
// lead to another.
func (w *Way) choose(d provider.Definition) {
	resolved, err := d.Resolve(w.Parameters, func(name string) bool {
		return slices.Contains(w.Resolved.RequiredCredentials(), name)
	})
	if err != nil || resolved.Method != w.Method {
		w.Parameters["method"] = w.Method
	}
}

// example is a value that the parameter may have.
func example(p provider.Parameter) string {
	switch {
	case len(p.Values) > 0:
		return Choices(p)[0]
	case p.Format == provider.HostFormat:
		return "sso.example.com"
	case strings.Contains(p.Description, "number"):
		return "12345678"
	default:
		return "example"
	}
}

// Choices lists a parameter's values, the default first.
func Choices(p provider.Parameter) []string {
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

// Optional lists the credentials that this way in uses when they are there.
func (w Way) Optional() []string {
	var names []string
	required := w.Resolved.RequiredCredentials()
	if slices.Contains(required, provider.CredPrivateKey) && w.Signs() {
		names = append(names, provider.CredKeyID)
	}
	if w.Resolved.Grant == provider.TokenExchange {
		names = append(names, provider.CredActorToken)
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(required, name) })
}

// Signs tells whether a signed assertion is part of the request.
func (w Way) Signs() bool {
	if a := w.Resolved.ClientAuthentication; a == provider.SecretJWT || a == provider.PrivateKeyJWT {
		return true
	}
	return w.Resolved.Grant == provider.JWTBearer && slices.Contains(w.Resolved.RequiredCredentials(), provider.CredPrivateKey)
}

// Hosts lists where the credentials can go, as far as the catalog decides it.
func (w Way) Hosts() []string {
	url := w.Definition.TokenURL
	if url == "" {
		url = w.Definition.IssuerURL
	}
	authority, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	hosts := []string{authority}
	for _, p := range w.Definition.Parameters {
		hole := "{" + p.Name + "}"
		var filled []string
		for _, host := range hosts {
			if len(p.Values) == 0 || !strings.Contains(host, hole) {
				filled = append(filled, host)
				continue
			}
			for _, choice := range Choices(p) {
				filled = append(filled, strings.ReplaceAll(host, hole, p.Values[choice]))
			}
		}
		hosts = filled
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
