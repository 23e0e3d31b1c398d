package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the transcripts in testdata, and those in docs/kubectl-plugin.md, anew")

// golden compares with testdata/name, or writes it anew.
func golden(t interface {
	Helper()
	Errorf(string, ...any)
}, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Errorf("%v", err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Errorf("%v", err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); if that is meant: go test ./cmd/kubectl-providertoken -update. Got:\n%s\nwant:\n%s", file, err, got, want)
	}
}

// transcript of a command, as a person sees it: what they type, what is printed, and
// the exit code where that is not 0.
func transcript(ctx context.Context, p *plugin, screen *bytes.Buffer, args ...string) string {
	screen.Reset()
	code := conclude(screen, p.run(ctx, args))
	text := "$ kubectl providertoken " + quoted(args) + "\n" + screen.String()
	if code != 0 {
		text += fmt.Sprintf("(exit code %d)\n", code)
	}
	return text
}

func quoted(args []string) string {
	words := make([]string, 0, len(args))
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " '{}$*\"\\|;&<>") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// sheet is a console that shows both of its outputs in one place.
type sheet struct{ screen *bytes.Buffer }

func (s sheet) Out() io.Writer                  { return s.screen }
func (s sheet) Err() io.Writer                  { return s.screen }
func (s sheet) Password(string) (string, error) { return "", nil }

// The document is made of the transcripts: what it shows is what the commands print.
func TestTheDocumentShowsWhatTheCommandsPrint(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "kubectl-plugin.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shown, next := 0, ""
	rest := string(text)
	for {
		before, after, found := strings.Cut(rest, "<!-- testdata/")
		next += before
		if !found {
			break
		}
		name, after, _ := strings.Cut(after, " -->\n```console\n")
		old, after, closed := strings.Cut(after, "```\n")
		if !closed || strings.ContainsAny(name, "\n ") {
			t.Fatalf("%s: the block after %q is not closed", file, name)
		}
		want, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		shown++
		if string(want) != old && !*update {
			t.Errorf("%s shows another %s than the commands print; if that is meant: go test ./cmd/kubectl-providertoken -update", file, name)
		}
		next += "<!-- testdata/" + name + " -->\n```console\n" + string(want) + "```\n"
		rest = after
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || shown < 10 {
		t.Errorf("%d transcripts shown, %v", shown, err)
	}
	for _, f := range files {
		if !strings.Contains(string(text), "<!-- testdata/"+filepath.Base(f)+" -->") {
			t.Errorf("%s does not show %s", file, f)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(next), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
