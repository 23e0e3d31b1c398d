package formats

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

const page = "../../docs/formats.md"

// examples are the YAML blocks of the page, by the name in their first line: so what
// is documented is what is tested.
func examples() (map[string]string, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	title := regexp.MustCompile(`\A# ([a-z0-9-]+\.yaml)\n`)
	named := map[string]string{}
	for _, block := range blocks {
		name := title.FindStringSubmatch(block[1])
		if name == nil {
			return nil, fmt.Errorf("%s: the first line of each yaml block must be a comment with a file's name; not so in:\n%s", page, block[1])
		}
		if _, twice := named[name[1]]; twice {
			return nil, fmt.Errorf("%s: two blocks are named %s", page, name[1])
		}
		named[name[1]] = block[1]
	}
	if len(named) == 0 {
		return nil, fmt.Errorf("%s holds no yaml block", page)
	}
	return named, nil
}

// swap is a part of an example's text that stands for something else in a test.
type swap struct{ from, to string }

// example is a block with its addresses and paths replaced. Every "from" must be
// there: a test that replaces nothing any more tests something else.
func example(name string, swaps ...swap) (string, error) {
	all, err := examples()
	if err != nil {
		return "", err
	}
	text, found := all[name]
	if !found {
		return "", fmt.Errorf("%s has no block named %s", page, name)
	}
	for _, s := range swaps {
		if !strings.Contains(text, s.from) {
			return "", fmt.Errorf("%s does not contain %q", name, s.from)
		}
		text = strings.ReplaceAll(text, s.from, s.to)
	}
	return text, nil
}
