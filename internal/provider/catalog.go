package provider

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The only package variable: go:embed needs one, and an embed.FS cannot be written to.
//
//go:embed catalog/*.yaml
var embedded embed.FS

// Catalog is the set of definitions that come with the operator, by name. It is
// read-only and safe for concurrent use.
type Catalog struct {
	entries map[string]entry
}

type entry struct {
	definition Definition
	version    string
}

// Builtin reads the embedded catalog: every catalog/NAME.yaml is the definition
// called NAME. An unknown field, a duplicate key or an invalid definition is an
// error; the tests make sure that a release has none.
func Builtin() (*Catalog, error) { return ReadCatalog(embedded) }

// ReadCatalog reads every catalog/NAME.yaml of files, as Builtin does.
func ReadCatalog(files fs.FS) (*Catalog, error) {
	paths, err := fs.Glob(files, "catalog/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the catalog: %w", err)
	}
	entries := make(map[string]entry, len(paths))
	for _, p := range paths {
		e, err := readEntry(files, p)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", p, err)
		}
		entries[strings.TrimSuffix(path.Base(p), ".yaml")] = e
	}
	return &Catalog{entries: entries}, nil
}

func readEntry(files fs.FS, p string) (entry, error) {
	content, err := fs.ReadFile(files, p)
	if err != nil {
		return entry{}, err
	}
	var d Definition
	if err := yaml.UnmarshalStrict(content, &d); err != nil {
		return entry{}, err
	}
	if err := d.Validate(); err != nil {
		return entry{}, err
	}
	sum := sha256.Sum256(content)
	return entry{definition: d, version: hex.EncodeToString(sum[:6])}, nil
}

// Names lists the entries in alphabetical order.
func (c *Catalog) Names() []string { return slices.Sorted(maps.Keys(c.entries)) }

// Get returns a copy of the definition with that name; false when there is none.
func (c *Catalog) Get(name string) (Definition, bool) {
	e, ok := c.entries[name]
	return e.definition.clone(), ok
}

// Version is a short hash of the entry's text, which changes whenever the entry
// does; empty when there is no such entry.
func (c *Catalog) Version(name string) string { return c.entries[name].version }
