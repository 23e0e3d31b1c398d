package main

import (
	"go/ast"
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
)

const root = "../../"

// constants are the values of the reasons in the API.
func constants(t *testing.T) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), root+"api/v1alpha1/wellknown.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
		return true
	})
	if len(values) < 40 {
		t.Fatalf("only %d reasons were found", len(values))
	}
	return values
}

func TestEveryReasonHasItsSection(t *testing.T) {
	var told []string
	for _, r := range reasons() {
		told = append(told, r.name)
	}
	known := constants(t)
	for _, name := range known {
		if !slices.Contains(told, name) {
			t.Errorf("the reason %s is missing", name)
		}
	}
	for i, name := range told {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no reason any more", name)
		}
		if slices.Contains(told[:i], name) {
			t.Errorf("%s is told twice", name)
		}
	}
}

func TestPageIsFresh(t *testing.T) {
	have, err := os.ReadFile(root + file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page() {
		t.Errorf("%s is stale; run: make generate", file)
	}
}

var verb = regexp.MustCompile(`%[-+# 0-9.*\[\]]*[a-zA-Z]`)

// texts are the string literals of the operator's sources, with … for what varies.
func texts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root+"internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			text, is := literal(n)
			if is {
				text = strings.ReplaceAll(text, "%q", `"…"`)
				all.WriteString(verb.ReplaceAllString(text, "…") + "\n")
			}
			return !is
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// literal is a string, also one that is put together from several.
func literal(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if n.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(n.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		x, left := literal(n.X)
		y, right := literal(n.Y)
		return x + y, left && right && n.Op == token.ADD
	}
	return "", false
}

func TestMessagesAreThoseThatArePrinted(t *testing.T) {
	source := texts(t)
	for _, r := range reasons() {
		for clause := range strings.SplitSeq(r.message, "; ") {
			for part := range strings.SplitSeq(strings.ReplaceAll(clause, "¦", "…"), "…") {
				if part = strings.Trim(part, `" `); len(part) > 3 && !strings.Contains(source, part) {
					t.Errorf("%s: the operator does not say %q", r.name, part)
				}
			}
		}
	}
}

func TestAlertsKnowEveryReason(t *testing.T) {
	text, err := os.ReadFile(root + "config/prometheus/prometheus_rule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr string
					Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`reason[=!]~"([^"]+)"`)
	// What only the object's state tells, and no reason: it has an alert of its own.
	byState := []string{"TokenExpired"}
	want := func(classes ...class) []string {
		var names []string
		for _, r := range reasons() {
			if slices.Contains(classes, r.class) && !slices.Contains(byState, r.name) {
				names = append(names, r.name)
			}
		}
		slices.Sort(names)
		return names
	}
	byAlert := map[string][]string{
		"ProviderTokenLoginFrozen":    want(login),
		"ProviderTokenActionRequired": want(person),
		"ProviderTokenRefreshFailing": want(person, login), // those it leaves to others
		"ProviderTokenNeverIssued":    want(passing),
	}
	whole := page()
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			if match := list.FindStringSubmatch(r.Expr); match != nil {
				names := strings.Split(match[1], "|")
				slices.Sort(names)
				if !slices.Equal(names, byAlert[r.Alert]) {
					t.Errorf("%s is about\n%v, want\n%v", r.Alert, names, byAlert[r.Alert])
				}
				delete(byAlert, r.Alert)
			}
			_, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
			if !strings.Contains(anchor, "{{") && !hasHeading(whole, anchor) {
				t.Errorf("%s points to #%s, which the page does not have", r.Alert, anchor)
			}
		}
	}
	for alert := range byAlert {
		t.Errorf("there is no list of reasons in %s", alert)
	}
}

// hasHeading tells whether a page has a heading with that anchor.
func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(page) {
		if title, is := strings.CutPrefix(strings.TrimSpace(line), "## "); is && strings.ReplaceAll(strings.ToLower(title), " ", "-") == anchor {
			return true
		}
	}
	return false
}
