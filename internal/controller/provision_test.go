package controller_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing/fstest"
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
	testworld "github.com/providertoken/operator/test/world"
)

// spatiaFiHere is the catalog's own SpatiaFi at the simulator.
func spatiaFiHere(sim *providersim.Simulator) *provider.Catalog {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "provider", "catalog", "SpatiaFi.yaml"))
	Expect(err).NotTo(HaveOccurred())
	here := strings.ReplaceAll(string(text), "https://auth.spatiafi.com", "https://"+sim.SpatiaFi.Address())
	here += "caBundle: |\n  " + strings.ReplaceAll(sim.CABundle(), "\n", "\n  ") + "\n"
	c, err := provider.ReadCatalog(fstest.MapFS{"catalog/SpatiaFi.yaml": {Data: []byte(here)}})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// withheld ends the operator when it is about to send a request to a path.
type withheld struct {
	controller.Exchanger
	kill func()
	on   string // path
}

// Do is what the operator sends through.
func (k withheld) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	if !strings.HasSuffix(req.URL, k.on) {
		return k.Exchanger.Do(ctx, req, trust)
	}
	k.kill()
	panic("nothing of this attempt happens any more, as after a crash")
}

var _ = Describe("provisioning", func() {
	const clients = "/api/v1/clients/"
	setup := func(ctx context.Context) (*world, *v1alpha1.ProviderToken) {
		GinkgoHelper()
		w := newWorld(ctx)
		w.Catalog = spatiaFiHere(w.Sim)
		Expect(k8s.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "login", Labels: map[string]string{v1alpha1.CredentialsForLabel: "SpatiaFi"}},
			StringData: map[string]string{"username": providersim.SpatiaFiUsername, "password": providersim.SpatiaFiPassword},
		})).To(Succeed())
		return w, &v1alpha1.ProviderToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "spatiafi"},
			Spec: v1alpha1.ProviderTokenSpec{
				ProviderRef: &v1alpha1.ProviderReference{Name: "SpatiaFi"},
				Credentials: &v1alpha1.Credentials{SecretName: "login", Provision: &v1alpha1.Provision{SecretName: "app"}},
			},
		}
	}
	kept := func(ctx context.Context, w *world) *corev1.Secret {
		GinkgoHelper()
		var s corev1.Secret
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "app"}, &s)).To(Succeed())
		return &s
	}
	unknown := v1alpha1.ReasonProvisioningUnknown

	It("makes app credentials once, keeps them in a Secret of their own, and lives on them without the password", func(ctx SpecContext) {
		w, pt := setup(ctx)
		stop := w.Operator()
		w.Ready(ctx, w.Create(ctx, pt))
		Expect(w.Sim.SpatiaFi.Provisioned()).To(HaveLen(1))
		s := kept(ctx, w)
		Expect(string(s.Data["client_id"])).To(Equal(w.Sim.SpatiaFi.Provisioned()[0]))
		Expect(s.Labels).To(HaveKeyWithValue(v1alpha1.CredentialsForLabel, "SpatiaFi"))
		Expect(s.OwnerReferences).To(BeEmpty())

		Expect(k8s.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "login"}})).To(Succeed())
		logins := w.Sim.SpatiaFi.Count(providersim.KindLogin)
		w.StepToRefresh(ctx, pt)
		stop()
		w.Operator()
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.SpatiaFi.Count(providersim.KindLogin)).To(Equal(logins), "the password is used for the step alone")
		Expect(w.Sim.SpatiaFi.Provisioned()).To(HaveLen(1))
	})

	It("outlives its ProviderToken, and serves the next one of that name", func(ctx SpecContext) {
		w, pt := setup(ctx)
		w.Operator()
		w.Ready(ctx, w.Create(ctx, pt))
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		pt.ResourceVersion, pt.UID = "", ""
		w.Ready(ctx, w.Create(ctx, pt))
		Expect(w.Sim.SpatiaFi.Provisioned()).To(HaveLen(1))
	})

	It("uses credentials that somebody brought from Git, and makes none", func(ctx SpecContext) {
		w, pt := setup(ctx)
		w.Operator()
		Expect(k8s.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "app", Labels: map[string]string{v1alpha1.CredentialsForLabel: "SpatiaFi"}},
			StringData: map[string]string{"client_id": providersim.SpatiaFiClientID, "client_secret": providersim.SpatiaFiClientSecret},
		})).To(Succeed())
		w.Ready(ctx, w.Create(ctx, pt))
		Expect(w.Sim.SpatiaFi.Provisioned()).To(BeEmpty())
		Expect(w.Sim.SpatiaFi.Count(providersim.KindLogin)).To(BeZero())
	})

	DescribeTable("stops when the outcome is not known, says so, and tries again once for each confirmation", func(ctx SpecContext, lost providersim.Script, made int) {
		w, pt := setup(ctx)
		stop := w.Operator()
		w.Sim.SpatiaFi.NextOf(providersim.KindProvision, lost)
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, unknown)
		message := w.Condition(ctx, pt, v1alpha1.StalledCondition).Message
		Expect(message).To(And(ContainSubstring(v1alpha1.ConfirmAnnotation), ContainSubstring(`"app"`)))
		Expect(w.Sim.SpatiaFi.Count(providersim.KindProvision)).To(Equal(1))

		stop()
		w.Operator()
		w.Edit(ctx, pt, func(p *v1alpha1.ProviderToken) {
			p.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
			p.Spec.Refresh = &v1alpha1.RefreshPolicy{AtPercent: 50}
		})
		w.Clock.Step(24 * time.Hour)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, unknown)
		Expect(w.Sim.SpatiaFi.Count(providersim.KindProvision)).To(Equal(1), "neither a restart, an edit, a refresh request nor time tries again")

		w.Sim.SpatiaFi.NextOf(providersim.KindProvision, lost)
		confirm := func(value string) {
			w.Edit(ctx, pt, func(p *v1alpha1.ProviderToken) { p.Annotations[v1alpha1.ConfirmAnnotation] = value })
		}
		confirm("once")
		Eventually(func() int { return w.Sim.SpatiaFi.Count(providersim.KindProvision) }).Should(Equal(2))
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, unknown)
		confirm("twice")
		w.Ready(ctx, pt)
		Expect(w.Sim.SpatiaFi.Count(providersim.KindProvision)).To(Equal(3))
		Expect(w.Sim.SpatiaFi.Provisioned()).To(HaveLen(made))
	},
		Entry("because the answer was lost", providersim.LoseAnswer(), 3),
		Entry("because the answer was cut off", providersim.CutOff(), 3),
		Entry("because the provider failed", providersim.Status(http.StatusInternalServerError), 1),
		Entry("because the answer was nonsense", providersim.JSON(http.StatusOK, `{"client_id":"x"}`), 1),
	)

	It("tries again by itself after a refusal, since that made none", func(ctx SpecContext) {
		w, pt := setup(ctx)
		w.Operator()
		w.Sim.SpatiaFi.NextOf(providersim.KindProvision, providersim.JSON(http.StatusTooManyRequests, `{}`, providersim.Header{Name: "Retry-After", Value: "7"}))
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
		w.Clock.Step(time.Minute)
		w.Ready(ctx, pt)
		Expect(w.Sim.SpatiaFi.Provisioned()).To(HaveLen(1))
	})

	It("makes none while a wrong password is refused, and leaves no record of an attempt", func(ctx SpecContext) {
		w, pt := setup(ctx)
		w.Sim.SpatiaFi.SetLogin(providersim.SpatiaFiUsername, "another")
		w.Operator()
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonLoginFrozen)
		Expect(w.Sim.SpatiaFi.Count(providersim.KindProvision)).To(BeZero())
		Expect(client.IgnoreNotFound(k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "app"}, &corev1.Secret{}))).To(Succeed())
		s := &corev1.Secret{}
		s.Namespace, s.Name = w.Namespace, "login"
		Expect(k8s.Patch(ctx, s, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"password":"another"}}`)))).To(Succeed())
		w.Ready(ctx, pt)
	})

	It("counts a request that was about to be sent when the operator died as one whose outcome is not known", func(ctx SpecContext) {
		w, pt := setup(ctx)
		died := make(chan struct{})
		w.Around = func(inner controller.Exchanger) controller.Exchanger {
			return withheld{Exchanger: inner, on: clients, kill: sync.OnceFunc(func() { close(died) })}
		}
		stop := w.Operator()
		w.Create(ctx, pt)
		Eventually(died).Should(BeClosed())
		Expect(kept(ctx, w).Data).To(BeEmpty(), "the record is there before the request")
		stop()
		w.Around = nil
		w.Operator()
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, unknown)
		Expect(w.Sim.SpatiaFi.Count(providersim.KindProvision)).To(BeZero())
	})

	It("keeps what was made while the Secret cannot be written, and asks for no more", func(ctx SpecContext) {
		w, pt := setup(ctx)
		gate := providersim.NewGate()
		w.Sim.SpatiaFi.NextOf(providersim.KindProvision, providersim.HoldAnswer(gate))
		w.Operator()
		w.Create(ctx, pt)
		Eventually(func() int { return w.Sim.SpatiaFi.Count(providersim.KindProvision) }).Should(Equal(1))
		// From now on the Secret refuses every edit.
		s := kept(ctx, w)
		s.Immutable = new(true)
		Expect(k8s.Update(ctx, s)).To(Succeed())
		gate.Release()
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message).To(ContainSubstring("do not restart the operator"))
		Expect(kept(ctx, w).Data).To(BeEmpty())
		Expect(k8s.Delete(ctx, s)).To(Succeed())
		w.Clock.Step(time.Minute)
		w.Ready(ctx, pt)
		Expect(w.Sim.SpatiaFi.Provisioned()).To(HaveLen(1))
		Expect(string(kept(ctx, w).Data["client_id"])).To(Equal(w.Sim.SpatiaFi.Provisioned()[0]))
	})

	It("lives on what was made before the watch shows it", func(ctx SpecContext) {
		w, pt := setup(ctx)
		w.Gate = testworld.NewWatchGate(func(r *http.Request) bool {
			return r.URL.Query().Get("labelSelector") == v1alpha1.CredentialsForLabel
		})
		answer := providersim.NewGate()
		w.Sim.SpatiaFi.NextOf(providersim.KindProvision, providersim.HoldAnswer(answer))
		w.Operator()
		w.Create(ctx, pt)
		Expect(answer.Await(ctx, 1)).To(Succeed())
		w.Gate.Shut()
		DeferCleanup(w.Gate.Open)
		answer.Release()
		w.Ready(ctx, pt)
		Expect(w.Sim.SpatiaFi.Count(providersim.KindLogin)).To(Equal(1))
	})

	It("does not touch a Secret of that name that is something else", func(ctx SpecContext) {
		w, pt := setup(ctx)
		Expect(k8s.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "app"}, StringData: map[string]string{"precious": "x"}})).To(Succeed())
		w.Operator()
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Sim.SpatiaFi.Calls()).To(BeEmpty(), "not even a login")
		Expect(kept(ctx, w).Data).To(HaveKey("precious"))
	})

	It("is told to be nothing that other providers offer", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		pt := w.Wanted("generic")
		pt.Spec.Credentials.Provision = &v1alpha1.Provision{SecretName: "app"}
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Condition(ctx, pt, v1alpha1.StalledCondition).Message).To(ContainSubstring("makes no credentials"))
	})
})
