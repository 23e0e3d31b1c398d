//go:build argocd

package gitops

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"text/template"
)

// What a platform team and an application team have in Git, as docs/gitops.md
// tells it.

// site is what differs from place to place.
type site struct {
	Git      string // URL of the repositories
	TokenURL string
	CABundle string
	// ServerSide lets Argo CD compare by a server-side dry run.
	ServerSide bool
}

func fill(t *testing.T, text string, s any) string {
	t.Helper()
	parsed, err := template.New("").Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const applicationTemplate = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {{.Name}}
  namespace: argocd
  annotations:
    argocd.argoproj.io/sync-wave: "{{.Wave}}"
    {{- if .ServerSide}}
    argocd.argoproj.io/compare-options: ServerSideDiff=true
    {{- end}}
  finalizers: [resources-finalizer.argocd.argoproj.io]
spec:
  project: default
  source: {repoURL: {{.Git}}/{{.Repository}}.git, targetRevision: main, path: {{.Path}}}
  destination: {server: https://kubernetes.default.svc, namespace: {{.Namespace}}}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
    syncOptions: [ServerSideApply={{.Apply}}]
`

type application struct {
	site
	Name, Wave, Repository, Path, Namespace string
	Apply                                   bool // server-side
}

// applications are the waves of the app of apps.
func (s site) applications() []application {
	return []application{
		// CRDs come first, and stay whatever becomes of the Application. Server-side
		// apply spares them a copy of themselves in an annotation.
		{site: s, Name: "providertoken-crds", Wave: "0", Repository: "platform", Path: "crds", Namespace: "default", Apply: true},
		{site: s, Name: "providertoken", Wave: "1", Repository: "platform", Path: "operator", Namespace: "providertoken-system"},
		{site: s, Name: "token-providers", Wave: "2", Repository: "platform", Path: "providers", Namespace: "default"},
		{site: s, Name: "tokens", Wave: "3", Repository: "platform", Path: "tokens", Namespace: "team-a"},
		// Its repository is read with a token that the wave before brought.
		{site: s, Name: "team", Wave: "4", Repository: "team", Path: ".", Namespace: "team-a"},
	}
}

func (s site) appsOfApps(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, a := range s.applications() {
		files["apps/"+a.Name+".yaml"] = fill(t, applicationTemplate, a)
	}
	return files
}

const providerManifest = `apiVersion: providertoken.dev/v1alpha1
kind: ClusterTokenProvider
metadata: {name: sso}
spec:
  tokenURL: {{.TokenURL}}
  caBundle: |
    {{- range .Lines}}
    {{.}}
    {{- end}}
`

const teamNamespace = `apiVersion: v1
kind: Namespace
metadata:
  name: team-a
  annotations: {argocd.argoproj.io/sync-wave: "-1"}
`

const reportsManifest = `apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: reports, namespace: team-a}
spec:
  providerRef: {kind: ClusterTokenProvider, name: sso}
  credentials: {secretName: sso-client}
  # Tokens live 20 s here; the defaults are for minutes and hours.
  refresh: {minimumLead: 5s, minimumInterval: 5s}
`

const keptManifest = `apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata:
  name: kept
  namespace: team-a
  labels: {team: a}
  annotations: {team.example.com/contact: somebody}
spec:
  providerRef: {kind: ClusterTokenProvider, name: sso}
  credentials: {secretName: sso-client}
  refresh: {minimumLead: 5s, minimumInterval: 5s}
  target:
    format: Header
    deletionPolicy: Retain
`

// The repository Secret of Argo CD: the label makes it one.
const repositoryManifest = `apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: team-repository, namespace: argocd}
spec:
  providerRef: {kind: ClusterTokenProvider, name: sso}
  credentials: {secretName: team-repository-client}
  refresh: {minimumLead: 5s, minimumInterval: 5s}
  target:
    template:
      metadata:
        labels: {argocd.argoproj.io/secret-type: repository}
      data:
        type: git
        url: {{.Git}}/team.git
        username: oauth2
        password: '{{"{{"}} .token {{"}}"}}'
`

// What needs a token is a wave later, and so waits for it.
const workloadManifest = `apiVersion: v1
kind: ConfigMap
metadata:
  name: workload
  namespace: team-a
  annotations: {argocd.argoproj.io/sync-wave: "1"}
data: {mounts: reports}
`

const teamManifest = `apiVersion: v1
kind: ConfigMap
metadata: {name: team, namespace: team-a}
data: {revision: %q}
`

// credentialsManifest is what External Secrets or Sealed Secrets bring, some time.
const credentialsManifest = `apiVersion: v1
kind: Secret
metadata:
  name: %s
  namespace: %s
  labels: {providertoken.dev/credentials-for: ClusterTokenProvider.sso}
stringData: {client_id: "demo:client", client_secret: "demo+secret %%41&more="}
`

const rootManifest = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: root, namespace: argocd}
spec:
  project: default
  source: {repoURL: {{.Git}}/platform.git, targetRevision: main, path: apps}
  destination: {server: https://kubernetes.default.svc, namespace: argocd}
  syncPolicy:
    automated: {prune: true, selfHeal: true}
`

// argocdConfiguration renders Argo CD's own CRDs and settings with our
// customizations, as a user's kustomization does.
func argocdConfiguration(t *testing.T, e environment) string {
	t.Helper()
	directory := filepath.Join(e.scratch, "argocd")
	for from, to := range map[string]string{
		filepath.Join(e.manifests, "crds"):           "crds",
		filepath.Join(e.manifests, "base", "config"): "config",
		e.customizations:                             "providertoken",
	} {
		if err := os.CopyFS(filepath.Join(directory, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	// Argo CD itself does not judge Applications; in an app of apps, a wave must.
	// Its documentation gives this script.
	files := map[string]string{
		"kustomization.yaml": `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: argocd
resources: [namespace.yaml, crds, config]
components: [providertoken]
patches: [{path: applications.yaml}]
`,
		"namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: argocd}\n",
		"applications.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm}
data:
  resource.customizations.health.argoproj.io_Application: |
    hs = {status = "Progressing", message = ""}
    if obj.status ~= nil and obj.status.health ~= nil then
      hs.status = obj.status.health.status
      if obj.status.health.message ~= nil then
        hs.message = obj.status.health.message
      end
    end
    return hs
`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return e.kubectlRun(t, "", "kustomize", directory)
}
