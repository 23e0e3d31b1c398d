package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/source"
)

// wallet is what the files tell of the Secrets of one ProviderToken.
type wallet struct {
	source.Wallet
	// documents are those that make the Secrets, by name: Secret, SealedSecret, ExternalSecret.
	documents map[string]manifest.Document
	// whole tells that every Secret is among the files, with its values.
	whole bool
	// complete tells that at least the keys of every Secret are known.
	complete bool
	// placeholders tells that a value is none: it is replaced before it is applied.
	placeholders bool
	// bound tells that no Secret is bound to somebody else.
	bound bool
}

// wallet looks for the Secrets among the files, and reports those that are not bound to
// the provider.
func (r *repository) wallet(t tokenDocument, o source.Origin) wallet {
	from := source.LocationOf(&t.pt, o)
	w := wallet{
		Wallet:    source.Wallet{Secrets: map[string]*corev1.Secret{}, From: from, Definition: o.Definition},
		documents: map[string]manifest.Document{}, whole: true, complete: true, bound: true,
	}
	for _, name := range from.Names() {
		d, made := r.maker(types.NamespacedName{Namespace: from.Namespace, Name: name})
		if d == nil {
			w.whole, w.complete = false, false
			continue
		}
		w.documents[name] = *d
		w.whole = w.whole && made.values
		w.complete = w.complete && made.keys
		w.Secrets[name] = made.secret
		for _, value := range made.secret.Data {
			w.placeholders = w.placeholders || manifest.Placeholder(string(value))
		}
		if bound := made.secret.Labels[v1alpha1.CredentialsForLabel]; bound != o.BoundTo() {
			w.bound = false
			message := fmt.Sprintf("has no label %s, so that %s cannot use it", v1alpha1.CredentialsForLabel, t.Name())
			if bound != "" {
				message = fmt.Sprintf("is bound to %s, and %s wants it for %s", bound, t.Name(), o.BoundTo())
			}
			r.add(*d, labelsPath(*d), Error, "label", message, fmt.Sprintf("set the label %s: %s", v1alpha1.CredentialsForLabel, o.BoundTo()))
		}
	}
	return w
}

// resolve is Definition.Resolve, or Provision where pt wants that. Where Secrets are not
// among the files, they are believed to hold all that is wanted.
func (w wallet) resolve(d *source.Definition, parameters map[string]string, pt v1alpha1.ProviderToken) (provider.Resolved, error) {
	has := w.has
	if !w.complete {
		has = everything
	}
	if pt.Spec.Credentials != nil && pt.Spec.Credentials.Provision != nil {
		step, err := d.Provision(parameters, has)
		return step.Login, err
	}
	if !w.complete {
		return resolveWith(d, parameters, has)
	}
	return d.Resolve(parameters, has)
}

// has is source.Wallet.Has for Secrets whose values are not known.
func (w wallet) has(name string) bool {
	if w.whole || w.Has(name) {
		return w.Has(name)
	}
	keys, secret := w.Definition.Keys(name), w.From.SecretName
	for _, k := range w.From.Keys {
		if string(k.Name) == name {
			keys = []string{k.Key}
			if k.SecretName != "" {
				secret = k.SecretName
			}
		}
	}
	return slices.ContainsFunc(keys, func(key string) bool {
		file, _, _ := strings.Cut(key, "#")
		s := w.Secrets[secret]
		return s != nil && s.Data[file] != nil
	})
}

func (w wallet) unknownKey() *source.Problem { return w.UnknownKey() }

// made is a Secret as far as the document tells that makes it.
type made struct {
	secret *corev1.Secret
	// keys and values tell which of them are known.
	keys, values bool
}

// maker is the document that makes a Secret; nil when there is none among the files.
func (r *repository) maker(key types.NamespacedName) (*manifest.Document, made) {
	if d := r.shelf.Find("", "Secret", key); d != nil {
		var s corev1.Secret
		if d.As(&s) != nil {
			return nil, made{} // told by secrets
		}
		return d, made{secret: &s, keys: true, values: true}
	}
	if d := r.shelf.Find("bitnami.com", "SealedSecret", key); d != nil {
		return d, made{secret: templated(d.Object, []string{"spec", "template", "metadata"}, mapKeys(d.Object, "spec", "encryptedData")), keys: true}
	}
	for i := range r.documents {
		d := &r.documents[i]
		if !d.Is("external-secrets.io", "ExternalSecret") || d.Object.GetNamespace() != key.Namespace || externalName(d.Object) != key.Name {
			continue
		}
		keys, known := externalKeys(d.Object)
		return d, made{secret: templated(d.Object, []string{"spec", "target", "template", "metadata"}, keys), keys: known}
	}
	return nil, made{}
}

// templated is a Secret that a controller will make, with keys whose values only it knows.
func templated(object *unstructured.Unstructured, metadata, keys []string) *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{}}
	s.Labels, _, _ = unstructured.NestedStringMap(object.Object, append(slices.Clone(metadata), "labels")...)
	s.Annotations, _, _ = unstructured.NestedStringMap(object.Object, append(slices.Clone(metadata), "annotations")...)
	for _, key := range keys {
		s.Data[key] = []byte("{}")
	}
	return s
}

func mapKeys(object *unstructured.Unstructured, path ...string) []string {
	found, _, _ := unstructured.NestedMap(object.Object, path...)
	return slices.Sorted(maps.Keys(found))
}

func externalName(object *unstructured.Unstructured) string {
	if name, _, _ := unstructured.NestedString(object.Object, "spec", "target", "name"); name != "" {
		return name
	}
	return object.GetName()
}

// externalKeys are the keys of the Secret that an ExternalSecret makes, and whether they are all.
func externalKeys(object *unstructured.Unstructured) (keys []string, known bool) {
	if templated := mapKeys(object, "spec", "target", "template", "data"); len(templated) > 0 {
		return templated, true
	}
	entries, _, _ := unstructured.NestedSlice(object.Object, "spec", "data")
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if key, _ := entry["secretKey"].(string); key != "" {
			keys = append(keys, key)
		}
	}
	from, _, _ := unstructured.NestedSlice(object.Object, "spec", "dataFrom")
	return keys, len(from) == 0 && len(keys) > 0
}

// metadataPath is where the metadata of the Secret are that a document makes.
func metadataPath(d manifest.Document) string {
	switch d.Object.GetKind() {
	case "SealedSecret":
		return "spec.template.metadata"
	case "ExternalSecret":
		return "spec.target.template.metadata"
	}
	return "metadata"
}

func labelsPath(d manifest.Document) string {
	return metadataPath(d) + ".labels[" + v1alpha1.CredentialsForLabel + "]"
}

func annotationsPath(d manifest.Document) string {
	return metadataPath(d) + ".annotations[" + v1alpha1.AllowedHostsAnnotation + "]"
}

func annotationsOf(d manifest.Document) map[string]string {
	path := append(strings.Split(metadataPath(d), "."), "annotations")
	found, _, _ := unstructured.NestedStringMap(d.Object.Object, path...)
	return found
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
