package chart_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	tableBegin = "<!-- made from values.yaml: go test ./test/chart -run README -update -->\n"
	tableEnd   = "<!-- end -->\n"
)

var keyLine = regexp.MustCompile(`^( *)([A-Za-z]+):(.*)$`)

// TestREADMETableIsTheComments: a row for each value, with its default and the
// comment above it.
func TestREADMETableIsTheComments(t *testing.T) {
	t.Parallel()
	table := valuesTable(t)
	path := chartDir + "/README.md"
	content := read(t, path)
	before, rest, began := strings.Cut(content, tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !began || !ended {
		t.Fatalf("%s lacks the lines that enclose the table", path)
	}
	fresh := before + tableBegin + table + tableEnd + after
	if *update {
		if err := os.WriteFile(path, []byte(fresh), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if fresh != content {
		t.Errorf("the table in %s is stale; run: go test ./test/chart -run README -update", path)
	}
}

func valuesTable(t *testing.T) string {
	t.Helper()
	paths := leaves(t)
	rows := []string{"| value | default | what it does |", "|---|---|---|"}
	var parents []string
	comment := ""
	described := 0
	for line := range strings.Lines(read(t, chartDir+"/values.yaml")) {
		line = strings.TrimRight(line, "\n")
		if text, isComment := strings.CutPrefix(strings.TrimSpace(line), "# "); isComment {
			comment = strings.TrimSpace(comment + " " + text)
			continue
		}
		match := keyLine.FindStringSubmatch(line)
		if match == nil {
			comment = ""
			continue
		}
		parents = append(parents[:len(match[1])/2], match[2])
		path := strings.Join(parents, ".")
		if slices.Contains(paths, path) {
			if comment == "" {
				t.Errorf("%s has no comment in values.yaml", path)
			}
			rows = append(rows, "| `"+path+"` | `"+strings.TrimSpace(match[3])+"` | "+comment+" |")
			described++
		}
		comment = ""
	}
	if described != len(paths) {
		t.Errorf("found %d of %d values: write values.yaml in block style, two spaces a level", described, len(paths))
	}
	return strings.Join(rows, "\n") + "\n"
}
