package docs_test

import (
	"regexp"
	"strings"
)

// how a command of the documentation is tried.
type how int

const (
	// unplaced commands fail the test.
	unplaced how = iota
	// executed: by bash, with kubectl at an API server of its own, in a namespace that the page's manifests were applied to.
	executed
	// rehearsed: the same with --dry-run=server, because it would take away what others need.
	rehearsed
	// elsewhere: by another test or program of this repository, which the reason names.
	elsewhere
	// notRun: for the reason.
	notRun
)

// place is where a command is tried, and why there.
type place struct {
	how how
	why string
}

const (
	inChart    = "test/chart renders and applies it with the pinned Helm"
	inDisaster = "test/disaster compares it with what its specs do"
	byCI       = ".ci/run"
	noNode     = "needs a node on which the pod runs; what its container would send is sent by this test"
	noLogs     = "needs a node: without one, no pod has a log"
	noRegistry = "needs a registry"
)

// stories are pages whose commands are run one after the other, as a reader would, with an operator
// and simulated providers; their manifests are files by the name in their first line.
func isStory(page string) bool { return strings.HasPrefix(page, "docs/tutorials/") }

// places are commands that are not simply executed. Whatever begins with kubectl and is not here
// is; whatever else is not here fails the test.
func places() map[string]place {
	return map[string]place{
		"make demo":   {elsewhere, byCI},
		"make test":   {elsewhere, byCI},
		"make verify": {elsewhere, byCI},

		// README.md, docs/install.md
		"git clone --depth 1 --branch v0.1.0 https://github.com/providertoken/operator && cd operator":                                                                                                        {notRun, "needs the network; the rest of the page is run in this checkout"},
		"helm install providertoken dist/chart --namespace providertoken-system --create-namespace":                                                                                                           {elsewhere, inChart},
		"helm install providertoken dist/chart --namespace providertoken-system --take-ownership":                                                                                                             {elsewhere, inChart},
		"helm install providertoken dist/chart --namespace team-a --values dist/chart/values-namespaced.yaml":                                                                                                 {elsewhere, inChart},
		"helm install providertoken dist/chart --namespace team-a --values dist/chart/values-namespaced.yaml --set 'watchNamespaces={team-b,team-c}'":                                                         {elsewhere, inChart},
		"helm upgrade providertoken dist/chart --namespace providertoken-system":                                                                                                                              {elsewhere, inChart},
		"helm rollback providertoken --namespace providertoken-system":                                                                                                                                        {elsewhere, inChart},
		"helm uninstall providertoken --namespace providertoken-system":                                                                                                                                       {elsewhere, inChart},
		"helm install providertoken dist/chart --namespace providertoken-system --create-namespace --set image.repository=registry.example.com/mirror/providertoken --set 'imagePullSecrets[0].name=regcred'": {elsewhere, inChart},
		"kubectl delete -f dist/install.yaml":                         {rehearsed, "other pages speak of what it installs"},
		"kubectl delete -f dist/crds.yaml":                            {rehearsed, "every other page needs the kinds; test/disaster has a spec in which they go"},
		"kubectl delete ptok --all --all-namespaces --cascade=orphan": {rehearsed, "other pages need their tokens; test/disaster does it"},
		"grep -h 'image:' dist/install.yaml":                          {executed, ""},
		"sed 's|ghcr.io/providertoken/operator|registry.example.com/mirror/providertoken|' dist/install.yaml | kubectl apply --server-side -f -":             {executed, ""},
		"hack/manifests.sh registry.example.com/mirror/providertoken:v0.1.0":                                                                                 {executed, "in a copy of what it reads"},
		"skopeo copy --all docker://ghcr.io/providertoken/operator:v0.1.0 docker://registry.example.com/mirror/providertoken:v0.1.0":                         {notRun, noRegistry},
		"skopeo inspect --raw docker://ghcr.io/providertoken/operator:v0.1.0 | sha256sum":                                                                    {notRun, noRegistry},
		`go -C hack/image run . -tag ghcr.io/providertoken/operator:v0.1.0 -platform linux/amd64,linux/arm64 -commit "$(git rev-parse HEAD)" -oci bin/image`: {elsewhere, "hack/image builds it in its own tests"},

		// docs/definitions.md, docs/gitops.md, docs/recipes.md
		"argocd app actions run tokens refresh --kind ProviderToken --resource-name reports":  {elsewhere, "make e2e-argocd"},
		"kubeseal --namespace imagery --format yaml <sso-client.yaml >sealed-sso-client.yaml": {elsewhere, "make e2e-recipes"},

		// docs/tutorials
		"kubectl logs up42-reader": {notRun, noNode},

		// docs/operations.md
		"helm template providertoken dist/chart --set replicas=3": {executed, ""},

		// CONTRIBUTING.md
		"make generate build-installer":                                    {elsewhere, "make verify compares what they write"},
		"KUBEBUILDER_ASSETS=$(hack/kube.sh) go test ./internal/controller": {elsewhere, "make test"},
		"go test ./internal/schedule":                                      {elsewhere, "make test"},
	}
}

