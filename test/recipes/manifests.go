package recipes

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Manifests are the YAML blocks of a document, by name: a block's first line is a
// comment with the name of the file that a reader would save it as. So what is
// documented is what is tested.
type Manifests struct {
	text map[string]string
	used map[string]bool
}

var (
	fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	title = regexp.MustCompile(`\A# ([a-z0-9-]+\.yaml)( .*)?\n`)
)

// ReadManifests fails when a block has no name, or two have the same.
func ReadManifests(path string) (*Manifests, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := &Manifests{text: map[string]string{}, used: map[string]bool{}}
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		name := title.FindStringSubmatch(block[1])
		if name == nil {
			return nil, fmt.Errorf("%s: the first line of each yaml block must be a comment with a file's name, such as \"# viewer.yaml\"; not so in:\n%s", path, block[1])
		}
		if _, twice := m.text[name[1]]; twice {
			return nil, fmt.Errorf("%s: two blocks are named %s", path, name[1])
		}
		m.text[name[1]] = block[1]
	}
	if len(m.text) == 0 {
		return nil, fmt.Errorf("%s holds no yaml block", path)
	}
	return m, nil
}

// Get returns a manifest, with each "from" replaced by its "to". Every "from" must
// be there: a test that replaces nothing any more tests something else.
func (m *Manifests) Get(name string, replacements ...Replacement) (string, error) {
	text, ok := m.text[name]
	if !ok {
		return "", fmt.Errorf("there is no block named %s", name)
	}
	m.used[name] = true
	for _, r := range replacements {
		if !strings.Contains(text, r.From) {
			return "", fmt.Errorf("%s does not contain %q", name, r.From)
		}
		text = strings.ReplaceAll(text, r.From, r.To)
	}
	return text, nil
}

// Unused are the names of the blocks that nobody got.
func (m *Manifests) Unused() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.text)), func(name string) bool { return m.used[name] })
}

// Replacement of an example's address or value by one that exists in the test.
type Replacement struct{ From, To string }
