//go:build recipes

package recipes

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kitchen is what all recipes share.
type kitchen struct {
	cluster
	provider  provider
	manifests *Manifests
}

// recipe proves one, and returns in a line what it proved.
type recipe struct {
	name  string
	prove func(*testing.T, *kitchen) string
}

func recipes() []recipe {
	return []recipe{
		{"image-pull", imagePull},
		{"flux", fluxGit},
		{"sealed-secrets", sealedSecrets},
		{"external-secrets", externalSecrets},
		{"reloader", reloader},
	}
}

// TestRecipes runs those that RECIPES names.
func TestRecipes(t *testing.T) {
	k := &kitchen{cluster: getCluster(t)}
	var err error
	if k.manifests, err = ReadManifests(os.Getenv("RECIPES_DOCUMENT")); err != nil {
		t.Fatal(err)
	}
	wanted := strings.Fields(os.Getenv("RECIPES"))
	k.prepare(t)
	proven := 0
	for _, r := range recipes() {
		if !slices.Contains(wanted, r.name) {
			continue
		}
		started := time.Now()
		var line string
		if t.Run(r.name, func(t *testing.T) { line = r.prove(t, k) }) {
			proven++
			fmt.Printf("recipe %s: %s (%d s)\n", r.name, line, int(time.Since(started).Seconds()))
		}
	}
	if proven != len(wanted) {
		t.Errorf("%d of %d recipes were proven: %v", proven, len(wanted), wanted)
	}
	if unused := k.manifests.Unused(); proven == len(recipes()) && len(unused) > 0 {
		t.Errorf("the document has manifests that no recipe used: %v", unused)
	}
}

// prepare installs the operator from what users get, and the provider.
func (k *kitchen) prepare(t *testing.T) {
	t.Helper()
	k.load(t, filepath.Join(k.build, "operator.tar"))
	run(t, "", k.kubectl, "apply", "--server-side", "-f", filepath.Join(k.dist, "crds.yaml"), "-f", filepath.Join(k.dist, "install.yaml"))
	k.provider = startProvider(t, k.cluster)
	run(t, k.sso(t), k.kubectl, "apply", "-f", "-")
	run(t, "", k.kubectl, "-n", "providertoken-system", "rollout", "status", "deployment/providertoken-manager", "--timeout="+patience.String())
}

// manifest of the document.
func (k *kitchen) manifest(t *testing.T, name string, replacements ...Replacement) string {
	t.Helper()
	text, err := k.manifests.Get(name, replacements...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sso is the provider of all recipes; the real one's certificate needs no naming.
func (k *kitchen) sso(t *testing.T) string {
	t.Helper()
	const example = "https://sso.example.com/token"
	return k.manifest(t, "sso.yaml", Replacement{example, k.provider.tokenURL + "\n  caBundle: " + quoted(k.provider.bundle)})
}

func (k *kitchen) credentials(t *testing.T) string {
	t.Helper()
	return k.manifest(t, "sso-client.yaml", Replacement{"my-client", quoted(clientID)}, Replacement{"my-secret", quoted(clientSecret)})
}

// quoted for YAML, of which JSON is a part.
func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

// kept fails when a target Secret has metadata that is neither the operator's nor the API server's.
func kept(t *testing.T, secret object) {
	t.Helper()
	for _, all := range []map[string]string{secret.Metadata.Labels, secret.Metadata.Annotations} {
		for key := range all {
			if !strings.HasPrefix(key, "providertoken.dev/") && key != "app.kubernetes.io/managed-by" {
				t.Errorf("the target Secret %s has somebody else's %s", secret.Metadata.Name, key)
			}
		}
	}
	if owners := secret.Metadata.OwnerReferences; len(owners) != 1 || owners[0].Kind != "ProviderToken" {
		t.Errorf("the target Secret %s has other owners: %v", secret.Metadata.Name, owners)
	}
}
