//go:build argocd

package gitops

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// wantedRefreshes of every token, during which Argo CD must find nothing to do.
const wantedRefreshes = 3

// comparisonsWhileWaiting for credentials.
const comparisonsWhileWaiting = 5

// targets are the Secrets that the operator keeps.
func targets() [][2]string {
	return [][2]string{{"team-a", "reports"}, {"team-a", "kept"}, {"argocd", "team-repository"}}
}

// story is one run of Argo CD against one cluster.
type story struct {
	*observer
	environment
	argo     argoCD
	git      *gitServer
	provider provider
	site     site
}

func TestArgoCD(t *testing.T) {
	interruptible(t)
	e := getEnvironment(t)
	log := newTranscript(t, e)
	s := &story{environment: e, observer: newObserver(t, e, log)}
	s.prepare(t)
	for _, chapter := range []struct {
		title string
		play  func(*testing.T)
	}{
		{"an app of apps in one go: CRDs, operator, provider, tokens; the credentials come last", s.install},
		{"client-side diff: refreshes are no drift, and nothing is synced", func(t *testing.T) { s.quiet(t) }},
		{"server-side diff: the same", s.serverSide},
		{"what is in Git is healed, what is the operator's is left alone", s.selfHeal},
		{"the provider is down: Healthy with a warning, then Degraded", s.outage},
		{"actions: refresh, suspend, resume", s.actions},
		{"a sync with prune takes nothing of ours", s.prune},
		{"the operator's Application goes; CRDs, ProviderTokens and Secrets stay", s.uninstall},
	} {
		if t.Failed() {
			return
		}
		log.chapter("%s", chapter.title)
		chapter.play(t)
	}
	log.say("all of it held")
}

