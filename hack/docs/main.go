// Command docs writes a page for every entry of the catalog, and one that lists
// them all, from the definitions alone.
//
//	go run ./hack/docs docs/providers
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/providertoken/operator/internal/provider"
)

func main() {
	if len(os.Args) != 2 || strings.HasPrefix(os.Args[1], "-") {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/docs DIRECTORY\nDIRECTORY gets a page for each entry of the catalog, such as docs/providers")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "hack/docs:", err)
		os.Exit(1)
	}
}

// write writes the pages into the directory, which is made if need be.
func write(directory string) error {
	pages, err := render()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(directory, 0o750); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(pages[name]), 0o600); err != nil {
			return fmt.Errorf("writing a page: %w", err)
		}
	}
	return nil
}

// render returns the pages by file name.
func render() (map[string]string, error) {
	catalog, err := provider.Builtin()
	if err != nil {
		return nil, err
	}
	pages := map[string]string{}
	var entries []entry
	for _, name := range catalog.Names() {
		e, err := readEntry(catalog, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		text, err := e.page()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		entries = append(entries, e)
		pages[name+".md"] = text
	}
	pages["README.md"] = index(entries)
	return pages, nil
}
