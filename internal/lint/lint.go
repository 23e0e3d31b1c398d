// Package lint judges manifests without a cluster: by the CustomResourceDefinitions, and by
// what the operator would make of them.
//
// It must not import internal/controller, sends nothing, and repeats nothing out of a Secret.
package lint

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/config/crd"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/source"
)

// Severity of a finding.
type Severity string

const (
	// Error is what the API server or the operator would refuse.
	Error Severity = "error"
	// Warning is what works, and will most likely be regretted.
	Warning Severity = "warning"
)

// Finding is one thing that is wrong.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Severity Severity `json:"severity"`
	// Rule is the name by which it can be switched off.
	Rule string `json:"rule"`
	// Object is kind, namespace and name of what it is about; empty for a file that cannot be read.
	Object string `json:"object,omitempty"`
	// Message is what is wrong; Fix is what to do, and may be empty.
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// String is "file:line: severity: message (fix)".
func (f Finding) String() string {
	s := fmt.Sprintf("%s:%d: %s: ", f.File, f.Line, f.Severity)
	if f.Object != "" {
		s += f.Object + ": "
	}
	s += f.Message
	if f.Fix != "" {
		s += " (" + f.Fix + ")"
	}
	return s + " [" + f.Rule + "]"
}

// Rule is one kind of finding, for people who want to switch it off.
type Rule struct {
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	About    string   `json:"about"`
}

// Rules lists all rules in the order in which they are looked at.
func Rules() []Rule {
	return []Rule{
		{"syntax", Error, "the file is no YAML"},
		{"schema", Error, "the API server would refuse the object: types, bounds, CEL rules"},
		{"unknown-field", Error, "the API server would drop the field, or refuse it"},
		{"duplicate", Error, "the same object is there twice"},
		{"template", Error, "spec.target cannot be rendered: a template that does not parse, an unknown function"},
		{"definition", Error, "a provider's definition makes no sense"},
		{"provider", Error, "the catalog has no such provider"},
		{"provider-elsewhere", Warning, "a TokenProvider, ClusterTokenProvider or CA bundle that is not among the files"},
		{"parameters", Error, "a parameter is missing, unknown, or has an impossible value"},
		{"label", Error, "a credential Secret is not bound to the provider that wants it"},
		{"credentials", Error, "a credential is missing in the Secret, or cannot be sent"},
		{"allowed-hosts", Error, "a credential Secret does not name the host that its content would be sent to"},
		{"allow", Error, "a ClusterTokenProvider does not allow what is asked for"},
		{"refused-request", Error, "the endpoint has no place for scopes, audience or resources that are asked for"},
		{"target-conflict", Error, "two ProviderTokens, or a ProviderToken and a manifest, write the same Secret"},
		{"refresh-policy", Warning, "a refresh policy that leaves readers no time, or that the token's lifetime cannot meet"},
		{"read-once", Warning, "a pod reads a target by the environment or a subPath mount, which never change"},
		{"plain-secret", Warning, "a credential is written into the file as it is"},
	}
}

// Options of a Linter.
type Options struct {
	Catalog *provider.Catalog
	// Namespace of objects that name none; they are in one of their own when empty.
	Namespace string
	// Disable names rules that are not reported.
	Disable []string
}

// Linter judges manifests.
type Linter struct {
	options Options
	schemas *schemas
}

// New compiles the schemas. An unknown name in Options.Disable is an error.
func New(o Options) (*Linter, error) {
	for _, name := range o.Disable {
		if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Name == name }) {
			return nil, fmt.Errorf("there is no rule %q", name)
		}
	}
	s, err := readSchemas(crd.Bases)
	if err != nil {
		return nil, err
	}
	return &Linter{options: o, schemas: s}, nil
}

// File is a file to judge.
type File struct {
	Name    string
	Content []byte
}

