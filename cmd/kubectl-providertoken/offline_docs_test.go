package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/lint"
)

func page(t *testing.T, name string) (string, string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(text)
}

func TestThePageOnTryShowsWhatTryPrints(t *testing.T) {
	_, text := page(t, "try.md")
	blocks := regexp.MustCompile("(?s)<!-- transcript: ([a-z-]+) -->\n```text\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 2 {
		t.Fatalf("there are %d transcripts", len(blocks))
	}
	for _, b := range blocks {
		want, err := os.ReadFile(filepath.Join("testdata", "try", b[1]+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		// A transcript may begin later, where only its end is of interest.
		if !strings.HasSuffix(string(want), b[2]) {
			t.Errorf("the transcript %s is another one now:\n%s", b[1], cmp.Diff(b[2], string(want)))
		}
	}
}

func TestThePageOnLintShowsWhatLintPrints(t *testing.T) {
	path, text := page(t, "lint.md")
	manifest := regexp.MustCompile("(?s)<!-- file: (up42.yaml) -->\n```yaml\n(.*?)```").FindStringSubmatch(text)
	output := regexp.MustCompile("(?s)<!-- output of: lint up42.yaml -->\n```text\n(.*?)```")
	if manifest == nil || !output.MatchString(text) {
		t.Fatal("the page has no example")
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(manifest[1], []byte(manifest[2]), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p, d := laptopOf(&out, "")
	err := p.run(t.Context(), []string{"lint", manifest[1]})
	conclude(&d.err, err)
	rules := &strings.Builder{}
	for _, r := range lint.Rules() {
		fmt.Fprintf(rules, "| `%s` | %s | %s |\n", r.Name, r.Severity, r.About)
	}
	want := output.ReplaceAllLiteralString(text, "<!-- output of: lint up42.yaml -->\n```text\n"+out.String()+d.err.String()+"```")
	want = regexp.MustCompile(`(?s)(\| rule \| severity \| finds \|\n\|---\|---\|---\|\n).*$`).ReplaceAllString(want, "$1") + rules.String()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(text, want); diff != "" {
		t.Errorf("%s (-page +now; -update-try writes it anew)\n%s", path, diff)
	}
}
