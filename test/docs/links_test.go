package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	testworld "github.com/providertoken/operator/test/world"
)

// toCome are pages that are linked to before they are there. Empty it when they are.
func toCome() map[string]bool {
	return map[string]bool{
		"docs/kubectl-plugin.md": true, "docs/lint.md": true, "docs/try.md": true,
		"docs/scaling.md": true, "docs/benchmarks.md": true,
	}
}

var (
	fenced  = regexp.MustCompile("(?m)^ *```(?s:.*?)\n *```$")
	inline  = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	named   = regexp.MustCompile(`<a (?:name|id)="([^"]+)">`)
)

// anchors of a page, as GitHub makes them of its headings.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		title := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1")
		slug := strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(title), ""), " ", "-")
		if found[slug] {
			for n := 1; ; n++ {
				if numbered := slug + "-" + strconv.Itoa(n); !found[numbered] {
					slug = numbered
					break
				}
			}
		}
		found[slug] = true
	}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, page := range sorted(all) {
		prose := inline.ReplaceAllString(fenced.ReplaceAllString(all[page], ""), "``")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if regexp.MustCompile(`^(https?:|mailto:)`).MatchString(m[1]) {
				continue
			}
			links++
			target, anchor, anchored := strings.Cut(m[1], "#")
			file := page
			if target != "" {
				file = path.Join(path.Dir(page), target)
			}
			if toCome()[file] && all[file] == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(testworld.Root(), file)); err != nil || strings.HasPrefix(file, "..") {
				t.Errorf("%s links to %s: there is no %s", page, m[1], file)
				continue
			}
			if anchored && strings.HasSuffix(file, ".md") && !anchors(read(t, file))[anchor] {
				t.Errorf("%s links to %s: %s has no such heading", page, m[1], file)
			}
		}
	}
	t.Logf("%d links within the repository, on %d pages", links, len(all))
	if links < 100 {
		t.Errorf("only %d links were found: is their form still [text](target)?", links)
	}
	for page := range toCome() {
		if all[page] != "" {
			t.Errorf("%s is here: remove it from toCome, so that links to its headings are checked", page)
		}
	}
}

func TestEveryPageCanBeFoundFromTheIndex(t *testing.T) {
	t.Parallel()
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]bool{}
	var visit func(page string)
	visit = func(page string) {
		if reached[page] {
			return
		}
		reached[page] = true
		for _, m := range link.FindAllStringSubmatch(all[page], -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if file := path.Join(path.Dir(page), target); all[file] != "" && strings.HasPrefix(file, "docs/") {
				visit(file)
			}
		}
	}
	visit("docs/README.md")
	for _, page := range sorted(all) {
		if strings.HasPrefix(page, "docs/") && !reached[page] {
			t.Errorf("no way leads from docs/README.md to %s", page)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testworld.Root(), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
