package target

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/providertoken/operator/api/v1alpha1"
)

func TestMatches(t *testing.T) {
	foreignOwner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "up42-token", UID: "c"}
	tests := []struct {
		name string
		edit func(*corev1.Secret)
		want bool
	}{
		{"as published", func(*corev1.Secret) {}, true},
		{"label of others", func(s *corev1.Secret) { s.Labels["a"] = "b" }, true},
		{"annotation of others", annotate("a", "b"), true},
		{"ownerReference of others before ours", func(s *corev1.Secret) {
			s.OwnerReferences = append([]metav1.OwnerReference{foreignOwner}, s.OwnerReferences...)
		}, true},
		{"ownerReference of others after ours", func(s *corev1.Secret) { s.OwnerReferences = append(s.OwnerReferences, foreignOwner) }, true},
		{"finalizer of others", func(s *corev1.Secret) { s.Finalizers = []string{"a/b"} }, true},
		{"value changed", put("token", "x"), false},
		{"key added", put("x", ""), false},
		{"key removed", func(s *corev1.Secret) { delete(s.Data, "token") }, false},
		{"type changed", func(s *corev1.Secret) { s.Type = "example.com/x" }, false},
		{"our label gone", func(s *corev1.Secret) { s.Labels = nil }, false},
		{"our annotation changed", annotate(v1alpha1.RefreshAtAnnotation, "x"), false},
		{"our annotation gone", annotate(v1alpha1.InputsAnnotation, ""), false},
		{"an annotation of ours that is stale", annotate(FormAnnotation, "v1:x"), false},
		{"a template's label that is stale", func(s *corev1.Secret) {
			s.Labels["old"], s.Annotations[ManagedMetadataAnnotation] = "x", `{"labels":["old"]}`
		}, false},
		{"a shard's label that is stale", func(s *corev1.Secret) { s.Labels[v1alpha1.ShardLabel] = "a" }, false},
		{"ownerReference gone, as after a restore", func(s *corev1.Secret) { s.OwnerReferences = nil }, false},
		{"ownerReference with an old UID", func(s *corev1.Secret) { s.OwnerReferences[0].UID = "old" }, false},
		{"ownerReference of an older version", func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "providertoken.dev/v1alpha0" }, false},
		{"ownerReference twice", func(s *corev1.Secret) { s.OwnerReferences = append(s.OwnerReferences, s.OwnerReferences[0]) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := mustRender(t, newOwner(), newContent())
			have := published(want, tt.edit)
			before := have.DeepCopy()
			if got := Matches(have, want); got != tt.want {
				t.Errorf("Matches is %t, want %t", got, tt.want)
			}
			if diff := cmp.Diff(before, have); diff != "" {
				t.Errorf("Matches changed what it compared:\n%s", diff)
			}
			if !Matches(merge(have, want), want) {
				t.Error("a write would not settle it")
			}
		})
	}
}

// Matches compares by hand what this compares by making it.
func TestMatchesTellsWhetherTheMergedSecretDiffers(t *testing.T) {
	own := newOwner(withTemplate(v1alpha1.SecretTemplate{
		Metadata: &v1alpha1.TemplateMetadata{Labels: map[string]v1alpha1.LabelValue{"a": "x"}, Annotations: map[string]v1alpha1.MetadataValue{"b": "y"}},
		Data:     map[string]v1alpha1.TemplateText{"c": "z"},
	}))
	want := mustRender(t, own, newContent())
	keys := []string{
		"a", "b", "c", "token", "example.com/other", v1alpha1.TargetLabel, v1alpha1.ShardLabel, v1alpha1.InputsAnnotation, v1alpha1.ContentHashAnnotation,
		v1alpha1.RefreshHandledAnnotation, FormAnnotation, ManagedMetadataAnnotation,
	}
	values := []string{"", "x", "y", "z", "true", `{"labels":["a","example.com/other"],"annotations":["b"]}`}
	foreign := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "c", Controller: new(true)}
	older := metav1.OwnerReference{APIVersion: "providertoken.dev/v1alpha0", Kind: "ProviderToken", Name: own.Name, UID: "old"}
	rapid.Check(t, func(t *rapid.T) {
		have := published(want)
		for range rapid.IntRange(0, 3).Draw(t, "edits") {
			key, value := rapid.SampledFrom(keys).Draw(t, "key"), rapid.SampledFrom(values).Draw(t, "value")
			switch rapid.IntRange(0, 7).Draw(t, "edit") {
			case 0:
				have.Labels[key] = value
			case 1:
				delete(have.Labels, key)
			case 2:
				have.Annotations[key] = value
			case 3:
				delete(have.Annotations, key)
			case 4:
				have.Data[key] = []byte(value)
			case 5:
				delete(have.Data, key)
			case 6:
				have.OwnerReferences = append(have.OwnerReferences, rapid.SampledFrom([]metav1.OwnerReference{foreign, older, want.OwnerReferences[0]}).Draw(t, "owner"))
			default:
				have.OwnerReferences = nil
			}
		}
		merged := merge(have, want)
		same := have.Type == merged.Type &&
			equality.Semantic.DeepEqual(have.Data, merged.Data) &&
			equality.Semantic.DeepEqual(have.Labels, merged.Labels) &&
			equality.Semantic.DeepEqual(have.Annotations, merged.Annotations) &&
			equality.Semantic.DeepEqual(have.OwnerReferences, merged.OwnerReferences)
		if got := Matches(have, want); got != same {
			t.Errorf("Matches is %t, and a write would change nothing: %t\n%s", got, same, cmp.Diff(have, merged))
		}
	})
}

