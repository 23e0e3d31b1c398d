package docs_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	testworld "github.com/providertoken/operator/test/world"
)

var update = flag.Bool("update", false, "write the generated parts of docs/architecture.md")

const (
	architecture = "docs/architecture.md"
	module       = "github.com/providertoken/operator"
)

// part replaces what stands between two comments of a page.
func part(t *testing.T, page, name, content string) string {
	t.Helper()
	begin := "<!-- " + name + ": written by go test ./test/docs -run Architecture -args -update -->\n"
	end := "<!-- end of " + name + " -->\n"
	before, rest, began := strings.Cut(page, begin)
	_, after, ended := strings.Cut(rest, end)
	if !began || !ended {
		t.Fatalf("%s lacks the comments that enclose %s", architecture, name)
	}
	return before + begin + content + end + after
}

func TestArchitecturePageShowsTheImportsAndFencesThatThereAre(t *testing.T) {
	page := read(t, architecture)
	graph, listed := imports(t)
	fresh := part(t, page, "imports", picture(graph))
	fresh = part(t, fresh, "fences", fences(t))
	if *update {
		if err := os.WriteFile(filepath.Join(testworld.Root(), architecture), []byte(fresh), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if fresh != page {
		t.Errorf("%s does not show the imports or fences that there are; run: go test ./test/docs -run Architecture -args -update", architecture)
	}
	for _, name := range listed {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s does not say what %s is for", architecture, name)
		}
	}
}

// imports of the packages that ship, by their short names, without what follows from another import.
func imports(t *testing.T) (graph map[string][]string, listed []string) {
	t.Helper()
	graph = map[string][]string{}
	root := testworld.Root()
	for _, pattern := range []string{"*.go", "api/*/*.go", "cmd/*/*.go", "internal/*/*.go", "internal/*/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			relative, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") || strings.Contains(relative, "providersim") {
				continue
			}
			from := short(module + "/" + filepath.ToSlash(relative))
			if relative == "." {
				from = "main"
			} else if !slices.Contains(listed, filepath.ToSlash(relative)) {
				listed = append(listed, filepath.ToSlash(relative))
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if to := short(path); strings.HasPrefix(path, module+"/") && !slices.Contains(graph[from], to) {
					graph[from] = append(graph[from], to)
				}
			}
			graph[from] = slices.Sorted(slices.Values(graph[from]))
		}
	}
	if len(graph) < 15 {
		t.Fatalf("only %d packages were found", len(graph))
	}
	return graph, listed
}

// short is a package's last name, as pictures have it.
func short(path string) string {
	path = strings.TrimPrefix(path, module+"/")
	return strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(path, "internal/"), "cmd/"), "api/")
}

// picture is the graph for GitHub. An arrow that follows from two others is left out.
func picture(graph map[string][]string) string {
	var reach func(from, to string, direct bool) bool
	reach = func(from, to string, direct bool) bool {
		return slices.ContainsFunc(graph[from], func(next string) bool {
			return (next == to && !direct) || (next != to && reach(next, to, false))
		})
	}
	var text strings.Builder
	text.WriteString("```mermaid\nflowchart TD\n")
	pure := []string{}
	for _, from := range sorted(graph) {
		for _, to := range graph[from] {
			if !reach(from, to, true) {
				fmt.Fprintf(&text, "  %s --> %s\n", from, to)
			}
		}
		if slices.Contains([]string{"token", "provider", "exchange", "schedule", "consent", "metrics", "options"}, from) {
			pure = append(pure, from)
		}
	}
	fmt.Fprintf(&text, "  classDef pure fill:#e8f4ea,stroke:#2e7d32\n  class %s pure\n```\n\nGreen: knows no Kubernetes.\n", strings.Join(pure, ","))
	return text.String()
}