// kinds are commands that are placed by what they are.
func kinds() []kind {
	return []kind{
		{regexp.MustCompile(`\bkubectl[ -]providertoken\b`), place{elsewhere, "cmd/kubectl-providertoken holds the plugin's commands to transcripts"}},
		{regexp.MustCompile(`^kubectl (-n [a-z-]+ )?logs `), place{notRun, noLogs}},
		{regexp.MustCompile(`^make (plugin|krew)\b`), place{elsewhere, "make test builds the plugin; its archives are made for a release"}},
		{regexp.MustCompile(`^kubectl krew `), place{notRun, "needs krew"}},
		{regexp.MustCompile(`^source <\(kubectl-providertoken `), place{elsewhere, "cmd/kubectl-providertoken"}},
		{regexp.MustCompile(`^make (bench|bench-report)\b`), place{elsewhere, "hack/bench has tests of its own; its figures are what these commands wrote"}},
		{regexp.MustCompile(`^bin/bench\b|^(QPS=500 )?hack/bench/`), place{elsewhere, "hack/bench"}},
		{regexp.MustCompile(`^go tool pprof\b`), place{notRun, "needs the profiles that a long run leaves"}},
		{regexp.MustCompile(`\.status\.servedBy`), place{elsewhere, "test/shards runs the documented split and join with real operators"}},
		{regexp.MustCompile(`^curl .*ISSUER`), place{notRun, "asks the reader's own provider"}},
	}
}

type kind struct {
	of *regexp.Regexp
	place
}

// pagesElsewhere are pages whose commands another test takes out of the page itself.
func pagesElsewhere() map[string]string {
	return map[string]string{"docs/disaster-recovery.md": inDisaster}
}

// placeOf a command; used tells which entries of the table are.
func placeOf(c command, used map[string]bool) place {
	if why, all := pagesElsewhere()[c.page]; all {
		return place{elsewhere, why}
	}
	if p, known := places()[c.what]; known {
		used[c.what] = true
		return p
	}
	for _, k := range kinds() {
		if k.of.MatchString(c.what) {
			return k.place
		}
	}
	if strings.HasPrefix(c.what, "kubectl ") {
		return place{how: executed}
	}
	return place{}
}

// others are API groups of programs that the documentation speaks of, whose kinds are parsed and no more here.
func others() map[string]string {
	return map[string]string{
		"argoproj.io": "Argo CD: make e2e-argocd", "kustomize.toolkit.fluxcd.io": "Flux", "source.toolkit.fluxcd.io": "Flux: make e2e-recipes",
		"external-secrets.io": "External Secrets: make e2e-recipes", "bitnami.com": "Sealed Secrets: make e2e-recipes",
		"monitoring.coreos.com": "Prometheus Operator",
	}
}

// fragments are blocks of YAML that are no object: what they belong to, and who tries them.
func fragments() map[string]string {
	return map[string]string{
		"docs/formats.md: scrape_configs":            "configuration of Prometheus: make formats",
		"docs/formats.md: name":                      "configuration of Envoy: test/formats",
		"docs/gitops.md: kind Deployment":            "the head of a Deployment, to show its annotation: make e2e-argocd applies a whole one",
		"docs/scaling.md: kind ClusterTokenProvider": "the limits of a definition, to show where they go",
		"docs/lint.md: run":                          "a step of a CI workflow, to show where the command goes",
		"docs/alerts.md: inhibit_rules":              "configuration of Alertmanager",
		"docs/scaling.md: metadata":                  "what a ProviderToken gets to move to a shard: test/shards",
		"docs/propagation.md: status":                "what status shows: internal/controller",
	}
}

// bases are what a block that is a part of a kustomization is built with.
func bases() map[string]string {
	return map[string]string{
		"docs/gitops.md: components":       "resources:\n- argocd-cm.yaml\n",
		"docs/least-privilege.md: patches": "resources:\n- ../config/default\n",
	}
}

// languages of blocks that hold neither commands nor manifests.
func languages() map[string]bool {
	return map[string]bool{"text": true, "csv": true, "mermaid": true, "go": true, "json": true, "promql": true}
}
