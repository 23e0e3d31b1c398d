package gitops

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/settings"
)

const (
	argocdNamespace = "argocd"
	statesDirectory = "testdata/states"
	patchFile       = "../../config/argocd/argocd-cm.yaml"
)

// state is the ProviderToken of that name in testdata.
func state(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	return object(t, filepath.Join(statesDirectory, name+".yaml"))
}

// states are the names of all, so that none is forgotten in a table.
func states(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(statesDirectory, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no states in %s: %v", statesDirectory, err)
	}
	names := make([]string, 0, len(files))
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	return names
}

// all checks that a table judges every state.
func all[V any](t *testing.T, table map[string]V) {
	t.Helper()
	names := states(t)
	for _, name := range names {
		if _, judged := table[name]; !judged {
			t.Errorf("state %s is not judged", name)
		}
	}
	for name := range table {
		if !slices.Contains(names, name) {
			t.Errorf("there is no state %s", name)
		}
	}
}

// object is read as clients read it: numbers are int64.
func object(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON(content(t, file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(text); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return o
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func set(t *testing.T, o *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// customizations are what Argo CD makes of config/argocd/argocd-cm.yaml.
type customizations map[string]v1alpha1.ResourceOverride

func load(t *testing.T) customizations {
	t.Helper()
	var cm corev1.ConfigMap
	if err := yaml.UnmarshalStrict(content(t, patchFile), &cm); err != nil {
		t.Fatalf("%s: %v", patchFile, err)
	}
	cm.Namespace = argocdNamespace
	cm.Labels = map[string]string{"app.kubernetes.io/part-of": "argocd"}
	secret := &corev1.Secret{}
	secret.Name, secret.Namespace, secret.Labels = "argocd-secret", argocdNamespace, cm.Labels
	manager := settings.NewSettingsManager(t.Context(), fake.NewClientset(&cm, secret), argocdNamespace)
	got, err := manager.GetResourceOverrides()
	if err != nil {
		t.Fatalf("Argo CD does not understand %s: %v", patchFile, err)
	}
	return got
}
