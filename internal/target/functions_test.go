package target

import (
	"errors"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestFunctionsAskBeforeTheyWork(t *testing.T) {
	long := strings.Repeat("\n", 1000)
	calls := map[string]func(*allowance) (string, error){
		"percentEncode": func(a *allowance) (string, error) { return a.percentEncode(long) },
		"b64enc":        func(a *allowance) (string, error) { return a.b64enc(long) },
		"indent":        func(a *allowance) (string, error) { return a.indent(1, long) },
		"join":          func(a *allowance) (string, error) { return a.join(long, []string{"a", "b"}) },
		"lower":         func(a *allowance) (string, error) { return a.lower(long) },
		"print":         func(a *allowance) (string, error) { return a.print(long) },
		"printf":        func(a *allowance) (string, error) { return a.printf("%s", long) },
		"quote":         func(a *allowance) (string, error) { return a.quote(long) },
		"replace":       func(a *allowance) (string, error) { return a.replace("a", "b", long) },
		"toJson":        func(a *allowance) (string, error) { return a.toJSON([]string{long}) },
		"trim":          func(a *allowance) (string, error) { return a.trim(long) },
		"trimPrefix":    func(a *allowance) (string, error) { return a.trimPrefix("a", long) },
		"trimSuffix":    func(a *allowance) (string, error) { return a.trimSuffix("a", long) },
		"upper":         func(a *allowance) (string, error) { return a.upper(long) },
		"urlquery":      func(a *allowance) (string, error) { return a.urlquery(long) },
	}
	functions := (&allowance{}).functions()
	for name := range functions {
		if _, found := calls[name]; !found && name != "default" && name != "index" { // these make nothing
			t.Errorf("%s is not tested", name)
		}
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			var over *overflow
			if _, err := call(&allowance{left: 999}); !errors.As(err, &over) {
				t.Errorf("with 999 bytes left, 1000 were worked on (error %v)", err)
			}
			if _, err := call(&allowance{left: maxWork}); err != nil {
				t.Errorf("with all work left: %v", err)
			}
		})
	}
}

func TestPercentEncodeLetsNothingOutOfAnyPartOfAURL(t *testing.T) {
	var every strings.Builder
	for c := range 256 {
		every.WriteByte(byte(c))
	}
	encoded, err := (&allowance{left: maxWork}).percentEncode(every.String())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse("https://user:" + encoded + "@host.example.com/" + encoded + "?q=" + encoded + "#" + encoded)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	for part, got := range map[string]string{"password": password, "path": strings.TrimPrefix(u.Path, "/"), "query": u.Query().Get("q"), "fragment": u.Fragment} {
		if got != every.String() {
			t.Errorf("the %s is %q", part, got)
		}
	}
	if u.Host != "host.example.com" {
		t.Errorf("the host became %q", u.Host)
	}
}

func TestEveryFunctionIsPublished(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## What templates know")
	section, _, _ = strings.Cut(section, "\n## ")
	for name := range knownFunctions() {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("docs/formats.md does not name %s", name)
		}
	}
	for name := range templateVariables(sampleToken()) {
		if !strings.Contains(section, "`."+name+"`") {
			t.Errorf("docs/formats.md does not name .%s", name)
		}
	}
}
