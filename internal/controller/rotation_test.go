package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/rotation"
	testworld "github.com/providertoken/operator/test/world"
)

// rotating is the name of the provider whose refresh tokens work once.
const rotating = "rotating"

// rotatingWorld has a Keycloak whose refresh tokens work once and are the credential.
func rotatingWorld(ctx context.Context) *world {
	GinkgoHelper()
	w := newWorld(ctx)
	w.Sim.UP42.RotateRefreshTokens(true)
	w.Sim.UP42.SetRefreshLifetime(9 * time.Hour)
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster(rotating)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
		TokenURL: w.Sim.UP42.TokenURL(), Grant: v1alpha1.Grant(provider.RefreshToken), ClientAuthentication: "None",
		ClientID: providersim.UP42ClientID, CABundle: w.Sim.CABundle(),
	}}}
	Expect(k8s.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p))).To(Succeed()) })
	return w
}

// rotated makes a ProviderToken whose credential is a refresh token.
func (w *world) rotated(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.Credentials(ctx, rotating, map[string]string{"refresh_token": w.Authorize(ctx)})
	return w.Create(ctx, w.Wanted(rotating))
}

// reauthorize is what ReauthorizationRequired asks for.
func (w *world) reauthorize(ctx context.Context, refresh string) {
	GinkgoHelper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: rotating + "-login"}}
	patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"refresh_token": refresh}})
	Expect(err).NotTo(HaveOccurred())
	Expect(k8s.Patch(ctx, s, client.RawPatch("application/merge-patch+json", patch))).To(Succeed())
}

const rotationState = rotating + "-login-rotation"

// state Secret as it is now; nil when absent.
func (w *world) state(ctx context.Context) *corev1.Secret {
	var s corev1.Secret
	if err := k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: rotationState}, &s); err != nil {
		return nil
	}
	return &s
}

// intended tells whether the state has an open intent.
func (w *world) intended(ctx context.Context) bool {
	GinkgoHelper()
	var record struct {
		Intent *struct{} `json:"intent"`
	}
	s := w.state(ctx)
	Expect(s).NotTo(BeNil())
	Expect(json.Unmarshal(s.Data["record"], &record)).To(Succeed())
	return record.Intent != nil
}

// refreshes is how many times a refresh token was sent.
func (w *world) refreshes() int { return w.Sim.UP42.Count(providersim.KindRefreshToken) }

func (w *world) issuing(ctx context.Context, pt *v1alpha1.ProviderToken, reason string) *metav1.Condition {
	GinkgoHelper()
	w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, reason)
	return w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition)
}

// confirm sets the annotation that permits what cannot be undone.
func (w *world) confirm(ctx context.Context, pt *v1alpha1.ProviderToken, value string) {
	GinkgoHelper()
	w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
		pt.Annotations = map[string]string{v1alpha1.ConfirmAnnotation: value}
	})
}

// crash is how an operator dies when it makes its nth exchange.
type crash struct {
	controller.Exchanger
	died  chan struct{}
	after bool // the provider has answered
	left  *atomic.Int32
}

// Do is what the operator sends through.
func (c crash) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	if c.left.Add(-1) != 0 {
		return c.Exchanger.Do(ctx, req, trust)
	}
	if c.after {
		_, _ = c.Exchanger.Do(ctx, req, trust)
	}
	close(c.died)
	panic("nothing of this attempt happens any more, as after a crash")
}

// crashes runs an operator until it dies at its second exchange, the first refresh after the first token.
func (w *world) crashes(ctx context.Context, after bool) *v1alpha1.ProviderToken {
	GinkgoHelper()
	left := &atomic.Int32{}
	left.Store(2)
	died := make(chan struct{})
	w.Around = func(inner controller.Exchanger) controller.Exchanger {
		return crash{Exchanger: inner, died: died, after: after, left: left}
	}
	stop := w.Operator()
	pt := w.rotated(ctx)
	w.Settle(ctx, pt)
	w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
	Eventually(died).Should(BeClosed())
	stop()
	w.Around = nil
	return pt
}

// faulty fails writes of the state, as told.
type faulty struct {
	mu   sync.Mutex
	fail func(r *http.Request) (status int)
}

