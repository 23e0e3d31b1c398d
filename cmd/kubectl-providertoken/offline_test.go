package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/lint"
	"github.com/providertoken/operator/internal/provider"
)

// laptopOf is a plugin without a cluster and without a terminal.
func laptopOf(out *bytes.Buffer, in string) (*plugin, *desk) {
	d := &desk{out: out}
	p := newPlugin(d, quiet)
	p.interactive, p.in = false, strings.NewReader(in)
	return p, d
}

func TestLintFailsOnMistakesAndOnWarningsOnlyWhenStrict(t *testing.T) {
	bad := filepath.Join("..", "..", "internal", "lint", "testdata", "bad")
	for _, c := range []struct {
		args []string
		in   string
		want int
		says string
	}{
		{[]string{filepath.Join(bad, "provider.yaml")}, "", exitFailed, "1 mistake in 1 file"},
		{[]string{filepath.Join(bad, "plain-secret.yaml")}, "", 0, "1 file, 2 warnings"},
		{[]string{"--strict", filepath.Join(bad, "plain-secret.yaml")}, "", exitFailed, "2 mistakes in 1 file"},
		{[]string{"--disable", "plain-secret", "--strict", filepath.Join(bad, "plain-secret.yaml")}, "", 0, "nothing wrong"},
		{[]string{filepath.Join("..", "..", "config", "samples")}, "", 0, "nothing wrong"},
		{[]string{"-"}, "kind: x\nwrong: [", exitFailed, "stdin:"},
		{[]string{"no-such-file.yaml"}, "", exitMisuse, "no-such-file.yaml"},
		{[]string{"--disable", "no-such-rule", bad}, "", exitMisuse, "there is no rule"},
		{[]string{"-o", "xml", bad}, "", exitMisuse, "there is no output"},
		{nil, "", exitMisuse, "lint needs files"},
		{[]string{"--rules"}, "", 0, "plain-secret"},
	} {
		var out bytes.Buffer
		p, d := laptopOf(&out, c.in)
		err := p.run(t.Context(), append([]string{"lint"}, c.args...))
		code := conclude(&d.err, err)
		if said := out.String() + d.err.String(); code != c.want || !strings.Contains(said, c.says) {
			t.Errorf("lint %v: exit code %d, and\n%s", c.args, code, said)
		}
	}
}

