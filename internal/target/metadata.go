package target

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Annotations on target Secrets that concern this package only.
const (
	// ManagedMetadataAnnotation lists the keys of labels and annotations that come
	// from target.template.metadata, so that those that leave it leave the Secret.
	ManagedMetadataAnnotation = "providertoken.dev/template-metadata"
	// FormAnnotation is a hash of format and template. It is there with keys:
	// Replace, where the token cannot be read back to render it again and compare.
	FormAnnotation = "providertoken.dev/template-hash"
)

// argoSecretType is the one label of a GitOps tool that a template may set: it
// makes the target a repository's credentials, and never a cluster.
const argoSecretType = "argocd.argoproj.io/secret-type"

// managed is the content of ManagedMetadataAnnotation.
type managed struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// managedMetadata is the annotation's value; empty when there is nothing to keep track of.
func managedMetadata(labels, annotations map[string]string) string {
	if len(labels) == 0 && len(annotations) == 0 {
		return ""
	}
	value, err := json.Marshal(managed{Labels: sortedKeys(labels), Annotations: sortedKeys(annotations)})
	if err != nil { // cannot happen: these are strings
		return ""
	}
	return string(value)
}

// parseManaged reads the annotation's value; unreadable means nothing.
func parseManaged(value string) managed {
	var m managed
	if value == "" || json.Unmarshal([]byte(value), &m) != nil {
		return managed{}
	}
	return m
}

// ownAnnotations are those that the operator writes and removes as it sees fit.
func ownAnnotations() []string {
	own := described()
	return append(own[:],
		v1alpha1.OwnerAnnotation,
		v1alpha1.InputsAnnotation,
		v1alpha1.RefreshAtAnnotation,
		v1alpha1.RefreshHandledAnnotation,
		v1alpha1.ContentHashAnnotation,
		ManagedMetadataAnnotation,
		FormAnnotation,
	)
}

// templateMetadata copies the template's labels and annotations. The CRD has
// checked most of it; what it cannot say would come back from the API server
// only after a token was spent.
func templateMetadata(t v1alpha1.Target) (labels, annotations map[string]string, err error) {
	labels, annotations = map[string]string{}, map[string]string{}
	if t.Template == nil || t.Template.Metadata == nil {
		return labels, annotations, nil
	}
	for k, v := range t.Template.Metadata.Labels {
		labels[k] = string(v)
	}
	for k, v := range t.Template.Metadata.Annotations {
		annotations[k] = string(v)
	}
	for _, k := range sortedKeys(labels) {
		if err := checkLabel(k, labels[k]); err != nil {
			return nil, nil, err
		}
	}
	for _, k := range sortedKeys(annotations) {
		if err := checkMetadataKey("annotations", strings.ToLower(k), k); err != nil {
			return nil, nil, err
		}
	}
	return labels, annotations, nil
}

func checkLabel(key, value string) error {
	if err := checkMetadataKey("labels", key, key); err != nil {
		return err
	}
	if key == argoSecretType && value != "repository" && value != "repo-creds" {
		return invalidTemplate("use repository or repo-creds", "the value of label %q in target.template.metadata is not for tokens", key)
	}
	if len(validation.IsValidLabelValue(value)) > 0 {
		return invalidTemplate("use up to 63 letters, digits, '-', '_' and '.'", "the value of label %q in target.template.metadata is not one that labels can have", key)
	}
	return nil
}

// checkMetadataKey wants canonical to be a qualified name: annotation keys may
// be upper-case where label keys may not.
func checkMetadataKey(field, canonical, key string) error {
	if len(validation.IsQualifiedName(canonical)) > 0 {
		return invalidTemplate("use a name such as example.com/team", "%q in target.template.metadata.%s is not a valid key", key, field)
	}
	if reserved(canonical) {
		return invalidTemplate("remove it", "%q in target.template.metadata.%s is of a reserved domain", key, field)
	}
	return nil
}

// reservedDomains are those whose labels and annotations mean something to Kubernetes,
// to a GitOps tool, to this operator, or to a program that copies Secrets between
// namespaces at the word of one of them (Reflector, kubernetes-replicator, Config Syncer
// and their kin): who may only write ProviderTokens must not write other namespaces.
// The CRD refuses them first, and a test compares the lists.
func reservedDomains() []string {
	return []string{
		"kubernetes.io", "k8s.io", "argoproj.io", "providertoken.dev",
		"emberstack.com", "mittwald.de", "appscode.com", "havulv.io", "replizieren.dev", "external-secrets.io", "helm.sh",
	}
}

// reserved tells whether a template must not set a label or annotation.
func reserved(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found || key == argoSecretType {
		return false
	}
	for _, suffix := range reservedDomains() {
		if strings.HasSuffix(domain, suffix) {
			return true
		}
	}
	return false
}
