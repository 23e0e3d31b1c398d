package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
)

// mimic is an API server that answers GET for some objects, and forbids the rest. It notes everything else.
type mimic struct {
	objects map[string]any
	writes  []string
}

func (a *mimic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodGet {
		a.writes = append(a.writes, r.Method+" "+r.URL.Path)
	}
	object, found := a.objects[r.URL.Path]
	if !found || r.Method != http.MethodGet {
		w.WriteHeader(http.StatusForbidden)
		object = metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden,
			Message: "User \"me\" cannot get resource at " + r.URL.Path,
		}
	}
	_ = json.NewEncoder(w).Encode(object)
}

func (b *bench) cluster(a *mimic) {
	b.t.Helper()
	server := httptest.NewServer(a)
	b.t.Cleanup(server.Close)
	config := filepath.Join(b.dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u, namespace: maps}}]\ncurrent-context: x\n", server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.p.flags.KubeConfig = &config
}

const (
	tokenPath  = "/apis/providertoken.dev/v1alpha1/namespaces/maps/providertokens/up42-token"
	secretPath = "/api/v1/namespaces/maps/secrets/up42-login"
)

func clusterObjects() map[string]any {
	return map[string]any{
		tokenPath: v1alpha1.ProviderToken{
			TypeMeta:   metav1.TypeMeta{APIVersion: "providertoken.dev/v1alpha1", Kind: "ProviderToken"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "maps", Name: "up42-token", UID: "1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
			Spec: v1alpha1.ProviderTokenSpec{
				ProviderRef: &v1alpha1.ProviderReference{Name: "UP42"}, Credentials: &v1alpha1.Credentials{SecretName: "up42-login"},
			},
		},
		secretPath: corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "maps", Name: "up42-login", Labels: map[string]string{v1alpha1.CredentialsForLabel: "UP42"}},
			Data:       map[string][]byte{"username": []byte(providersim.UP42Username), "password": []byte(providersim.UP42Password)},
		},
	}
}

func TestTryReadsAProviderTokenOfTheClusterAndWritesNothing(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.UP42Password, providersim.UP42Username)
	a := &mimic{objects: clusterObjects()}
	b.cluster(a)
	got, err := b.try("up42-token", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "ProviderToken maps/up42-token") || !strings.Contains(got, "UP42 issued a token") {
		t.Errorf("got\n%s", got)
	}
	if len(a.writes) > 0 {
		t.Errorf("it wrote: %v", a.writes)
	}
}

func TestTrySaysWhatItMayNotRead(t *testing.T) {
	b := newBench(t)
	objects := clusterObjects()
	delete(objects, secretPath)
	b.cluster(&mimic{objects: objects})
	_, err := b.try("up42-token", "--yes")
	if err == nil || !strings.Contains(err.Error(), "reading Secret maps/up42-login") || !strings.Contains(err.Error(), "no right") ||
		!strings.Contains(err.Error(), "try -f") || b.spy.sent != 0 {
		t.Errorf("got %v after %d requests", err, b.spy.sent)
	}
}

func TestTryNeverSpendsTheRefreshTokenOfTheCluster(t *testing.T) {
	b := newBench(t)
	objects := clusterObjects()
	b.cluster(&mimic{objects: objects})
	_, err := b.try("up42-token", "--yes", "--keep-refresh-token-in", filepath.Join(b.dir, "x"))
	if err == nil || !strings.Contains(err.Error(), "behind the operator's back") || b.spy.sent != 0 {
		t.Errorf("got %v after %d requests", err, b.spy.sent)
	}
}
