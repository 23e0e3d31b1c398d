package formats

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// consumerFiles are the blocks that are no ProviderTokens but files of the programs.
func consumerFiles() []string { return []string{"prometheus.yaml", "envoy-filter.yaml"} }

// providerTokens are the names of all examples that are ProviderTokens.
func providerTokens(t *testing.T) []string {
	t.Helper()
	all, err := examples()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range all {
		if !slices.Contains(consumerFiles(), name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// An example is of no use if the API server would refuse it: schema and rules of the
// CRD, by the API server's own code.
func TestTheAPITakesEveryExample(t *testing.T) {
	text, err := os.ReadFile("../../config/crd/bases/providertoken.dev_providertokens.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		t.Fatal(err)
	}
	fields, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		t.Fatal(err)
	}
	structural, err := schema.NewStructural(&internal)
	if err != nil {
		t.Fatal(err)
	}
	rules := cel.NewValidator(structural, true, math.MaxInt64)
	refusals := func(text string) field.ErrorList {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		refused := validation.ValidateCustomResource(nil, object, fields)
		broken, _ := rules.Validate(t.Context(), nil, structural, object, nil, math.MaxInt64)
		return append(refused, broken...)
	}
	for _, name := range providerTokens(t) {
		text, err := example(name)
		if err != nil {
			t.Fatal(err)
		}
		if refused := refusals(text); len(refused) > 0 {
			t.Errorf("%s: %v", name, refused.ToAggregate())
		}
		providerToken(t, name) // strict: no field that the API does not know
	}
	// That this finds something: a value that the schema, and one that a rule refuses.
	broken, err := example("netrc.yaml", swap{"machine: api.example.com", "machine: a b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(refusals(broken)) == 0 {
		t.Error("a netrc for a machine with a blank is accepted")
	}
	broken, err = example("netrc.yaml", swap{"format: Netrc", "format: Header"})
	if err != nil {
		t.Fatal(err)
	}
	if len(refusals(broken)) == 0 {
		t.Error("parameters of another format are accepted")
	}
}

// Every example is asked for by a test of its own, by its name in the source.
func TestEveryExampleHasItsConsumer(t *testing.T) {
	var tests strings.Builder
	for _, file := range []string{"programs_test.go", "parsers_test.go", "argocd_test.go", "previous_test.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	for _, name := range append(providerTokens(t), consumerFiles()...) {
		if !strings.Contains(tests.String(), `"`+name+`"`) {
			t.Errorf("no test reads %s", name)
		}
	}
}

// What was tested is a table: each section of the page has its row.
func TestEverySectionIsInTheTable(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	body, table, found := strings.Cut(string(text), "\n## What was tested\n")
	if !found {
		t.Fatal("there is no table")
	}
	for _, section := range strings.Split(body, "\n## ")[1:] {
		title, rest, _ := strings.Cut(section, "\n")
		if strings.Contains(rest, "```yaml") && !strings.Contains(table, "| "+title+" |") {
			t.Errorf("the section %q is not in the table", title)
		}
	}
}
