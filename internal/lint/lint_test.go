package lint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/lint"
	"github.com/providertoken/operator/internal/provider"
)

var update = flag.Bool("update", false, "write the expected findings anew")

func linter(t testing.TB, disable ...string) *lint.Linter {
	t.Helper()
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lint.New(lint.Options{Catalog: catalog, Disable: disable})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t testing.TB, paths ...string) []lint.File {
	t.Helper()
	files := make([]lint.File, 0, len(paths))
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, lint.File{Name: filepath.Base(path), Content: content})
	}
	return files
}

func glob(t testing.TB, pattern string, atLeast int) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) < atLeast {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

func TestSamplesAreFlawless(t *testing.T) {
	l := linter(t)
	// The sample of platform-held credentials belongs into two namespaces.
	for _, path := range glob(t, "../../config/samples/*.yaml", 12) {
		for _, f := range l.Judge(context.Background(), read(t, path)) {
			t.Error(f)
		}
	}
	for _, f := range l.Judge(context.Background(), read(t, glob(t, "../../config/samples/*.yaml", 12)...)) {
		t.Error("together:", f)
	}
}

func TestManifestsInTheProvidersPagesAreFlawless(t *testing.T) {
	l := linter(t)
	blocks := 0
	for _, path := range glob(t, "../../docs/providers/*.md", 16) {
		for _, page := range read(t, path) {
			for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page.Content, -1) {
				blocks++
				for _, f := range l.Judge(context.Background(), []lint.File{{Name: page.Name, Content: block[1]}}) {
					t.Error(f)
				}
			}
		}
	}
	if blocks < 20 {
		t.Errorf("only %d manifests were found", blocks)
	}
}

func TestWhatIsGoodIsNotReported(t *testing.T) {
	for _, f := range linter(t).Judge(context.Background(), read(t, glob(t, "testdata/good/*.yaml", 1)...)) {
		t.Error(f)
	}
}

func TestEachRuleFindsWhatItIsFor(t *testing.T) {
	l := linter(t)
	found := map[string]lint.Severity{}
	for _, path := range glob(t, "testdata/bad/*.yaml", 1) {
		var text bytes.Buffer
		findings := l.Judge(context.Background(), read(t, path))
		if err := lint.Text(&text, findings); err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			found[f.Rule] = f.Severity
		}
		rule := strings.TrimSuffix(filepath.Base(path), ".yaml")
		if !strings.Contains(text.String(), "["+rule+"]\n") {
			t.Errorf("%s does not break the rule that it is named after:\n%s", path, text.String())
		}
		golden := strings.TrimSuffix(path, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, text.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text.String()); diff != "" {
			t.Errorf("%s (-committed +now; -update writes it anew)\n%s", path, diff)
		}
	}
	for _, r := range lint.Rules() {
		severity, broken := found[r.Name]
		if !broken {
			t.Errorf("no file breaks the rule %s", r.Name)
		} else if severity != r.Severity {
			t.Errorf("the rule %s is said to be of severity %s, and reports a %s", r.Name, r.Severity, severity)
		}
		delete(found, r.Name)
	}
	for rule := range found {
		t.Errorf("the rule %s is not listed", rule)
	}
}

func TestNoFindingRepeatsASecret(t *testing.T) {
	secrets := []string{"hunter2-in-git", "aHVudGVyMi1pbi1naXQ", "nothing-that-is-shown", "this is no base64", "not-our-business", "c2VjcmV0Cg"}
	l := linter(t)
	for _, path := range append(glob(t, "testdata/bad/*.yaml", 1), glob(t, "testdata/good/*.yaml", 1)...) {
		findings := l.Judge(context.Background(), read(t, path))
		for name, write := range map[string]func(*bytes.Buffer) error{
			"text":   func(b *bytes.Buffer) error { return lint.Text(b, findings) },
			"json":   func(b *bytes.Buffer) error { return lint.JSON(b, findings) },
			"github": func(b *bytes.Buffer) error { return lint.GitHub(b, findings) },
		} {
			var out bytes.Buffer
			if err := write(&out); err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s as %s shows %q:\n%s", path, name, secret, out.String())
				}
			}
		}
	}
}

