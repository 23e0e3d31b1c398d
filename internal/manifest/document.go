// Package manifest reads Kubernetes manifests from files, remembers where in them
// everything is, and answers for an API server that is not there.
//
// It must not import internal/controller, and sends nothing.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kyaml "sigs.k8s.io/yaml"
)

// Document is one object of a file.
type Document struct {
	// File is the name that the file was given by.
	File string
	// Object is what it holds: never nil, with an apiVersion and a kind.
	Object *unstructured.Unstructured
	// node is where it begins, for LineOf.
	node *yaml.Node
	// before is how many lines of the file come before the YAML document.
	before int
}

// SyntaxError is a part of a file that is no manifest. It repeats nothing out of the file
// but names of keys.
type SyntaxError struct {
	File    string
	Line    int
	Problem string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem) }

// Read reads every YAML or JSON document of a file. Empty documents, and those that are
// no Kubernetes objects, are left out; the items of a List are documents of their own.
// Documents that cannot be read come back as errors, beside those that can.
func Read(file string, content []byte) ([]Document, []*SyntaxError) {
	var documents []Document
	var failed []*SyntaxError
	for _, part := range split(content) {
		found, err := part.read(file)
		documents = append(documents, found...)
		if err != nil {
			failed = append(failed, err)
		}
	}
	return documents, failed
}

// part is the text of one YAML document.
type part struct {
	text   []byte
	before int
}

// split cuts at the document markers (YAML 1.2 §9.1.2), so that one broken document does
// not hide the others.
func split(content []byte) []part {
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	var parts []part
	current, line := part{}, 0
	for text := range bytes.Lines(content) {
		line++
		if marker(text) {
			parts = append(parts, current)
			current = part{before: line}
			continue
		}
		current.text = append(current.text, text...)
	}
	return append(parts, current)
}

func marker(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	if !found {
		return false
	}
	rest = bytes.TrimSpace(rest)
	return len(rest) == 0 || rest[0] == '#'
}

func (p part) read(file string) ([]Document, *SyntaxError) {
	var root yaml.Node
	if err := yaml.Unmarshal(p.text, &root); err != nil {
		return nil, p.broken(file, err)
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return nil, nil // only comments
	}
	text, err := kyaml.YAMLToJSONStrict(p.text)
	if err != nil {
		return nil, p.broken(file, err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return nil, nil //nolint:nilerr // values for Helm, a kustomization's patch, or a list: no object
	}
	d := Document{File: file, Object: object, node: root.Content[0], before: p.before}
	if !object.IsList() {
		return []Document{d}, nil
	}
	return d.items(), nil
}

// items are the objects of a List.
func (d Document) items() []Document {
	var documents []Document
	list, err := d.Object.ToList()
	if err != nil {
		return nil
	}
	nodes := child(d.node, "items")
	for i := range list.Items {
		item := Document{File: d.File, Object: &list.Items[i], node: d.node, before: d.before}
		if nodes != nil && i < len(nodes.Content) {
			item.node = nodes.Content[i]
		}
		if item.Object.GetKind() != "" {
			documents = append(documents, item)
		}
	}
	return documents
}

// broken words a parser's error without what it repeats of the file, which may hold secrets.
func (p part) broken(file string, err error) *SyntaxError {
	line := 1
	message := err.Error()
	if found := regexp.MustCompile(`line (\d+)`).FindStringSubmatch(message); found != nil {
		if n, err := strconv.Atoi(found[1]); err == nil {
			line = n
		}
	}
	problem := "is not valid YAML"
	var twice *yaml.TypeError
	if errors.As(err, &twice) || strings.Contains(message, "already set in map") || strings.Contains(message, "already defined") {
		problem = "the same key is there twice, or a value has an impossible type"
	}
	if strings.Contains(message, "unknown anchor") {
		problem += ": put a text that begins with * or & in quotes"
	}
	if bytes.Contains(p.text, []byte("{{")) {
		problem += "; if it is a template, render it first and lint the result (helm template … | kubectl providertoken lint -)"
	}
	return &SyntaxError{File: file, Line: p.before + line, Problem: problem}
}

// LineOf is the line of a field such as spec.credentials.keys[0].name, or of the nearest
// one around it that is there. The first line is 1.
func (d Document) LineOf(path string) int {
	node, line := d.node, d.node.Line
	for _, step := range steps(path) {
		next, at := follow(node, step)
		if next == nil {
			break
		}
		node, line = next, at
	}
	return d.before + line
}

// steps takes a path apart as field.Path writes it: a.b[0].c, a.b[key.with.dots].
func steps(path string) []string {
	var all []string
	for path != "" {
		if inside, found := strings.CutPrefix(path, "["); found {
			key, rest, _ := strings.Cut(inside, "]")
			all, path = append(all, key), strings.TrimPrefix(rest, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(all, path)
		}
		all = append(all, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return all
}

// follow is the value behind a key or an index, and the line where that begins.
func follow(node *yaml.Node, step string) (*yaml.Node, int) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
	case yaml.AliasNode:
		return follow(node.Alias, step)
	default: // a scalar holds nothing
	}
	return nil, 0
}

func child(node *yaml.Node, name string) *yaml.Node {
	found, _ := follow(node, name)
	return found
}

// Name is what people call the object: Kind namespace/name.
func (d Document) Name() string {
	name := d.Object.GetName()
	if ns := d.Object.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return d.Object.GetKind() + " " + name
}

// Is tells whether the object is of that API group and kind, whatever its version.
func (d Document) Is(group, kind string) bool {
	gvk := d.Object.GroupVersionKind()
	return gvk.Group == group && gvk.Kind == kind
}