// Judge reads the files together, since they refer to each other, and returns what is
// wrong with them, by file and line.
func (l *Linter) Judge(ctx context.Context, files []File) []Finding {
	var documents []manifest.Document
	var found []Finding
	for _, file := range files {
		read, failed := manifest.Read(file.Name, file.Content)
		documents = append(documents, read...)
		for _, err := range failed {
			found = append(found, Finding{File: err.File, Line: err.Line, Severity: Error, Rule: "syntax", Message: err.Problem})
		}
	}
	found = append(found, l.judge(ctx, documents)...)
	found = slices.DeleteFunc(found, func(f Finding) bool { return slices.Contains(l.options.Disable, f.Rule) })
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return slices.Compact(found)
}

// repository is everything that is judged together.
type repository struct {
	linter    *Linter
	documents []manifest.Document
	shelf     *manifest.Shelf
	finder    source.Finder
	// tokens are the ProviderTokens of the right shape.
	tokens []tokenDocument
	found  []Finding
}

// tokenDocument is a ProviderToken and where it is written.
type tokenDocument struct {
	manifest.Document
	pt v1alpha1.ProviderToken
}

func (l *Linter) judge(ctx context.Context, documents []manifest.Document) []Finding {
	r := &repository{linter: l, documents: documents}
	for _, d := range documents {
		if d.Object.GetNamespace() == "" && !d.Is("", "Namespace") && d.Object.GetKind() != "ClusterTokenProvider" {
			d.Object.SetNamespace(l.options.Namespace)
		}
	}
	r.shelf = manifest.NewShelf(documents)
	r.finder = source.Finder{
		Objects: r.shelf, Secrets: r.shelf, Catalog: l.options.Catalog,
		ClusterProviders: true, InlineProviders: true,
	}
	r.duplicates()
	for _, d := range documents {
		r.judgeOne(ctx, d)
	}
	for _, t := range r.tokens {
		r.judgeToken(ctx, t)
	}
	r.conflicts()
	r.pods()
	r.secrets()
	return r.found
}

// judgeOne looks at an object by itself.
func (r *repository) judgeOne(ctx context.Context, d manifest.Document) {
	if d.Object.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
		return
	}
	if found := r.linter.schemas.judge(ctx, d); len(found) > 0 {
		r.found = append(r.found, found...)
		return
	}
	switch d.Object.GetKind() {
	case "ProviderToken":
		t := tokenDocument{Document: d}
		if d.As(&t.pt) == nil {
			r.tokens = append(r.tokens, t)
		}
	case "TokenProvider":
		var p v1alpha1.TokenProvider
		if d.As(&p) == nil {
			r.definition(ctx, d, "spec", p.Spec, p.Namespace)
		}
	case "ClusterTokenProvider":
		var p v1alpha1.ClusterTokenProvider
		if d.As(&p) == nil {
			r.definition(ctx, d, "spec", p.Spec.ProviderDefinition, "")
		}
	}
}

func (r *repository) add(d manifest.Document, path string, severity Severity, rule, message, fix string) {
	r.found = append(r.found, about(d, path, severity, rule, message, fix))
}

func about(d manifest.Document, path string, severity Severity, rule, message, fix string) Finding {
	return Finding{
		File: d.File, Line: d.LineOf(path), Severity: severity, Rule: rule, Object: d.Name(), Message: message, Fix: fix,
	}
}

// duplicates finds objects that are there twice: which of them wins is a matter of luck.
func (r *repository) duplicates() {
	type id struct{ group, kind, namespace, name string }
	seen := map[id]manifest.Document{}
	for _, d := range r.documents {
		gvk := d.Object.GroupVersionKind()
		if d.Object.GetName() == "" || gvk.Group != v1alpha1.GroupVersion.Group && gvk.Kind != "Secret" {
			continue
		}
		key := id{gvk.Group, gvk.Kind, d.Object.GetNamespace(), d.Object.GetName()}
		if first, twice := seen[key]; twice {
			r.add(d, "metadata.name", Error, "duplicate", fmt.Sprintf("is written in %s:%d already", first.File, first.LineOf("metadata.name")), "remove one of them, or lint the overlays one by one")
			continue
		}
		seen[key] = d
	}
}
