package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/providertoken/operator/internal/provider"
)

const placeholder = "replace-me"

// sample is a credential Secret and a ProviderToken that fit each other.
func (w way) sample() (string, error) {
	data, err := w.sampleData()
	if err != nil {
		return "", err
	}
	name := w.objectName()
	p := &strings.Builder{}
	fmt.Fprintf(p, "apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s-credentials\n  labels:\n    providertoken.dev/credentials-for: %s\n", name, w.entry)
	if w.resolved.FreeHost {
		fmt.Fprintf(p, "  annotations:\n    providertoken.dev/allowed-hosts: %s\n", strings.TrimSuffix(w.resolved.Host(), ":443"))
	}
	p.WriteString("stringData:\n")
	for _, key := range w.sampleKeys() {
		writeText(p, key, data[key])
	}
	fmt.Fprintf(p, "---\napiVersion: providertoken.dev/v1alpha1\nkind: ProviderToken\nmetadata:\n  name: %s\nspec:\n  providerRef:\n    name: %s\n", name, w.entry)
	if len(w.parameters) > 0 {
		p.WriteString("    parameters:\n")
		for _, parameter := range slices.Sorted(maps.Keys(w.parameters)) {
			fmt.Fprintf(p, "      %s: %s\n", parameter, scalar(w.parameters[parameter]))
		}
	}
	fmt.Fprintf(p, "  credentials:\n    secretName: %s-credentials\n", name)
	if scopes := exampleScopes(w.entry); len(scopes) > 0 {
		p.WriteString("  scopes:\n")
		for _, scope := range scopes {
			fmt.Fprintf(p, "    - %s\n", scope)
		}
	}
	fmt.Fprintf(p, "  target:\n    secretName: %s-token\n", name)
	return p.String(), nil
}

// exampleScopes are for entries that have none of their own, and need some.
func exampleScopes(entry string) []string {
	if entry == "GoogleServiceAccount" {
		return []string{"https://www.googleapis.com/auth/devstorage.read_only"}
	}
	return nil
}

// sampleKeys lists the keys of the Secret, each once.
func (w way) sampleKeys() []string {
	var keys []string
	for _, name := range w.resolved.RequiredCredentials() {
		key, _, _ := strings.Cut(w.ownKey(name), "#")
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// ownKey is what the provider calls a credential, or what everybody does.
func (w way) ownKey(name string) string {
	if own := w.definition.CredentialKeys[name]; len(own) > 0 {
		return own[0]
	}
	return name
}

func (w way) sampleData() (map[string]string, error) {
	data, documents := map[string]string{}, map[string]map[string]any{}
	names := w.resolved.RequiredCredentials()
	for _, name := range w.optional() {
		if strings.Contains(w.ownKey(name), "#") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		key, pointer, isDocument := strings.Cut(w.ownKey(name), "#")
		if !isDocument {
			data[key] = value(name)
			continue
		}
		if documents[key] == nil {
			documents[key] = map[string]any{}
		}
		put(documents[key], strings.Split(strings.TrimPrefix(pointer, "/"), "/"), strings.TrimSuffix(value(name), "\n"))
	}
	for key, document := range documents {
		content, err := json.MarshalIndent(document, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", key, err)
		}
		data[key] = string(content) + "\n"
	}
	return data, nil
}

func put(document map[string]any, path []string, value string) {
	if len(path) == 1 {
		document[path[0]] = value
		return
	}
	inner, ok := document[path[0]].(map[string]any)
	if !ok {
		inner = map[string]any{}
		document[path[0]] = inner
	}
	put(inner, path[1:], value)
}

// value stands for a credential in an example.
func value(name string) string {
	switch name {
	case provider.CredPrivateKey:
		return "-----BEGIN PRIVATE KEY-----\n" + placeholder + "\n-----END PRIVATE KEY-----\n"
	case provider.CredCertificate:
		return "-----BEGIN CERTIFICATE-----\n" + placeholder + "\n-----END CERTIFICATE-----\n"
	}
	return placeholder
}

func writeText(p *strings.Builder, key, text string) {
	if !strings.Contains(text, "\n") {
		fmt.Fprintf(p, "  %s: %s\n", key, scalar(text))
		return
	}
	fmt.Fprintf(p, "  %s: |\n", key)
	for line := range strings.Lines(text) {
		p.WriteString("    " + line)
	}
}

// scalar quotes what YAML would take for a number.
func scalar(s string) string {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return strconv.Quote(s)
	}
	return s
}

// objectName is the entry's name, and the method's if there are several.
func (w way) objectName() string {
	return strings.ToLower(strings.TrimSuffix(w.entry+"-"+w.method, "-"))
}