func (f *faulty) set(fail func(r *http.Request) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) wrap(next http.RoundTripper) http.RoundTripper {
	return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
		f.mu.Lock()
		fail := f.fail
		f.mu.Unlock()
		if fail == nil || r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, rotationState) {
			return next.RoundTrip(r)
		}
		if status := fail(r); status != 0 {
			return nil, fmt.Errorf("the API server is down (%d)", status)
		}
		return next.RoundTrip(r)
	})
}

var _ = Describe("a refresh token that is the credential", func() {
	reauthorization := v1alpha1.ReasonReauthorizationRequired

	It("is replaced with each use, and kept where nobody else looks", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		stop := w.Operator()
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		for range 3 {
			w.StepToRefresh(ctx, pt)
		}
		w.Settle(ctx, pt)
		Expect(w.refreshes()).To(Equal(4))
		Expect(w.Sim.UP42.Accepts(w.Token(ctx, pt))).To(BeTrue())
		s := w.state(ctx)
		Expect(s.Labels).To(HaveKeyWithValue(rotation.StateLabel, rotation.StateValue))
		Expect(s.OwnerReferences).To(BeEmpty())
		Expect(w.intended(ctx)).To(BeFalse())
		target, err := json.Marshal(w.Secret(ctx, pt))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(target)).NotTo(ContainSubstring(string(s.Data["refresh_token"])))

		By("going on after a restart, and with another ProviderToken of that name")
		stop()
		w.Operator()
		w.StepToRefresh(ctx, pt)
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		Eventually(func() error { return client.IgnoreNotFound(k8s.Delete(ctx, w.Secret(ctx, pt))) }).Should(Succeed())
		w.Rest() // or the target that is gone might be taken for one to go on with
		pt.ResourceVersion, pt.UID = "", ""
		w.Ready(ctx, w.Create(ctx, pt))
		Expect(w.refreshes()).To(Equal(6))
	})

	It("counts API requests: a steady refresh is four writes and no read", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		const refreshes = 3
		sent := w.Sent()
		served := server.ServedRequests(ctx)
		for range refreshes {
			w.StepToRefresh(ctx, pt)
			w.Settle(ctx, pt)
		}
		sent = w.Sent().Since(sent)
		served = server.ServedRequests(ctx).Since(served)
		AddReportEntry("API requests", fmt.Sprintf("%d refreshes: the API server counted %v, of which the operator sent %v", refreshes, served, sent))
		Expect(served["PUT secrets"]).To(Equal(3*refreshes), "intent, state and target")
		Expect(served.Sum("POST", "PUT", "PATCH", "APPLY", "DELETE")).To(Equal(4*refreshes), "all writes: %v", served)
		Expect(sent.Sum("GET")).To(BeZero(), "reads by the operator: %v", sent)
	})

	It("is sent once more after a crash before it was sent, when the token at hand is nearly expired", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		pt := w.crashes(ctx, false)
		Expect(w.refreshes()).To(Equal(1))
		Expect(w.intended(ctx)).To(BeTrue(), "the intent is there before the request")
		old := w.Token(ctx, pt)
		w.Operator()
		told := w.issuing(ctx, pt, v1alpha1.ReasonRefreshOutcomeUnknown)
		Expect(told.Message).To(And(ContainSubstring("rotating-login"), ContainSubstring("works until")))
		testworld.StaysFor(quiet, w.refreshes, 1)
		w.Clock.SetTime(w.expiry(ctx, pt).Add(-time.Minute)) // within the lead, and the lost exchange is over
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		w.Ready(ctx, pt)
		Expect(w.refreshes()).To(Equal(2))
	})

	It("asks a person after a crash before the answer, says how, and goes on with what the person brings", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		pt := w.crashes(ctx, true)
		Expect(w.refreshes()).To(Equal(2))
		stop := w.Operator()
		w.issuing(ctx, pt, v1alpha1.ReasonRefreshOutcomeUnknown)
		w.Clock.SetTime(w.expiry(ctx, pt).Add(-time.Minute))
		told := w.issuing(ctx, pt, reauthorization)
		Expect(told.Message).To(And(ContainSubstring(`put a new refresh token under key "refresh_token" of Secret "rotating-login"`), ContainSubstring("works until")))
		Expect(w.Condition(ctx, pt, v1alpha1.ReadyCondition).Status).To(Equal(metav1.ConditionTrue), "the token at hand has not expired")
		Expect(w.refreshes()).To(Equal(3), "one replay")

		By("sending no probes, neither later nor after a restart")
		w.Clock.Step(10 * time.Minute)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, reauthorization)
		w.Clock.Step(48 * time.Hour)
		stop()
		w.Operator()
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
		})
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, reauthorization)
		testworld.StaysFor(quiet, w.refreshes, 3)

		w.reauthorize(ctx, w.Authorize(ctx))
		w.Ready(ctx, pt)
		Expect(w.refreshes()).To(Equal(4))
	})

	DescribeTable("an answer that may or may not have used it up leaves the intent open",
		func(ctx SpecContext, script providersim.Script, used bool) {
			w := rotatingWorld(ctx)
			w.Operator()
			pt := w.rotated(ctx)
			w.Settle(ctx, pt)
			w.Sim.UP42.NextOf(providersim.KindRefreshToken, script)
			w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
			Eventually(w.refreshes).Should(Equal(2))
			Eventually(func() bool { return w.intended(ctx) }).Should(BeTrue())
			w.Clock.Step(2 * time.Second) // the back-off of an ordinary failure
			w.issuing(ctx, pt, v1alpha1.ReasonRefreshOutcomeUnknown)
			testworld.StaysFor(quiet, w.refreshes, 2)
			w.Clock.SetTime(w.expiry(ctx, pt).Add(-time.Minute))
			if used {
				w.issuing(ctx, pt, reauthorization)
			} else {
				Eventually(func() bool { return w.intended(ctx) }).Should(BeFalse())
				w.Ready(ctx, pt)
			}
			Expect(w.refreshes()).To(Equal(3))
		},
		Entry("lost", providersim.LoseAnswer(), true),
		Entry("cut off", providersim.CutOff(), true),
		Entry("dropped", providersim.Drop(), false),
		Entry("500", providersim.JSON(500, `{"error":"server_error"}`), false),
		Entry("502", providersim.Status(502), false),
		Entry("504", providersim.Status(504), false),
		Entry("garbage with 200", providersim.Garbage200(), false),
	)

	DescribeTable("a refusal for another reason did not use it up",
		func(ctx SpecContext, script providersim.Script, wait time.Duration) {
			w := rotatingWorld(ctx)
			w.Operator()
			pt := w.rotated(ctx)
			w.Settle(ctx, pt)
			w.Sim.UP42.NextOf(providersim.KindRefreshToken, script)
			w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
			Eventually(w.refreshes).Should(Equal(2))
			Eventually(func() bool { return w.intended(ctx) }).Should(BeFalse())
			old := w.Token(ctx, pt)
			Eventually(func() metav1.ConditionStatus { return w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Status }).
				Should(Equal(metav1.ConditionFalse))
			w.Clock.Step(wait)
			Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		},
		Entry("503", providersim.Status(503), time.Minute),
		Entry("429", providersim.Status(429), time.Minute),
		Entry("invalid_client", providersim.JSON(401, `{"error":"invalid_client"}`), 16*time.Minute),
		Entry("invalid_request", providersim.JSON(400, `{"error":"invalid_request"}`), 16*time.Minute),
		Entry("400 without a reason", providersim.Status(400), 16*time.Minute),
	)

	It("says at once that a person is needed when the provider does not take it", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		pt := w.rotated(ctx)
		w.Settle(ctx, pt)
		w.Sim.UP42.KillSessions()
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		told := w.issuing(ctx, pt, reauthorization)
		Expect(told.Message).To(ContainSubstring("refused"))
		w.Clock.Step(48 * time.Hour)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, reauthorization)
		Expect(w.refreshes()).To(Equal(2))

		By("trying it once more for each confirmation")
		w.confirm(ctx, pt, "1")
		Eventually(w.refreshes).Should(Equal(3))
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, reauthorization)
		testworld.StaysFor(quiet, w.refreshes, 3)
		w.reauthorize(ctx, w.Authorize(ctx))
		w.Ready(ctx, pt)
	})

	It("is not used by two operators at once", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		first := w.Operator()
		pt := w.rotated(ctx)
		w.Settle(ctx, pt)
		gate := providersim.NewGate()
		w.Sim.UP42.NextOf(providersim.KindRefreshToken, providersim.Hold(gate))
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		Expect(gate.Await(ctx, 1)).To(Succeed())

		By("starting a second one while the first one's request is under way")
		w.Operator()
		w.issuing(ctx, pt, v1alpha1.ReasonRefreshOutcomeUnknown)
		testworld.StaysFor(quiet, w.refreshes, 2)
		old := w.Token(ctx, pt)
		gate.Release()
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		w.Ready(ctx, pt)
		first()
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.UP42.Sessions()).To(Equal(1), "nobody reused a token")
		Expect(w.refreshes()).To(Equal(3))
	})

	It("is used once by many operators that come due together", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		for range 3 {
			w.Operator()
		}
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		for range 4 {
			w.StepToRefresh(ctx, pt)
		}
		Expect(w.Sim.UP42.Sessions()).To(Equal(1), "nobody reused a token")
		for _, c := range w.Sim.UP42.Calls() {
			Expect(c.Status).To(Equal(http.StatusOK))
		}
	})

	It("belongs to one ProviderToken, until that is gone", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		other := w.Wanted(rotating)
		other.Name = "other"
		w.Create(ctx, other)
		told := w.issuing(ctx, other, v1alpha1.ReasonCredentialInUse)
		Expect(told.Message).To(ContainSubstring(`ProviderToken "rotating" uses the refresh token`))
		Expect(w.refreshes()).To(Equal(1))

		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		w.Clock.Step(31 * time.Second)
		w.Ready(ctx, other)
		Expect(w.state(ctx).Annotations).To(HaveKeyWithValue(rotation.ClaimAnnotation, w.Namespace+"/other"))
	})

	It("is not kept in a Secret that is somebody else's", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		mine := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: rotationState}, StringData: map[string]string{"mine": "mine"}}
		Expect(k8s.Create(ctx, mine)).To(Succeed())
		pt := w.rotated(ctx)
		w.issuing(ctx, pt, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(w.refreshes()).To(BeZero())
		Expect(w.state(ctx).ResourceVersion).To(Equal(mine.ResourceVersion))
		Expect(k8s.Delete(ctx, mine)).To(Succeed())
		w.Clock.Step(31 * time.Second)
		w.Ready(ctx, pt)
	})

	It("is not used out of a restored backup before a person says so", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		stop := w.Operator()
		pt := w.rotated(ctx)
		w.confirm(ctx, pt, "long ago")
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		stop()
		backup := w.state(ctx)
		Expect(k8s.Delete(ctx, backup.DeepCopy())).To(Succeed())
		backup.ResourceVersion, backup.UID = "", ""
		Expect(k8s.Create(ctx, backup)).To(Succeed())
		w.Operator()
		w.Clock.Step(time.Hour)
		w.issuing(ctx, pt, v1alpha1.ReasonRestoredState)
		testworld.StaysFor(quiet, w.refreshes, 2)
		w.confirm(ctx, pt, "now")
		w.Ready(ctx, pt)
		Expect(w.refreshes()).To(Equal(3))
	})

	It("is not started anew where its record is missing, before a person says so or brings another one", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		stop := w.Operator()
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		stop()
		Expect(k8s.Delete(ctx, w.state(ctx))).To(Succeed())
		w.Operator()
		w.Clock.Step(time.Hour)
		w.issuing(ctx, pt, v1alpha1.ReasonRestoredState)
		testworld.StaysFor(quiet, w.refreshes, 1)
		w.reauthorize(ctx, w.Authorize(ctx))
		w.Ready(ctx, pt)
	})

	It("is recorded again by an operator that remembers it when somebody deletes the record", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		gate := providersim.NewGate()
		w.Operator()
		pt := w.rotated(ctx)
		w.Settle(ctx, pt)
		w.Sim.UP42.NextOf(providersim.KindRefreshToken, providersim.HoldAnswer(gate))
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		Expect(k8s.Delete(ctx, w.state(ctx))).To(Succeed())
		old := w.Token(ctx, pt)
		gate.Release()
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))

		By("remembering it between two uses as well")
		w.Settle(ctx, pt)
		Expect(k8s.Delete(ctx, w.state(ctx))).To(Succeed())
		w.StepToRefresh(ctx, pt)
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.UP42.Sessions()).To(Equal(1))
	})

	It("does not go back to one that a tool puts back", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		first := w.Authorize(ctx)
		w.Credentials(ctx, rotating, map[string]string{"refresh_token": first})
		pt := w.Create(ctx, w.Wanted(rotating))
		w.Ready(ctx, pt)
		w.reauthorize(ctx, w.Authorize(ctx))
		w.StepToRefresh(ctx, pt)
		w.reauthorize(ctx, first)
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.UP42.Sessions()).To(Equal(2), "nobody reused a token")
	})

	It("waits in memory while it cannot be stored, and nothing is published or sent before", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		api := &faulty{}
		w.Faults = api.wrap
		w.Operator()
		pt := w.rotated(ctx)
		w.Settle(ctx, pt)
		old := w.Token(ctx, pt)
		var writes atomic.Int32
		api.set(func(*http.Request) int {
			if writes.Add(1) == 1 {
				return 0 // the intent
			}
			return http.StatusServiceUnavailable
		})
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		told := w.issuing(ctx, pt, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(told.Message).To(And(ContainSubstring(rotationState), ContainSubstring("works until")))
		testworld.StaysFor(quiet, func() bool { return w.Token(ctx, pt) == old && w.refreshes() == 2 }, true)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
		})
		testworld.StaysFor(quiet, w.refreshes, 2)
		api.set(nil)
		w.Clock.Step(31 * time.Second)
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		// The request came after that token was asked for, so that another one follows it.
		Eventually(func() string { return w.Ready(ctx, pt).Status.RefreshHandled }).Should(Equal("now"))
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.UP42.Sessions()).To(Equal(1), "nobody reused a token")
	})

	It("is not sent when the intent cannot be written, and not counted as sent when that was lost on the way", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		api := &faulty{}
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			lossy := testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(r)
				if err == nil && r.Method == http.MethodPut && r.Header.Get("Lose") != "" {
					_ = resp.Body.Close()
					return nil, errors.New("the answer was lost")
				}
				return resp, err
			})
			return api.wrap(lossy)
		}
		w.Operator()
		pt := w.rotated(ctx)
		w.Settle(ctx, pt)
		var writes atomic.Int32
		api.set(func(r *http.Request) int {
			switch writes.Add(1) {
			case 1:
				return http.StatusServiceUnavailable
			case 2:
				r.Header.Set("Lose", "yes")
			}
			return 0
		})
		old := w.Token(ctx, pt)
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		w.issuing(ctx, pt, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(w.refreshes()).To(Equal(1))
		w.Clock.Step(2 * time.Second)
		Eventually(writes.Load).Should(BeNumerically(">=", 2))
		Eventually(func() bool { return w.intended(ctx) }).Should(BeTrue())
		Expect(w.refreshes()).To(Equal(1))
		w.Clock.Step(5 * time.Second)
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		Expect(w.refreshes()).To(Equal(2))
	})

	It("has a state that is nobody's target", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		pt := w.rotated(ctx)
		w.Ready(ctx, pt)
		before := w.state(ctx).ResourceVersion
		w.PlantPredict(ctx)
		thief := w.Wanted("plantpredict")
		thief.Name, thief.Spec.Target = "thief", &v1alpha1.Target{SecretName: rotationState}
		w.Create(ctx, thief)
		w.Becomes(ctx, thief, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		own := w.Wanted(rotating)
		own.Name, own.Spec.Target = "own", &v1alpha1.Target{SecretName: rotationState}
		w.Create(ctx, own)
		got := w.Becomes(ctx, own, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		Expect(got.Status.Failure.Reason).To(Equal(v1alpha1.ReasonTargetConflict))
		Expect(w.state(ctx).ResourceVersion).To(Equal(before))
	})

	It("keeps the successor even of an answer that makes no sense otherwise", func(ctx SpecContext) {
		w := rotatingWorld(ctx)
		w.Operator()
		pt := w.rotated(ctx)
		w.Settle(ctx, pt)
		next := w.Authorize(ctx)
		w.Sim.UP42.NextOf(providersim.KindRefreshToken, providersim.JSON(200, `{"access_token":"a","token_type":"\u0007","refresh_token":"`+next+`"}`))
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		Eventually(func() string { return string(w.state(ctx).Data["refresh_token"]) }).Should(Equal(next))
		Expect(w.intended(ctx)).To(BeFalse())
		w.Clock.Step(2 * time.Second)
		w.Ready(ctx, pt)
		Eventually(w.refreshes).Should(Equal(3))
	})
})

// expiry of the token in the target.
func (w *world) expiry(ctx context.Context, pt *v1alpha1.ProviderToken) time.Time {
	GinkgoHelper()
	s := w.Secret(ctx, pt)
	Expect(s).NotTo(BeNil())
	at, err := time.Parse(time.RFC3339, s.Annotations[v1alpha1.ExpiresAtAnnotation])
	Expect(err).NotTo(HaveOccurred())
	return at
}
