package guide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/provider"
)

// Placeholder stands for every value that a sample cannot know.
const Placeholder = "replace-me"

// Order is what somebody wants manifests for. The zero value is an example.
type Order struct {
	// Name of the ProviderToken, and what other names are made of; the entry's when empty.
	Name, Namespace string
	// SecretName of the credentials and TargetName of the token; NAME-credentials and NAME-token when empty.
	SecretName, TargetName string
	// Parameters of the definition; what has to be set is an example otherwise.
	Parameters map[string]string
	// Values of credentials by canonical name; placeholders stand for those that are left out.
	Values map[string]string
	// Scopes to ask for.
	Scopes []string
	// Host that the credentials are sent to; that of the example when empty. It is
	// written where the parameters choose it freely.
	Host string
}

func (o Order) or(w Way) Order {
	o.Name = or(o.Name, w.ObjectName())
	o.SecretName, o.TargetName = or(o.SecretName, o.Name+"-credentials"), or(o.TargetName, o.Name+"-token")
	if o.Parameters == nil {
		o.Parameters = w.Parameters
	}
	if o.Scopes == nil {
		o.Scopes = exampleScopes(w.Entry)
	}
	o.Host = or(o.Host, w.Resolved.Host())
	return o
}

// Sample is a credential Secret and a ProviderToken that fit each other.
func (w Way) Sample() (string, error) {
	secret, err := w.SecretManifest(Order{})
	return secret + "---\n" + w.TokenManifest(Order{}), err
}

// SecretManifest is the credential Secret.
func (w Way) SecretManifest(o Order) (string, error) {
	o = o.or(w)
	data, err := w.Data(o.Values)
	if err != nil {
		return "", err
	}
	p := &strings.Builder{}
	p.WriteString("apiVersion: v1\nkind: Secret\n" + metadata(o.SecretName, o.Namespace))
	fmt.Fprintf(p, "  labels:\n    providertoken.dev/credentials-for: %s\n", w.Entry)
	if w.Resolved.FreeHost {
		fmt.Fprintf(p, "  annotations:\n    providertoken.dev/allowed-hosts: %s\n", strings.TrimSuffix(o.Host, ":443"))
	}
	p.WriteString("stringData:\n")
	for _, key := range w.SampleKeys() {
		writeText(p, key, data[key])
	}
	return p.String(), nil
}

// TokenManifest is the ProviderToken.
func (w Way) TokenManifest(o Order) string {
	o = o.or(w)
	p := &strings.Builder{}
	p.WriteString("apiVersion: providertoken.dev/v1alpha1\nkind: ProviderToken\n" + metadata(o.Name, o.Namespace))
	fmt.Fprintf(p, "spec:\n  providerRef:\n    name: %s\n", w.Entry)
	if len(o.Parameters) > 0 {
		p.WriteString("    parameters:\n")
		for _, parameter := range slices.Sorted(maps.Keys(o.Parameters)) {
			fmt.Fprintf(p, "      %s: %s\n", parameter, scalar(o.Parameters[parameter]))
		}
	}
	fmt.Fprintf(p, "  credentials:\n    secretName: %s\n", scalar(o.SecretName))
	if len(o.Scopes) > 0 {
		p.WriteString("  scopes:\n")
		for _, scope := range o.Scopes {
			fmt.Fprintf(p, "    - %s\n", scalar(scope))
		}
	}
	fmt.Fprintf(p, "  target:\n    secretName: %s\n", scalar(o.TargetName))
	return p.String()
}

func metadata(name, namespace string) string {
	text := "metadata:\n  name: " + scalar(name) + "\n"
	if namespace != "" {
		text += "  namespace: " + scalar(namespace) + "\n"
	}
	return text
}

// exampleScopes are for entries that have none of their own, and need some.
func exampleScopes(entry string) []string {
	if entry == "GoogleServiceAccount" {
		return []string{"https://www.googleapis.com/auth/devstorage.read_only"}
	}
	return nil
}

// SampleKeys lists the keys of the Secret, each once.
func (w Way) SampleKeys() []string {
	var keys []string
	for _, name := range w.Resolved.RequiredCredentials() {
		key, _, _ := strings.Cut(w.ownKey(name), "#")
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// ownKey is what the provider calls a credential, or what everybody does.
func (w Way) ownKey(name string) string {
	if own := w.Definition.CredentialKeys[name]; len(own) > 0 {
		return own[0]
	}
	return name
}

// Data is what the Secret holds, with placeholders for what values leave out. They may be
// under the canonical name of a credential, or under a key of the Secret.
func (w Way) Data(values map[string]string) (map[string]string, error) {
	value := func(name string) string { return or(values[name], value(name)) }
	data, documents := map[string]string{}, map[string]map[string]any{}
	names := w.Resolved.RequiredCredentials()
	for _, name := range w.Optional() {
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
	for key := range data {
		data[key] = or(values[key], data[key])
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
		return "-----BEGIN PRIVATE KEY-----\n" + Placeholder + "\n-----END PRIVATE KEY-----\n"
	case provider.CredCertificate:
		return "-----BEGIN CERTIFICATE-----\n" + Placeholder + "\n-----END CERTIFICATE-----\n"
	}
	return Placeholder
}

func writeText(p *strings.Builder, key, text string) {
	body, single := strings.CutSuffix(text, "\n")
	if !single || strings.TrimSpace(body) == "" || strings.HasPrefix(body, " ") || strings.HasPrefix(body, "\n") || strings.HasSuffix(body, "\n") || !plainLines(body) {
		fmt.Fprintf(p, "  %s: %s\n", key, scalar(text))
		return
	}
	fmt.Fprintf(p, "  %s: |\n", key)
	for line := range strings.Lines(text) {
		p.WriteString("    " + line)
	}
}

// plainLines claims that a literal block holds a text as it is (YAML 1.2 §8.1.2).
func plainLines(s string) bool {
	for _, r := range s {
		if r != '\n' && (r < ' ' || r > '~') {
			return false
		}
	}
	return true
}

// scalar is a text as a YAML scalar: plain where nothing else can be read from that, and
// quoted as in JSON otherwise, which is YAML too.
func scalar(s string) string {
	var read any
	if yaml.Unmarshal([]byte(s), &read) == nil {
		if text, isText := read.(string); isText && text == s && !strings.ContainsAny(s, "\n#:{}[],&*!|>'\"%@`") {
			return s
		}
	}
	if yaml.Unmarshal([]byte("x: "+s), &struct{ X *string }{}) == nil && strings.HasPrefix(s, "https://") && !strings.ContainsAny(s, "\n# ") {
		return s
	}
	return strconv.Quote(s)
}

// ObjectName is the entry's name, and the method's if there are several.
func (w Way) ObjectName() string {
	return strings.ToLower(strings.TrimSuffix(w.Entry+"-"+w.Method, "-"))
}
