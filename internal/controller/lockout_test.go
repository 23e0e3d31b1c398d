package controller_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/token"
)

func resourceQuantity(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

var _ = Describe("a login that is refused", func() {
	It("is tried at most twice before the freeze, by any number of objects and across restarts, and thaws with new credentials", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.operator()
		secret := w.credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong"})
		pt := w.create(ctx, w.wanted("up42"))
		for i := range 5 {
			other := w.wanted("up42")
			other.Name = fmt.Sprintf("up42-%d", i)
			w.create(ctx, other)
		}
		got := w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		Expect(got.Status.Failure.Reason).To(Equal(v1alpha1.ReasonLoginFrozen))
		staysFor(quiet, func() bool { return w.sim.UP42.FailedLogins() <= 2 }, true)

		By("surviving restarts and recreated objects")
		stop()
		w.operator()
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		pt = w.create(ctx, w.wanted("up42"))
		w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.clock.Step(14 * time.Minute)
		staysFor(quiet, func() bool { return w.sim.UP42.FailedLogins() <= 2 }, true)

		By("not thawing for a refresh request")
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.RefreshRequestedAtAnnotation+`":"now"}}}`))
		Expect(k8s.Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.Name}}, patch)).To(Succeed())
		staysFor(quiet, func() bool { return w.sim.UP42.FailedLogins() <= 2 }, true)

		By("thawing at once when the credentials change")
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		secret.Data["password"] = []byte(providersim.UP42Password)
		Expect(k8s.Update(ctx, secret)).To(Succeed())
		w.ready(ctx, pt)
		Expect(w.sim.UP42.WasLocked(providersim.UP42Username)).To(BeFalse())
	})

	It("is probed sparsely, and noticed when it works again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.operator()
		w.credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "later"})
		pt := w.create(ctx, w.wanted("up42"))
		w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		Expect(w.sim.UP42.FailedLogins()).To(Equal(1))
		w.sim.UP42.SetLogin(providersim.UP42Username, "later")
		w.clock.Step(15*time.Minute + time.Second)
		w.ready(ctx, pt)
	})

	It("is tried again at once when a person deletes the record and asks for a refresh", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.operator()
		w.credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "later"})
		pt := w.create(ctx, w.wanted("up42"))
		w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.sim.UP42.SetLogin(providersim.UP42Username, "later")
		Expect(k8s.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(w.namespace), client.HasLabels{"providertoken.dev/login-record"})).To(Succeed())
		w.edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
		})
		w.ready(ctx, pt)
	})

	It("is not tried when it cannot be written down first", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "providertoken-login-key"}}
		Expect(k8s.Create(ctx, key)).To(Succeed()) // a key that is none
		w.operator()
		pt := w.up42(ctx)
		got := w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(got.Status.Token).To(BeNil())
		Expect(w.sim.UP42.Calls()).To(BeEmpty())
	})

	It("does not freeze another credential for the same account", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.operator()
		w.credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong"})
		pt := w.create(ctx, w.wanted("up42"))
		w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		good := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "good", Labels: map[string]string{
				v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.cluster("up42"),
			}},
			StringData: map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password},
		}
		Expect(k8s.Create(ctx, good)).To(Succeed())
		other := w.wanted("up42")
		other.Name = "other"
		other.Spec.Credentials.SecretName = "good"
		w.ready(ctx, w.create(ctx, other))
	})
})

var _ = Describe("hosts that hang", func() {
	It("delay nobody else", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.operator()
		holes, err := w.sim.BlackHoles(16)
		Expect(err).NotTo(HaveOccurred())
		for i, address := range holes {
			name := fmt.Sprintf("hole-%d", i)
			p := &v1alpha1.ClusterTokenProvider{
				ObjectMeta: metav1.ObjectMeta{Name: w.cluster(name)},
				Spec:       v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{TokenURL: "https://" + address + "/token", CABundle: w.sim.CABundle()}},
			}
			Expect(k8s.Create(ctx, p)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, p)).To(Succeed()) })
			w.credentials(ctx, name, map[string]string{"client_id": "a", "client_secret": "b"})
			w.create(ctx, w.wanted(name))
		}
		pt := w.plantPredict(ctx)
		w.ready(ctx, pt)
		w.stepToRefresh(ctx, pt)
		w.stepToRefresh(ctx, pt)
		var list v1alpha1.ProviderTokenList
		Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
		for i := range list.Items {
			if list.Items[i].Name != pt.Name {
				Expect(list.Items[i].Status.Token).To(BeNil())
			}
		}
	})
})

