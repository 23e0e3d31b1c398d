//go:build recipes

package recipes

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// imagePull lets the kubelet pull from a registry that wants a token. containerd
// speaks http to loopback, and there only, as long as nobody configures it.
func imagePull(t *testing.T, k *kitchen) string {
	s := k.newSpace(t, "image-pull")
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	door := newDoor(k.provider, "oauth2accesstoken")
	listener := loopback(t)
	guarded := &http.Server{Handler: door.guard(store)}
	go func() { _ = guarded.Serve(listener) }()
	t.Cleanup(func() { _ = guarded.Close() })
	host := listener.Addr().String()
	// A side entrance, to fill it.
	open := httptest.NewServer(store)
	t.Cleanup(open.Close)
	for _, version := range []string{"1.0", "1.1", "1.2", "1.3"} {
		tag, err := name.NewTag(strings.TrimPrefix(open.URL, "http://") + "/team/viewer:" + version)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, k.reader(t, k.provider, version, "-name=viewer", "-file=/unlike")); err != nil {
			t.Fatal(err)
		}
	}
	example := Replacement{"registry.example.com", host}

	s.apply(t, k.credentials(t))
	s.apply(t, k.manifest(t, "registry-token.yaml", example))
	first := s.ready(t, "registry-token")
	s.apply(t, k.manifest(t, "viewer.yaml", example))
	s.rolledOut(t, "viewer")
	if admitted, _ := door.entered(first.Data["token"]); admitted == 0 {
		t.Error("the registry has not seen the token: the image came from elsewhere")
	}

	second := s.refresh(t, "registry-token")
	door.withdraw(first.Data["token"])
	s.do(t, "set", "image", "deployment/viewer", "viewer="+host+"/team/viewer:1.1")
	s.rolledOut(t, "viewer")
	if admitted, refused := door.entered(second.Data["token"]); admitted == 0 || refused != 0 {
		t.Errorf("the registry let the new token in %d times, and refused %d calls", admitted, refused)
	}

	// Without the Secret, and with the old one's content: refused.
	s.fails(t, "without", host+"/team/viewer:1.2", "")
	old := base64.StdEncoding.EncodeToString(first.Data[".dockerconfigjson"])
	s.apply(t, fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: old}, type: kubernetes.io/dockerconfigjson, data: {.dockerconfigjson: %q}}", old))
	s.fails(t, "withdrawn", host+"/team/viewer:1.3", "old")
	if _, refused := door.entered(first.Data["token"]); refused == 0 {
		t.Error("the registry has not seen the withdrawn token")
	}
	if bytes.Equal(first.Data[".dockerconfigjson"], second.Data[".dockerconfigjson"]) || second.Type != "kubernetes.io/dockerconfigjson" {
		t.Errorf("the target is of type %s, and its data may be the old", second.Type)
	}
	kept(t, second)
	return "the kubelet pulled with the token, and after a refresh another image with the new one while the old was refused; without the Secret: ErrImagePull"
}

func (s space) rolledOut(t *testing.T, deployment string) {
	t.Helper()
	s.do(t, "rollout", "status", "deployment/"+deployment, "--timeout="+patience.String())
}

// fails starts a Pod whose image must not be pulled.
func (s space) fails(t *testing.T, pod, image, secret string) {
	t.Helper()
	secrets := ""
	if secret != "" {
		secrets = "{name: " + secret + "}"
	}
	s.apply(t, fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {terminationGracePeriodSeconds: 0, imagePullSecrets: [%s], containers: [{name: viewer, image: %q}]}}", pod, secrets, image))
	eventually(t, "the Pod "+pod+" cannot be pulled for", func() error {
		state := s.do(t, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].state}")
		switch {
		case strings.Contains(state, "ErrImagePull"), strings.Contains(state, "ImagePullBackOff"):
			return nil
		case strings.Contains(state, "running"), strings.Contains(state, "terminated"):
			t.Fatalf("the Pod %s got its image: %s", pod, state)
		}
		return fmt.Errorf("its container is %s", state)
	})
	s.do(t, "delete", "pod", pod, "--wait=false")
}
