package source

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

// Definitions remembers what was read out of one catalog and of the provider objects of
// one cluster, and which choices were made with it: ten thousand ProviderTokens of one
// provider make them once, and not in each of their reconciles. The zero value is ready
// for use; nil remembers nothing.
type Definitions struct {
	mu    sync.Mutex
	known map[definitionKey]*Definition
}

// Bounds of what is remembered. Whoever reaches one, as by deleting and creating
// provider objects for years, has everything read anew.
const (
	maxDefinitions = 4096
	maxResolutions = 256
)

type definitionKey struct {
	kind            v1alpha1.ProviderKind
	namespace, name string
}

// edition tells one content of a definition from another.
type edition struct {
	uid             types.UID
	resourceVersion string
	// bundle is the content of the ConfigMap that the definition refers to.
	bundle string
}

// Definition is one that was read. Who gets it must not change it.
type Definition struct {
	provider.Definition
	edition edition
	// names are all credentials that it may want.
	names []string

	mu       sync.Mutex
	resolved map[string]*provider.Resolved
}

func newDefinition(d provider.Definition, e edition) *Definition {
	return &Definition{Definition: d, edition: e, names: d.CredentialNames()}
}

// get returns what is remembered of that edition; nil when nothing is.
func (s *Definitions) get(key definitionKey, e edition) *Definition {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.known[key]; d != nil && d.edition == e {
		return d
	}
	return nil
}

// put remembers d, in the place of an earlier edition.
func (s *Definitions) put(key definitionKey, d *Definition) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxDefinitions {
		s.known = map[definitionKey]*Definition{}
	}
	s.known[key] = d
}

// Forget is for when resource versions may come again that meant something else.
func (s *Definitions) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = nil
}

// CredentialNames are all credentials that it may want.
func (d *Definition) CredentialNames() []string { return d.names }

// choose is Resolve, once for all who have credentials of the same names and set the
// same parameters.
func (d *Definition) choose(parameters map[string]string, has func(string) bool) (*provider.Resolved, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := d.choice(parameters, has)
	if r := d.resolved[key]; r != nil {
		return r, nil
	}
	r, err := d.Resolve(parameters, has)
	if err != nil {
		return nil, err // it names what is missing; whoever has it looks seldom
	}
	if d.resolved == nil || len(d.resolved) >= maxResolutions {
		d.resolved = map[string]*provider.Resolved{}
	}
	d.resolved[key] = &r
	return &r, nil
}

// choice is all that Resolve depends on beside the definition.
func (d *Definition) choice(parameters map[string]string, has func(string) bool) string {
	var b strings.Builder
	b.Grow(len(d.names))
	for _, name := range d.names {
		if has(name) {
			b.WriteByte('+')
		} else {
			b.WriteByte('-')
		}
	}
	if len(parameters) == 0 {
		return b.String()
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		// Neither can hold a NUL: names are keys of JSON that passed the schema, and so are values.
		b.WriteString("\x00" + name + "\x00" + parameters[name])
	}
	return b.String()
}
