package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const several = "\uFEFF# a comment\n---\n" + `apiVersion: v1
kind: Secret
metadata:
  name: login
  namespace: team
stringData:
  password: "---"
--- # what follows is broken
apiVersion: v1
kind: Secret
metadata: {name: twice, name: hunter2}
---
image: values of a chart
---
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
---
apiVersion: v1
kind: List
items:
  - apiVersion: providertoken.dev/v1alpha1
    kind: ProviderToken
    metadata: {name: listed, namespace: team}
    spec:
      credentials:
        keys:
          - name: a
          - name: b
            secretName: other
  - apiVersion: providertoken.dev/v1alpha1
    kind: ClusterTokenProvider
    metadata:
      name: corp
`

func TestReadTellsWhatIsInAFileAndWhere(t *testing.T) {
	documents, failed := Read("f.yaml", []byte(several))
	var names []string
	for _, d := range documents {
		names = append(names, d.Name())
	}
	want := []string{"Secret team/login", "Namespace team", "ProviderToken team/listed", "ClusterTokenProvider corp"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if len(failed) != 1 || failed[0].File != "f.yaml" || failed[0].Line != 13 || !strings.Contains(failed[0].Problem, "twice") {
		t.Errorf("what is broken: %v", failed)
	}
	if strings.Contains(failed[0].Error(), "hunter2") {
		t.Error("an error repeats a value")
	}
	for _, c := range []struct {
		document int
		path     string
		want     int
	}{
		{0, "", 3},
		{0, "metadata.namespace", 7},
		{0, "stringData[password]", 9},
		{0, "stringData.nothing.of.that", 8},
		{1, "metadata.name", 17},
		{2, "", 22},
		{2, "spec.credentials.keys[1].secretName", 30},
		{2, "spec.credentials.keys[7].secretName", 27},
		{3, "metadata.name", 34},
	} {
		if got := documents[c.document].LineOf(c.path); got != c.want {
			t.Errorf("%s of %s is in line %d, not %d", c.path, documents[c.document].Name(), c.want, got)
		}
	}
}

func TestReadHintsAtTemplatesAndMarks(t *testing.T) {
	for text, hint := range map[string]string{
		"kind: {{ .Kind }}\n":            "render it first",
		"kind: Secret\nkey: *p4ssw0rd\n": "in quotes",
		"kind: [\n":                      "is not valid YAML",
	} {
		documents, failed := Read("f.yaml", []byte(text))
		if len(documents) != 0 || len(failed) != 1 || !strings.Contains(failed[0].Problem, hint) {
			t.Errorf("%q: %v, %v", text, documents, failed)
		}
		if len(failed) == 1 && strings.Contains(failed[0].Error(), "p4ssw0rd") {
			t.Errorf("%v repeats a value", failed[0])
		}
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	documents, failed := Read("f.yaml", []byte("apiVersion: v1\nkind: Secret\nmetadata: &m\n  name: a\ntemplate: *m\n"))
	if len(failed) != 0 || len(documents) != 1 {
		t.Fatal(documents, failed)
	}
	if got := documents[0].LineOf("template.name"); got != 4 {
		t.Errorf("line %d", got)
	}
}

func TestShelfAnswersLikeAnAPIServer(t *testing.T) {
	documents, _ := Read("f.yaml", []byte(several))
	shelf := NewShelf(documents)
	key := client.ObjectKey{Namespace: "team", Name: "login"}
	var s corev1.Secret
	if err := shelf.Get(t.Context(), key, &s); err != nil || string(s.Data["password"]) != "---" || s.StringData != nil {
		t.Errorf("%v, %v", s, err)
	}
	for name, o := range map[string]client.Object{"corp": &v1alpha1.ClusterTokenProvider{}, "team": &metav1.PartialObjectMetadata{}} {
		if err := shelf.Get(t.Context(), client.ObjectKey{Namespace: "ignored", Name: name}, o); err != nil || o.GetName() != name {
			t.Errorf("%v: %v", name, err)
		}
	}
	for what, err := range map[string]error{
		"another namespace": shelf.Get(t.Context(), client.ObjectKey{Namespace: "other", Name: "login"}, &s),
		"another kind":      shelf.Get(t.Context(), key, &corev1.ConfigMap{}),
		"an unknown kind":   shelf.Get(t.Context(), key, &corev1.Pod{}),
	} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAsRepeatsNoValue(t *testing.T) {
	documents, failed := Read("f.yaml", []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: [hunter2]\n"))
	if len(failed) != 0 || len(documents) != 1 {
		t.Fatal(documents, failed)
	}
	var s corev1.Secret
	if err := documents[0].As(&s); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "f.yaml:1: Secret a") {
		t.Errorf("%v", err)
	}
}

func TestPlaceholder(t *testing.T) {
	for _, text := range []string{"", " ", "xxxx", "…", "***", "replace-me", "REPLACE_ME", "<password>", "${PASSWORD}", "{{ .password }}", "$(PASSWORD)", "ENC[AES256_GCM,data:x]", "please-changeme-now"} {
		if !Placeholder(text) {
			t.Errorf("%q stands for something", text)
		}
	}
	for _, text := range []string{"hunter2", "a<b>", "x1", "${A}b", "s3cr3t-${x"} {
		if Placeholder(text) {
			t.Errorf("%q is a value", text)
		}
	}
}
