package main

import (
	"net/http"
	"net/http/httptest"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// looks is what a person sees at noon.
func looks(ctx SpecContext, as string, args ...string) string {
	GinkgoHelper()
	return newPerson(clocktesting.NewFakeClock(noon()), as).types(ctx, args...)
}

var _ = Describe("a person who looks", func() {
	DescribeTable("sees", func(ctx SpecContext, name, as string, args ...string) {
		text := looks(ctx, as, args...)
		Expect(text).NotTo(ContainSubstring("s3cret"))
		golden(GinkgoT(), name, text)
	},
		Entry("all of the cluster, the most urgent first", "list-all.txt", "", "list", "-A"),
		Entry("a namespace with hosts and messages", "list-wide.txt", viewer, "list", "-l", "app=viewer", "-o", "wide"),
		Entry("what a program reads", "list-jsonpath.txt", viewer, "list", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.status.token.expiresAt}{"\n"}{end}`),
		Entry("names that kubectl takes", "list-name.txt", viewer, "list", "-o", "name"),
		Entry("an empty namespace", "list-empty.txt", "", "list", "-n", "empty"),
		Entry("how one stands", "status-fine.txt", editor, "status", "up42-token"),
		Entry("how one stands, without the right to Secrets", "status-viewer.txt", viewer, "status", "up42-token"),
		Entry("what an outage leaves", "errors/status-foreign.txt", editor, "status", "spatiafi"),
		Entry("how one stands, with the right to nothing else", "status-watcher.txt", watcher, "status", "up42-token"),
		Entry("what a frozen login needs", "status-frozen.txt", editor, "status", "archive-token"),
		Entry("what is missing", "status-stuck.txt", editor, "status", "crm"),
		Entry("what the operator has not seen", "status-new.txt", editor, "status", "new"),
		Entry("a report for programs", "status-json.txt", viewer, "status", "nightly", "-o", "json"),
		Entry("what else may have been meant", "errors/unknown-near.txt", viewer, "status", "up42-tokn"),
		Entry("where else it may be", "errors/unknown-elsewhere.txt", "", "status", "paypal"),
		Entry("that they may not", "errors/forbidden.txt", nobody, "list"),
		Entry("that they may not change", "errors/forbidden-change.txt", viewer, "refresh", "up42-token"),
		Entry("who may thaw", "errors/thaw-forbidden.txt", editor, "thaw", "archive-token"),
		Entry("that nothing is frozen", "errors/thaw-nothing.txt", "", "thaw", "up42-token"),
		Entry("that too much was asked for", "errors/misuse-names.txt", "", "refresh"),
		Entry("that a selector is none", "errors/misuse-selector.txt", "", "list", "-l", "a=b=c"),
		Entry("that a format is unknown", "errors/misuse-format.txt", "", "list", "-o", "table2"),
		Entry("that there is no such context", "errors/wrong-context.txt", "", "list", "--context", "prod"),
		Entry("names to complete", "errors/complete.txt", viewer, "__complete", "status", ""),
	)

	It("learns that the cluster does not know ProviderTokens", func(ctx SpecContext) {
		bare := httptest.NewServer(http.NotFoundHandler())
		DeferCleanup(bare.Close)
		p := newPerson(clocktesting.NewFakeClock(noon()), "")
		file := writeKubeconfig(GinkgoT().TempDir(), bare.URL, server.Config)
		p.flags.KubeConfig = &file
		golden(GinkgoT(), "errors/no-crds.txt", strings.ReplaceAll(p.types(ctx, "list"), bare.URL, "https://staging.example.com:6443"))
		Expect(p.types(ctx, "status", "x")).To(ContainSubstring("install the operator"))
	})

	It("learns that the cluster cannot be reached, or is none", func(ctx SpecContext) {
		gone := httptest.NewServer(http.NotFoundHandler())
		gone.Close()
		p := newPerson(clocktesting.NewFakeClock(noon()), "")
		file := writeKubeconfig(GinkgoT().TempDir(), gone.URL, server.Config)
		p.flags.KubeConfig = &file
		Expect(p.types(ctx, "list")).To(And(ContainSubstring(`the cluster of context "production"`), ContainSubstring("cannot be reached"), ContainSubstring("exit code 1")))
		none := GinkgoT().TempDir() + "/none"
		p = newPerson(clocktesting.NewFakeClock(noon()), "")
		p.flags.KubeConfig = &none
		Expect(p.types(ctx, "list")).To(ContainSubstring("kubeconfig"))
	})
})

var _ = Describe("a person who steers", func() {
	It("suspends and resumes, and hears of Argo CD", func(ctx SpecContext) {
		w := newWorld(ctx)
		for _, p := range pictures() {
			if p.name == "nightly" || p.name == "up42-token" {
				p.hang(ctx, w.Namespace)
			}
		}
		suspended := func(name string) bool {
			pt := &v1alpha1.ProviderToken{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: name}, pt)).To(Succeed())
			return pt.Spec.Suspend
		}
		p := w.person("")
		text := p.types(ctx, "resume", "nightly")
		Expect(suspended("nightly")).To(BeFalse())
		text += p.types(ctx, "suspend", "nightly", "up42-token")
		Expect(suspended("nightly") && suspended("up42-token")).To(BeTrue())
		text += p.types(ctx, "suspend", "nightly")
		golden(GinkgoT(), "suspend.txt", w.plain(text))
		Expect(p.types(ctx, "refresh", "nightly")).To(And(ContainSubstring("resume nightly"), ContainSubstring("exit code 3")))
		Expect(p.types(ctx, "thaw", "nightly")).To(ContainSubstring("is suspended"))
		Expect(p.types(ctx, "resume", "--all")).To(ContainSubstring("resumed"))
		Expect(suspended("up42-token")).To(BeFalse())
		Expect(p.types(ctx, "status", "up42-token")).To(ContainSubstring("the operator looks at the present spec, which it has not done yet"))
	})
})
