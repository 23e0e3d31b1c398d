package lint

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/manifest"
)

// schemas judge objects by the CustomResourceDefinitions, as an API server does.
type schemas struct {
	group string
	kinds map[string]schema
}

type schema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
	versions   []string
}

// readSchemas compiles every CustomResourceDefinition in files.
func readSchemas(files fs.FS) (*schemas, error) {
	paths, err := fs.Glob(files, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing the CustomResourceDefinitions: %w", err)
	}
	all := &schemas{kinds: map[string]schema{}}
	for _, path := range paths {
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		if err := all.add(text); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	return all, nil
}

func (s *schemas) add(text []byte) error {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	var versions []string
	for _, v := range crd.Spec.Versions {
		if v.Served {
			versions = append(versions, v.Name)
		}
	}
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil); err != nil {
		return err
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		return err
	}
	validator, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return err
	}
	s.group = crd.Spec.Group
	s.kinds[crd.Spec.Names.Kind] = schema{
		structural: structural, validator: validator, versions: versions,
		rules: cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}
	return nil
}

// judge reports what an API server would refuse, and what it would silently drop.
func (s *schemas) judge(ctx context.Context, d manifest.Document) []Finding {
	kind := d.Object.GetKind()
	sc, known := s.kinds[kind]
	if !known {
		return []Finding{about(d, "kind", Error, "schema", fmt.Sprintf("%s has no kind %s", s.group, kind), "use ProviderToken, TokenProvider or ClusterTokenProvider")}
	}
	if !slices.Contains(sc.versions, d.Object.GroupVersionKind().Version) {
		return []Finding{about(d, "apiVersion", Error, "schema", fmt.Sprintf("%s is served as %s/%s only", kind, s.group, strings.Join(sc.versions, ", ")), "correct apiVersion")}
	}
	var found []Finding
	content := d.Object.DeepCopy().Object
	for _, path := range pruning.PruneWithOptions(content, sc.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		found = append(found, about(d, path, Error, "unknown-field", fmt.Sprintf("there is no field %s", path), "correct its name or its indentation, or remove it"))
	}
	found = append(found, names(d)...)
	delete(content, "status") // nobody but the operator writes it
	failed := validation.ValidateCustomResource(nil, content, sc.validator)
	failed = append(failed, listtype.ValidateListSetsAndMaps(nil, sc.structural, content)...)
	if len(failed) == 0 {
		// Rules are written for objects of the right shape.
		failed, _ = sc.rules.Validate(ctx, nil, sc.structural, content, nil, celconfig.RuntimeCELCostBudget)
	}
	for _, err := range failed {
		found = append(found, about(d, err.Field, Error, "schema", plain(err), hint(err)))
	}
	return found
}

// hint is for what YAML takes for something else than a text: y, no, 12, 1.10.
func hint(err *field.Error) string {
	if err.Type == field.ErrorTypeTypeInvalid && strings.Contains(err.Detail, "must be of type string") {
		return "put the value in quotes"
	}
	return ""
}

// plain is an error without the value that was refused: CI logs are read by many.
func plain(err *field.Error) string {
	where := strings.TrimPrefix(err.Field, "<nil>")
	if where != "" {
		where += ": "
	}
	switch {
	case err.Type == field.ErrorTypeRequired && err.Detail == "":
		return where + "is required"
	case err.Type == field.ErrorTypeDuplicate:
		return where + "is there twice"
	case err.Detail == "":
		return where + strings.ToLower(err.Type.String())
	}
	// The validator repeats the path.
	return where + strings.TrimPrefix(err.Detail, err.Field+" in body ")
}

func names(d manifest.Document) []Finding {
	name := d.Object.GetName()
	if name == "" {
		if d.Object.GetGenerateName() != "" {
			return nil
		}
		return []Finding{about(d, "metadata", Error, "schema", "metadata.name: is required", "")}
	}
	if problems := utilvalidation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return []Finding{about(d, "metadata.name", Error, "schema", "metadata.name: is no name of an object", "use lower-case letters, digits, '-' and '.'")}
	}
	return nil
}
