package docs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// counts are what became of the snippets.
type counts struct {
	mu   sync.Mutex
	of   map[string]int
	used map[string]bool
}

func (c *counts) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[what] += n
}

var tally = &counts{of: map[string]int{}, used: map[string]bool{}}

// samplesElsewhere says of which pages another suite applies the manifests, all of them.
func samplesElsewhere(page string) bool {
	return strings.HasPrefix(page, "docs/providers/")
}

var _ = Describe("the documentation", Ordered, ContinueOnFailure, func() {
	all, err := pages()
	if err != nil {
		panic(err)
	}
	for _, page := range sorted(all) {
		of, err := snippets(page, all[page])
		if err != nil {
			panic(err)
		}
		switch {
		case len(of) == 0:
		case isStory(page):
			It("tells a story that works: "+page, func(ctx SpecContext) { tell(ctx, page, of) })
		default:
			It("says what can be applied and run: "+page, func(ctx SpecContext) { try(ctx, page, of) })
		}
	}

	It("has no table of commands that nobody gives any more", func() {
		var left []string
		for what := range places() {
			if !tally.used[what] {
				left = append(left, what)
			}
		}
		Expect(left).To(BeEmpty(), "no page has these: remove them from places")
	})

	AfterAll(func() {
		text := ""
		for _, what := range sorted(tally.of) {
			text += fmt.Sprintf("\n%5d %s", tally.of[what], what)
		}
		AddReportEntry("snippets of the documentation:"+text, ReportEntryVisibilityAlways)
	})
})

// try the snippets of a page that is looked things up in.
func try(ctx context.Context, page string, all []snippet) {
	GinkgoHelper()
	tally.add("blocks in all", len(all))
	var typed []command
	var manifests, overlays []snippet
	for _, s := range all {
		switch s.lang {
		case "sh", "console":
			typed = append(typed, s.commands()...)
		case "yaml":
			manifests = append(manifests, s)
		default:
			Expect(languages()).To(HaveKey(s.lang), "%s: a block in a language that this test does not know", s)
			tally.add("blocks that are only read (transcripts, pictures, other languages)", 1)
		}
	}
	if samplesElsewhere(page) && len(typed) == 0 {
		tally.add("manifests applied elsewhere (internal/controller: the providers' pages)", len(manifests))
		return
	}
	d := newDesk(ctx)
	var own []unstructured.Unstructured
	for _, s := range manifests {
		applied, overlay := d.read(ctx, s)
		own = append(own, applied...)
		if overlay {
			overlays = append(overlays, s)
		}
	}
	d.build(ctx, overlays)
	d.execute(ctx, typed, own)
}

// read a block of YAML: what the API server accepted of it, or that it is one for kustomize.
func (d *desk) read(ctx context.Context, s snippet) (applied []unstructured.Unstructured, overlay bool) {
	GinkgoHelper()
	found, err := objects(s.text)
	Expect(err).NotTo(HaveOccurred(), s.String())
	Expect(found).NotTo(BeEmpty(), "%s: an empty block", s)
	if strings.HasSuffix(s.title(), "kustomization.yaml") {
		return nil, true
	}
	for _, o := range found {
		if o.GetKind() == "" || o.GetAPIVersion() == "" || fragments()[s.page+": kind "+o.GetKind()] != "" {
			Expect(fragments()).To(Or(HaveKey(fmt.Sprintf("%s: %s", s.page, first(s.text))), HaveKey(s.page+": kind "+o.GetKind())), "%s: neither an object nor a known fragment", s)
			tally.add("fragments of YAML, parsed", 1)
			continue
		}
		if who := others()[o.GroupVersionKind().Group]; who != "" {
			Expect(o.GetName()).NotTo(BeEmpty(), s.String())
			tally.add("manifests of other programs, parsed", 1)
			continue
		}
		Expect(d.apply(ctx, o, client.DryRunAll)).To(Succeed(), "%s: %s %s", s, o.GetKind(), o.GetName())
		tally.add("manifests applied (server-side, strict)", 1)
		applied = append(applied, o)
	}
	return applied, false
}

// first is the first field of a block.
func first(text string) string {
	m := regexp.MustCompile(`(?m)^(?:- )?([A-Za-z_]+):`).FindStringSubmatch(text)
	if m == nil {
		return "a list"
	}
	return m[1]
}

// build kustomizations: one without a folder begins a new overlay, the others are its parts.
func (d *desk) build(ctx context.Context, all []snippet) {
	GinkgoHelper()
	var roots [][]snippet
	for _, s := range all {
		if s.title() == "kustomization.yaml" {
			roots = append(roots, nil)
		}
		Expect(roots).NotTo(BeEmpty(), "%s: a part of no kustomization", s)
		roots[len(roots)-1] = append(roots[len(roots)-1], s)
	}
	for i, parts := range roots {
		folder := fmt.Sprintf("overlay-%d", i)
		for _, s := range parts {
			file := filepath.Join(d.folder, folder, s.title())
			Expect(os.MkdirAll(filepath.Dir(file), 0o700)).To(Succeed())
			up := strings.Repeat("../", strings.Count(s.title(), "/")+1)
			text := regexp.MustCompile(`https://github\.com/providertoken/operator//([a-z-/]+)\?ref=v[0-9.]+`).ReplaceAllString(s.text, up+"$1")
			Expect(os.WriteFile(file, []byte(text), 0o600)).To(Succeed())
		}
		out, err := d.run(ctx, "kustomize build "+folder)
		Expect(err).NotTo(HaveOccurred(), parts[0].String())
		built, err := objects(out)
		Expect(err).NotTo(HaveOccurred(), parts[0].String())
		Expect(built).NotTo(BeEmpty(), parts[0].String())
		for _, o := range built {
			if others()[o.GroupVersionKind().Group] == "" && o.GetKind() != "Namespace" {
				Expect(d.apply(ctx, o, client.DryRunAll)).To(Succeed(), "%s: %s %s", parts[0], o.GetKind(), o.GetName())
			}
		}
		tally.add("kustomizations built, and what they make applied", len(parts))
		if i == 0 {
			Expect(os.CopyFS(d.folder, os.DirFS(filepath.Join(d.folder, folder)))).To(Succeed())
			Expect(d.rebase(filepath.Join(d.folder, "kustomization.yaml"))).To(Succeed())
		}
	}
}

