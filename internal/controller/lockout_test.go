package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/token"
	testworld "github.com/providertoken/operator/test/world"
)

func resourceQuantity(s string) *resource.Quantity {
	q := resource.MustParse(s)
	return &q
}

var _ = Describe("a login that is refused", func() {
	It("is tried at most twice before the freeze, by any number of objects and across restarts, and thaws with new credentials", func(ctx SpecContext) {
		w := newWorld(ctx)
		stop := w.Operator()
		secret := w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong"})
		pt := w.Create(ctx, w.Wanted("up42"))
		for i := range 5 {
			other := w.Wanted("up42")
			other.Name = fmt.Sprintf("up42-%d", i)
			w.Create(ctx, other)
		}
		got := w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		Expect(got.Status.Failure.Reason).To(Equal(v1alpha1.ReasonLoginFrozen))
		testworld.StaysFor(quiet, func() bool { return w.Sim.UP42.FailedLogins() <= 2 }, true)

		By("surviving restarts and recreated objects")
		stop()
		w.Operator()
		Expect(k8s.Delete(ctx, pt)).To(Succeed())
		pt = w.Create(ctx, w.Wanted("up42"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.Clock.Step(14 * time.Minute)
		testworld.StaysFor(quiet, func() bool { return w.Sim.UP42.FailedLogins() <= 2 }, true)

		By("not thawing for a refresh request")
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.RefreshRequestedAtAnnotation+`":"now"}}}`))
		Expect(k8s.Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.Name}}, patch)).To(Succeed())
		testworld.StaysFor(quiet, func() bool { return w.Sim.UP42.FailedLogins() <= 2 }, true)

		By("thawing at once when the credentials change")
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		secret.Data["password"] = []byte(providersim.UP42Password)
		Expect(k8s.Update(ctx, secret)).To(Succeed())
		w.Ready(ctx, pt)
		Expect(w.Sim.UP42.WasLocked(providersim.UP42Username)).To(BeFalse())
	})

	It("is probed sparsely, and noticed when it works again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "later"})
		pt := w.Create(ctx, w.Wanted("up42"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(1))
		w.Sim.UP42.SetLogin(providersim.UP42Username, "later")
		w.Clock.Step(15*time.Minute + time.Second)
		w.Ready(ctx, pt)
	})

	It("is tried again at once when a person deletes the record and asks for a refresh", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "later"})
		pt := w.Create(ctx, w.Wanted("up42"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.Sim.UP42.SetLogin(providersim.UP42Username, "later")
		Expect(k8s.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(w.Namespace), client.HasLabels{"providertoken.dev/login-record"})).To(Succeed())
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now"}
		})
		w.Ready(ctx, pt)
	})

	It("is not tried when it cannot be written down first", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "providertoken-login-key"}}
		Expect(k8s.Create(ctx, key)).To(Succeed()) // a key that is none
		w.Operator()
		pt := w.UP42(ctx)
		got := w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(got.Status.Token).To(BeNil())
		Expect(w.Sim.UP42.Calls()).To(BeEmpty())
		Expect(w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message).To(ContainSubstring("delete that Secret"))

		By("and soon after a person did what it says")
		Expect(k8s.Delete(ctx, key)).To(Succeed())
		w.Clock.Step(5 * time.Minute)
		w.Ready(ctx, pt)
	})

	It("is tried once by all who used it when it was changed at the provider, once more after half a minute, and by nobody then", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.UP42(ctx)
		all := []*v1alpha1.ProviderToken{pt}
		for i := range 12 {
			other := w.Wanted("up42")
			other.Name = fmt.Sprintf("up42-%d", i)
			all = append(all, w.Create(ctx, other))
		}
		for _, pt := range all {
			w.Ready(ctx, pt)
		}
		w.Sim.UP42.SetLogin(providersim.UP42Username, "changed by its owner")
		w.Sim.UP42.KillSessions()
		w.Clock.Step(3 * time.Minute)
		for _, pt := range all {
			w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		}
		Expect(w.Sim.UP42.FailedLogins()).To(Equal(1))
		w.Clock.Step(31 * time.Second)
		Eventually(w.Sim.UP42.FailedLogins).Should(Equal(2))
		w.Clock.Step(14 * time.Minute)
		testworld.StaysFor(quiet, w.Sim.UP42.FailedLogins, 2)
		Expect(w.Sim.UP42.WasLocked(providersim.UP42Username)).To(BeFalse())
	})

	It("is not tried while the API server refuses to store records, and soon after it does not", func(ctx SpecContext) {
		w := newWorld(ctx)
		var refuses atomic.Bool
		refuses.Store(true)
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if refuses.Load() && r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/configmaps") {
					return nil, errors.New("no ConfigMaps today")
				}
				return next.RoundTrip(r)
			})
		}
		w.Operator()
		pt := w.UP42(ctx)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonOperatorStateUnavailable)
		Expect(w.Sim.UP42.Calls()).To(BeEmpty())
		refuses.Store(false)
		w.Clock.Step(5 * time.Minute)
		w.Ready(ctx, pt)
	})

	It("does not freeze another credential for the same account", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong"})
		pt := w.Create(ctx, w.Wanted("up42"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		good := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "good", Labels: map[string]string{
				v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.Cluster("up42"),
			}},
			StringData: map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password},
		}
		Expect(k8s.Create(ctx, good)).To(Succeed())
		other := w.Wanted("up42")
		other.Name = "other"
		other.Spec.Credentials.SecretName = "good"
		w.Ready(ctx, w.Create(ctx, other))
	})
})

