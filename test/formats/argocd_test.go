package formats

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the Secrets in testdata anew")

// Argo CD's own code needs another release of Kubernetes' modules than the operator:
// test/gitops lets it read the Secrets that are checked in here.
func TestArgoCDsSecretsAreThoseThatItReads(t *testing.T) {
	for _, name := range []string{"argocd-repository.yaml", "argocd-helm-oci.yaml", "argocd-repo-creds.yaml"} {
		// One token with everything in it.
		access := samples()[1].access
		got, err := yaml.Marshal(secret(t, name, access))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is not what the page makes; go test -update writes it anew:\n%s", golden, got)
		}
	}
}
