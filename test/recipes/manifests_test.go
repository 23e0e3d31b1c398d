package recipes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const document = "../../docs/recipes.md"

func TestEveryBlockOfTheDocumentCanBeFoundByItsName(t *testing.T) {
	if _, err := ReadManifests(document); err != nil {
		t.Fatal(err)
	}
}

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "document.md")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadsBlocksByName(t *testing.T) {
	m, err := ReadManifests(written(t, "text\n\n```yaml\n# a.yaml is the first\nkind: A\n---\nkind: B\n```\n\n```sh\nkubectl\n```\n\n```yaml\n# b.yaml\nhost: example.com\n```\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Get("b.yaml", Replacement{"example.com", "127.0.0.1"})
	if err != nil || got != "# b.yaml\nhost: 127.0.0.1\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if unused := m.Unused(); !slices.Equal(unused, []string{"a.yaml"}) {
		t.Errorf("unused: %v", unused)
	}
	if _, err := m.Get("c.yaml"); err == nil {
		t.Error("got a block that is not there")
	}
	if _, err := m.Get("a.yaml", Replacement{"example.com", "127.0.0.1"}); err == nil {
		t.Error("replaced what is not there")
	}
}

func TestRefusesADocumentThatCannotBeTested(t *testing.T) {
	for name, text := range map[string]string{
		"a block without a name": "```yaml\nkind: A\n```\n",
		"a name used twice":      strings.Repeat("```yaml\n# a.yaml\n```\n", 2),
		"no block":               "# title\n",
	} {
		if _, err := ReadManifests(written(t, text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