func TestMergeKeepsWhatOthersWrote(t *testing.T) {
	templated := newOwner(withTemplate(v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{
		Labels:      map[string]v1alpha1.LabelValue{"gone": "x", "stays": "old"},
		Annotations: map[string]v1alpha1.MetadataValue{"gone": "x", "stays": "old"},
	}}))
	now := newOwner(withTemplate(v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{
		Labels:      map[string]v1alpha1.LabelValue{"stays": "new"},
		Annotations: map[string]v1alpha1.MetadataValue{"stays": "new"},
	}}))
	foreignOwner := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "up42-token", UID: "c"}
	otherToken := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ProviderToken", Name: "other", UID: "d"}
	have := published(mustRender(t, templated, newContent()), func(s *corev1.Secret) {
		s.Labels["velero.io/backup"], s.Annotations["example.com/note"] = "x", "y"
		s.Finalizers = []string{"example.com/keep"}
		s.OwnerReferences = []metav1.OwnerReference{foreignOwner, s.OwnerReferences[0], otherToken}
		s.OwnerReferences[1].UID = "from before the restore"
		s.Data["stray"] = []byte("x")
	})
	want := mustRender(t, now, newContent())
	got := merge(have, want)

	expected := have.DeepCopy()
	expected.Data = want.Data
	expected.Labels = map[string]string{"velero.io/backup": "x", "stays": "new", v1alpha1.TargetLabel: "true"}
	expected.Annotations = want.DeepCopy().Annotations
	expected.Annotations["example.com/note"] = "y"
	expected.OwnerReferences[1].UID = now.UID
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("merged differs (-want +got):\n%s", diff)
	}
}

func TestMergeRemovesItsOwnerReferenceOnlyWhenTheTargetIsRetained(t *testing.T) {
	have := published(mustRender(t, newOwner(), newContent()))
	retained := mustRender(t, newOwner(withTarget(v1alpha1.Target{DeletionPolicy: v1alpha1.RetainTarget})), newContent())
	if got := merge(have, retained).OwnerReferences; len(got) != 0 {
		t.Errorf("ownerReferences are %v, want none", got)
	}
}

func TestMergeDoesNotBelieveAForgedListOfTemplateMetadata(t *testing.T) {
	want := mustRender(t, newOwner(), newContent())
	for _, list := range []string{`{"labels":["argocd.argoproj.io/instance"],"annotations":["Kubernetes.io/x"]}`, `not JSON`} {
		have := published(want, func(s *corev1.Secret) {
			s.Labels["argocd.argoproj.io/instance"], s.Annotations["Kubernetes.io/x"] = "app", "y"
			s.Annotations[ManagedMetadataAnnotation] = list
		})
		got := merge(have, want)
		if got.Labels["argocd.argoproj.io/instance"] != "app" || got.Annotations["Kubernetes.io/x"] != "y" {
			t.Errorf("with the list %s, metadata of others is gone: %v %v", list, got.Labels, got.Annotations)
		}
		if _, found := got.Annotations[ManagedMetadataAnnotation]; found {
			t.Errorf("the list %s stays", list)
		}
	}
}

func TestATargetFollowsItsProviderTokenToAnotherShard(t *testing.T) {
	for name, c := range map[string]struct {
		have, want map[string]string
		matches    bool
	}{
		"none":          {nil, nil, true},
		"the same":      {map[string]string{v1alpha1.ShardLabel: "a"}, map[string]string{v1alpha1.ShardLabel: "a"}, true},
		"another":       {map[string]string{v1alpha1.ShardLabel: "a"}, map[string]string{v1alpha1.ShardLabel: "b"}, false},
		"none any more": {map[string]string{v1alpha1.ShardLabel: "a", "else": "x"}, map[string]string{}, false},
		"a first one":   {map[string]string{"else": "x"}, map[string]string{v1alpha1.ShardLabel: "b"}, false},
	} {
		have := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: c.have}}
		want := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: c.want}}
		if got := Matches(have, want); got != c.matches {
			t.Errorf("%s: matches is %t", name, got)
		}
		merged := merge(have, want)
		if merged.Labels[v1alpha1.ShardLabel] != c.want[v1alpha1.ShardLabel] || merged.Labels["else"] != c.have["else"] {
			t.Errorf("%s: merged labels are %v", name, merged.Labels)
		}
		if !Matches(merged, want) {
			t.Errorf("%s: what was written does not match", name)
		}
	}
}
