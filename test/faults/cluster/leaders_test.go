package cluster_test

import (
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// pair starts two operators that compete for a lease, in shortened times, each with its
// own way to the API server. The first one leads.
func (w *faulty) pair() (leader, standby *testworld.Instance, first, second *board) {
	GinkgoHelper()
	w.Election = &testworld.Election{Lease: 3 * time.Second, Renew: 2 * time.Second, Retry: 250 * time.Millisecond}
	first, second = &board{}, &board{}
	w.Faults = first.wrap
	leader = w.Start()
	Eventually(leader.Elected).Should(BeClosed())
	w.Faults = second.wrap
	standby = w.Start()
	return leader, standby, first, second
}

// succeeds waits until the standby leads, which must not be before the leader has ended.
func succeeds(leader, standby *testworld.Instance) time.Duration {
	GinkgoHelper()
	began := time.Now()
	Eventually(standby.Elected).WithPolling(5 * time.Millisecond).Should(BeClosed())
	return time.Since(began)
}

var _ = Describe("a leader that loses its lease", func() {
	It("while a token is on its way stops before the other one begins, and writes nothing any more", func(ctx SpecContext) {
		w := newWorld(ctx)
		leader, standby, first, _ := w.pair()
		w.generic(ctx)
		pt := w.Create(ctx, w.named("one"))
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		old := w.Token(ctx, pt)
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.Generic.Next(providersim.HoldAnswer(gate))
		w.due(ctx, pt)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		Consistently(standby.Elected).WithTimeout(quiet).ShouldNot(BeClosed())

		first.on(ofLease, refuses(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "no", 0))
		took := succeeds(leader, standby)
		Expect(leader.Ended).To(BeClosed(), "the leader ends before the standby leads")
		tell("taken over", took.Round(100*time.Millisecond).String()+" after the first renewal failed, with a lease of 3 s")
		w.changes(ctx, pt, w.Sim.Generic.Host, old)
		w.Settle(ctx, pt)
		now := w.Token(ctx, pt)
		first.on(everything, breaks)
		gate.Release()
		testworld.StaysFor(quiet, func() string { return w.Token(ctx, pt) }, now)
		Expect(first.requests()).To(BeEmpty(), "requests of the one that does not lead")
		Expect(w.Sim.Generic.Issued()).To(Equal(3), "the first, the one in flight, and that of the new leader")
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.Generic.Issued()).To(Equal(4))
	}, SpecTimeout(3*time.Minute))

	It("while a refresh token is used that works once stores what comes back, and the other one waits for that", func(ctx SpecContext) {
		w := newWorld(ctx)
		leader, standby, first, _ := w.pair()
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		old := w.Token(ctx, pt)
		used := func() int { return w.Sim.UP42.Count(providersim.KindRefreshToken) }
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.UP42.NextOf(providersim.KindRefreshToken, providersim.HoldAnswer(gate))
		w.due(ctx, pt)
		Expect(gate.Await(ctx, 1)).To(Succeed())

		By("the API server out of the leader's reach, for longer than its lease")
		first.on(everything, breaks)
		took := succeeds(leader, standby)
		tell("taken over", took.Round(100*time.Millisecond).String())
		gate.Release()
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonRefreshOutcomeUnknown)
		tell("the standby waits", w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message)
		testworld.StaysFor(quiet, used, 2)
		Expect(leader.Ended).NotTo(BeClosed(), "what came back is not stored yet")

		By("the API server in reach again")
		first.clear()
		Eventually(leader.Ended).Should(BeClosed())
		Expect(used()).To(Equal(2))
		Expect(w.Token(ctx, pt)).To(Equal(old), "whoever does not lead publishes nothing")
		w.Clock.SetTime(w.said(ctx, pt, v1alpha1.ExpiresAtAnnotation).Add(-time.Minute))
		w.changes(ctx, pt, w.Sim.UP42.Host, old)
		w.Ready(ctx, pt)
		Expect(used()).To(Equal(3), "one use each of three refresh tokens")
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.UP42.Accepts(w.Token(ctx, pt))).To(BeTrue())
	}, SpecTimeout(3*time.Minute))
})