func TestARuleCanBeSwitchedOff(t *testing.T) {
	files := read(t, "testdata/bad/plain-secret.yaml")
	if n := len(linter(t).Judge(context.Background(), files)); n != 2 {
		t.Errorf("%d findings with the rule", n)
	}
	if found := linter(t, "plain-secret").Judge(context.Background(), files); len(found) != 0 {
		t.Errorf("without the rule: %v", found)
	}
	if _, err := lint.New(lint.Options{Disable: []string{"plain-secrets"}}); err == nil {
		t.Error("a rule that does not exist was switched off")
	}
}

func TestLinesAreThoseOfTheFileAlsoInLists(t *testing.T) {
	file := lint.File{Name: "list.yaml", Content: []byte(`# comment
---
# another
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: a}
  - apiVersion: providertoken.dev/v1alpha1
    kind: ProviderToken
    metadata:
      name: a
    spec:
      providerRef:
        name: UP24
      credentials: {secretName: x}
`)}
	found := linter(t).Judge(context.Background(), []lint.File{file})
	if len(found) != 1 || found[0].Line != 16 || found[0].Rule != "provider" {
		t.Errorf("got %v", found)
	}
}

func TestObjectsOfDifferentNamespacesAreDifferent(t *testing.T) {
	token := func(namespace string) string {
		return fmt.Sprintf("---\napiVersion: providertoken.dev/v1alpha1\nkind: ProviderToken\nmetadata: {name: a, namespace: %s}\nspec: {providerRef: {name: UP42}, credentials: {secretName: x}}\n", namespace)
	}
	files := []lint.File{{Name: "a.yaml", Content: []byte(token("a") + token("b"))}}
	if found := linter(t).Judge(context.Background(), files); len(found) != 0 {
		t.Errorf("got %v", found)
	}
}

func TestAnnotationsForGitHubCannotBeForged(t *testing.T) {
	var out bytes.Buffer
	err := lint.GitHub(&out, []lint.Finding{{
		File: "a,b:c.yaml", Line: 3, Severity: lint.Warning, Rule: "r", Object: "ProviderToken x", Message: "100 %\n::error::forged", Fix: "mend it",
	}})
	want := "::warning file=a%2Cb%3Ac.yaml,line=3,title=providertoken/r::ProviderToken x: 100 %25%0A::error::forged (mend it)\n"
	if err != nil || out.String() != want {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestNoFindingsAreAnEmptyListInJSON(t *testing.T) {
	var out bytes.Buffer
	if err := lint.JSON(&out, nil); err != nil {
		t.Fatal(err)
	}
	var list []lint.Finding
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || list == nil {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func FuzzLint(f *testing.F) {
	l := linter(f)
	for _, path := range append(glob(f, "testdata/bad/*.yaml", 1), glob(f, "testdata/good/*.yaml", 1)...) {
		for _, file := range read(f, path) {
			f.Add(file.Content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		lines := bytes.Count(content, []byte("\n")) + 1
		for _, found := range l.Judge(context.Background(), []lint.File{{Name: "x", Content: content}}) {
			if found.Line < 1 || found.Line > lines+1 {
				t.Errorf("line %d of %d: %s", found.Line, lines, found)
			}
		}
	})
}

func TestASecretOfAnotherNamespaceIsAnotherSecret(t *testing.T) {
	const files = `apiVersion: v1
kind: Secret
metadata: {name: x, namespace: a, labels: {providertoken.dev/credentials-for: PlantPredict}}
stringData: {client_id: a, client_secret: replace-me}
---
apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: t, namespace: b}
spec: {providerRef: {name: UP42}, credentials: {secretName: x}}
`
	for _, f := range linter(t).Judge(context.Background(), []lint.File{{Name: "a.yaml", Content: []byte(files)}}) {
		t.Error(f)
	}
}