func (s *story) prepare(t *testing.T) {
	var version struct {
		Server struct{ GitVersion string } `json:"serverVersion"`
	}
	if err := json.Unmarshal([]byte(s.kubectlRun(t, "", "version", "-o", "json")), &version); err != nil {
		t.Fatal(err)
	}
	_, argocdVersion, _ := strings.Cut(filepath.Base(filepath.Dir(s.manifests)), "@") // …/v3@v3.5.7/manifests
	s.say("Kubernetes %s, Argo CD %s", version.Server.GitVersion, argocdVersion)

	if s.loadImage != "" {
		run(t, "", nil, "bash", "-c", s.loadImage+` "$0"`, s.image)
		s.say("the operator's image is in the cluster")
	}
	s.kubectlRun(t, argocdConfiguration(t, s.environment), "apply", "--server-side", "-f", "-")
	eventually(t, 30*time.Second, "Applications can be listed", func() error {
		_, err := s.client.Resource(gvr("applications")).List(t.Context(), metav1.ListOptions{})
		return err
	})
	s.say("applied: Argo CD's CRDs and settings, with config/argocd as a kustomize component")

	node := strings.TrimSpace(s.kubectlRun(t, "", "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`))
	s.provider = startProvider(t, s.environment, reachable(t, node))
	s.git = startGit(t, s.environment, s.provider)
	s.site = site{Git: s.git.url, TokenURL: s.provider.tokenURL, CABundle: s.provider.bundle}
	s.say("a provider serves tokens of %s; a Git server serves %s/platform.git to all, and team.git to who has such a token", tokenLifetime, s.git.url)
	s.argo = startArgoCD(t, s.environment)
	s.say("Argo CD runs: redis, repo-server, application-controller, server")
	s.follow()
	// Orphans are shown, so that what Argo CD takes for one can be asked.
	eventually(t, time.Minute, "there is the default project", func() error {
		_, err := s.client.Resource(gvr("applications").GroupVersion().WithResource("appprojects")).Namespace("argocd").
			Patch(t.Context(), "default", "application/merge-patch+json", []byte(`{"spec":{"orphanedResources":{"warn":false}}}`), metav1.PatchOptions{})
		return err
	})
}

// files of the platform's repository.
func (s *story) files(t *testing.T) map[string]string {
	files := s.site.appsOfApps(t)
	for to, from := range map[string]string{"crds/crds.yaml": "crds.yaml", "operator/install.yaml": "install.yaml"} {
		text, err := os.ReadFile(filepath.Join(s.dist, from))
		if err != nil {
			t.Fatal(err)
		}
		files[to] = string(text)
	}
	files["providers/sso.yaml"] = fill(t, providerManifest, struct {
		site
		Lines []string
	}{s.site, strings.Split(strings.TrimSpace(s.site.CABundle), "\n")})
	files["tokens/namespace.yaml"] = teamNamespace
	files["tokens/reports.yaml"] = reportsManifest
	files["tokens/kept.yaml"] = keptManifest
	files["tokens/repository.yaml"] = fill(t, repositoryManifest, s.site)
	files["tokens/workload.yaml"] = workloadManifest
	return files
}

func names(apps []application) []string {
	all := []string{"root"}
	for _, a := range apps {
		all = append(all, a.Name)
	}
	return all
}

func (s *story) install(t *testing.T) {
	s.git.commit(t, "team", "what the team runs", map[string]string{"team.yaml": fmt.Sprintf(teamManifest, "first")})
	revision := s.git.commit(t, "platform", "everything", s.files(t))
	s.kubectlRun(t, fill(t, rootManifest, s.site), "apply", "-f", "-")
	s.say("kubectl apply: Application root, at %.7s", revision)

	eventually(t, 90*time.Second, "the sync of tokens waits for them", func() error {
		got, err := s.get("applications", "argocd", "tokens")
		if err != nil {
			return err
		}
		if a := readApp(got); a.phase != "Running" || !strings.Contains(a.phaseMessage, "ProviderToken") || a.health != "Progressing" {
			return notYet("%s", a.line())
		}
		return s.says("tokens", "reports", "Progressing", `there is no Secret "sso-client"`)
	})
	// Some comparisons later, it still only waits.
	mark := s.mark()
	for range comparisonsWhileWaiting {
		s.refresh("tokens", "--hard-refresh")
	}
	for _, a := range s.since(mark) {
		if a.phase != "Running" && (a.name == "tokens" || a.name == "root") || a.health == "Degraded" {
			t.Errorf("while credentials are missing, %s is %s", a.name, a.line())
		}
	}
	if err := s.absent("configmaps", "team-a", "workload"); err != nil {
		t.Errorf("the wave after the tokens did not wait: %v", err)
	}
	s.say("the credentials are missing: after %d more comparisons the sync still waits, and the next wave with it", comparisonsWhileWaiting)

	for _, c := range [][2]string{{"sso-client", "team-a"}, {"team-repository-client", "argocd"}} {
		s.kubectlRun(t, fmt.Sprintf(credentialsManifest, c[0], c[1]), "create", "-f", "-")
	}
	s.say("the credential Secrets arrive")
	s.settled(2*time.Minute, names(s.site.applications())...)
	s.must("configmaps", "team-a", "workload")
	s.must("configmaps", "team-a", "team")
	for _, a := range s.since(0) {
		if a.phase == "Failed" || a.phase == "Error" || a.health == "Degraded" {
			t.Errorf("on the way, %s was %s", a.name, a.line())
		}
	}
	s.say("everything is Synced and Healthy, no sync failed on the way; the team's repository was read with a token of the operator's")
	s.tracking(t)
}

// says tells whether Argo CD judges that ProviderToken so.
func (s *story) says(appName, name, status, text string) error {
	got, message := s.healthOf(appName, name)
	if got != status || !strings.Contains(message, text) {
		return notYet("Argo CD says %s is %s: %s", name, orDash(got), message)
	}
	return nil
}

// refresh lets Argo CD compare now, and returns when it has.
func (s *story) refresh(name, how string) {
	s.argo.cli(s.t, "app", "get", name, how, "-o", "json")
}

// healthOf a ProviderToken, by Argo CD's API.
func (s *story) healthOf(appName, name string) (status, message string) {
	var got unstructured.Unstructured
	if err := json.Unmarshal([]byte(s.argo.cli(s.t, "app", "get", appName, "-o", "json")), &got.Object); err != nil {
		s.t.Fatal(err)
	}
	resources, _, _ := unstructured.NestedSlice(got.Object, "status", "resources")
	for _, r := range resources {
		if r, ok := r.(map[string]any); ok && r["kind"] == "ProviderToken" && r["name"] == name {
			status, _, _ = unstructured.NestedString(r, "health", "status")
			message, _, _ = unstructured.NestedString(r, "health", "message")
		}
	}
	return status, message
}

// tracking: Argo CD tracks the ProviderTokens, and takes their Secrets for their children.
func (s *story) tracking(t *testing.T) {
	for _, target := range targets() {
		token, secret := s.must("providertokens", target[0], target[1]), s.must("secrets", target[0], target[1])
		if id := token.GetAnnotations()["argocd.argoproj.io/tracking-id"]; id != "tokens:providertoken.dev/ProviderToken:"+target[0]+"/"+target[1] {
			t.Errorf("ProviderToken %s is tracked as %q", target[1], id)
		}
		if found := claims(secret); len(found) != 0 {
			t.Errorf("Secret %s carries %v", target[1], found)
		}
	}
	tree := s.argo.cli(t, "app", "resources", "tokens", "--output", "tree=detailed")
	orphans := s.argo.cli(t, "app", "resources", "tokens", "--orphaned")
	s.say("argocd app resources tokens --output tree=detailed\n%s", indent(tree))
	s.say("argocd app resources tokens --orphaned\n%s", indent(orphans))
	for line := range strings.Lines(orphans) {
		fields := strings.Fields(line)
		if slices.Contains(fields, "Secret") && (slices.Contains(fields, "reports") || slices.Contains(fields, "team-repository")) {
			t.Errorf("Argo CD takes a target for an orphan: %s", line)
		}
	}
	if !strings.Contains(orphans, "sso-client") {
		t.Errorf("Argo CD shows no orphans at all, so nothing is learnt from that")
	}
	for _, name := range []string{"reports", "team-repository"} {
		if !strings.Contains(tree, "─Secret/"+name) && !hasLine(tree, "Secret", name) {
			t.Errorf("the tree does not show Secret %s", name)
		}
	}
}

func hasLine(text, kind, name string) bool {
	for line := range strings.Lines(text) {
		if strings.Contains(line, kind) && strings.Contains(line, name) && strings.Contains(line, "└") {
			return true
		}
	}
	return false
}

// brief is the end of what argocd app sync tells: the outcome of each resource.
func brief(text string) string {
	if _, end, found := strings.Cut(text, "\nOperation:"); found {
		return "Operation:" + end
	}
	return text
}

func indent(text string) string {
	return "            " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n            ")
}

// quiet lets every token be refreshed several times, and checks that Argo CD
// compared everything meanwhile, found no difference, and did nothing.
func (s *story) quiet(t *testing.T) {
	all := names(s.site.applications())
	type footprint struct {
		operation  string
		generation int64
		tokens     map[string]int64
	}
	look := func() map[string]footprint {
		prints := map[string]footprint{}
		for _, name := range all {
			prints[name] = footprint{operation: s.app(name).operation}
		}
		for _, target := range targets() {
			prints[target[1]] = footprint{generation: s.must("providertokens", target[0], target[1]).GetGeneration()}
		}
		return prints
	}
	before, mark := look(), s.mark()
	comparisons := map[string]map[string]bool{}
	compared := func(a app) {
		if comparisons[a.name] == nil {
			comparisons[a.name] = map[string]bool{}
		}
		comparisons[a.name][a.reconciled] = true
		if a.sync != "Synced" || a.health != "Healthy" || len(a.conditions) != 0 {
			t.Errorf("meanwhile %s was %s", a.name, a.line())
		}
	}
	for range wantedRefreshes {
		s.refreshed(targets()...)
		// Beside what Argo CD does by itself: a hard refresh forgets what it has cached.
		for _, name := range all {
			s.refresh(name, "--hard-refresh")
			compared(s.app(name))
		}
	}
	after := look()
	for _, a := range s.since(mark) {
		compared(a)
	}
	fewest := 1 << 30
	for _, name := range all {
		fewest = min(fewest, len(comparisons[name]))
		if before[name].operation != after[name].operation {
			t.Errorf("%s was synced at %s, though nothing had changed", name, after[name].operation)
		}
	}
	if fewest < wantedRefreshes {
		t.Errorf("Argo CD compared an Application only %d times: nothing is learnt from that", fewest)
	}
	for _, target := range targets() {
		if b, a := before[target[1]].generation, after[target[1]].generation; a != b {
			t.Errorf("the spec of ProviderToken %s was written: generation %d → %d", target[1], b, a)
		}
	}
	tokens, refusals := s.git.used()
	if refusals != 0 {
		t.Errorf("Argo CD read the team's repository %d times with a token that did not work", refusals)
	}
	s.say("%d refreshes of each of %d tokens, at least %d comparisons of each of %d Applications: never OutOfSync, 0 syncs, 0 writes of a spec",
		wantedRefreshes, len(targets()), fewest, len(all))
	s.say("the team's repository was read with %d tokens so far, 0 refused", tokens)
}

// commit waits until Argo CD has synced it.
func (s *story) commit(t *testing.T, message string, files map[string]string) {
	t.Helper()
	revision := s.git.commit(t, "platform", message, files)
	s.say("git push: %s (%.7s)", message, revision)
	s.refresh("root", "--refresh")
	eventually(t, time.Minute, "Argo CD compares with it", func() error {
		for _, name := range names(s.site.applications()) {
			got, err := s.get("applications", "argocd", name)
			if err != nil {
				continue // its removal may be the commit
			}
			if a := readApp(got); a.revision != revision && name != "team" {
				s.refresh(name, "--refresh")
				return notYet("%s compares with %.7s", name, a.revision)
			}
		}
		return nil
	})
}

func (s *story) serverSide(t *testing.T) {
	s.site.ServerSide = true
	s.commit(t, "compare by a server-side dry run", s.site.appsOfApps(t))
	s.kubectlRun(t, "", "-n", "argocd", "annotate", "application", "root", "argocd.argoproj.io/compare-options=ServerSideDiff=true")
	s.settled(time.Minute, names(s.site.applications())...)
	s.quiet(t)
}

func (s *story) selfHeal(t *testing.T) {
	// An edit of the spec is undone: so syncs would have been seen above.
	s.kubectlRun(t, "", "-n", "team-a", "patch", "providertokens.providertoken.dev", "reports", "--type=merge", "-p", `{"spec":{"refresh":{"minimumLead":"7s"}}}`)
	eventually(t, time.Minute, "Argo CD undoes the edit of a spec", func() error {
		lead, _, _ := unstructured.NestedString(s.must("providertokens", "team-a", "reports").Object, "spec", "refresh", "minimumLead")
		if lead != "5s" {
			return notYet("minimumLead is %s", lead)
		}
		return nil
	})
	s.settled(time.Minute, "tokens")
	s.say("kubectl patch of spec.refresh: Argo CD put back what Git says")

	// An edit of the Secret is undone by the operator, and Argo CD does not care.
	operation, mark := s.app("tokens").operation, s.mark()
	s.kubectlRun(t, "", "-n", "team-a", "patch", "secret", "reports", "--type=merge", "-p", `{"stringData":{"token":"edited by hand"}}`)
	eventually(t, time.Minute, "the operator undoes the edit of a Secret", func() error {
		text, _, _ := unstructured.NestedString(s.must("secrets", "team-a", "reports").Object, "data", "token")
		token, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return err
		}
		works, err := s.provider.accepts(t.Context(), string(token))
		if err != nil || !works {
			return notYet("the provider does not accept what it holds: %v", err)
		}
		return nil
	})
	s.refresh("tokens", "--hard-refresh")
	for _, a := range s.since(mark) {
		if a.name == "tokens" && (a.sync != "Synced" || a.health != "Healthy") {
			t.Errorf("meanwhile tokens was %s", a.line())
		}
	}
	if got := s.app("tokens").operation; got != operation {
		t.Errorf("Argo CD synced at %s", got)
	}
	s.say("kubectl patch of the target Secret: the operator mended it, Argo CD stayed Synced and synced nothing")
}

func (s *story) outage(t *testing.T) {
	operation := s.app("tokens").operation
	s.provider.outage(t, "error")
	s.say("the provider answers 503")
	eventually(t, tokenLifetime, "the token is Healthy with a warning", func() error {
		// By itself, Argo CD looks anew when the health changes, and at its next
		// comparison when only the message does.
		s.refresh("tokens", "--refresh")
		return s.says("tokens", "reports", "Healthy", "; warning: sso at ")
	})
	_, message := s.healthOf("tokens", "reports")
	s.say("Argo CD: reports is Healthy: %s", message)
	eventually(t, 2*tokenLifetime, "the expired token is Degraded", func() error {
		if err := s.says("tokens", "reports", "Degraded", "expired at "); err != nil {
			return err
		}
		if a := s.app("tokens"); a.health != "Degraded" {
			return notYet("tokens is %s", a.line())
		}
		return nil
	})
	_, message = s.healthOf("tokens", "reports")
	s.say("Argo CD: reports is Degraded: %s", message)
	s.provider.outage(t, "none")
	s.say("the provider is back")
	// The operator asks a provider that was down once a minute at the latest.
	s.settled(90*time.Second, names(s.site.applications())...)
	if got := s.app("tokens").operation; got != operation {
		t.Errorf("Argo CD synced at %s, which could not have helped", got)
	}
}

func (s *story) actions(t *testing.T) {
	filter := []string{"--kind", "ProviderToken", "--resource-name", "reports", "--namespace", "team-a"}
	list := func() string {
		return s.argo.cli(t, append([]string{"app", "actions", "list", "tokens"}, filter...)...)
	}
	do := func(action string) {
		s.argo.cli(t, append([]string{"app", "actions", "run", "tokens", action}, filter...)...)
		s.say("argocd app actions run tokens %s %s", action, strings.Join(filter, " "))
	}
	suspended := func() bool {
		got, _, _ := unstructured.NestedBool(s.must("providertokens", "team-a", "reports").Object, "spec", "suspend")
		return got
	}
	s.say("argocd app actions list tokens\n%s", indent(list()))
	operation, mark := s.app("tokens").operation, s.mark()

	do("refresh")
	requested := s.must("providertokens", "team-a", "reports").GetAnnotations()["providertoken.dev/refresh-requested-at"]
	eventually(t, 10*time.Second, "the request is served", func() error {
		handled := s.must("secrets", "team-a", "reports").GetAnnotations()["providertoken.dev/refresh-handled"]
		if requested == "" || handled != requested {
			return notYet("requested %q, handled %q", requested, handled)
		}
		return nil
	})
	s.say("the token was refreshed for the request of %s", requested)

	do("suspend")
	if !suspended() {
		t.Error("spec.suspend is not true")
	}
	eventually(t, 20*time.Second, "Argo CD tells of it", func() error {
		s.refresh("tokens", "--refresh")
		return s.says("tokens", "reports", "Healthy", "; refreshing is suspended")
	})
	offered := list()
	s.say("argocd app actions list tokens\n%s", indent(offered))
	if !strings.Contains(offered, "resume") || strings.Contains(offered, "suspend") || strings.Contains(offered, "refresh") {
		t.Errorf("while suspended, Argo CD offers:\n%s", offered)
	}
	do("resume")
	if suspended() {
		t.Error("spec.suspend is not false")
	}
	s.refresh("tokens", "--hard-refresh")
	s.settled(30*time.Second, "tokens")
	for _, a := range s.since(mark) {
		if a.name == "tokens" && a.sync != "Synced" {
			t.Errorf("an action was drift: tokens was %s", a.line())
		}
	}
	if got := s.app("tokens").operation; got != operation {
		t.Errorf("an action was undone by a sync at %s", got)
	}
	s.say("none of it was drift, since Git says nothing of suspend")
}

func (s *story) prune(t *testing.T) {
	uids := map[string]string{}
	for _, target := range targets() {
		uids[target[1]] = string(s.must("secrets", target[0], target[1]).GetUID())
	}
	s.say("argocd app sync tokens --prune\n%s", indent(brief(s.argo.cli(t, "app", "sync", "tokens", "--prune"))))
	s.settled(time.Minute, "tokens")
	for _, target := range targets() {
		if got := string(s.must("secrets", target[0], target[1]).GetUID()); got != uids[target[1]] {
			t.Errorf("Secret %s is another one than before", target[1])
		}
	}
	s.say("all target Secrets are still the same objects")

	s.commit(t, "two tokens less", map[string]string{"tokens/reports.yaml": "", "tokens/kept.yaml": ""})
	eventually(t, time.Minute, "Argo CD prunes the ProviderTokens, and the garbage collector the Secret of one", func() error {
		for _, o := range [][2]string{{"providertokens", "reports"}, {"providertokens", "kept"}, {"secrets", "reports"}} {
			if err := s.absent(o[0], "team-a", o[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if got := string(s.must("secrets", "team-a", "kept").GetUID()); got != uids["kept"] {
		t.Error("the Secret that was to stay is another one than before")
	}
	s.settled(time.Minute, "tokens")
	s.argo.cli(t, "app", "sync", "tokens", "--prune")
	s.must("secrets", "team-a", "kept")
	s.say("ProviderTokens reports and kept are pruned; Secret reports went with its owner; Secret kept (deletionPolicy: Retain) stays, also after another sync with prune")
}

// keepsCRDs checks that they are there, and with them all their objects.
func (s *story) keepsCRDs(t *testing.T) {
	t.Helper()
	for _, kind := range []string{"providertokens", "tokenproviders", "clustertokenproviders"} {
		crd := s.must("customresourcedefinitions", "", kind+".providertoken.dev")
		if crd.GetDeletionTimestamp() != nil {
			t.Fatalf("the CRD of %s is being deleted", kind)
		}
	}
	s.must("providertokens", "argocd", "team-repository")
	s.must("secrets", "argocd", "team-repository")
	s.must("secrets", "team-a", "kept")
}

// uninstall takes the CRDs out of Git first, as somebody does who tidies up. (An
// empty directory Argo CD would not prune by itself, so one CRD stays in Git.)
func (s *story) uninstall(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(s.dist, "crds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc(strings.Split(string(text), "\n---\n"), func(crd string) bool {
		return !strings.Contains(crd, "\n  name: tokenproviders.providertoken.dev\n")
	})
	if len(rest) != 1 {
		t.Fatalf("dist/crds.yaml holds %d CRDs of that name", len(rest))
	}
	s.commit(t, "two CRDs less", map[string]string{"crds/crds.yaml": rest[0]})
	s.argo.cli(t, "app", "sync", "providertoken-crds", "--prune")
	s.keepsCRDs(t)
	s.say("argocd app sync providertoken-crds --prune: the CRDs that are not in Git any more stay")

	s.commit(t, "without the operator", map[string]string{"apps/providertoken.yaml": "", "apps/providertoken-crds.yaml": ""})
	eventually(t, 2*time.Minute, "the Applications and the operator are gone", func() error {
		for _, o := range [][3]string{
			{"applications", "argocd", "providertoken"}, {"applications", "argocd", "providertoken-crds"},
			{"deployments", "providertoken-system", "providertoken-manager"},
		} {
			if err := s.absent(o[0], o[1], o[2]); err != nil {
				return err
			}
		}
		return nil
	})
	s.keepsCRDs(t)
	s.say("the operator is gone; the CRDs, ProviderToken team-repository and the Secrets stayed")
}
