package gitops

import (
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	argodiff "github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
)

// labels by which installations of Argo CD track: the default, and the one that
// many set because others use the default's key.
var trackingLabels = []string{common.LabelKeyAppInstance, "argocd.argoproj.io/instance"}

var trackingMethods = []v1alpha1.TrackingMethod{
	v1alpha1.TrackingMethodLabel, v1alpha1.TrackingMethodAnnotation, v1alpha1.TrackingMethodAnnotationAndLabel,
}

// owner is the app that Argo CD takes o for a resource of.
func owner(o *unstructured.Unstructured, method v1alpha1.TrackingMethod, label string) string {
	return argo.NewResourceTracking().GetAppName(o, label, method, "")
}

func TestArgoCDTracksTheProviderTokenAndNotItsSecret(t *testing.T) {
	token := object(t, "testdata/tracked/providertoken.yaml")
	for _, method := range trackingMethods {
		for _, label := range trackingLabels {
			if got := owner(token, method, label); got != "tokens" {
				t.Errorf("by %s, label %s: the ProviderToken is of app %q, want tokens", method, label, got)
			}
			for _, file := range []string{"secret", "retained-secret"} {
				secret := object(t, "testdata/tracked/"+file+".yaml")
				if got := owner(secret, method, label); got != "" {
					t.Errorf("by %s, label %s: %s is of app %q and would be pruned, since Git does not hold it", method, label, file, got)
				}
			}
		}
	}
}

func TestASecretWithCopiedMetadataWouldBePruned(t *testing.T) {
	// What the test above guards against is real: this is how other operators lose Secrets.
	token, secret := object(t, "testdata/tracked/providertoken.yaml"), object(t, "testdata/tracked/secret.yaml")
	secret.SetLabels(token.GetLabels())
	for _, label := range trackingLabels {
		if got := owner(secret, v1alpha1.TrackingMethodLabel, label); got != "tokens" {
			t.Errorf("by label %s: got %q", label, got)
		}
	}
}

func TestNothingThatGitOpsToolsWriteReachesTheSecret(t *testing.T) {
	for _, file := range []string{"secret", "retained-secret"} {
		secret := object(t, "testdata/tracked/"+file+".yaml")
		for _, metadata := range []map[string]string{secret.GetLabels(), secret.GetAnnotations()} {
			for key := range metadata {
				if !strings.HasPrefix(key, "providertoken.dev/") {
					t.Errorf("%s carries %s", file, key)
				}
			}
		}
	}
}

func TestTheSecretIsAChildOfTheProviderToken(t *testing.T) {
	// So Argo CD shows it in the app's tree, and not among the orphans of the project.
	token, secret := object(t, "testdata/tracked/providertoken.yaml"), object(t, "testdata/tracked/secret.yaml")
	owners := secret.GetOwnerReferences()
	if len(owners) != 1 || owners[0].UID != token.GetUID() || owners[0].Kind != token.GetKind() || owners[0].APIVersion != token.GetAPIVersion() {
		t.Errorf("owners: %v", owners)
	}
	if retained := object(t, "testdata/tracked/retained-secret.yaml"); len(retained.GetOwnerReferences()) != 0 {
		t.Errorf("a retained Secret would go with its owner: %v", retained.GetOwnerReferences())
	}
}

// compared is what Argo CD's client-side diff says about live, of which Git holds
// metadata and spec as they were applied.
func (c customizations) compared(t *testing.T, live, git *unstructured.Unstructured) diff.DiffResult {
	t.Helper()
	config, err := argodiff.NewDiffConfigBuilder().
		WithDiffSettings(nil, c, false, normalizers.IgnoreNormalizerOpts{}).
		WithTracking(common.LabelKeyAppInstance, string(v1alpha1.TrackingMethodAnnotation)).
		WithNoCache().
		Build()
	if err != nil {
		t.Fatal(err)
	}
	result, err := argodiff.StateDiff(live, git, config)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// committed is what Git holds of a state.
func committed(o *unstructured.Unstructured) *unstructured.Unstructured {
	git := &unstructured.Unstructured{Object: map[string]any{"spec": o.DeepCopy().Object["spec"]}}
	git.SetGroupVersionKind(o.GroupVersionKind())
	git.SetName(o.GetName())
	git.SetNamespace(o.GetNamespace())
	return git
}

// applied is o as kubectl apply, and so Argo CD, leaves it.
func applied(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	live := o.DeepCopy()
	annotations := live.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["kubectl.kubernetes.io/last-applied-configuration"] = string(marshal(t, committed(o)))
	live.SetAnnotations(annotations)
	return live
}

func TestNoStateIsDrift(t *testing.T) {
	c := load(t)
	for _, name := range states(t) {
		o := state(t, name)
		if got := c.compared(t, applied(t, o), committed(o)); got.Modified {
			t.Errorf("%s: Argo CD sees drift\nlive      %s\npredicted %s", name, got.NormalizedLive, got.PredictedLive)
		}
	}
}

func TestARefreshRequestIsNoDriftAndAnEditIs(t *testing.T) {
	c, o := load(t), state(t, "live")
	git := committed(o)
	live := applied(t, o)

	requested := live.DeepCopy()
	annotations := requested.GetAnnotations()
	annotations["providertoken.dev/refresh-requested-at"] = "2100-01-01T12:30:00Z"
	requested.SetAnnotations(annotations)
	if c.compared(t, requested, git).Modified {
		t.Error("a refresh request is drift")
	}

	suspended := live.DeepCopy()
	set(t, suspended, true, "spec", "suspend")
	if c.compared(t, suspended, git).Modified {
		t.Error("to suspend is drift where Git says nothing about it")
	}

	explicit := git.DeepCopy()
	set(t, explicit, false, "spec", "suspend")
	if !c.compared(t, suspended, explicit).Modified {
		t.Error("to suspend is no drift where Git says suspend: false")
	}
	resumed := suspended.DeepCopy()
	set(t, resumed, false, "spec", "suspend")
	if c.compared(t, resumed, explicit).Modified || c.compared(t, resumed, git).Modified {
		t.Error("to resume is drift")
	}

	edited := live.DeepCopy()
	set(t, edited, "another", "spec", "credentials", "secretName")
	if !c.compared(t, edited, git).Modified {
		t.Error("an edit of the spec is no drift")
	}
}
