package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/guide"
	"github.com/providertoken/operator/internal/provider"
)

const committed = "../../docs/providers"

func pages(t *testing.T) map[string]string {
	t.Helper()
	all, err := render()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func entries(t *testing.T) []entry {
	t.Helper()
	catalog, err := provider.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var all []entry
	for _, name := range catalog.Names() {
		e, err := readEntry(catalog, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, e)
	}
	return all
}

func TestPagesAreThoseOfTheCatalogAndNoOthers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(committed, "*"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(f)] = string(content)
	}
	if diff := cmp.Diff(pages(t), got); diff != "" {
		t.Errorf("docs/providers is stale; run: make generate, and delete what is there only (-catalog +docs/providers):\n%s", diff)
	}
}

func TestPagesAreWrittenWhereTheyAreWanted(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "new", "providers")
	if err := write(directory); err != nil {
		t.Fatal(err)
	}
	for name, want := range pages(t) {
		if got, err := os.ReadFile(filepath.Join(directory, name)); err != nil || string(got) != want {
			t.Errorf("%s: %v, and equal is %v", name, err, string(got) == want)
		}
	}
}

// objects are what a sample holds, read as strictly as the API server does with --validate=strict.
func objects(t *testing.T, sample string) (corev1.Secret, v1alpha1.ProviderToken) {
	t.Helper()
	first, second, ok := strings.Cut(sample, "\n---\n")
	if !ok {
		t.Fatalf("there are not two documents:\n%s", sample)
	}
	var secret corev1.Secret
	if err := yaml.UnmarshalStrict([]byte(first), &secret); err != nil {
		t.Fatal(err)
	}
	var pt v1alpha1.ProviderToken
	if err := yaml.UnmarshalStrict([]byte(second), &pt); err != nil {
		t.Fatal(err)
	}
	return secret, pt
}

func TestSamplesFitTheirDefinitionAndEachOther(t *testing.T) {
	for _, e := range entries(t) {
		for _, w := range e.ways() {
			t.Run(strings.TrimSuffix(e.Name+"/"+w.Method, "/"), func(t *testing.T) {
				sample, err := w.Sample()
				if err != nil {
					t.Fatal(err)
				}
				if page, _ := e.page(); !strings.Contains(page, "```yaml\n"+sample+"```\n") {
					t.Fatal("the page does not hold the sample")
				}
				secret, pt := objects(t, sample)
				if got := secret.Labels[v1alpha1.CredentialsForLabel]; got != e.Name || pt.Spec.ProviderRef.Name != e.Name {
					t.Errorf("the Secret is for %q, the ProviderToken refers to %q", got, pt.Spec.ProviderRef.Name)
				}
				if pt.Spec.Credentials.SecretName != secret.Name {
					t.Errorf("the ProviderToken reads %s, and there is %s", pt.Spec.Credentials.SecretName, secret.Name)
				}
				resolved := resolve(t, e.Definition, secret, pt)
				if resolved.Method != w.Method {
					t.Errorf("it resolves to the method %q", resolved.Method)
				}
				host := strings.TrimSuffix(resolved.Host(), ":443")
				if got := secret.Annotations[v1alpha1.AllowedHostsAnnotation]; resolved.FreeHost != (got != "") || (resolved.FreeHost && got != host) {
					t.Errorf("the Secret allows %q, and its credentials go to %s", got, host)
				}
			})
		}
	}
}

// resolve does what the operator does with the two objects.
func resolve(t *testing.T, d provider.Definition, secret corev1.Secret, pt v1alpha1.ProviderToken) provider.Resolved {
	t.Helper()
	parameters := map[string]string{}
	for name, value := range pt.Spec.ProviderRef.Parameters {
		parameters[name] = string(value)
	}
	resolved, err := d.Resolve(parameters, func(name string) bool {
		_, found := d.Find(name, func(key string) ([]byte, bool) {
			text, ok := secret.StringData[key]
			return []byte(text), ok
		})
		return found
	})
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func TestSamplesHoldNothingThatCouldBeASecret(t *testing.T) {
	for _, e := range entries(t) {
		for _, w := range e.ways() {
			data, err := w.Data(nil)
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range data {
				if !strings.Contains(value, guide.Placeholder) {
					t.Errorf("%s: %s is %q", e.Name, key, value)
				}
			}
		}
	}
}

func TestPagesSayAllThatADefinitionDecides(t *testing.T) {
	all := pages(t)
	for page, wants := range map[string][]string{
		"UP42.md": {
			"resource owner password credentials (RFC 6749 §4.3)", "`none`, as the public client `up42-api`",
			"`eu`, `sa`; `eu` when left out", "`auth.sa.up42.com`, `auth.up42.com`", "used when one comes along",
		},
		"UP42Project.md": {"`client_id` or `project_id`", "`client_secret_basic`, with both as they are (RFC 7617)", "4m59s where both are silent"},
		"SpatiaFi.md":    {"## AppToken", "## LoginToken", "`client_secret_jwt` (RFC 7523 §2.2)", "signed HS256; lives 1m", "GET https://auth.spatiafi.com", "none can be asked for"},
		"PlantPredict.md": {
			"`client_secret_post`", "`transactions/post`, `transactions/get`, unless", "2 requests in flight and 2 begun a second",
		},
		"GoogleServiceAccount.md": {
			"JWT bearer assertion (RFC 7523 §2.1)", "`key.json`, a JSON document with `private_key_id`", "`iss` is the `client_email`, no `sub`",
			"in the assertion's claim `scope`", "  scopes:\n    - https://", `"private_key_id": "replace-me"`,
		},
		"GitHubApp.md":  {"as Bearer token in the `Authorization` header", "`installation`", "required", "installation: \"12345678\"", "`tls.key`"},
		"Salesforce.md": {"`sub` is the `username`", "15m where both are silent", "providertoken.dev/allowed-hosts: example.my.salesforce.com", "## ClientCredentials"},
		"Zoom.md":       {"`grant_type=account_credentials`", "Account ID, on the app's page"},
		"PayPal.md":     {"`api-m.paypal.com`, `api-m.sandbox.paypal.com`"},
	} {
		for _, want := range wants {
			if !strings.Contains(all[page], want) {
				t.Errorf("%s does not say %q", page, want)
			}
		}
	}
}

func TestTheIndexLinksEveryPage(t *testing.T) {
	all := pages(t)
	var linked []string
	for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(all["README.md"], -1) {
		linked = append(linked, link[1])
	}
	var want []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name != "README.md" {
			want = append(want, name)
		}
	}
	if diff := cmp.Diff(want, linked); diff != "" {
		t.Errorf("links (-pages +index):\n%s", diff)
	}
}

// A parameter's text or a description must not break the table that it stands in.
func TestTablesAreWhole(t *testing.T) {
	for name, page := range pages(t) {
		columns := 0
		for line := range strings.Lines(page) {
			if !strings.HasPrefix(line, "|") {
				columns = 0
				continue
			}
			got := strings.Count(line, "|")
			if columns != 0 && got != columns {
				t.Errorf("%s: %q has %d bars, the first row of its table %d", name, line, got, columns)
			}
			columns = got
		}
	}
}