// fences are the rules of depguard, as a table.
func fences(t *testing.T) string {
	t.Helper()
	var settings struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						Files []string `json:"files"`
						Allow []string `json:"allow"`
						Deny  []struct {
							Pkg  string `json:"pkg"`
							Desc string `json:"desc"`
						} `json:"deny"`
					} `json:"rules"`
				} `json:"depguard"`
			} `json:"settings"`
		} `json:"linters"`
	}
	text, err := yaml.YAMLToJSON([]byte(read(t, golangci(t))))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		t.Fatal(err)
	}
	rules := settings.Linters.Settings.Depguard.Rules
	if len(rules) < 10 {
		t.Fatalf("only %d fences were found", len(rules))
	}
	code := func(paths []string) string {
		if len(paths) == 0 {
			return ""
		}
		for i, path := range paths {
			paths[i] = "`" + cmp.Or(strings.TrimPrefix(strings.TrimPrefix(path, module), "/"), "this module") + "`"
		}
		return strings.Join(paths, " ")
	}
	var table strings.Builder
	table.WriteString("| in | may not import | but may | because |\n|---|---|---|---|\n")
	for _, name := range sorted(rules) {
		rule := rules[name]
		var in, denied, because []string
		for _, file := range rule.Files {
			if not, is := strings.CutPrefix(file, "!**/"); is {
				in = append(in, "not `"+strings.Trim(not, "/*")+"`")
			} else if strings.HasPrefix(file, "**/") {
				in = append(in, "`"+strings.Trim(file, "/*")+"`")
			} else if file == "$all" {
				in = append(in, "all")
			}
		}
		for _, d := range rule.Deny {
			denied = append(denied, d.Pkg)
			if !slices.Contains(because, d.Desc) {
				because = append(because, d.Desc)
			}
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", strings.Join(in, ", "), code(denied), code(rule.Allow), strings.Join(because, "; "))
	}
	return table.String()
}

// golangci is the linter's configuration.
func golangci(t *testing.T) string {
	t.Helper()
	for _, name := range []string{".golangci.yml", ".golangci.yaml"} {
		if _, err := os.Stat(filepath.Join(testworld.Root(), name)); err == nil {
			return name
		}
	}
	t.Fatal("there is no configuration of golangci-lint")
	return ""
}

// TestEveryInvariantIsHeldByATestThatThereIs keeps the page from telling of tests that
// were renamed or removed.
func TestEveryInvariantIsHeldByATestThatThereIs(t *testing.T) {
	t.Parallel()
	page := read(t, architecture)
	known := map[string]string{}
	cite := regexp.MustCompile("`([a-z]+): ([^`]+)`")
	invariants := 0
	for line := range strings.SplitSeq(page, "\n") {
		row := regexp.MustCompile(`^\| (\d+) \|`).FindStringSubmatch(line)
		if row == nil {
			continue
		}
		invariants++
		cited := cite.FindAllStringSubmatch(line, -1)
		if len(cited) == 0 && !strings.Contains(line, "the linter") {
			t.Errorf("invariant %s names no test", row[1])
		}
		for _, m := range cited {
			folder := "internal/" + m[1]
			if m[1] == "attacks" || m[1] == "leaks" {
				folder = "test/" + m[1]
			}
			if known[folder] == "" {
				known[folder] = tests(t, folder)
			}
			if !strings.Contains(known[folder], `It("`+m[2]+`"`) && !strings.Contains(known[folder], `DescribeTable("`+m[2]+`"`) && !strings.Contains(known[folder], "func "+m[2]+"(") {
				t.Errorf("invariant %s: %s has no test %q", row[1], folder, m[2])
			}
		}
	}
	if invariants < 12 {
		t.Errorf("only %d invariants are told of", invariants)
	}
}

// tests are the test files of a folder, one after the other.
func tests(t *testing.T, folder string) string {
	t.Helper()
	var text strings.Builder
	err := fs.WalkDir(os.DirFS(filepath.Join(testworld.Root(), folder)), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			text.WriteString(read(t, folder+"/"+path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}
