package lint

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
)

// secrets looks at credential Secrets by themselves.
func (r *repository) secrets() {
	for _, d := range r.documents {
		if !d.Is("", "Secret") {
			continue
		}
		bound, labelled := d.Object.GetLabels()[v1alpha1.CredentialsForLabel]
		if !labelled || !r.readable(d) {
			continue
		}
		r.binding(d, bound)
		r.plainValues(d)
	}
}

// binding judges the value of the label by itself.
func (r *repository) binding(d manifest.Document, bound string) {
	kind, name, qualified := strings.Cut(bound, ".")
	if !qualified {
		if _, known := r.linter.options.Catalog.Get(bound); !known {
			r.add(d, labelsPath(d), Error, "label", fmt.Sprintf("is bound to %q, which the catalog does not have: nothing will ever read it", bound),
				"correct it: an entry of the catalog, TokenProvider.NAME, ClusterTokenProvider.NAME, or ProviderToken.NAME for spec.provider")
		}
		return
	}
	if !slices.Contains([]string{"TokenProvider", "ClusterTokenProvider", "ProviderToken"}, kind) || name == "" {
		r.add(d, labelsPath(d), Error, "label", fmt.Sprintf("is bound to %q, which is no provider: nothing will ever read it", bound),
			"write an entry of the catalog, TokenProvider.NAME, ClusterTokenProvider.NAME, or ProviderToken.NAME for spec.provider")
	}
}

// readable tells whether the API server would take the values.
func (r *repository) readable(d manifest.Document) bool {
	encoded, _, _ := unstructured.NestedMap(d.Object.Object, "data")
	for _, key := range sortedKeys(encoded) {
		text, isText := encoded[key].(string)
		if _, err := base64.StdEncoding.DecodeString(text); err != nil || !isText {
			r.add(d, "data["+key+"]", Error, "schema", fmt.Sprintf("data.%s is not base64", key), "write the text as it is into stringData")
			return false
		}
	}
	if d.As(&corev1.Secret{}) != nil {
		r.add(d, "stringData", Error, "schema", "has values that are no texts", "put numbers, true, false and the like in quotes")
		return false
	}
	return true
}

// plainValues warns of credentials that everybody can read who reads the file.
func (r *repository) plainValues(d manifest.Document) {
	for _, field := range []string{"stringData", "data"} {
		values, _, _ := unstructured.NestedMap(d.Object.Object, field)
		for _, key := range sortedKeys(values) {
			text, _ := values[key].(string)
			if field == "data" {
				decoded, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					continue // told by readable
				}
				text = string(decoded)
			}
			if public(key) || manifest.Placeholder(text) {
				continue
			}
			r.add(d, field+"["+key+"]", Warning, "plain-secret", fmt.Sprintf("holds %s as it is, for everybody who reads this file", key),
				"seal it (Sealed Secrets, SOPS), let External Secrets make it, or keep it out of Git")
			return // once is enough
		}
	}
}

// public claims that what is under that key is no secret: who logs in, not how.
func public(key string) bool {
	return slices.Contains([]string{
		provider.CredClientID, provider.CredUsername, provider.CredKeyID, provider.CredCertificate, "tls.crt",
		"project_id", "account_id", "consumer_key", "installation", "app_id",
	}, key)
}
