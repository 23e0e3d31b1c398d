package controller_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// quiet is how long to look for something that must not happen; real time.
const quiet = 400 * time.Millisecond

// turnstile holds up those who pass while it is shut.
type turnstile struct {
	mu           sync.Mutex
	opened       chan struct{}
	held, passed int
}

func newTurnstile() *turnstile {
	t := &turnstile{opened: make(chan struct{})}
	close(t.opened)
	return t
}

func (t *turnstile) shut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opened, t.passed = make(chan struct{}), 0
}

func (t *turnstile) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.opened)
}

func (t *turnstile) pass(ctx context.Context) {
	t.mu.Lock()
	opened := t.opened
	t.held++
	t.mu.Unlock()
	select {
	case <-opened:
	case <-ctx.Done():
	}
	t.mu.Lock()
	t.held--
	t.mu.Unlock()
}

func (t *turnstile) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed++
}

func (t *turnstile) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

func (t *turnstile) ended() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.passed
}

// heldExchanger waits at a turnstile before each exchange.
type heldExchanger struct {
	next controller.Exchanger
	at   *turnstile
}

func (x heldExchanger) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	x.at.pass(ctx)
	defer x.at.end()
	return x.next.Do(ctx, req, trust)
}

var _ = Describe("a token that is valid", func() {
	It("is not minted again by a restart, nor when status was lost meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		token := w.Token(ctx, pt)
		stop()

		lost := &v1alpha1.ProviderToken{}
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), lost)).To(Succeed())
		lost.Status = v1alpha1.ProviderTokenStatus{}
		Expect(k8s.Status().Update(ctx, lost)).To(Succeed())

		w.Clock.Step(10 * time.Minute)
		w.Operator()
		w.Ready(ctx, pt)
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)
		Expect(w.Token(ctx, pt)).To(Equal(token))

		By("being refreshed when it was due all along")
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
	})

	It("is back soon after its Secret was deleted, without another mint", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		token := w.Token(ctx, pt)

		Expect(k8s.Delete(ctx, w.Secret(ctx, pt))).To(Succeed())
		Eventually(func() string { return w.Token(ctx, pt) }).WithPolling(10 * time.Millisecond).Should(Equal(token))
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)
	})

	DescribeTable("is put back when its Secret was edited", func(ctx SpecContext, edit func(*corev1.Secret)) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		before := w.Secret(ctx, pt)

		edited := before.DeepCopy()
		edit(edited)
		Expect(k8s.Update(ctx, edited)).To(Succeed())
		Eventually(func(g Gomega) {
			now := w.Secret(ctx, pt)
			g.Expect(now.Data).To(Equal(before.Data))
			g.Expect(now.Annotations).To(Equal(before.Annotations))
			g.Expect(now.Labels).To(Equal(before.Labels))
			g.Expect(now.OwnerReferences).To(Equal(before.OwnerReferences))
		}).WithPolling(10 * time.Millisecond).Should(Succeed())
		Expect(w.Sim.PlantPredict.Calls()).To(HaveLen(1))
	},
		Entry("in its token", func(s *corev1.Secret) { s.Data["token"] = []byte("garbage") }),
		Entry("by another key", func(s *corev1.Secret) { s.Data["extra"] = []byte("x") }),
		Entry("by losing a key", func(s *corev1.Secret) { delete(s.Data, "authorization") }),
		Entry("in its expiry", func(s *corev1.Secret) { s.Annotations[v1alpha1.ExpiresAtAnnotation] = "2099-01-01T00:00:00Z" }),
		Entry("by losing the label that the watch selects", func(s *corev1.Secret) { delete(s.Labels, v1alpha1.TargetLabel) }),
		Entry("by losing its owner reference", func(s *corev1.Secret) { s.OwnerReferences = nil }),
	)

	DescribeTable("survives what a provider answers, and Ready with it", func(ctx SpecContext, script providersim.Script, reason string) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		got := w.Ready(ctx, pt)
		token := w.Token(ctx, pt)
		transition := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ReadyCondition).LastTransitionTime
		w.Settle(ctx, pt)

		w.Sim.PlantPredict.Always(script)
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, reason)
		Expect(w.Token(ctx, pt)).To(Equal(token))
		now := w.Condition(ctx, pt, v1alpha1.ReadyCondition)
		Expect(now.Status).To(Equal(metav1.ConditionTrue))
		Expect(now.LastTransitionTime).To(Equal(transition))
		Expect(w.Condition(ctx, pt, v1alpha1.StalledCondition)).To(BeNil())
		Expect(w.Condition(ctx, pt, v1alpha1.ReconcilingCondition)).To(BeNil())
		Expect(w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message).To(ContainSubstring("works until " + got.Status.Token.ExpiresAt.UTC().Format(time.RFC3339)))

		By("turning unready at the moment of expiry, and not before")
		w.Clock.SetTime(got.Status.Token.ExpiresAt.Add(-time.Second))
		testworld.StaysFor(quiet, func() metav1.ConditionStatus { return w.Condition(ctx, pt, v1alpha1.ReadyCondition).Status }, metav1.ConditionTrue)
		w.Clock.Step(time.Second)
		w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)

		By("recovering by itself")
		w.Sim.PlantPredict.Clear()
		Eventually(func() bool {
			w.Clock.Step(time.Minute)
			return w.Sim.PlantPredict.Accepts(w.Token(ctx, pt))
		}).WithPolling(50 * time.Millisecond).Should(BeTrue())
		w.Ready(ctx, pt)
	},
		Entry("garbage with status 200", providersim.Garbage200(), v1alpha1.ReasonProviderUnavailable),
		Entry("nothing with status 200", providersim.Empty200(), v1alpha1.ReasonProviderUnavailable),
		Entry("a page with status 200", providersim.HTML(200), v1alpha1.ReasonProviderUnavailable),
		Entry("an error of its own", providersim.Status(503), v1alpha1.ReasonProviderUnavailable),
		Entry("a cut connection", providersim.CutOff(), v1alpha1.ReasonProviderUnavailable),
		Entry("a token of null", providersim.JSON(200, `{"access_token":null,"expires_in":3600}`), v1alpha1.ReasonProviderUnavailable),
		Entry("too many requests", providersim.Status(429, providersim.RetryAfter("30")), v1alpha1.ReasonThrottled),
		Entry("a redirect", providersim.Redirect("https://127.0.0.1:1/"), v1alpha1.ReasonProviderMisconfigured),
	)

	It("is replaced within a minute after a long outage", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		got := w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		w.Sim.PlantPredict.Always(providersim.Status(502))
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		for range 40 { // each step lets one attempt or more fail
			calls := len(w.Sim.PlantPredict.Calls())
			Eventually(func() int {
				w.Clock.Step(30 * time.Second)
				return len(w.Sim.PlantPredict.Calls())
			}).WithPolling(20 * time.Millisecond).Should(BeNumerically(">", calls))
		}
		w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)

		w.Sim.PlantPredict.Clear()
		w.Clock.Step(time.Minute)
		w.Ready(ctx, pt)
	})

	It("keeps saying what is wrong across a restart", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		pt := w.PlantPredict(ctx)
		got := w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		w.Sim.PlantPredict.Always(providersim.Status(503))
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable)
		stop()
		before := w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition)

		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.PlantPredict.Always(providersim.Hold(gate))
		w.Operator()
		Expect(gate.Await(ctx, 1)).To(Succeed())
		testworld.StaysFor(quiet, func() *metav1.Condition { return w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition) }, before)
	}, SpecTimeout(3*time.Minute))

	It("turns unready at its expiry while suspended, and is repaired until then", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		got := w.Ready(ctx, pt)
		token := w.Token(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Suspend = true })
		w.Ready(ctx, pt)

		Expect(k8s.Delete(ctx, w.Secret(ctx, pt))).To(Succeed())
		Eventually(func() string { return w.Token(ctx, pt) }).Should(Equal(token))
		w.Settle(ctx, pt)
		w.Clock.SetTime(got.Status.Token.ExpiresAt.Time)
		w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		Expect(w.Sim.PlantPredict.Calls()).To(HaveLen(1))

		By("being replaced once it is resumed")
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Suspend = false })
		w.Ready(ctx, pt)
	})

	It("is not minted again by annotations and labels, and once by each refresh request", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		annotate := func(key, value string) {
			GinkgoHelper()
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q},"labels":{"churn":%q}}}`, key, value, value)
			Expect(k8s.Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: pt.ObjectMeta}, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
		}
		for i := range 20 {
			annotate("example.com/churn", fmt.Sprint(i))
		}
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)

		annotate(v1alpha1.RefreshRequestedAtAnnotation, "one")
		Eventually(w.Sim.PlantPredict.Issued).Should(Equal(2))
		Eventually(func() string { return w.Secret(ctx, pt).Annotations[v1alpha1.RefreshHandledAnnotation] }).Should(Equal("one"))
		Eventually(func(g Gomega) {
			var got v1alpha1.ProviderToken
			g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
			g.Expect(got.Status.RefreshHandled).To(Equal("one"))
		}).Should(Succeed())
		annotate("example.com/churn", "more")
		testworld.StaysFor(quiet, w.Sim.PlantPredict.Issued, 2)

		By("using the request up on a definite failure")
		w.Clock.Step(time.Second) // the catalog allows PlantPredict two exchanges a second
		w.Sim.PlantPredict.Always(providersim.JSON(400, `{"error":"unauthorized_client"}`))
		annotate(v1alpha1.RefreshRequestedAtAnnotation, "two")
		Eventually(func(g Gomega) {
			var got v1alpha1.ProviderToken
			g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
			g.Expect(got.Status.RefreshHandled).To(Equal("two"))
		}).Should(Succeed())
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 3)
		w.Ready(ctx, pt)
	})

	It("is not minted twice while the watch of its Secret lags behind", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Gate = testworld.NewWatchGate(testworld.TargetWatch)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Gate.Shut()
		DeferCleanup(w.Gate.Open)
		w.StepToRefresh(ctx, pt) // by now the cache is a whole token behind
		w.Settle(ctx, pt)
		poke := func(i int) {
			w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
				pt.Spec.Refresh = &v1alpha1.RefreshPolicy{MinimumLead: &metav1.Duration{Duration: time.Duration(120+i) * time.Second}}
			})
			w.Ready(ctx, pt)
		}
		for i := range 5 {
			poke(i + 1)
		}
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
		w.Gate.Open()
		w.Gate.Shut()
		testworld.StaysFor(quiet, w.Sim.PlantPredict.Issued, 2)
		w.Ready(ctx, pt)
	})

	It("is not minted twice when the answer comes while a reconcile is still busy", func(ctx SpecContext) {
		w := newWorld(ctx)
		exchanges, writes := newTurnstile(), newTurnstile()
		w.Around = func(next controller.Exchanger) controller.Exchanger { return heldExchanger{next, exchanges} }
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/secrets/plantpredict") {
					writes.pass(r.Context())
				}
				return next.RoundTrip(r)
			})
		}
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Settle(ctx, pt)

		exchanges.shut()
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		Eventually(exchanges.waiting).Should(Equal(1))
		By("repairing the target while the answer is awaited")
		writes.shut()
		edited := w.Secret(ctx, pt)
		edited.Data["extra"] = []byte("x")
		Expect(k8s.Update(ctx, edited)).To(Succeed())
		Eventually(writes.waiting).Should(Equal(1))
		exchanges.open()
		Eventually(exchanges.ended).Should(Equal(1))
		writes.open()
		Eventually(func() bool { return w.Sim.PlantPredict.Accepts(w.Token(ctx, pt)) }).Should(BeTrue())
		w.Settle(ctx, pt)
		testworld.StaysFor(quiet, w.Sim.PlantPredict.Issued, 2)
	})

	It("is adopted after a restore, with no mint", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		backup, secret := w.Wanted("plantpredict"), w.Secret(ctx, pt)
		stop()

		// What a backup tool puts back: new UIDs, no owner references, no status.
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		Expect(k8s.Delete(ctx, secret)).To(Succeed())
		secret.ObjectMeta = metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations}
		Expect(k8s.Create(ctx, secret)).To(Succeed())
		w.Create(ctx, backup)

		w.Operator()
		w.Ready(ctx, backup)
		Eventually(func(g Gomega) {
			refs := w.Secret(ctx, backup).OwnerReferences
			g.Expect(refs).To(HaveLen(1))
			g.Expect(refs[0].UID).To(Equal(backup.UID))
		}).Should(Succeed())
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)
	})

	DescribeTable("is kept when its ProviderToken is deleted with --cascade=orphan, however late the operator learns of it",
		func(ctx SpecContext, meanwhile func(SpecContext, *world, *v1alpha1.ProviderToken)) {
			w := newWorld(ctx)
			w.Gate = testworld.NewWatchGate(testworld.TokenWatch)
			w.Operator()
			pt := w.PlantPredict(ctx)
			w.Ready(ctx, pt)
			w.Settle(ctx, pt)
			w.Gate.Shut()
			open := sync.OnceFunc(w.Gate.Open)
			DeferCleanup(open)

			Expect(k8s.Delete(ctx, pt, client.PropagationPolicy(metav1.DeletePropagationOrphan))).To(Succeed())
			// The garbage collector's part, which does not run here.
			s := w.Secret(ctx, pt)
			s.OwnerReferences = nil
			Expect(k8s.Update(ctx, s)).To(Succeed())
			meanwhile(ctx, w, pt)
			testworld.StaysFor(quiet, func() int { return len(w.Secret(ctx, pt).OwnerReferences) }, 0)
			w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Finalizers = nil })
			testworld.StaysFor(quiet, func() int { return len(w.Secret(ctx, pt).OwnerReferences) }, 0)
			open()
			testworld.StaysFor(quiet, func() int { return len(w.Secret(ctx, pt).OwnerReferences) }, 0)
			Expect(w.Sim.PlantPredict.Accepts(w.Token(ctx, pt))).To(BeTrue())
		},
		Entry("while nothing else happens", func(SpecContext, *world, *v1alpha1.ProviderToken) {}),
		Entry("while it is being refreshed", func(ctx SpecContext, w *world, pt *v1alpha1.ProviderToken) {
			var got v1alpha1.ProviderToken
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
			w.Clock.SetTime(got.Status.RefreshAt.Time)
			Eventually(w.Sim.PlantPredict.Issued).Should(Equal(2))
		}),
	)

	It("is kept when its ProviderToken is deleted and created again within a second", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		again := w.Create(ctx, w.Wanted("plantpredict"))
		w.Ready(ctx, again)
		Eventually(func() any { return w.Secret(ctx, again).OwnerReferences[0].UID }).Should(Equal(again.UID))
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)

		By("also when the garbage collector then takes the Secret of the former one")
		Expect(k8s.Delete(ctx, w.Secret(ctx, again))).To(Succeed())
		Eventually(func() bool { return w.Sim.PlantPredict.Accepts(w.Token(ctx, again)) }).Should(BeTrue())
		Expect(w.Sim.PlantPredict.Calls()).To(HaveLen(1))
	})

	It("is replaced at once when the spec changes, and at the next refresh when the provider or the credentials do", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		pt := w.Create(ctx, w.Wanted("generic"))
		w.Ready(ctx, pt)

		var ctp v1alpha1.ClusterTokenProvider
		Expect(k8s.Get(ctx, client.ObjectKey{Name: w.Cluster("generic")}, &ctp)).To(Succeed())
		ctp.Spec.Scopes = []v1alpha1.Scope{"a"}
		Expect(k8s.Update(ctx, &ctp)).To(Succeed())
		var s corev1.Secret
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "generic-login"}, &s)).To(Succeed())
		w.Sim.Generic.SetCredentials("another", "secret")
		s.Data["client_id"], s.Data["client_secret"] = []byte("another"), []byte("secret")
		Expect(k8s.Update(ctx, &s)).To(Succeed())
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 1)

		w.Ready(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Scopes = []v1alpha1.Scope{"b"} })
		Eventually(w.Sim.Generic.Issued).Should(Equal(2))
		calls := w.Sim.Generic.Calls()
		Expect(calls[1].Form.Get("scope")).To(Equal("b"))
		w.Ready(ctx, pt)
	})
})

var _ = Describe("a target", func() {
	It("is let go of, and taken hold of again, as the deletion policy changes", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		owners := func() int { return len(w.Secret(ctx, pt).OwnerReferences) }
		Expect(owners()).To(Equal(1))
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Spec.Target = &v1alpha1.Target{DeletionPolicy: v1alpha1.RetainTarget}
		})
		Eventually(owners).Should(BeZero())
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Target = nil })
		Eventually(owners).Should(Equal(1))
		Expect(w.Sim.PlantPredict.Calls()).To(HaveLen(1))
	})

	It("that is foreign is never touched, and found before the provider is asked", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		foreign := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "plantpredict"},
			StringData: map[string]string{"token": "token-of-a-stranger-71c4"},
		}
		Expect(k8s.Create(ctx, foreign)).To(Succeed())
		pt := w.PlantPredict(ctx)
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonTargetConflict)
		testworld.StaysFor(quiet, func() string { return w.Secret(ctx, pt).ResourceVersion }, foreign.ResourceVersion)
		Expect(w.Sim.PlantPredict.Calls()).To(BeEmpty())

		By("being taken up by itself once it is gone")
		Expect(k8s.Delete(ctx, foreign)).To(Succeed())
		w.Clock.Step(31 * time.Second)
		w.Ready(ctx, pt)
	})

	It("that is immutable is found before the provider is asked", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		got := w.Ready(ctx, pt)
		s := w.Secret(ctx, pt)
		immutable := true
		s.Immutable = &immutable
		Expect(k8s.Update(ctx, s)).To(Succeed())
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetImmutable)
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)
		w.Ready(ctx, pt) // the token in it still works
	})

	It("that a quota forbids is found before the provider is asked", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Credentials(ctx, "plantpredict", map[string]string{
			"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
		})
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "no-more-secrets"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": *resourceQuantity("0")}},
		}
		Expect(k8s.Create(ctx, quota)).To(Succeed())
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"count/secrets": *resourceQuantity("1")}}
		Expect(k8s.Status().Update(ctx, quota)).To(Succeed())

		w.Operator()
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetRefused)
		Expect(w.Sim.PlantPredict.Calls()).To(BeEmpty())

		By("being written once the quota is gone")
		Expect(k8s.Delete(ctx, quota)).To(Succeed())
		Eventually(func() bool {
			w.Clock.Step(time.Minute)
			return w.Sim.PlantPredict.Accepts(w.Token(ctx, pt))
		}).WithPolling(100 * time.Millisecond).Should(BeTrue())
	})

	It("that two ProviderTokens want belongs to the first", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		first := w.PlantPredict(ctx)
		w.Ready(ctx, first)
		second := w.Wanted("plantpredict")
		second.Name = "second"
		second.Spec.Target = &v1alpha1.Target{SecretName: "plantpredict"}
		w.Create(ctx, second)
		got := w.Becomes(ctx, second, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		Expect(meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ReadyCondition).Message).To(ContainSubstring(w.Namespace + "/plantpredict"))
		w.StepToRefresh(ctx, first)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
		Expect(w.Secret(ctx, first).Annotations[v1alpha1.OwnerAnnotation]).To(Equal(w.Namespace + "/plantpredict"))

		By("passing on when the first goes and takes the Secret with it")
		Expect(k8s.Delete(ctx, first)).To(Succeed())
		Eventually(func(g Gomega) {
			// The garbage collector's part, which does not run here; it may come before
			// the operator knows that the first is gone.
			if held := w.Secret(ctx, first); held != nil && held.OwnerReferences[0].UID == first.UID {
				g.Expect(client.IgnoreNotFound(k8s.Delete(ctx, held))).To(Succeed())
			}
			w.Clock.Step(31 * time.Second)
			g.Expect(w.Condition(ctx, second, v1alpha1.ReadyCondition).Status).To(Equal(metav1.ConditionTrue))
		}).WithPolling(50 * time.Millisecond).Should(Succeed())
		Expect(w.Secret(ctx, second).Annotations[v1alpha1.OwnerAnnotation]).To(Equal(w.Namespace + "/second"))
	})

	It("has the form, the metadata and the life that the spec asks for", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "plantpredict", map[string]string{
			"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
		})
		pt := w.Wanted("plantpredict")
		pt.Spec.Target = &v1alpha1.Target{
			SecretName:       "pull",
			Format:           v1alpha1.DockerConfigJSONFormat,
			DockerConfigJSON: &v1alpha1.DockerConfigJSONTarget{Registry: "registry.example.com"},
			DeletionPolicy:   v1alpha1.RetainTarget,
			Template: &v1alpha1.SecretTemplate{
				Metadata: &v1alpha1.TemplateMetadata{Labels: map[string]v1alpha1.LabelValue{"team": "a"}},
				Data:     map[string]v1alpha1.TemplateText{"curl.cfg": `header = "{{ .authorization }}"`},
			},
		}
		w.Create(ctx, pt)
		w.Ready(ctx, pt)
		s := w.Secret(ctx, pt)
		Expect(s.Type).To(Equal(corev1.SecretTypeDockerConfigJson))
		Expect(s.OwnerReferences).To(BeEmpty())
		Expect(s.Labels).To(HaveKeyWithValue("team", "a"))
		Expect(string(s.Data["curl.cfg"])).To(Equal(`header = "Bearer ` + w.Token(ctx, pt) + `"`))

		By("following an edit of the template without a mint")
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Target.Template.Data["curl.cfg"] = `{{ .token }}` })
		Eventually(func() string { return string(w.Secret(ctx, pt).Data["curl.cfg"]) }).Should(Equal(w.Token(ctx, pt)))

		By("keeping the good content when the template breaks")
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Spec.Target.Template.Data["curl.cfg"] = `{{ range .scopes }}{{ end }}`
		})
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidTemplate)
		Expect(string(w.Secret(ctx, pt).Data["curl.cfg"])).To(Equal(w.Token(ctx, pt)))
		Expect(w.Sim.PlantPredict.Calls()).To(HaveLen(1))
	})
})

var _ = Describe("a shard", func() {
	It("is all that an operator works on, and what it leaves keeps its token", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Shard = labels.SelectorFromSet(labels.Set{"shard": "a"})
		stop := w.Operator()
		mine := w.Wanted("plantpredict")
		mine.Name, mine.Labels = "mine", map[string]string{"shard": "a"}
		w.Create(ctx, mine)
		other := w.PlantPredict(ctx)
		w.Ready(ctx, mine)
		testworld.StaysFor(quiet, func() bool { return w.Condition(ctx, other, v1alpha1.ReadyCondition) == nil }, true)

		stop()
		w.Edit(ctx, mine, func(pt *v1alpha1.ProviderToken) { pt.Labels = nil })
		token := w.Token(ctx, mine)
		w.Operator()
		w.Clock.Step(2 * time.Hour)
		testworld.StaysFor(quiet, func() string { return w.Token(ctx, mine) }, token)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(1))
	})
})

var _ = Describe("a ProviderToken whose other objects are not there yet", func() {
	It("becomes Ready soon after they are, without ever having been stalled", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		seen, stop := w.conditionsSeen(ctx)
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		w.Becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaitingForCredentials)
		w.Clock.Step(5 * time.Minute)
		w.Credentials(ctx, "plantpredict", map[string]string{
			"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
		})
		Eventually(func() bool { return w.Sim.PlantPredict.Accepts(w.Token(ctx, pt)) }).WithPolling(10 * time.Millisecond).Should(BeTrue())
		w.Ready(ctx, pt)
		stop()
		Expect(seen()).NotTo(ContainElement(v1alpha1.StalledCondition))
		Expect(seen()).To(ContainElement(v1alpha1.ReconcilingCondition))
	})

	It("is stalled after ten minutes, and says what to create", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		w.Becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaitingForCredentials)
		w.Clock.Step(10*time.Minute - 2*time.Second)
		testworld.StaysFor(quiet, func() bool { return w.Condition(ctx, pt, v1alpha1.StalledCondition) == nil }, true)
		w.Clock.Step(3 * time.Second)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCredentialsNotFound)
		message := w.Condition(ctx, pt, v1alpha1.StalledCondition).Message
		Expect(message).To(ContainSubstring("plantpredict-login"))
		Expect(message).To(ContainSubstring(v1alpha1.CredentialsForLabel))

		By("reading the same for a Secret that is bound to another provider")
		Expect(k8s.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: w.Namespace, Name: "plantpredict-login",
				Labels: map[string]string{v1alpha1.CredentialsForLabel: "UP42"},
			},
			StringData: map[string]string{"client_id": "x", "client_secret": "y"},
		})).To(Succeed())
		testworld.StaysFor(quiet, func() string { return w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message }, message)
	})

	It("waits for its provider as well", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		var ctp v1alpha1.ClusterTokenProvider
		Expect(k8s.Get(ctx, client.ObjectKey{Name: w.Cluster("plantpredict")}, &ctp)).To(Succeed())
		Expect(k8s.Delete(ctx, &ctp)).To(Succeed())
		pt := w.PlantPredict(ctx)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForProvider)
		Expect(k8s.Create(ctx, &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: ctp.Name}, Spec: ctp.Spec})).To(Succeed())
		w.Ready(ctx, pt)
	})
})

// conditionsSeen watches which condition types any ProviderToken of w ever had as true.
func (w *world) conditionsSeen(ctx context.Context) (seen func() []string, stop func()) {
	GinkgoHelper()
	watching, err := client.NewWithWatch(apiServer, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	stream, err := watching.Watch(ctx, &v1alpha1.ProviderTokenList{}, client.InNamespace(w.Namespace))
	Expect(err).NotTo(HaveOccurred())
	types := map[string]bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range stream.ResultChan() {
			if pt, ok := e.Object.(*v1alpha1.ProviderToken); ok && e.Type != watch.Deleted {
				for _, c := range pt.Status.Conditions {
					types[c.Type] = types[c.Type] || c.Status == metav1.ConditionTrue
				}
			}
		}
	}()
	return func() []string {
			<-done
			var names []string
			for name, was := range types {
				if was {
					names = append(names, name)
				}
			}
			return names
		}, func() {
			stream.Stop()
			<-done
		}
}
