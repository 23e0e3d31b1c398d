package attacks_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	testworld "github.com/providertoken/operator/test/world"
)

// rooms are the folders of the tests that SECURITY.md cites as `room: name`.
func rooms() map[string]string {
	return map[string]string{
		"attacks": "test/attacks", "controller": "internal/controller", "exchange": "internal/exchange", "provider": "internal/provider", "target": "internal/target",
		"consent": "internal/consent", "workload": "internal/workload", "token": "internal/token", "rotation": "internal/rotation", "chart": "test/chart", "main": ".",
		"privilege": "test/privilege", "leaks": "test/leaks", "world": "test/world", "process": "internal/process",
	}
}

// TestEveryTestThatTheThreatModelCitesExists keeps SECURITY.md from telling of tests
// that were renamed or removed.
func TestEveryTestThatTheThreatModelCitesExists(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testworld.Root(), "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	for room, folder := range rooms() {
		known[room] = testNames(t, filepath.Join(testworld.Root(), folder))
	}
	cited, threats := 0, false
	for number, line := range strings.Split(string(page), "\n") {
		for _, m := range regexp.MustCompile("`([a-z]+): ([^`]+)`").FindAllStringSubmatch(line, -1) {
			if known[m[1]] == nil {
				continue // an example of YAML, say
			}
			cited++
			if !known[m[1]][m[2]] {
				t.Errorf("SECURITY.md:%d cites a test that %s does not have: %s", number+1, rooms()[m[1]], m[2])
			}
		}
		if strings.HasPrefix(line, "## ") {
			threats = strings.HasPrefix(line, "## Threats")
		}
		if cells := strings.Split(line, "|"); threats && len(cells) == 5 && !strings.Contains(line, "---") && !strings.Contains(line, "what stops it") && !strings.Contains(cells[3], "`") {
			t.Errorf("SECURITY.md:%d names a threat and no test: %s", number+1, line)
		}
	}
	if cited < 60 {
		t.Errorf("SECURITY.md cites %d tests only: is its form still `room: name`?", cited)
	}
}

// TestEverySpecOfAnAttackIsInTheThreatModel is the other direction, for this package.
func TestEverySpecOfAnAttackIsInTheThreatModel(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testworld.Root(), "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range testNames(t, filepath.Join(testworld.Root(), "test", "attacks")) {
		if strings.HasPrefix(name, "Test") || strings.Contains(string(page), "`attacks: "+name+"`") {
			continue
		}
		t.Errorf("SECURITY.md does not cite: %s", name)
	}
}

// testNames are the names of tests, fuzz targets and specs in a folder's test files.
func testNames(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no tests: %v", folder, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if strings.HasPrefix(n.Name.Name, "Test") || strings.HasPrefix(n.Name.Name, "Fuzz") {
					names[n.Name.Name] = true
				}
			case *ast.CallExpr:
				if called, is := n.Fun.(*ast.Ident); is && (called.Name == "It" || called.Name == "DescribeTable") && len(n.Args) > 1 {
					if text, is := n.Args[0].(*ast.BasicLit); is {
						if name, err := strconv.Unquote(text.Value); err == nil {
							names[name] = true
						}
					}
				}
			}
			return true
		})
	}
	return names
}