var _ = Describe("a host that throttles", func() {
	It("is left alone by all for as long as it says, and they say why they wait", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.operator()
		w.sim.PlantPredict.Always(providersim.Status(429, providersim.RetryAfter("300")))
		first := w.plantPredict(ctx)
		w.becomes(ctx, first, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
		second := w.wanted("plantpredict")
		second.Name = "second"
		w.create(ctx, second)
		w.becomes(ctx, second, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
		Expect(w.condition(ctx, second, v1alpha1.ReadyCondition).Message).To(ContainSubstring("waits for its turn"))
		Expect(w.condition(ctx, second, v1alpha1.StalledCondition)).To(BeNil())
		w.clock.Step(298 * time.Second)
		staysFor(quiet, func() int { return len(w.sim.PlantPredict.Calls()) }, 1)

		w.sim.PlantPredict.Clear()
		w.clock.Step(3 * time.Second)
		w.ready(ctx, first)
		w.ready(ctx, second)
	})
})

// fragile panics once.
type fragile struct {
	controller.Exchanger
	broken *atomic.Bool
}

func (f fragile) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	if f.broken.CompareAndSwap(false, true) {
		panic("a bug that tells " + req.Body.Reveal())
	}
	return f.Exchanger.Do(ctx, req, trust)
}

var _ = Describe("a bug in an exchange", func() {
	It("costs one object some minutes, and nobody else anything", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.around = func(inner controller.Exchanger) controller.Exchanger {
			return fragile{Exchanger: inner, broken: new(atomic.Bool)}
		}
		w.operator()
		pt := w.plantPredict(ctx)
		w.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable)
		Expect(w.condition(ctx, pt, v1alpha1.ReadyCondition).Message).NotTo(ContainSubstring(providersim.PlantPredictClientSecret))
		w.ready(ctx, w.up42(ctx))
		w.clock.Step(time.Minute)
		w.ready(ctx, pt)
	})
})

var _ = Describe("the record of logins", func() {
	It("counts logins that were sent and never recorded, as after a crash", func(ctx SpecContext) {
		w := newWorld(ctx)
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		credentials := provider.Credentials{
			provider.CredUsername: token.NewSecret("u"), provider.CredPassword: token.NewSecret("p"),
		}
		process := func() *controller.Logins {
			return &controller.Logins{Client: k8s, Namespace: w.namespace, Now: w.clock.Now}
		}
		for range 2 {
			_, frozen, err := process().Begin(ctx, resolved, credentials)
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
		}
		_, frozen, err := process().Begin(ctx, resolved, credentials)
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen).To(Equal(w.clock.Now().Add(15 * time.Minute)))

		By("keeping credentials apart")
		credentials[provider.CredPassword] = token.NewSecret("q")
		_, frozen, err = process().Begin(ctx, resolved, credentials)
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen).To(BeZero())

		By("holding nothing that could be guessed")
		var list corev1.ConfigMapList
		Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace), client.HasLabels{"providertoken.dev/login-record"})).To(Succeed())
		Expect(list.Items).To(HaveLen(2))
	})

	It("doubles the pause with each refused probe, up to a day", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.namespace, Now: w.clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		var pauses []time.Duration
		for range 9 {
			login, frozen, err := logins.Begin(ctx, resolved, provider.Credentials{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			until, err := login.Refused(ctx)
			Expect(err).NotTo(HaveOccurred())
			pauses = append(pauses, until.Sub(w.clock.Now()))
			w.clock.SetTime(until)
		}
		Expect(pauses).To(Equal([]time.Duration{
			15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour, 24 * time.Hour,
		}))
	})

	It("gives a login that used to work one more try before it freezes", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.namespace, Now: w.clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		begin := func() *controller.Login {
			GinkgoHelper()
			login, frozen, err := logins.Begin(ctx, resolved, provider.Credentials{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			return login
		}
		Expect(begin().Worked(ctx)).To(Succeed())
		until, err := begin().Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(until.Sub(w.clock.Now())).To(Equal(30 * time.Second))
		w.clock.SetTime(until)
		until, err = begin().Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(until.Sub(w.clock.Now())).To(Equal(15 * time.Minute))
	})

	It("takes an attempt back that the provider certainly did not judge", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.namespace, Now: w.clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		for range 5 {
			login, frozen, err := logins.Begin(ctx, resolved, provider.Credentials{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			Expect(login.Unanswered(ctx, false)).To(Succeed())
		}
	})

	It("is cleared of what nobody touched for a month", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.namespace, Now: w.clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		_, _, err := logins.Begin(ctx, resolved, provider.Credentials{})
		Expect(err).NotTo(HaveOccurred())
		records := func() int {
			var list corev1.ConfigMapList
			Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace), client.HasLabels{"providertoken.dev/login-record"})).To(Succeed())
			return len(list.Items)
		}
		Expect(logins.Sweep(ctx)).To(Succeed())
		Expect(records()).To(Equal(1))
		w.clock.Step(31 * 24 * time.Hour)
		Expect(logins.Sweep(ctx)).To(Succeed())
		Expect(records()).To(BeZero())
	})
})