// rebase a kustomization that is a folder higher than it was made for.
func (d *desk) rebase(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "../config", "config")), 0o600)
}

// execute what a page says to type, after its manifests.
func (d *desk) execute(ctx context.Context, typed []command, own []unstructured.Unstructured) {
	GinkgoHelper()
	ready := false
	for _, c := range typed {
		p := placeOf(c, tally.used)
		switch p.how {
		case unplaced:
			Fail(fmt.Sprintf("%s: this test does not know where %q is tried: say so in place_test.go", c.snippet, c.what))
		case elsewhere:
			tally.add("commands run elsewhere", 1)
			continue
		case notRun:
			tally.add("commands not run", 1)
			continue
		case executed, rehearsed:
		}
		if !ready {
			d.prepare(ctx, own)
			ready = true
		}
		what := d.filled(c.what)
		if p.how == rehearsed {
			what += " --dry-run=server"
			tally.add("commands executed, with --dry-run=server", 1)
		} else {
			tally.add("commands executed", 1)
		}
		if strings.Contains(what, " rollout status ") {
			d.rolledOut(ctx)
		}
		if strings.Contains(c.what, "configmap RECORD") {
			_, err := d.run(ctx, "kubectl -n providertoken-system create configmap "+record)
			Expect(err).NotTo(HaveOccurred())
		}
		_, err := d.run(ctx, what)
		Expect(err).NotTo(HaveOccurred(), "%s: %s", c.snippet, what)
	}
}

// installed is the operator's own manifests, which pages speak of.
var installed sync.Once

// prepare what commands speak of.
func (d *desk) prepare(ctx context.Context, own []unstructured.Unstructured) {
	GinkgoHelper()
	for _, name := range []string{"providertoken-system", "team-a", "argocd", "token-operator"} {
		d.ensure(ctx, name)
	}
	installed.Do(func() {
		_, err := d.run(ctx, "kubectl apply --server-side --force-conflicts -f dist/install.yaml && kubectl -n argocd create configmap argocd-cm")
		Expect(err).NotTo(HaveOccurred())
	})
	if !slices.ContainsFunc(own, func(o unstructured.Unstructured) bool { return o.GetName() == "up42-token" }) {
		d.fixture(ctx)
	}
	for _, o := range own {
		Expect(d.apply(ctx, o)).To(Succeed(), "%s %s", o.GetKind(), o.GetName())
	}
}

// rolledOut says of the operator's Deployments what the cluster's controllers would.
func (d *desk) rolledOut(ctx context.Context) {
	GinkgoHelper()
	var all appsv1.DeploymentList
	Expect(server.Client.List(ctx, &all, client.InNamespace("providertoken-system"))).To(Succeed())
	Expect(all.Items).NotTo(BeEmpty())
	for i := range all.Items {
		o := &all.Items[i]
		n := *o.Spec.Replicas
		o.Status.ObservedGeneration, o.Status.Replicas, o.Status.UpdatedReplicas, o.Status.ReadyReplicas, o.Status.AvailableReplicas = o.Generation, n, n, n, n
		Expect(server.Client.Status().Update(ctx, o)).To(Succeed())
	}
}

// mounts of a workload: the Secrets of its pods' volumes, by their paths.
func mounts(o unstructured.Unstructured) map[string]string {
	GinkgoHelper()
	paths := map[string][]string{"Pod": {"spec"}, "Deployment": {"spec", "template", "spec"}, "CronJob": {"spec", "jobTemplate", "spec", "template", "spec"}}
	at, is := paths[o.GetKind()]
	if !is {
		return nil
	}
	raw, found, err := unstructured.NestedMap(o.Object, at...)
	Expect(err).NotTo(HaveOccurred())
	Expect(found).To(BeTrue(), o.GetName())
	text, err := yaml.Marshal(raw)
	Expect(err).NotTo(HaveOccurred())
	var spec corev1.PodSpec
	Expect(yaml.Unmarshal(text, &spec)).To(Succeed())
	volumes := map[string]string{}
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			volumes[v.Name] = v.Secret.SecretName
		}
	}
	mounted := map[string]string{}
	for _, c := range spec.Containers {
		for _, m := range c.VolumeMounts {
			if volumes[m.Name] != "" {
				mounted[m.MountPath] = volumes[m.Name]
			}
		}
	}
	return mounted
}
