package formats

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
)

// sample is a token, and what is special about it.
type sample struct{ name, access string }

// samples are tokens that are hard on syntax. RFC 6749 appendix A.12 lets a token be
// of any printable ASCII character and blanks.
func samples() []sample {
	var every strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		every.WriteByte(c)
		if c == 'M' {
			every.WriteByte(' ')
		}
	}
	return []sample{
		{"a JWT", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ2aWV3ZXIifQ.c2lnbmF0dXJl-_0"},
		{"every character", every.String()},
		{"a long JWT", jwt(3000)},
		{"a very long JWT", jwt(15000)},
		{"a quoted one", `"quoted"`},
		{"quotes within", `a"b'c` + "`d" + `"e`},
		{"comments", `#a;b #c ;d // e`},
		{"backslashes", `a\b\\c\"d\n\u0041\`},
		{"percent signs", `50%&a%20b%(home)s%%`},
		{"variables", `$HOME ${HOME $(id) {{ .token }} !!`},
		{"a URL", "https://user:pass@evil.example.com/?a=b&c=d#e"},
		{"syntax of its own", `x, y: [z] {a: b} = c | d > e & f * g ? h @ i`},
		{"signs at its ends", `:=-+/ a +/==`},
	}
}

// hard is for programs that take long to start.
func hard() []sample {
	var some []sample
	for _, s := range samples() {
		if slices.Contains([]string{"every character", "a very long JWT", "a quoted one", "variables"}, s.name) {
			some = append(some, s)
		}
	}
	return some
}

func jwt(length int) string {
	return "eyJhbGciOiJFUzI1NiJ9." + strings.Repeat("aB3-_xyz", length/8) + ".c2ln"
}

// netrcWords are the samples that a netrc file can hold, and another without what it
// cannot. curl takes words below 4 KiB.
func netrcWords() []sample {
	words := []sample{{"every character of a netrc word", strings.NewReplacer(" ", "", `"`, "", `\`, "").Replace(samples()[1].access)}}
	for _, s := range samples() {
		if !strings.ContainsAny(s.access, " \"\\") && !strings.HasPrefix(s.access, "#") && len(s.access) < 4096 {
			words = append(words, s)
		}
	}
	return words
}

// each runs check with every token, as tests of their own.
func each(t *testing.T, tokens []sample, check func(*testing.T, string)) {
	t.Helper()
	for _, s := range tokens {
		t.Run(s.name, func(t *testing.T) { check(t, s.access) })
	}
}

// providerToken is the example of that name.
func providerToken(t *testing.T, name string, swaps ...swap) *v1alpha1.ProviderToken {
	t.Helper()
	text, err := example(name, swaps...)
	if err != nil {
		t.Fatal(err)
	}
	pt := &v1alpha1.ProviderToken{}
	if err := yaml.UnmarshalStrict([]byte(text), pt); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := target.Check(pt.Spec.Target); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return pt
}

// content is a token of one hour. It is far ahead, because some programs look at a clock.
func content(access string) target.Content {
	issued := time.Date(2098, time.March, 4, 12, 0, 0, 0, time.UTC)
	return target.Content{Token: token.Token{
		Access: token.NewSecret(access), Type: "Bearer", Scopes: []string{"read"},
		IssuedAt: issued, ExpiresAt: issued.Add(time.Hour), ExpirySource: token.ExpiresIn,
	}}
}

// secret is what the operator writes for the example.
func secret(t *testing.T, name, access string, swaps ...swap) *corev1.Secret {
	t.Helper()
	s, err := target.Render(providerToken(t, name, swaps...), content(access))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// mounted is a directory with the Secret's keys as files, as in a volume.
func mounted(t *testing.T, s *corev1.Secret) string {
	t.Helper()
	return mountedAs(t, func(string) *corev1.Secret { return s })
}

// mountedAs is mounted for a Secret that names the directory where it is mounted.
func mountedAs(t *testing.T, in func(directory string) *corev1.Secret) string {
	t.Helper()
	directory := t.TempDir()
	s := in(directory)
	for key, value := range s.Data {
		if err := os.WriteFile(filepath.Join(directory, key), value, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// installed skips the test where none of the programs is there, or fails if
// FORMATS_PROGRAMS says that all must be.
func installed(t *testing.T, how string, programs ...string) string {
	t.Helper()
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return path
		}
	}
	message := "NOT TESTED: " + strings.Join(programs, ", ") + " is not installed; " + how
	if os.Getenv("FORMATS_PROGRAMS") == "required" {
		t.Fatal(message)
	}
	t.Skip(message)
	return ""
}

// run is a program's standard output. Nothing of this machine's configuration
// reaches it, nor does it reach any other host: proxies are where nobody listens.
func run(t *testing.T, environment []string, stdin string, name string, arguments ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, arguments...)
	home := t.TempDir()
	command.Dir = home
	command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "LC_ALL=C",
		"http_proxy=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1", "no_proxy=127.0.0.1",
	}, environment...)
	command.Stdin = strings.NewReader(stdin)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	err := command.Run()
	if err != nil {
		t.Logf("%s: %v\n%s\n%s", filepath.Base(name), err, short(out.String()), short(problems.String()))
	}
	return out.String(), err
}

// guard is a server on loopback that notes what it was shown.
type guard struct {
	*httptest.Server

	mu    sync.Mutex
	shown []string
}

// newGuard serves what answer does with a request.
func newGuard(t *testing.T, answer http.HandlerFunc) *guard {
	t.Helper()
	g := &guard{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.shown = append(g.shown, r.Header.Get("Authorization"))
		g.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// host is the guard's address without http://.
func (g *guard) host() string { return strings.TrimPrefix(g.URL, "http://") }

// wants checks that there were requests, and that all showed that.
func (g *guard) wants(t *testing.T, authorization string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.shown) == 0 {
		t.Fatal("nobody came")
	}
	for _, got := range g.shown {
		if got != authorization {
			t.Errorf("the server was shown %q, want %q", short(got), short(authorization))
		}
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func notFound(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

// basic is the Authorization header of a user and password, by net/http's own reckoning.
func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// same compares what a program read with the token.
func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("read %q, want %q", short(got), short(want))
	}
}

// short keeps long tokens out of reports.
func short(s string) string {
	if len(s) <= 300 {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:300], len(s))
}
