package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func escape(key string) string { return strings.ReplaceAll(key, "/", "~1") }

// gitRepository returns a repository that holds config/ under the tag v0.1.0, as
// the project's own does.
func gitRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(root+"/config")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "."},
		{"-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=config"},
		{"tag", "v0.1.0"},
	} {
		if _, err := run(t, nil, "git", append([]string{"-C", dir}, args...)...); err != nil {
			t.Fatalf("git %s: %v", args[0], err)
		}
	}
	return dir
}

// overlay builds a kustomization whose BASE is a remote one.
func overlay(t *testing.T, repository string, files map[string]string) objects {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), strings.ReplaceAll(content, "BASE", "file://"+repository+"//config"))
	}
	return build(t, dir)
}

func TestRemoteBaseTakesTheUsualPatches(t *testing.T) {
	t.Parallel()
	found := overlay(t, gitRepository(t), map[string]string{"kustomization.yaml": `
namespace: ops
resources:
- BASE/crd?ref=v0.1.0
- BASE/default?ref=v0.1.0
images:
- name: ghcr.io/providertoken/operator
  newName: registry.example.com/mirror/providertoken
  digest: sha256:0123456789012345678901234567890123456789012345678901234567890123
replicas: [{name: providertoken-manager, count: 3}]
patches:
- target: {kind: Deployment, name: providertoken-manager}
  patch: |-
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --cluster-name=prod-1}
- target: {kind: NetworkPolicy, name: providertoken-manager}
  patch: |-
    - {op: add, path: /spec/egress/1/ports/-, value: {port: 3128, protocol: TCP}}
`})
	expect(t, found, []want{
		{"Namespace ops", "/metadata/name", "ops"},
		{"Deployment ops/providertoken-manager", "/spec/replicas", "3"},
		{"Deployment ops/providertoken-manager", "/spec/template/spec/containers/0/image", "registry.example.com/mirror/providertoken@sha256:0123456789012345678901234567890123456789012345678901234567890123"},
		{"Deployment ops/providertoken-manager", "/spec/template/spec/containers/0/args/3", "--cluster-name=prod-1"},
		{"NetworkPolicy ops/providertoken-manager", "/spec/egress/1/ports/2/port", "3128"},
		{"ClusterRoleBinding providertoken-manager-rolebinding", "/subjects/0/namespace", "ops"},
		{"ClusterRoleBinding providertoken-metrics-auth-rolebinding", "/subjects/0/namespace", "ops"},
		{"RoleBinding ops/providertoken-own-namespace-rolebinding", "/subjects/0/namespace", "ops"},
		{"CustomResourceDefinition providertokens.providertoken.dev", "/metadata/annotations/helm.sh~1resource-policy", "keep"},
	})
	for key, object := range found {
		if strings.Contains(canonical(t, object), namespace) {
			t.Errorf("%s still speaks of %s", key, namespace)
		}
	}
}

// TestWorkloadIdentityStaysInTheNamespace: the patches of docs/workload-identity.md
// leave an operator of one namespace no right to ServiceAccounts of others.
func TestWorkloadIdentityStaysInTheNamespace(t *testing.T) {
	t.Parallel()
	_, page, _ := strings.Cut(read(t, root+"/docs/workload-identity.md"), "# kustomization.yaml, for an operator in team-a\n")
	shown, _, found := strings.Cut(page, "```")
	if !found {
		t.Fatal("docs/workload-identity.md does not show it")
	}
	objects := overlay(t, gitRepository(t), map[string]string{
		"kustomization.yaml": strings.ReplaceAll(shown, "https://github.com/providertoken/operator//config", "BASE"),
	})
	expect(t, objects, []want{
		{"ClusterRole providertoken-workload-identity", "", "absent"},
		{"ClusterRoleBinding providertoken-workload-identity", "", "absent"},
		{"Role team-a/providertoken-workload-identity", "/rules/1/resources", "[serviceaccounts/token]"},
		{"RoleBinding team-a/providertoken-workload-identity", "/roleRef", "{apiGroup: rbac.authorization.k8s.io, kind: Role, name: providertoken-workload-identity}"},
		{"RoleBinding team-a/providertoken-workload-identity", "/subjects", "[{kind: ServiceAccount, name: providertoken-manager, namespace: team-a}]"},
		{"ClusterRole providertoken-workload-identity-reviewer", "/rules", "[{apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}]"},
		{"ClusterRoleBinding providertoken-workload-identity-reviewer", "/subjects/0/namespace", "team-a"},
		{"Deployment team-a/providertoken-manager", "/spec/template/spec/containers/0/args/4", "--workload-identity"},
	})
}

// TestRemoteBaseServesAListOfNamespaces as docs/install.md shows it.
func TestRemoteBaseServesAListOfNamespaces(t *testing.T) {
	t.Parallel()
	_, page, _ := strings.Cut(read(t, root+"/docs/install.md"), "With a list, the operator gets a Role")
	files := map[string]string{}
	for _, name := range []string{"kustomization.yaml", "operator/kustomization.yaml", "team-a/kustomization.yaml"} {
		_, shown, found := strings.Cut(page, "```yaml\n# "+name+"\n")
		shown, _, ended := strings.Cut(shown, "```")
		if !found || !ended {
			t.Fatalf("docs/install.md does not show %s", name)
		}
		files[name] = strings.ReplaceAll(shown, "https://github.com/providertoken/operator//config", "BASE")
	}
	found := overlay(t, gitRepository(t), files)
	role, _ := at(mustRender(t)["ClusterRole providertoken-manager-role"], "/rules")
	expect(t, found, []want{
		{"Role team-a/providertoken-manager-role", "/rules", canonical(t, role)},
		{"RoleBinding team-a/providertoken-manager-rolebinding", "/roleRef", "{apiGroup: rbac.authorization.k8s.io, kind: Role, name: providertoken-manager-role}"},
		{"RoleBinding team-a/providertoken-manager-rolebinding", "/subjects", "[{kind: ServiceAccount, name: providertoken-manager, namespace: tokens}]"},
		{"RoleBinding tokens/providertoken-own-namespace-rolebinding", "/subjects/0/namespace", "tokens"},
		{"Deployment tokens/providertoken-manager", "/spec/template/spec/containers/0/args/3", "--watch-namespaces=team-a"},
		{"Role tokens/providertoken-manager-role", "", "absent"},
	})
	for key := range found {
		if strings.HasPrefix(key, "Cluster") || strings.Contains(key, namespace) {
			t.Errorf("%s is cluster-scoped, or where nobody asked for it", key)
		}
	}
}

func TestSeveralNamespacesEqualTheChartsList(t *testing.T) {
	t.Parallel()
	kustomized := build(t, root+"/config/several-namespaces")
	compare(t, kustomized, mustRender(t, read(t, chartDir+"/values-namespaced.yaml"), "watchOwnNamespace: false", "watchNamespaces: [team-a, team-b]"))
}