var _ = Describe("hosts that hang", func() {
	It("delay nobody else", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		holes, err := w.Sim.BlackHoles(16)
		Expect(err).NotTo(HaveOccurred())
		for i, address := range holes {
			name := fmt.Sprintf("hole-%d", i)
			p := &v1alpha1.ClusterTokenProvider{
				ObjectMeta: metav1.ObjectMeta{Name: w.Cluster(name)},
				Spec:       v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{TokenURL: "https://" + address + "/token", CABundle: w.Sim.CABundle()}},
			}
			Expect(k8s.Create(ctx, p)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, p)).To(Succeed()) })
			w.Credentials(ctx, name, map[string]string{"client_id": "a", "client_secret": "b"})
			w.Create(ctx, w.Wanted(name))
		}
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.StepToRefresh(ctx, pt)
		var list v1alpha1.ProviderTokenList
		Expect(k8s.List(ctx, &list, client.InNamespace(w.Namespace))).To(Succeed())
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
		w.Operator()
		w.Sim.PlantPredict.Always(providersim.Status(429, providersim.RetryAfter("300")))
		first := w.PlantPredict(ctx)
		w.Becomes(ctx, first, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
		second := w.Wanted("plantpredict")
		second.Name = "second"
		w.Create(ctx, second)
		w.Becomes(ctx, second, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonThrottled)
		Expect(w.Condition(ctx, second, v1alpha1.ReadyCondition).Message).To(ContainSubstring("waits for its turn"))
		Expect(w.Condition(ctx, second, v1alpha1.StalledCondition)).To(BeNil())
		w.Clock.Step(298 * time.Second)
		testworld.StaysFor(quiet, func() int { return len(w.Sim.PlantPredict.Calls()) }, 1)

		w.Sim.PlantPredict.Clear()
		w.Clock.Step(3 * time.Second)
		w.Ready(ctx, first)
		w.Ready(ctx, second)
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
		w.Around = func(inner controller.Exchanger) controller.Exchanger {
			return fragile{Exchanger: inner, broken: new(atomic.Bool)}
		}
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderUnavailable)
		Expect(w.Condition(ctx, pt, v1alpha1.ReadyCondition).Message).NotTo(ContainSubstring(providersim.PlantPredictClientSecret))
		w.Ready(ctx, w.UP42(ctx))
		w.Clock.Step(time.Minute)
		w.Ready(ctx, pt)
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
			return &controller.Logins{Client: k8s, Namespace: w.Namespace, Now: w.Clock.Now}
		}
		first := w.Clock.Now()
		for range 2 {
			_, frozen, err := process().Begin(ctx, resolved, credentials, controller.Use{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			w.Clock.Step(14 * time.Minute)
		}
		// The window slides: the second one still counts when the first one does not.
		w.Clock.SetTime(first.Add(15*time.Minute - time.Second))
		_, frozen, err := process().Begin(ctx, resolved, credentials, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen.Until).To(Equal(first.Add(15 * time.Minute)))
		w.Clock.SetTime(first.Add(15 * time.Minute))
		_, frozen, err = process().Begin(ctx, resolved, credentials, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen).To(BeZero())
		w.Clock.Step(5 * time.Second)
		_, frozen, err = process().Begin(ctx, resolved, credentials, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen.Until).To(Equal(first.Add(29 * time.Minute)))

		By("keeping credentials apart")
		credentials[provider.CredPassword] = token.NewSecret("q")
		_, frozen, err = process().Begin(ctx, resolved, credentials, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen).To(BeZero())

		By("holding nothing that could be guessed")
		var list corev1.ConfigMapList
		Expect(k8s.List(ctx, &list, client.InNamespace(w.Namespace), client.HasLabels{"providertoken.dev/login-record"})).To(Succeed())
		Expect(list.Items).To(HaveLen(2))
	})

	It("doubles the pause with each refused probe, up to a day", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.Namespace, Now: w.Clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		var pauses []time.Duration
		for range 9 {
			login, frozen, err := logins.Begin(ctx, resolved, provider.Credentials{}, controller.Use{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			until, err := login.Refused(ctx)
			Expect(err).NotTo(HaveOccurred())
			pauses = append(pauses, until.Sub(w.Clock.Now()))
			w.Clock.SetTime(until)
		}
		Expect(pauses).To(Equal([]time.Duration{
			15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour, 24 * time.Hour, 24 * time.Hour,
		}))
	})

	It("gives a login that used to work one more try before it freezes", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.Namespace, Now: w.Clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		begin := func() *controller.Login {
			GinkgoHelper()
			login, frozen, err := logins.Begin(ctx, resolved, provider.Credentials{}, controller.Use{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			return login
		}
		Expect(begin().Worked(ctx)).To(Succeed())
		until, err := begin().Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(until.Sub(w.Clock.Now())).To(Equal(30 * time.Second))
		w.Clock.SetTime(until)
		until, err = begin().Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(until.Sub(w.Clock.Now())).To(Equal(15 * time.Minute))
	})

	It("takes an attempt back that the provider certainly did not judge", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.Namespace, Now: w.Clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		for range 5 {
			login, frozen, err := logins.Begin(ctx, resolved, provider.Credentials{}, controller.Use{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero())
			Expect(login.Unanswered(ctx, false)).To(Succeed())
		}
	})

	// Records are kept for these; each call is another credential.
	resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://sso.example.com/realms/a/token", Grant: provider.Password, ClientAuthentication: provider.None}}
	account := func(password string) provider.Credentials {
		return provider.Credentials{provider.CredUsername: token.NewSecret("me@example.com"), provider.CredPassword: token.NewSecret(password)}
	}
	process := func(w *world) *controller.Logins {
		return &controller.Logins{Client: k8s, Namespace: w.Namespace, Now: w.Clock.Now}
	}
	beginsFor := func(ctx context.Context, l *controller.Logins, c provider.Credentials, use controller.Use) *controller.Login {
		GinkgoHelper()
		login, frozen, err := l.Begin(ctx, resolved, c, use)
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen).To(BeZero())
		return login
	}
	begins := func(ctx context.Context, l *controller.Logins, c provider.Credentials) *controller.Login {
		GinkgoHelper()
		return beginsFor(ctx, l, c, controller.Use{})
	}
	// A token that outlives any freeze of its login.
	lasting := controller.Use{Expires: time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)}
	frozen := func(ctx context.Context, l *controller.Logins, r provider.Resolved, c provider.Credentials) time.Time {
		GinkgoHelper()
		_, frozen, err := l.Begin(ctx, r, c, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(frozen.Problem).NotTo(BeEmpty())
		return frozen.Until
	}
	refused := func(ctx context.Context, l *controller.Logins, c provider.Credentials) time.Time {
		GinkgoHelper()
		until, err := begins(ctx, l, c).Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		return until
	}

	It("is one for all spellings that a server may take for the same login", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := process(w)
		until := refused(ctx, logins, account("p"))
		for _, url := range []string{
			"https://SSO.Example.com/realms/a/token", "https://sso.example.com:443/realms/a/token", "https://sso.example.com/realms/%61/token",
			"https://sso.example.com/realms/x/../a/token", "https://sso.example.com//realms/a/./token/", "https://sso.example.com/realms/a/token?b=1&a=2",
			"https://sso.example.com/realms/a/token;v=1", "https://sso.example.com/Realms/A/Token",
		} {
			other := resolved
			other.TokenURL = url
			Expect(frozen(ctx, logins, other, account("p"))).To(Equal(until), url)
		}
		for _, name := range []string{"Me@Example.COM", " me@example.com", "me@example.com "} {
			c := account("p")
			c[provider.CredUsername] = token.NewSecret(name)
			Expect(frozen(ctx, logins, resolved, c)).To(Equal(until), name)
		}
		c := account("p")
		c[provider.CredClientSecret] = token.NewSecret("not sent")
		c[provider.CredClientID] = token.NewSecret("another client")
		Expect(frozen(ctx, logins, resolved, c)).To(Equal(until), "what is not sent, or not secret")

		By("not holding up what is another login")
		for _, url := range []string{"https://sso.example.com/realms/b/token", "https://sso.example.com:8443/realms/a/token", "https://sso.example.org/realms/a/token"} {
			other := resolved
			other.TokenURL = url
			login, frozen, err := logins.Begin(ctx, other, account("p"), controller.Use{})
			Expect(err).NotTo(HaveOccurred())
			Expect(frozen).To(BeZero(), url)
			Expect(login.Unanswered(ctx, false)).To(Succeed())
		}
		proves := resolved
		proves.ClientAuthentication = provider.SecretPost
		_, thawed, err := logins.Begin(ctx, proves, c, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(thawed).To(BeZero(), "a client_secret that is sent is part of the credential")
	})

	It("reckons with a login that the process before may have sent and not recorded", func(ctx SpecContext) {
		w := newWorld(ctx)
		first := process(w)
		Expect(begins(ctx, first, account("p")).Worked(ctx)).To(Succeed())
		beginsFor(ctx, first, account("p"), lasting) // killed; the provider refused it
		begins(ctx, process(w), account("p"))
		w.Clock.Step(5 * time.Second)
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(w.Clock.Now().Add(15*time.Minute - 5*time.Second)))
	})

	It("counts a login that was sent with a credential that worked, of which nothing came", func(ctx SpecContext) {
		w := newWorld(ctx)
		first := process(w)
		Expect(begins(ctx, first, account("p")).Worked(ctx)).To(Succeed())
		sent := w.Clock.Now()
		begins(ctx, first, account("p")) // killed; the provider refused it
		w.Clock.Step(time.Second)
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(sent.Add(5*time.Second)), "they are kept apart")
		w.Clock.SetTime(sent.Add(5 * time.Second))
		begins(ctx, process(w), account("p"))
		w.Clock.Step(5 * time.Second)
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(sent.Add(15 * time.Minute)))
	})

	It("does not count a login that led to a token, nor one that was never sent", func(ctx SpecContext) {
		w := newWorld(ctx)
		held := w.Clock.Now().Add(-time.Minute)
		use := controller.Use{Target: client.ObjectKey{Namespace: "app", Name: "tok"}, Held: held, Expires: w.Clock.Now().Add(time.Minute)}
		issued := held
		process := func() *controller.Logins {
			l := process(w)
			l.Issued = func(_ context.Context, name client.ObjectKey) (time.Time, bool) { return issued, name == use.Target }
			return l
		}
		live := process()
		Expect(beginsFor(ctx, live, account("p"), use).Worked(ctx)).To(Succeed())
		for range 3 {
			beginsFor(ctx, live, account("p"), use)
			issued = w.Clock.Now().Truncate(time.Second) // published, and then killed
			live = process()
			Expect(beginsFor(ctx, live, account("p"), use).Worked(ctx)).To(Succeed())
			w.Clock.Step(10 * time.Second)
			live = process() // killed when there was no login
			beginsFor(ctx, live, account("p"), use)
			live = process() // killed, without a token
			w.Clock.Step(5 * time.Second)
			Expect(beginsFor(ctx, live, account("p"), use).Worked(ctx)).To(Succeed(), "that was the first try without an outcome")
			w.Clock.Step(10 * time.Second)
			use.Held = issued
		}

		By("believing no target that held that token before")
		beginsFor(ctx, live, account("p"), use) // killed
		w.Clock.Step(5 * time.Second)
		beginsFor(ctx, process(), account("p"), use) // killed
		w.Clock.Step(5 * time.Second)
		frozen(ctx, process(), resolved, account("p"))
	})

	It("does not count what a process that goes on knows to be one login, of a credential that worked", func(ctx SpecContext) {
		w := newWorld(ctx)
		Expect(begins(ctx, process(w), account("p")).Worked(ctx)).To(Succeed())
		second := process(w)
		Expect(begins(ctx, second, account("p")).Unanswered(ctx, true)).To(Succeed())
		w.Clock.Step(5 * time.Second)
		Expect(begins(ctx, second, account("p")).Unanswered(ctx, true)).To(Succeed())
		w.Clock.Step(5 * time.Second)
		frozen(ctx, second, resolved, account("p"))
	})

	It("keeps two tries apart of which the first has no known outcome", func(ctx SpecContext) {
		w := newWorld(ctx)
		begins(ctx, process(w), account("p")) // killed
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(w.Clock.Now().Add(5 * time.Second)))
		w.Clock.Step(5 * time.Second)
		begins(ctx, process(w), account("p"))
	})

	It("grants no more when the clock goes back", func(ctx SpecContext) {
		w := newWorld(ctx)
		begins(ctx, process(w), account("p"))
		w.Clock.Step(5 * time.Second)
		begins(ctx, process(w), account("p"))
		w.Clock.SetTime(w.Clock.Now().Add(-time.Hour))
		back := w.Clock.Now()
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(back.Add(15 * time.Minute)))
		w.Clock.Step(10 * time.Minute)
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(back.Add(15*time.Minute)), "nor freezes for ever")
	})

	It("is heeded by the shards, each of which knew the login to work", func(ctx SpecContext) {
		w := newWorld(ctx)
		one, two := process(w), process(w)
		one.Shared, two.Shared = true, true
		Expect(begins(ctx, one, account("p")).Worked(ctx)).To(Succeed())
		Expect(begins(ctx, two, account("p")).Worked(ctx)).To(Succeed())
		until := refused(ctx, one, account("p"))
		Expect(frozen(ctx, two, resolved, account("p"))).To(Equal(until))

		By("also when both were refused at once")
		Expect(begins(ctx, one, account("q")).Worked(ctx)).To(Succeed())
		Expect(begins(ctx, two, account("q")).Worked(ctx)).To(Succeed())
		a, b := beginsFor(ctx, one, account("q"), lasting), beginsFor(ctx, two, account("q"), lasting)
		_, err := a.Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		until, err = b.Refused(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(until).To(Equal(w.Clock.Now().Add(15 * time.Minute)))
		Expect(frozen(ctx, one, resolved, account("q"))).To(Equal(until))

		By("one after the other, where a freeze would let a token expire")
		Expect(begins(ctx, one, account("r")).Worked(ctx)).To(Succeed())
		begins(ctx, one, account("r"))
		Expect(frozen(ctx, two, resolved, account("r"))).To(Equal(w.Clock.Now().Add(5 * time.Second)))
	})

	It("does not freeze a good login of one shard while another one begins with it", func(ctx SpecContext) {
		w := newWorld(ctx)
		one, two := process(w), process(w)
		one.Shared, two.Shared = true, true
		Expect(begins(ctx, one, account("p")).Worked(ctx)).To(Succeed())
		other := begins(ctx, two, account("p"))
		Expect(frozen(ctx, one, resolved, account("p"))).To(Equal(w.Clock.Now().Add(5 * time.Second)))
		Expect(other.Worked(ctx)).To(Succeed())
		Expect(begins(ctx, one, account("p")).Worked(ctx)).To(Succeed())
	})

	It("is found again after the key was deleted under a running operator", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := process(w)
		until := refused(ctx, logins, account("p"))
		key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "providertoken-login-key"}}
		Expect(k8s.Delete(ctx, key)).To(Succeed())
		Expect(begins(ctx, logins, account("other")).Worked(ctx)).To(Succeed())
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(until))
	})

	It("holds up logins without a record after the key was lost for good, until nothing refused before can be among them", func(ctx SpecContext) {
		w := newWorld(ctx)
		refused(ctx, process(w), account("p"))
		w.Clock.Step(5 * time.Minute)
		key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "providertoken-login-key"}}
		Expect(k8s.Delete(ctx, key)).To(Succeed())
		until := frozen(ctx, process(w), resolved, account("p"))
		Expect(until.Sub(w.Clock.Now())).To(BeNumerically("~", 10*time.Minute, time.Second))
		Expect(frozen(ctx, process(w), resolved, account("another"))).To(Equal(until), "also by the next process")
		w.Clock.SetTime(until)
		refused(ctx, process(w), account("p"))
	})

	It("is not tried when writing it down took so long that it would be counted too early", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := process(w)
		watching, err := client.NewWithWatch(apiServer, client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		logins.Client = interceptor.NewClient(watching, interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			defer w.Clock.Step(time.Minute)
			return c.Create(ctx, o, opts...)
		}})
		login, _, err := logins.Begin(ctx, resolved, account("p"), controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		Expect(login).NotTo(BeNil(), "the second write was faster")
		sent := w.Clock.Now()
		w.Clock.Step(5 * time.Second)
		begins(ctx, process(w), account("p"))
		w.Clock.Step(5 * time.Second)
		Expect(frozen(ctx, process(w), resolved, account("p"))).To(Equal(sent.Add(15 * time.Minute)))
	})

	It("is let go of after a bug in the exchange", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := process(w)
		begins(ctx, logins, account("p")).Abandon()
		w.Clock.Step(5 * time.Second)
		begins(ctx, logins, account("p")).Abandon()
		w.Clock.Step(5 * time.Second)
		frozen(ctx, logins, resolved, account("p"))
	})

	It("is cleared of what nobody touched for a month", func(ctx SpecContext) {
		w := newWorld(ctx)
		logins := &controller.Logins{Client: k8s, Namespace: w.Namespace, Now: w.Clock.Now}
		resolved := provider.Resolved{Definition: provider.Definition{TokenURL: "https://a.example.com/t", Grant: provider.Password}}
		_, _, err := logins.Begin(ctx, resolved, provider.Credentials{}, controller.Use{})
		Expect(err).NotTo(HaveOccurred())
		records := func() int {
			var list corev1.ConfigMapList
			Expect(k8s.List(ctx, &list, client.InNamespace(w.Namespace), client.HasLabels{"providertoken.dev/login-record"})).To(Succeed())
			return len(list.Items)
		}
		Expect(logins.Sweep(ctx)).To(Succeed())
		Expect(records()).To(Equal(1))
		w.Clock.Step(31 * 24 * time.Hour)
		Expect(logins.Sweep(ctx)).To(Succeed())
		Expect(records()).To(BeZero())
	})
})
