package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// anySecret is a write of a Secret, rehearsals included.
func anySecret(r *http.Request) bool {
	return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/secrets")
}

var _ = Describe("a write", func() {
	It("whose answer is lost is recognised, and neither token nor write is made twice", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.api.first(1, ofSecret("plantpredict"), loses)
		before := w.Sent()
		w.Operator()
		pt := w.Wanted("plantpredict")
		pt.Spec.Target = &v1alpha1.Target{KeepPrevious: true}
		w.Credentials(ctx, "plantpredict", map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret})
		w.Create(ctx, pt)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		first := w.Token(ctx, pt)
		Expect(w.api.hits.Load()).To(BeNumerically(">=", 1))
		sent := w.Sent().Since(before)
		Expect(sent["POST secrets"]).To(Or(Equal(2), Equal(3)), "a rehearsal and the target, and that again where the watch is slower than the retry: %v", sent)
		Expect(sent["PUT secrets"]).To(BeZero(), "%v", sent)

		By("replacing it, and keeping the former one")
		w.api.first(1, ofSecret("plantpredict"), loses)
		before = w.Sent()
		w.due(ctx, pt)
		w.changes(ctx, pt, w.Sim.PlantPredict.Host, first)
		w.Settle(ctx, pt)
		w.Ready(ctx, pt)
		sent = w.Sent().Since(before)
		Expect(sent["PUT secrets"]).To(Equal(1), "%v", sent)
		Expect(string(w.Secret(ctx, pt).Data["previous-token"])).To(Equal(first))
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
		Expect(w.warnings(ctx, pt.Name)).To(BeEmpty())

		By("going on after a status whose answer is lost")
		w.api.first(1, ofStatus, loses)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(3))
	})

	It("that takes long does not hide that a token has come meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		answer, write := providersim.NewGate(), make(chan struct{})
		DeferCleanup(answer.Release)
		w.Sim.PlantPredict.Next(providersim.HoldAnswer(answer))
		w.due(ctx, pt)
		Expect(answer.Await(ctx, 1)).To(Succeed())

		// A repair is on its way to the API server while the token arrives.
		w.api.first(1, ofSecret("plantpredict"), func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			<-write
			return next.RoundTrip(r)
		})
		s := w.Secret(ctx, pt)
		s.Data["extra"] = []byte("x")
		Expect(w.Server.Client.Update(ctx, s)).To(Succeed())
		Eventually(w.api.hits.Load).Should(BeEquivalentTo(1))
		answer.Release()
		Eventually(func() float64 { return w.exchanges("success") }).Should(BeEquivalentTo(2))
		testworld.StaysFor(quiet/4, func() int { return len(w.Sim.PlantPredict.Calls()) }, 2)
		close(write)
		w.changes(ctx, pt, w.Sim.PlantPredict.Host, string(s.Data["token"]))
		w.Settle(ctx, pt)
		w.Clock.Step(10 * time.Second) // the catalog allows PlantPredict two exchanges a second
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 2)
		Expect(w.Secret(ctx, pt).Data).NotTo(HaveKey("extra"))
	}, SpecTimeout(3*time.Minute))

	It("that takes two seconds, like every request, delays and costs nothing more", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.generic(ctx)
		var all []*v1alpha1.ProviderToken
		old := map[string]string{}
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			all = append(all, w.Create(ctx, w.named(name)))
		}
		for _, pt := range all {
			w.Ready(ctx, pt)
			w.Settle(ctx, pt)
			old[pt.Name] = w.Token(ctx, pt)
		}
		before := w.Sent()
		w.api.on(writes, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(2 * time.Second):
				return next.RoundTrip(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		began := time.Now()
		w.due(ctx, all...)
		for _, pt := range all {
			w.changes(ctx, pt, w.Sim.Generic.Host, old[pt.Name])
		}
		for _, pt := range all {
			w.Settle(ctx, pt)
		}
		sent := w.Sent().Since(before)
		tell("8 refreshes with 2 s for each request", fmt.Sprintf("%s, %v", time.Since(began).Round(100*time.Millisecond), sent))
		Expect(w.Sim.Generic.Issued()).To(Equal(2 * len(all)))
		Expect(sent["PUT secrets"]).To(Equal(len(all)))
		Expect(sent["PATCH providertokens"]).To(Equal(len(all)))
	})

	It("that fails for a moment, in whichever way, costs neither a token nor a word", func(ctx SpecContext) {
		faults := map[string]rule{
			"conflict":  refuses(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified", 0),
			"throttled": refuses(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests", 1),
			"error":     refuses(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: leader changed", 0),
			"away":      refuses(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down", 0),
			"timeout":   refuses(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "request did not complete", 0),
			"no-login":  refuses(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized", 0),
			"broken":    breaks,
			"lost":      loses,
		}
		w := newWorld(ctx)
		w.Operator()
		w.generic(ctx)
		var all []*v1alpha1.ProviderToken
		old := map[string]string{}
		for name := range faults {
			all = append(all, w.Create(ctx, w.named(name)))
		}
		for _, pt := range all {
			w.Ready(ctx, pt)
			old[pt.Name] = w.Token(ctx, pt)
		}
		// Each target, and each status, fails three times in its own way.
		left := map[string]int{}
		w.api.on(func(r *http.Request) bool {
			if !writes(r) {
				return false
			}
			path := strings.Split(r.URL.Path, "/")
			name, kind := path[len(path)-1], "target"
			if name == "status" {
				name, kind = path[len(path)-2], "status"
			}
			w.api.mu.Lock()
			defer w.api.mu.Unlock()
			left[kind+name]++
			return faults[name] != nil && left[kind+name] <= 3
		}, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			path := strings.Split(strings.TrimSuffix(r.URL.Path, "/status"), "/")
			return faults[path[len(path)-1]](next, r)
		})
		w.due(ctx, all...)
		for _, pt := range all {
			w.changes(ctx, pt, w.Sim.Generic.Host, old[pt.Name])
		}
		for _, pt := range all {
			w.Settle(ctx, pt)
			w.Ready(ctx, pt)
			Expect(w.warnings(ctx, pt.Name)).To(BeEmpty(), pt.Name)
		}
		Expect(w.Sim.Generic.Issued()).To(Equal(2 * len(all)))
		Expect(int(w.api.hits.Load())).To(BeNumerically(">=", 5*len(all)))
	})

	It("of the target that fails for long is told, and brings no expired token when it works again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		first, expires := w.Token(ctx, pt), w.said(ctx, pt, v1alpha1.ExpiresAtAnnotation)

		w.api.on(anySecret, refuses(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "canary: what the server says", 0))
		w.due(ctx, pt)
		Eventually(w.Sim.PlantPredict.Issued).Should(Equal(2))
		minted := w.Clock.Now()
		testworld.StaysFor(quiet, func() string { return w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Reason }, v1alpha1.ReasonPublished)
		w.Clock.Step(31 * time.Second)
		got := w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonAPIServerUnavailable)
		told := w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Message
		tell("target not writable, 503", told)
		Expect(told).To(And(ContainSubstring("503"), ContainSubstring("waits in the operator's memory"), ContainSubstring("works until")))
		Expect(told).NotTo(ContainSubstring("canary"))
		Expect(got.Status.Failure.Reason).To(Equal(v1alpha1.ReasonAPIServerUnavailable))
		w.Ready(ctx, pt)

		By("turning unready at the expiry")
		w.Clock.SetTime(expires)
		w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		tell("and expired", w.Condition(ctx, pt, v1alpha1.ReadyCondition).Message)
		Expect(w.Token(ctx, pt)).To(Equal(first))
		Eventually(func() []string { return w.warnings(ctx, pt.Name) }).Should(Equal([]string{v1alpha1.ReasonAPIServerUnavailable, v1alpha1.ReasonTokenExpired}))

		By("throwing away the token that expired in memory, and asking for another one when it can be written")
		w.Clock.SetTime(minted.Add(2 * time.Hour))
		testworld.StaysFor(quiet, w.Sim.PlantPredict.Issued, 2)
		w.api.on(ofSecret("plantpredict"), passes)
		began := w.Clock.Now()
		w.Clock.Step(31 * time.Second)
		Eventually(func(g Gomega) {
			now := w.Token(ctx, pt)
			g.Expect(now).NotTo(Equal(first))
			g.Expect(w.Sim.PlantPredict.Accepts(now)).To(BeTrue())
		}).WithPolling(5 * time.Millisecond).Should(Succeed())
		w.Ready(ctx, pt)
		Expect(w.api.hits.Load()).To(BeEquivalentTo(1), "writes of the target: none with the token that had expired")
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(3))
		tell("recovery", w.Clock.Now().Sub(began).String())
	})

	It("that waits for ever occupies no worker for ever", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Tune = func(o *controller.Options) { o.MaxConcurrentReconciles, o.APIPatience = 1, 300*time.Millisecond }
		w.Operator()
		w.generic(ctx)
		stuck, other := w.Create(ctx, w.named("stuck")), w.Create(ctx, w.named("other"))
		w.Ready(ctx, stuck)
		w.Ready(ctx, other)
		was, is := w.Token(ctx, stuck), w.Token(ctx, other)
		w.api.on(ofSecret("stuck"), hangs)
		w.due(ctx, stuck, other)
		w.changes(ctx, other, w.Sim.Generic.Host, is)
		Eventually(w.api.hits.Load).Should(BeNumerically(">", 1))
		w.Clock.Step(31 * time.Second)
		w.Becomes(ctx, stuck, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonAPIServerUnavailable)
		tell("target not writable, no answer", w.Condition(ctx, stuck, v1alpha1.SecretPublishedCondition).Message)
		w.api.clear()
		w.changes(ctx, stuck, w.Sim.Generic.Host, was)
		w.Ready(ctx, stuck)
		Expect(w.Sim.Generic.Issued()).To(Equal(4))
	})

	It("of status may fail for as long as it likes: tokens are refreshed, and it is told later", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		w.api.on(func(r *http.Request) bool { return ofStatus(r) || ofEvents(r) }, refuses(http.StatusForbidden, metav1.StatusReasonForbidden, "no", 0))
		for range 3 {
			old := w.Token(ctx, pt)
			w.due(ctx, pt)
			w.changes(ctx, pt, w.Sim.PlantPredict.Host, old)
		}
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(4))
		Expect(w.api.hits.Load()).To(BeNumerically("<", 40))

		w.api.clear()
		old := w.Token(ctx, pt)
		w.due(ctx, pt)
		w.changes(ctx, pt, w.Sim.PlantPredict.Host, old)
		w.Settle(ctx, pt)
		w.Ready(ctx, pt)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(5))
	})

	It("that a policy refuses from now on costs one token, however long, and does not tell what the policy says", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		first := w.Token(ctx, pt)
		lift := w.forbidSecrets(ctx, "canary: no token for you", func() error {
			s := w.Secret(ctx, pt)
			s.Annotations["example.com/touch"] = "x"
			return w.Server.Client.Update(ctx, s, client.DryRunAll)
		})

		w.due(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetRefused)
		told := w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Message
		tell("target refused by a policy", told)
		Expect(told).To(And(ContainSubstring("admission policies"), Not(ContainSubstring("canary"))))
		w.Ready(ctx, pt)
		for range 5 { // a token lives for an hour
			w.Clock.Step(3 * time.Hour)
			w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
			testworld.StaysFor(quiet/4, w.Sim.PlantPredict.Issued, 2)
		}
		tell("and expired", w.Condition(ctx, pt, v1alpha1.ReadyCondition).Message)
		Expect(w.Token(ctx, pt)).To(Equal(first))
		Expect(w.warnings(ctx, pt.Name)).To(Equal([]string{v1alpha1.ReasonTargetRefused, v1alpha1.ReasonTokenExpired}))

		lift()
		Eventually(func() bool {
			w.Clock.Step(31 * time.Second)
			return w.Sim.PlantPredict.Accepts(w.Token(ctx, pt))
		}).WithPolling(50 * time.Millisecond).Should(BeTrue())
		w.Ready(ctx, pt)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(3))
	})

	It("that a quota refuses after the token was issued is made with the same token once there is room", func(ctx SpecContext) {
		w := newWorld(ctx)
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.PlantPredict.Next(providersim.HoldAnswer(gate))
		w.Operator()
		pt := w.PlantPredict(ctx)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "full"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("1")}},
		}
		Expect(w.Server.Client.Create(ctx, quota)).To(Succeed())
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"count/secrets": resource.MustParse("1")}}
		Expect(w.Server.Client.Status().Update(ctx, quota)).To(Succeed())
		Eventually(func() bool {
			return apierrors.IsForbidden(w.Server.Client.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "probe"}}, client.DryRunAll))
		}).Should(BeTrue())

		gate.Release()
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetRefused)
		tell("target refused by a quota", w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Message)
		Expect(w.Server.Client.Delete(ctx, quota)).To(Succeed())
		Eventually(func() bool {
			w.Clock.Step(31 * time.Second)
			return w.Sim.PlantPredict.Accepts(w.Token(ctx, pt))
		}).WithPolling(50 * time.Millisecond).Should(BeTrue())
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(1))
	}, SpecTimeout(3*time.Minute))
})

// forbidSecrets makes a policy of the API server's own that refuses writes of targets in
// this world, and waits until it does.
func (w *faulty) forbidSecrets(ctx SpecContext, message string, try func() error) (lift func()) {
	GinkgoHelper()
	name := w.Cluster("no-targets")
	fail := admissionv1.Fail
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.Namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "!('" + v1alpha1.TargetLabel + "' in object.metadata.?labels.orValue({}))", Message: message}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	Expect(w.Server.Client.Create(ctx, policy)).To(Succeed())
	Expect(w.Server.Client.Create(ctx, binding)).To(Succeed())
	lift = func() {
		_ = w.Server.Client.Delete(ctx, binding)
		_ = w.Server.Client.Delete(ctx, policy)
	}
	DeferCleanup(lift)
	Eventually(func() bool { err := try(); return err != nil && strings.Contains(err.Error(), message) }).
		WithPolling(50 * time.Millisecond).Should(BeTrue())
	return lift
}
