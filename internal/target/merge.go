package target

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Matches tells whether a write of want over have would change nothing: data
// and type are the same, our labels, annotations and ownerReference are there,
// and none is left over from an earlier template. What others added to the
// metadata does not count. Neither may be nil.
//
// It is asked in every reconcile of every object: so it neither copies nor reflects.
func Matches(have, want *corev1.Secret) bool {
	before := parseManaged(have.Annotations[ManagedMetadataAnnotation])
	return have.Type == want.Type &&
		maps.EqualFunc(have.Data, want.Data, bytes.Equal) &&
		settled(have.Labels, templated(before.Labels), want.Labels) &&
		settled(have.Labels, []string{v1alpha1.ShardLabel}, want.Labels) &&
		settled(have.Annotations, templated(before.Annotations), want.Annotations) &&
		settled(have.Annotations, ownAnnotations(), want.Annotations) &&
		ownersSettled(have.OwnerReferences, want)
}

// settled tells whether replaceKeys would change nothing.
func settled(have map[string]string, stale []string, want map[string]string) bool {
	for k, v := range want {
		if is, found := have[k]; !found || is != v {
			return false
		}
	}
	return !slices.ContainsFunc(stale, func(k string) bool {
		_, found := have[k]
		_, wanted := want[k]
		return found && !wanted
	})
}

// ownersSettled tells whether mergeOwners would change nothing.
func ownersSettled(have []metav1.OwnerReference, want *corev1.Secret) bool {
	return slices.EqualFunc(have, mergeOwners(have, want), func(a, b metav1.OwnerReference) bool {
		return a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Name == b.Name && a.UID == b.UID &&
			ptr.Equal(a.Controller, b.Controller) && ptr.Equal(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
	})
}

// merge is have with all that want says, and without what we once wrote and
// want does not say any more. Metadata of others stays; data is ours alone.
func merge(have, want *corev1.Secret) *corev1.Secret {
	before := parseManaged(have.Annotations[ManagedMetadataAnnotation])
	merged := have.DeepCopy()
	merged.Type = want.Type
	merged.Data = want.DeepCopy().Data
	merged.Labels = replaceKeys(merged.Labels, append(templated(before.Labels), v1alpha1.ShardLabel), want.Labels)
	merged.Annotations = replaceKeys(merged.Annotations, append(templated(before.Annotations), ownAnnotations()...), want.Annotations)
	merged.OwnerReferences = mergeOwners(merged.OwnerReferences, want)
	return merged
}

// templated are those keys that a template can have set: a forged list must
// not make us remove what is not ours.
func templated(keys []string) []string {
	var ours []string
	for _, k := range keys {
		if !reserved(strings.ToLower(k)) {
			ours = append(ours, k)
		}
	}
	return ours
}

// replaceKeys removes the stale keys and sets those of want.
func replaceKeys(have map[string]string, stale []string, want map[string]string) map[string]string {
	result := maps.Clone(have)
	if result == nil {
		result = make(map[string]string, len(want))
	}
	for _, k := range stale {
		delete(result, k)
	}
	maps.Copy(result, want)
	return result
}

// mergeOwners puts want's references in the place of earlier ones to the same
// ProviderToken. One with another UID, as after a restore from backup, would
// let the garbage collector take the target.
func mergeOwners(have []metav1.OwnerReference, want *corev1.Secret) []metav1.OwnerReference {
	ours := want.OwnerReferences
	var merged []metav1.OwnerReference
	for _, r := range have {
		if !refersTo(r, want.Annotations[v1alpha1.OwnerAnnotation]) {
			merged = append(merged, r)
			continue
		}
		merged = append(merged, ours...)
		ours = nil
	}
	return append(merged, ours...)
}

// refersTo tells whether r is to the ProviderToken namespace/name, in any version.
func refersTo(r metav1.OwnerReference, owner string) bool {
	group, _, _ := strings.Cut(r.APIVersion, "/")
	_, name, _ := strings.Cut(owner, "/")
	return group == v1alpha1.GroupVersion.Group && r.Kind == ownerKind && r.Name == name
}
