package gitops

import (
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-cd/v3/util/db"
	"github.com/argoproj/argo-cd/v3/util/settings"
)

// repositories are the Secrets that docs/formats.md makes for Argo CD, with a token of
// every character; test/formats keeps them as they are rendered.
const repositories = "../formats/testdata"

// repository is one of them, in a cluster with nothing else for Argo CD.
func repository(t *testing.T, name string) (db.ArgoDB, string) {
	t.Helper()
	var s corev1.Secret
	if err := yaml.UnmarshalStrict(content(t, filepath.Join(repositories, name)), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Data["token"]) == 0 {
		t.Fatalf("%s holds no token", name)
	}
	labels := map[string]string{"app.kubernetes.io/part-of": "argocd"}
	cm, own := &corev1.ConfigMap{}, &corev1.Secret{}
	cm.Name, cm.Namespace, cm.Labels = "argocd-cm", argocdNamespace, labels
	own.Name, own.Namespace, own.Labels = "argocd-secret", argocdNamespace, labels
	client := fake.NewClientset(cm, own, &s)
	return db.NewDB(argocdNamespace, settings.NewSettingsManager(t.Context(), client, argocdNamespace), client), string(s.Data["token"])
}

func TestArgoCDReadsARepository(t *testing.T) {
	argocd, token := repository(t, "argocd-repository.yaml")
	got, err := argocd.GetRepository(t.Context(), "https://git.example.com/team/deploy.git", "")
	if err != nil {
		t.Fatal(err)
	}
	if got.Type != "git" || got.Username != "oauth2" || got.Password != token {
		t.Errorf("type %q, user %q, password %q; want git, oauth2 and %q", got.Type, got.Username, got.Password, token)
	}
	if other, err := argocd.GetRepository(t.Context(), "https://git.example.com/other.git", ""); err != nil || other.Password != "" {
		t.Errorf("another repository gets the token, too (error %v)", err)
	}
}

func TestArgoCDReadsAHelmRepositoryInARegistry(t *testing.T) {
	argocd, token := repository(t, "argocd-helm-oci.yaml")
	got, err := argocd.GetRepository(t.Context(), "registry.example.com/charts", "")
	if err != nil {
		t.Fatal(err)
	}
	if got.Type != "helm" || got.Name != "charts" || !got.EnableOCI || got.Username != "oauth2accesstoken" || got.Password != token {
		t.Errorf("type %q, name %q, OCI %t, user %q, password %q", got.Type, got.Name, got.EnableOCI, got.Username, got.Password)
	}
}

func TestArgoCDReadsCredentialsForAllBelowAURL(t *testing.T) {
	argocd, token := repository(t, "argocd-repo-creds.yaml")
	for url, want := range map[string]string{"https://git.example.com/team/any.git": token, "https://git.example.com/other/any.git": ""} {
		got, err := argocd.GetRepository(t.Context(), url, "")
		if err != nil {
			t.Fatal(err)
		}
		if got.Password != want {
			t.Errorf("for %s the password is %q, want %q", url, got.Password, want)
		}
	}
}
