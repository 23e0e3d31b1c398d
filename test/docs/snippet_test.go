package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	testworld "github.com/providertoken/operator/test/world"
)

// snippet is a fenced block of a page.
type snippet struct {
	page string // from the root of the repository
	line int
	lang string
	text string
}

func (s snippet) String() string { return fmt.Sprintf("%s:%d", s.page, s.line) }

// title is what the comment in the first line calls the block, as "login.yaml".
func (s snippet) title() string {
	if m := regexp.MustCompile(`\A# ([a-z0-9/.-]+\.ya?ml)\b`).FindStringSubmatch(s.text); m != nil {
		return m[1]
	}
	return ""
}

// pages are the documents for people, by their path from the root.
func pages() (map[string]string, error) {
	root := testworld.Root()
	found := map[string]string{}
	read := func(path string) error {
		text, err := os.ReadFile(filepath.Join(root, path))
		found[path] = string(text)
		return err
	}
	for _, path := range []string{"README.md", "SECURITY.md", "CONTRIBUTING.md"} {
		if err := read(path); err != nil {
			return nil, err
		}
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return read(filepath.ToSlash(name))
	})
	return found, err
}

// fence begins or ends a block; blocks of lists are indented.
var fence = regexp.MustCompile("^( *)(```+)([a-z]*)$")

// snippets are the fenced blocks of a page.
func snippets(page, text string) ([]snippet, error) {
	var all []snippet
	var open *snippet
	var indent, ticks string
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(strings.TrimRight(line, " "))
		switch {
		case open == nil && m != nil:
			open, indent, ticks = &snippet{page: page, line: i + 1, lang: m[3]}, m[1], m[2]
		case open != nil && m != nil && m[2] == ticks && m[3] == "":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the block does not end", open)
	}
	return all, nil
}

// command is one command of a block, with its continued lines, and without the comment behind it.
type command struct {
	snippet
	what string
}

// commands of a block: of a transcript, what follows its prompts.
func (s snippet) commands() []command {
	var all []command
	var pending string
	for line := range strings.SplitSeq(s.text, "\n") {
		if s.lang == "console" {
			typed, is := strings.CutPrefix(line, "$ ")
			if !is {
				continue
			}
			line = typed
		}
		line = regexp.MustCompile(`(^|\s+)# .*$`).ReplaceAllString(line, "")
		if strings.TrimSpace(line) == "" && pending == "" {
			continue
		}
		pending += line
		if rest, goesOn := strings.CutSuffix(pending, "\\"); goesOn {
			pending = rest
			continue
		}
		all = append(all, command{s, strings.Join(strings.Fields(pending), " ")})
		pending = ""
	}
	return all
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
