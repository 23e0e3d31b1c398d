package target

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

const ownerKind = "ProviderToken"

// Render makes the whole Secret that owner wants for c. It is pure: the same
// arguments give the same bytes, and instants count in whole seconds as in
// Content.AsPublished. The error is an *Error: InvalidTemplate and TooLarge are
// about spec.target, InvalidToken about c. A template that fails on this token
// is told by its key only; Check, which has a sample token, tells more.
func Render(owner *v1alpha1.ProviderToken, c Content) (*corev1.Secret, error) {
	c = c.AsPublished()
	if err := publishable(c.Token); err != nil {
		return nil, err
	}
	data, err := renderData(targetOf(owner), c.Token)
	if err != nil {
		return nil, withoutDetail(err)
	}
	if targetOf(owner).KeepPrevious {
		addPrevious(data, c)
	}
	return dress(owner, c, data)
}

// Repair makes the whole Secret that owner wants for the token that have
// already holds. With keys: Replace the token cannot be read back; then the
// data stays as it is, if nobody changed it or the template since. Otherwise
// the error has Reason InvalidToken: only another token helps.
func Repair(owner *v1alpha1.ProviderToken, have *corev1.Secret) (*corev1.Secret, error) {
	o := Observe(owner, have)
	if o.Content == nil {
		return nil, lostToken()
	}
	if !o.Content.Token.Access.IsZero() {
		return Render(owner, *o.Content)
	}
	if !dataVouched(have) || !o.Content.sameForm(owner, have) {
		return nil, lostToken()
	}
	return dress(owner, *o.Content, have.Data)
}

// sameForm tells whether unreadable data is still in the form that the spec asks for.
func (c Content) sameForm(owner *v1alpha1.ProviderToken, have *corev1.Secret) bool {
	t := targetOf(owner)
	return replacesKeys(t) &&
		have.Type == secretType(t) &&
		hashAgrees(have.Annotations[FormAnnotation], formHash(t))
}

func lostToken() error {
	return &Error{Reason: InvalidToken, Problem: "the Secret does not hold a whole token"}
}

// publishable refuses what would replace a working token by something worse.
func publishable(t token.Token) error {
	switch {
	case t.Access.IsZero():
		return lostToken()
	case t.IssuedAt.IsZero() || !t.ExpiresAt.After(t.IssuedAt):
		return &Error{Reason: InvalidToken, Problem: "the token has no life"}
	case !printable(t.Access.Reveal()) || !printable(t.Type):
		return &Error{Reason: InvalidToken, Problem: "the token has characters outside RFC 6749's VSCHAR"}
	default:
		return nil
	}
}

// printable tells whether s is all VSCHAR (RFC 6749 appendix A).
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// renderData makes the keys of the format and those of the template.
func renderData(t v1alpha1.Target, tok token.Token) (map[string][]byte, error) {
	if err := checkPrevious(t); err != nil {
		return nil, err
	}
	formatted, err := formatData(t, tok)
	if err != nil {
		return nil, err
	}
	templated, err := templateData(t, tok)
	if err != nil {
		return nil, err
	}
	if replacesKeys(t) {
		return templated, nil
	}
	maps.Copy(formatted, templated)
	return formatted, nil
}

// dress puts data into a Secret with all the metadata that the operator owns.
func dress(owner *v1alpha1.ProviderToken, c Content, data map[string][]byte) (*corev1.Secret, error) {
	t := targetOf(owner)
	if err := checkTyped(secretType(t), data); err != nil {
		return nil, err
	}
	labels, annotations, err := templateMetadata(t)
	if err != nil {
		return nil, err
	}
	if managed := managedMetadata(labels, annotations); managed != "" {
		annotations[ManagedMetadataAnnotation] = managed
	}
	labels[v1alpha1.TargetLabel] = "true"
	if shard, set := owner.Labels[v1alpha1.ShardLabel]; set {
		labels[v1alpha1.ShardLabel] = shard
	}
	annotations[v1alpha1.OwnerAnnotation] = ownerKey(owner)
	describe(annotations, c.Token)
	keepBooks(annotations, c)
	if replacesKeys(t) {
		annotations[FormAnnotation] = formHash(t)
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       owner.Namespace,
			Name:            owner.TargetName(),
			Labels:          labels,
			Annotations:     annotations,
			OwnerReferences: ownerReferences(owner),
		},
		Type: secretType(t),
		Data: data,
	}
	s.Annotations[v1alpha1.ContentHashAnnotation] = contentHash(s)
	return s, checkSize(s)
}

// checkSize keeps to the limits that the API server would enforce after the token was spent.
func checkSize(s *corev1.Secret) error {
	size := 0
	for _, v := range s.Data {
		size += len(v)
	}
	if size > corev1.MaxSecretSize {
		return &Error{Reason: TooLarge, Problem: "the Secret would be larger than 1 MiB", Fix: "let target.template.data hold less"}
	}
	if apivalidation.ValidateAnnotationsSize(s.Annotations) != nil {
		return &Error{Reason: TooLarge, Problem: "the Secret's annotations would be larger than 256 KiB", Fix: "shorten target.template.metadata.annotations"}
	}
	return nil
}

// ownerReferences only serve garbage collection: ownership is the annotation,
// which survives a restore from backup.
func ownerReferences(owner *v1alpha1.ProviderToken) []metav1.OwnerReference {
	if owner.RetainsTarget() {
		return nil
	}
	return []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(),
		Kind:       ownerKind,
		Name:       owner.Name,
		UID:        owner.UID,
	}}
}

// ownerKey is the value of the owner annotation.
func ownerKey(owner *v1alpha1.ProviderToken) string {
	return owner.Namespace + "/" + owner.Name
}

func targetOf(owner *v1alpha1.ProviderToken) v1alpha1.Target {
	if owner.Spec.Target == nil {
		return v1alpha1.Target{}
	}
	return *owner.Spec.Target
}

func replacesKeys(t v1alpha1.Target) bool {
	return t.Template != nil && t.Template.Keys == v1alpha1.ReplaceKeys
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
