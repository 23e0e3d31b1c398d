//go:build recipes

package recipes

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"sigs.k8s.io/yaml"
)

const forSSO = "ClusterTokenProvider.corp-sso"

// sealedSecrets installs the controller by its own chart, seals with its own kubeseal,
// and applies what would be in Git.
func sealedSecrets(t *testing.T, k *kitchen) string {
	k.preload(t, "providertoken.test/sealed-secrets:recipes", k.image(t, "controller", "", v1.Config{}))
	system := space{cluster: k.cluster, namespace: "kube-system"}
	system.do(t, "apply", "--server-side", "-f", filepath.Join(k.build, "sealed-secrets.yaml"))
	system.rolledOut(t, "sealed-secrets")

	// The token first, as in a sync that brings everything at once.
	s := k.newSpace(t, "imagery")
	s.apply(t, k.manifest(t, "viewer-token.yaml"))
	sealed := run(t, k.credentials(t), filepath.Join(k.build, "kubeseal"),
		"--namespace=imagery", "--format=yaml", "--controller-name=sealed-secrets", "--controller-namespace=kube-system")
	for _, secret := range []string{clientID, clientSecret} {
		if strings.Contains(sealed, secret) {
			t.Fatal("what was sealed can be read")
		}
	}
	if got, want := shape(t, sealed), shape(t, k.manifest(t, "sealed-sso-client.yaml")); !reflect.DeepEqual(got, want) {
		t.Errorf("kubeseal wrote\n%v\nand the document shows\n%v", got, want)
	}

	// A label in the wrong place …
	s.apply(t, misplaced(t, sealed))
	s.await(t, "create", "secret/sso-client")
	s.await(t, "jsonpath={.status.conditions[?(@.type==\"Synced\")].status}=True", "sealedsecret/sso-client")
	if label, found := s.get(t, "secret", "sso-client").Metadata.Labels["providertoken.dev/credentials-for"]; found {
		t.Errorf("the label of the SealedSecret is the Secret's too: %s", label)
	}
	if reason := s.get(t, "ptok", "viewer-token").reason("CredentialsResolved"); reason != "False WaitingForCredentials" {
		t.Errorf("CredentialsResolved is %q", reason)
	}
	// … and in the right one.
	s.apply(t, sealed)
	target := s.ready(t, "viewer-token")
	secret := s.get(t, "secret", "sso-client")
	if got := secret.Metadata.Labels["providertoken.dev/credentials-for"]; got != forSSO {
		t.Errorf("the unsealed Secret has the label %q", got)
	}
	if owners := secret.Metadata.OwnerReferences; len(owners) != 1 || owners[0].Kind != "SealedSecret" {
		t.Errorf("the unsealed Secret is owned by %v", owners)
	}
	if !k.provider.accepts(string(target.Data["token"])) {
		t.Error("the provider does not accept the token")
	}
	kept(t, target)
	return "kubeseal kept the label in the template, the controller put it on the Secret, and the waiting ProviderToken became Ready; with the label elsewhere it waited"
}

// shape of a SealedSecret: all but what is encrypted, and empty fields.
func shape(t *testing.T, manifest string) map[string]any {
	t.Helper()
	o := parse(t, manifest)
	spec, _ := o["spec"].(map[string]any)
	encrypted, _ := spec["encryptedData"].(map[string]any)
	for key, value := range encrypted {
		if text, _ := value.(string); !strings.HasPrefix(text, "Ag") {
			t.Errorf("%s is not encrypted", key)
		}
		encrypted[key] = ""
	}
	return withoutNull(o)
}

func withoutNull(o map[string]any) map[string]any {
	for key, value := range o {
		switch value := value.(type) {
		case nil:
			delete(o, key)
		case map[string]any:
			withoutNull(value)
		}
	}
	return o
}

// misplaced has the template's label on the SealedSecret itself.
func misplaced(t *testing.T, sealed string) string {
	t.Helper()
	o := parse(t, sealed)
	template, _ := o["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)
	metadata, _ := o["metadata"].(map[string]any)
	if template["labels"] == nil {
		t.Fatal(fmt.Errorf("there is no label in the template of:\n%s", sealed))
	}
	metadata["labels"] = template["labels"]
	delete(template, "labels")
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func parse(t *testing.T, manifest string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal([]byte(manifest), &o); err != nil {
		t.Fatal(err)
	}
	return o
}