func TestLintReadsDirectoriesButForTemplates(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.yaml": "a: 1\n", "b/c.yml": "a: 1\n", "b/d.json": "{}\n", "b/e.txt": "{{", ".git/x.yaml": "{{",
		"chart/Chart.yaml": "name: x\n", "chart/templates/y.yaml": "{{ .Values.x }}", "templates/z.yaml": "a: 1\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := laptopOf(&bytes.Buffer{}, "")
	files, err := p.read([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		name, _ := filepath.Rel(dir, f.Name)
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "a.yaml b/c.yml b/d.json chart/Chart.yaml templates/z.yaml" {
		t.Errorf("got %s", got)
	}
}

func TestProvidersListsTheWholeCatalogInEveryForm(t *testing.T) {
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "json", "yaml", "name"} {
		var out bytes.Buffer
		p, _ := laptopOf(&out, "")
		if err := p.run(t.Context(), []string{"providers", "-o", format}); err != nil {
			t.Fatal(err)
		}
		for _, name := range catalog.Names() {
			if !strings.Contains(out.String(), name) {
				t.Errorf("-o %s does not tell of %s", format, name)
			}
		}
		var all []offered
		if format == "json" && (json.Unmarshal(out.Bytes(), &all) != nil || len(all) != len(catalog.Names()) || len(all[0].Ways) == 0) {
			t.Errorf("-o json is\n%s", out.String())
		}
		if format == "yaml" && (yaml.Unmarshal(out.Bytes(), &all) != nil || len(all) != len(catalog.Names())) {
			t.Errorf("-o yaml is\n%s", out.String())
		}
	}
}

func TestProvidersShowsForEachWhatToApply(t *testing.T) {
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range catalog.Names() {
		var out bytes.Buffer
		p, _ := laptopOf(&out, "")
		if err := p.run(t.Context(), []string{"providers", name}); err != nil {
			t.Fatal(err)
		}
		def, _ := catalog.Get(name)
		for _, want := range []string{def.Documentation, "kind: ProviderToken", "token endpoint", "expiry"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, out.String())
			}
		}
		if strings.Contains(out.String(), "`") {
			t.Errorf("%s: Markdown on a terminal:\n%s", name, out.String())
		}
	}
	var out bytes.Buffer
	p, _ := laptopOf(&out, "")
	if err := p.run(t.Context(), []string{"providers", "up422"}); err == nil || !strings.Contains(err.Error(), "did you mean UP42") {
		t.Errorf("got %v", err)
	}
}

// strict judges what init printed, of which only plain credentials are expected.
func strict(t *testing.T) func(manifests string) {
	t.Helper()
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lint.New(lint.Options{Catalog: catalog, Disable: []string{"plain-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	return func(manifests string) {
		for _, f := range l.Judge(t.Context(), []lint.File{{Name: "init", Content: []byte(manifests)}}) {
			t.Errorf("%s\n%s", f, manifests)
		}
	}
}

func TestInitWritesFlawlessManifestsForEveryWayIn(t *testing.T) {
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	parameters := map[string]string{
		"host": "sso.example.com:8443", "realm": "corp", "domain": "example", "prefix": "example", "region": "eu-west-1", "tenant": "example", "installation": "123",
	}
	ways, judged := 0, strict(t)
	for _, name := range catalog.Names() {
		def, _ := catalog.Get(name)
		methods := []string{""}
		if len(def.Methods) > 0 {
			methods = nil
			for _, m := range def.Methods {
				methods = append(methods, m.Name)
			}
		}
		for _, method := range methods {
			flat := def
			args := []string{"init", name, "--without-values", "-n", "maps", "--name", "a-token"}
			if method != "" {
				if flat, err = def.WithMethod(method); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--method", method)
			}
			for _, p := range flat.Parameters {
				if p.Default == "" {
					args = append(args, "--parameter", p.Name+"="+parameters[p.Name])
				}
			}
			var out bytes.Buffer
			p, _ := laptopOf(&out, "")
			if err := p.run(t.Context(), args); err != nil {
				t.Errorf("%v: %v", args, err)
				continue
			}
			judged(out.String())
			ways++
		}
	}
	if ways < 20 {
		t.Errorf("only %d ways in were tried", ways)
	}
}

func TestInitKeepsEveryCredentialAsItIs(t *testing.T) {
	for _, secret := range []string{
		"plain", "pass:word+with%41 and=more&", "- a list", "yes", "0123", "1e3", "# no comment", "two\nlines\n", " blanks ", "'single' \"double\" \\back", "äöü€", "{{ .x }}", "*alias", "trailing\n\n", "tab\there", "~",
	} {
		t.Setenv("PROVIDERTOKEN_CREDENTIAL_PASSWORD", secret)
		var out bytes.Buffer
		p, d := laptopOf(&out, "")
		err := p.run(t.Context(), []string{"init", "UP42", "--print", "secret", "--credential", "username=me@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		var s struct{ StringData map[string]string }
		if err := yaml.Unmarshal(out.Bytes(), &s); err != nil || s.StringData["password"] != secret {
			t.Errorf("%q came back as %q, %v in\n%s", secret, s.StringData["password"], err, out.String())
		}
		if d.err.Len() > 0 {
			t.Errorf("--print secret is for pipes, and says %s", d.err.String())
		}
	}
}

func TestInitAsksForWhatFlagsLeaveOpen(t *testing.T) {
	var out bytes.Buffer
	p, d := laptopOf(&out, "")
	p.interactive, d.password = true, "typed-without-an-echo"
	p.in = strings.NewReader("\n\n\nsso.example.com\n")
	if err := p.run(t.Context(), []string{"init", "Zitadel", "--method", "Secret", "--credential", "client_id=my-client"}); err == nil {
		t.Error("an empty answer was taken for a host")
	}
	out.Reset()
	p.in = strings.NewReader("Secret\nsso.example.com\nmy-client\n")
	if err := p.run(t.Context(), []string{"init", "Zitadel"}); err != nil {
		t.Fatalf("%v\n%s", err, d.err.String())
	}
	for _, want := range []string{"client_id: my-client", "client_secret: typed-without-an-echo", "host: sso.example.com", "allowed-hosts: sso.example.com"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if !strings.Contains(d.err.String(), "do not commit it") {
		t.Errorf("nothing warns: %s", d.err.String())
	}
}

func TestInitNeedsEverythingWithoutATerminal(t *testing.T) {
	for want, args := range map[string][]string{
		"--method":                         {"init", "SpatiaFi"},
		"--parameter host=":                {"init", "Zitadel", "--method", "Secret", "--without-values"},
		"--credential username=@FILE":      {"init", "UP42"},
		"the parameter region has a value": {"init", "UP42", "--parameter", "region=us", "--without-values"},
		"is no name of an object":          {"init", "UP42", "--name", "Not_A_Name", "--without-values"},
		"did you mean UP42":                {"init", "up42", "--without-values"},
		"wants no client_secret":           {"init", "UP42", "--credential", "client_secret=@/dev/null"},
	} {
		var out bytes.Buffer
		p, d := laptopOf(&out, "")
		err := p.run(t.Context(), args)
		if conclude(&d.err, err) != exitMisuse || !strings.Contains(d.err.String(), want) || out.Len() > 0 {
			t.Errorf("%v: %v\n%s", args, err, out.String())
		}
	}
}

func TestInitWritesFilesThatNobodyElseReadsAndOverwritesNone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deploy")
	t.Setenv("PROVIDERTOKEN_CREDENTIAL_PASSWORD", "a-secret")
	args := []string{"init", "UP42", "--name", "maps", "--out", dir, "--credential", "username=me@example.com"}
	var out bytes.Buffer
	p, _ := laptopOf(&out, "")
	if err := p.run(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "a-secret") {
		t.Error("the secret is printed as well")
	}
	info, err := os.Stat(filepath.Join(dir, "maps-credentials.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the credentials: %v, %v", info, err)
	}
	p, _ = laptopOf(&out, "")
	if err := p.run(t.Context(), args); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("files were overwritten: %v", err)
	}
	p, _ = laptopOf(&out, "")
	if err := p.run(t.Context(), append(args, "--force")); err != nil {
		t.Error(err)
	}
}

// quiet is an environment without variables.
func quiet(string) string { return "" }
