package processes_test

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
)

const first = "providertoken-manager"

var _ = Describe("real operators", Ordered, func() {
	var n *node

	BeforeAll(func(ctx SpecContext) {
		shell(ctx, "kubectl apply --server-side -k config/default")
		n = newNode(ctx)
		shell(ctx, "kubectl -n providertoken-system rollout status deployment/providertoken-manager --timeout=1m")
		Eventually(func() *process { return n.leader(first) }).WithTimeout(soon).WithPolling(poll).ShouldNot(BeNil())
	})

	It("relieve each other within two seconds, and publish what is on its way before", func(ctx SpecContext) {
		f := newFleet(ctx)
		pt := f.add(ctx, "one", "maps")
		f.awaits("one", "")
		old := f.current("one")
		leader := n.leader(first)
		var standby *process
		for _, p := range n.of(first) {
			if p != leader {
				standby = p
			}
		}
		held := holder(ctx)
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		f.sim.Generic.Next(providersim.HoldAnswer(gate))
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"now"}}}`, v1alpha1.RefreshRequestedAtAnnotation))
		Expect(server.Client.Patch(ctx, pt, patch)).To(Succeed())
		Expect(gate.Await(ctx, 1)).To(Succeed())

		Expect(leader.cmd.Process.Signal(syscall.SIGTERM)).To(Succeed())
		Eventually(func() bool { return leader.log.has("Shutdown signal received") }).WithTimeout(soon).WithPolling(poll).Should(BeTrue())
		Consistently(standby.leads).WithTimeout(1500*time.Millisecond).WithPolling(poll).Should(BeFalse(), "the leader has not ended")
		gate.Release()
		Eventually(leader.over).WithTimeout(soon).Should(BeClosed())
		Expect(leader.err).NotTo(HaveOccurred())
		Expect(holder(ctx)).NotTo(Equal(held), "whoever ends in good order releases the Lease")
		released := time.Now()
		f.awaits("one", old)
		Eventually(standby.leads).WithTimeout(soon).WithPolling(poll).Should(BeTrue())
		AddReportEntry("seconds from the leader's end until the standby leads", time.Since(released).Seconds())
		n.forget(first, leader)
		Expect(f.sim.Generic.Issued()).To(Equal(2), "the first, and the one that was on its way")
		now := f.current("one")
		patch = client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"again"}}}`, v1alpha1.RefreshRequestedAtAnnotation))
		Expect(server.Client.Patch(ctx, pt, patch)).To(Succeed())
		f.awaits("one", now)
		Expect(f.sim.Generic.Issued()).To(Equal(3))
	}, SpecTimeout(2*time.Minute))

	It("are split and joined by the commands of docs/scaling.md: 0 extra mints, 0 expired seconds", func(ctx SpecContext) {
		f := newFleet(ctx)
		const size = 12
		for i := range size {
			f.add(ctx, fmt.Sprintf("token-%d", i), []string{"maps", "weather"}[i%2])
		}
		for i := range size {
			f.awaits(fmt.Sprintf("token-%d", i), "")
		}
		Eventually(func() []string { return servedBy(ctx, f.namespace) }).WithTimeout(soon).WithPolling(poll).Should(HaveEach("providertoken-system/providertoken-operator"))
		run := func(mark string) {
			for _, commands := range documented(mark) {
				By(strings.TrimSpace(commands))
				began := time.Now()
				out := shell(ctx, commands)
				AddReportEntry(fmt.Sprintf("%.1f s", time.Since(began).Seconds()), commands+out)
			}
		}
		run("split")
		Expect(servedBy(ctx, f.namespace)).To(ConsistOf(half(size/2, "providertoken-operator", "providertoken-operator-shard-b")))
		// Until the tokens were replaced by whoever serves them now.
		Eventually(func() int { return f.audit().refreshed }).WithTimeout(2 * lifetime).WithPolling(poll).Should(BeNumerically(">=", size))
		run("join")
		Expect(servedBy(ctx, f.namespace)).To(ConsistOf(half(size/2, "providertoken-operator", "providertoken-operator")))
		b := f.balanced()
		AddReportEntry("books", fmt.Sprintf("%+v", b))
		Expect(b.early).To(BeEmpty(), "replaced before they were due")
		Expect(b.late).To(BeEmpty(), "replaced after they had expired")
		Eventually(func() []*process { return n.of("providertoken-manager-b") }).WithTimeout(soon).WithPolling(poll).Should(BeEmpty())
	}, SpecTimeout(3*time.Minute))
})
