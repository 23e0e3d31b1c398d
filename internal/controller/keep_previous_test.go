package controller_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/target"
	testworld "github.com/providertoken/operator/test/world"
)

// keeping makes a ProviderToken of the generic provider with keepPrevious, and waits for its token.
func (w *world) keeping(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
	pt := w.Wanted("generic")
	pt.Spec.Target = &v1alpha1.Target{KeepPrevious: true}
	w.Create(ctx, pt)
	w.Ready(ctx, pt)
	return pt
}

// pair is a token and its expiry, as keys of a Secret say it.
type pair struct{ token, expires string }

// now is what the target holds now.
func (w *world) now(ctx context.Context, pt *v1alpha1.ProviderToken) pair {
	return w.pair(ctx, pt, target.TokenKey, target.ExpiresAtKey)
}

// previous is what the target keeps now.
func (w *world) previous(ctx context.Context, pt *v1alpha1.ProviderToken) pair {
	return w.pair(ctx, pt, target.PreviousTokenKey, target.PreviousExpiresAtKey)
}

func (w *world) pair(ctx context.Context, pt *v1alpha1.ProviderToken, token, expires string) pair {
	s := w.Secret(ctx, pt)
	if s == nil {
		return pair{"no Secret", ""}
	}
	return pair{string(s.Data[token]), string(s.Data[expires])}
}

// expiry is the instant that p says.
func (p pair) expiry() time.Time {
	GinkgoHelper()
	at, err := time.Parse(time.RFC3339, p.expires)
	Expect(err).NotTo(HaveOccurred())
	return at
}

var _ = Describe("the previous token", func() {
	none := pair{}
	keeps := func(ctx context.Context, w *world, pt *v1alpha1.ProviderToken, want pair) {
		GinkgoHelper()
		Eventually(func() pair { return w.previous(ctx, pt) }).WithPolling(10 * time.Millisecond).Should(Equal(want))
	}

	It("is kept until the next refresh, by the write that brings the new one", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keeping(ctx)
		Expect(w.previous(ctx, pt)).To(Equal(none))
		for range 2 {
			w.Settle(ctx, pt)
			replaced, sent := w.now(ctx, pt), w.Sent()
			w.StepToRefresh(ctx, pt)
			Expect(w.previous(ctx, pt)).To(Equal(replaced))
			Expect(w.Sim.Generic.Accepts(replaced.token)).To(BeTrue())
			w.Settle(ctx, pt)
			Expect(w.Sent().Since(sent)["PUT secrets"]).To(Equal(1))
			w.Clock.SetTime(replaced.expiry()) // which comes before the next refresh
			keeps(ctx, w, pt, none)
		}
	})

	It("is put back with the rest, also by an operator that just started", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		pt := w.keeping(ctx)
		first := w.now(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		second := w.now(ctx, pt)

		s := w.Secret(ctx, pt)
		s.Data[target.PreviousTokenKey] = []byte("forged")
		Expect(k8s.Update(ctx, s)).To(Succeed())
		keeps(ctx, w, pt, first)

		By("an operator that knows it from the Secret only")
		stop()
		var lost v1alpha1.ProviderToken
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &lost)).To(Succeed())
		lost.Status = v1alpha1.ProviderTokenStatus{}
		Expect(k8s.Status().Update(ctx, &lost)).To(Succeed())
		w.Operator()
		w.Ready(ctx, pt) // it has seen the Secret
		Expect(w.previous(ctx, pt)).To(Equal(first))
		Expect(k8s.Delete(ctx, w.Secret(ctx, pt))).To(Succeed())
		keeps(ctx, w, pt, first)
		Expect(w.now(ctx, pt)).To(Equal(second))
		Expect(w.Sim.Generic.Issued()).To(Equal(2))

		By("an operator that refreshes first of all")
		w.StepToRefresh(ctx, pt)
		Expect(w.previous(ctx, pt)).To(Equal(second))
	})

	It("is removed when it expires, by one write and without a mint, also while suspended", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		pt := w.keeping(ctx)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Suspend = true })
		w.Ready(ctx, pt)
		kept, token, sent := w.previous(ctx, pt), w.Token(ctx, pt), w.Sent()
		Expect(kept).NotTo(Equal(none))

		w.Clock.SetTime(kept.expiry().Add(-time.Second))
		testworld.StaysFor(quiet, func() pair { return w.previous(ctx, pt) }, kept)
		w.Clock.Step(time.Second)
		keeps(ctx, w, pt, none)
		Expect(w.Token(ctx, pt)).To(Equal(token))
		Expect(w.Condition(ctx, pt, v1alpha1.ReadyCondition).Status).To(Equal(metav1.ConditionTrue))
		Expect(w.Sim.Generic.Issued()).To(Equal(2))
		Expect(w.Sent().Since(sent)["PUT secrets"]).To(Equal(1))

		By("also when that happened while no operator ran")
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Suspend = false })
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		kept = w.previous(ctx, pt)
		stop()
		w.Clock.SetTime(kept.expiry())
		w.Operator()
		keeps(ctx, w, pt, none)
		Expect(w.Sim.Generic.Issued()).To(Equal(3))
	})

	It("is not kept when it has expired before it was replaced", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keeping(ctx)
		w.Settle(ctx, pt)
		old := w.now(ctx, pt)
		w.Clock.SetTime(old.expiry())
		Eventually(func() string { return w.Token(ctx, pt) }).WithPolling(10 * time.Millisecond).ShouldNot(Equal(old.token))
		Expect(w.previous(ctx, pt)).To(Equal(none))
	})

	It("is not kept for another spec", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keeping(ctx)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		old := w.Token(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Scopes = []v1alpha1.Scope{"b"} })
		Eventually(func() string { return w.Token(ctx, pt) }).WithPolling(10 * time.Millisecond).ShouldNot(Equal(old))
		Expect(w.previous(ctx, pt)).To(Equal(none))
	})

	It("is never the current one, where the provider hands out the same token again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keeping(ctx)
		first := w.now(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		second := w.now(ctx, pt)

		w.Sim.Generic.Next(providersim.JSON(200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":600}`, second.token)))
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "again"}
		})
		Eventually(func() pair { return w.now(ctx, pt) }).WithPolling(10 * time.Millisecond).ShouldNot(Equal(second))
		Expect(w.now(ctx, pt).token).To(Equal(second.token))
		Expect(w.previous(ctx, pt)).To(Equal(first))
	})

	It("goes when it is not wanted any more, and comes with the next refresh when it is, without a mint", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keeping(ctx)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		token := w.Token(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Target = nil })
		keeps(ctx, w, pt, none)
		Expect(w.Token(ctx, pt)).To(Equal(token))

		w.Ready(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Target = &v1alpha1.Target{KeepPrevious: true} })
		w.Ready(ctx, pt)
		testworld.StaysFor(quiet, func() pair { return w.previous(ctx, pt) }, none)
		Expect(w.Sim.Generic.Issued()).To(Equal(2))

		replaced := w.now(ctx, pt)
		w.StepToRefresh(ctx, pt)
		Expect(w.previous(ctx, pt)).To(Equal(replaced))
	})
})
