package disaster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

const (
	rightPassword = providersim.UP42Password
	wrongPassword = "wrong"
)

// ledger holds every login that was sent, as somebody on the wire sees it.
type ledger struct {
	now func() time.Time

	mu      sync.Mutex
	sent    map[string][]time.Time // by username and password; only those without success
	latest  int                    // logins in all
	dieNext bool
}

// wrap puts the ledger between an operator and the network.
func (l *ledger) wrap(inner controller.Exchanger) controller.Exchanger {
	return witness{Exchanger: inner, ledger: l}
}

type witness struct {
	controller.Exchanger
	ledger *ledger
}

// Do writes a login down. One that is to be the last of its process panics after it
// was sent, so that nothing of what follows happens: neither its outcome nor the
// operator's record of it.
func (w witness) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	form, _ := url.ParseQuery(req.Body.Reveal())
	if form.Get("grant_type") != "password" {
		return w.Exchanger.Do(ctx, req, trust)
	}
	at := w.ledger.now()
	answer, err := w.Exchanger.Do(ctx, req, trust)
	dies := w.ledger.book(form.Get("username")+"\n"+form.Get("password"), at, err == nil && answer.Status == http.StatusOK)
	if dies {
		panic("killed between sending and recording")
	}
	return answer, err
}

func (l *ledger) book(credential string, at time.Time, worked bool) (dies bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest++
	if !worked {
		l.sent[credential] = append(l.sent[credential], at)
	}
	dies, l.dieNext = l.dieNext && !worked, l.dieNext && worked
	return dies
}

func (l *ledger) killNext() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dieNext = true
}

// most is the largest number of refused logins with one credential in any quarter of an hour.
func (l *ledger) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := 0
	for _, times := range l.sent {
		slices.SortFunc(times, time.Time.Compare)
		for i, from := range times {
			n := 0
			for _, t := range times[i:] {
				if t.Sub(from) < 15*time.Minute {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most
}

func (l *ledger) count(password string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent[providersim.UP42Username+"\n"+password])
}

// lockoutWorld has a ledger, and the login's endpoint by every kind of provider.
func lockoutWorld(ctx context.Context) (*testworld.World, *ledger) {
	GinkgoHelper()
	w := testworld.New(ctx, server)
	book := &ledger{now: w.Clock.Now, sent: map[string][]time.Time{}}
	w.Around = book.wrap
	return w, book
}

// definition of the login's endpoint, spelled like that.
func definition(w *testworld.World, spelling int) v1alpha1.ProviderDefinition {
	address := w.Sim.UP42.TokenURL()
	switch spelling % 3 {
	case 1:
		address = strings.Replace(address, "/token", "/%74oken", 1)
	case 2:
		address = strings.Replace(address, "/realms", "/REALMS/../realms", 1) // refused by the simulator, 404: counts for nothing
	}
	return v1alpha1.ProviderDefinition{Base: "UP42", TokenURL: address, CABundle: w.Sim.CABundle()}
}

// loginSecret binds a login to a provider, in any namespace.
func loginSecret(ctx context.Context, w *testworld.World, namespace, name, boundTo, password string) {
	GinkgoHelper()
	Expect(server.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels:      map[string]string{v1alpha1.CredentialsForLabel: boundTo},
			Annotations: map[string]string{v1alpha1.AllowedHostsAnnotation: w.Sim.UP42.Address()},
		},
		StringData: map[string]string{"username": providersim.UP42Username, "password": password},
	})).To(Succeed())
}

// wantsLogin is a ProviderToken for a Secret with a login.
func wantsLogin(w *testworld.World, namespace, name, secret string) *v1alpha1.ProviderToken {
	pt := w.Wanted("up42")
	pt.Namespace, pt.Name = namespace, name
	pt.Spec.Credentials.SecretName = secret
	pt.Spec.Target = &v1alpha1.Target{SecretName: name + "-token"}
	return pt
}

// reason of the condition Ready; empty while there is none.
func reason(ctx context.Context, w *testworld.World, pt *v1alpha1.ProviderToken) string {
	if c := w.Condition(ctx, pt, v1alpha1.ReadyCondition); c != nil {
		return c.Reason
	}
	return ""
}

func ask(ctx context.Context, pt *v1alpha1.ProviderToken, value string) {
	GinkgoHelper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.RefreshRequestedAtAnnotation+`":"`+value+`"}}}`))
	err := server.Client.Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.Name}}, patch)
	Expect(client.IgnoreNotFound(err)).To(Succeed())
}

var _ = Describe("a wrong password", func() {
	It("is sent twice in a quarter of an hour at most, by whichever kind of provider, copy of the Secret and namespace, and none of it keeps the right one waiting", func(ctx SpecContext) {
		w, book := lockoutWorld(ctx)
		others := []string{w.Namespace, w.NewNamespace(ctx, nil), w.NewNamespace(ctx, nil)}
		w.Operator()
		for i, ns := range others {
			for spelling := range 2 {
				name := fmt.Sprintf("own-%d", spelling)
				Expect(server.Client.Create(ctx, &v1alpha1.TokenProvider{
					ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: definition(w, spelling),
				})).To(Succeed())
				loginSecret(ctx, w, ns, name, "TokenProvider."+name, wrongPassword)
				pt := wantsLogin(w, ns, name, name)
				pt.Spec.ProviderRef = &v1alpha1.ProviderReference{Kind: v1alpha1.NamespacedProvider, Name: name}
				w.Create(ctx, pt)

				inline := fmt.Sprintf("inline-%d", spelling)
				loginSecret(ctx, w, ns, inline, "ProviderToken."+inline, wrongPassword)
				pt = wantsLogin(w, ns, inline, inline)
				in := definition(w, spelling)
				pt.Spec.ProviderRef, pt.Spec.Provider = nil, &in
				w.Create(ctx, pt)
			}
			for j := range 3 {
				name := fmt.Sprintf("copy-%d-%d", i, j)
				loginSecret(ctx, w, ns, name, "ClusterTokenProvider."+w.Cluster("up42"), wrongPassword)
				w.Create(ctx, wantsLogin(w, ns, name, name))
			}
		}
		var all []v1alpha1.ProviderToken
		for _, ns := range others {
			var list v1alpha1.ProviderTokenList
			Expect(server.Client.List(ctx, &list, client.InNamespace(ns))).To(Succeed())
			all = append(all, list.Items...)
		}
		Expect(all).To(HaveLen(21))
		for i := range all {
			w.Becomes(ctx, &all[i], v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		}
		Expect(book.count(wrongPassword)).To(Equal(1))

		By("a tenant who has the right one is not kept waiting by those who know the name")
		loginSecret(ctx, w, w.Namespace, "right", "ClusterTokenProvider."+w.Cluster("up42"), rightPassword)
		right := w.Create(ctx, wantsLogin(w, w.Namespace, "right", "right"))
		w.Ready(ctx, right)

		By("different wrong passwords have tries of their own: who counted them together would let one tenant freeze another")
		for i, ns := range others {
			w.Clock.Step(2 * time.Second) // two failures in one second are an attack to Keycloak, whoever sends them
			name := "typo"
			loginSecret(ctx, w, ns, name, "ClusterTokenProvider."+w.Cluster("up42"), fmt.Sprintf("typo-%d", i))
			pt := w.Create(ctx, wantsLogin(w, ns, name, name))
			w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
			Expect(book.count(fmt.Sprintf("typo-%d", i))).To(Equal(1))
		}
		w.StepToRefresh(ctx, right)
		Expect(book.most()).To(Equal(1))

		By("a corrected one is used at once")
		fixed := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: others[1], Name: "own-0"}}
		Expect(server.Client.Patch(ctx, fixed, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"password":"`+strings.ReplaceAll(rightPassword, `"`, `\"`)+`"}}`)))).To(Succeed())
		w.Ready(ctx, &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: others[1], Name: "own-0"}})
		Expect(w.Sim.UP42.WasLocked(providersim.UP42Username)).To(BeFalse())
	})

	It("is sent twice in a quarter of an hour at most by two shards, and a good one is used by both", func(ctx SpecContext) {
		w, book := lockoutWorld(ctx)
		loginSecret(ctx, w, w.Namespace, "up42-login", "ClusterTokenProvider."+w.Cluster("up42"), rightPassword)
		var all []*v1alpha1.ProviderToken
		for _, shard := range []string{"a", "b"} {
			selector, err := labels.Parse("shard=" + shard)
			Expect(err).NotTo(HaveOccurred())
			w.Shard = selector
			w.Operator()
			for i := range 3 {
				pt := wantsLogin(w, w.Namespace, fmt.Sprintf("%s-%d", shard, i), "up42-login")
				pt.Labels = map[string]string{"shard": shard}
				all = append(all, w.Create(ctx, pt))
			}
			for _, pt := range all {
				Eventually(func() string { w.Clock.Step(time.Second); return reason(ctx, w, pt) }).
					WithPolling(20 * time.Millisecond).Should(Equal(v1alpha1.ReasonReady))
			}
		}
		w.Sim.UP42.SetLogin(providersim.UP42Username, "changed by its owner")
		w.Sim.UP42.KillSessions()
		w.Clock.Step(3 * time.Minute)
		for _, pt := range all {
			w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		}
		for range 7 {
			w.Clock.Step(2 * time.Minute)
			testworld.StaysFor(60*time.Millisecond, func() bool { return book.most() <= 2 }, true)
		}
		w.Sim.UP42.SetLogin(providersim.UP42Username, rightPassword)
		w.Clock.Step(30 * time.Minute)
		for _, pt := range all {
			// While one shard logs in for the first time, the other one waits for some seconds.
			Eventually(func() string { w.Clock.Step(time.Second); return reason(ctx, w, pt) }).
				WithPolling(20 * time.Millisecond).Should(Equal(v1alpha1.ReasonReady))
		}
		Expect(book.most()).To(BeNumerically("<=", 2))
	})

	DescribeTable("is sent twice in a quarter of an hour at most, whatever happens in which order", func(ctx SpecContext, seed uint64) {
		w, book := lockoutWorld(ctx)
		w.Sim.UP42.SetLockout(providersim.Lockout{Failures: 30, Quick: time.Second, Wait: time.Hour})
		p := &play{World: w, book: book, dice: rand.New(rand.NewPCG(seed, seed)), namespaces: []string{w.Namespace, w.NewNamespace(ctx, nil)}}
		w.Faults = p.faults
		p.stop = w.Operator()
		for i := range 4 {
			p.copy(ctx, i)
		}
		// Sixty steps, and more where the operator had no time yet for a single login.
		for n := 0; n < 60 || n < 600 && book.count(wrongPassword) == 0; n++ {
			p.step(ctx)
			Expect(book.most()).To(BeNumerically("<=", 2), strings.Join(p.told, "\n"))
		}
		Expect(w.Sim.UP42.WasLocked(providersim.UP42Username)).To(BeFalse(), strings.Join(p.told, "\n"))
		Expect(book.count(wrongPassword)).To(BeNumerically(">=", 1), "nothing was tried")

		By("the right password works again promptly")
		p.refuse.Store(false)
		p.correct(ctx)
		for _, ns := range p.namespaces {
			var list v1alpha1.ProviderTokenList
			Expect(server.Client.List(ctx, &list, client.InNamespace(ns))).To(Succeed())
			for i := range list.Items {
				w.Ready(ctx, &list.Items[i])
			}
		}
		Expect(book.most()).To(BeNumerically("<=", 2))
		Expect(w.Sim.UP42.WasLocked(providersim.UP42Username)).To(BeFalse())
	}, Entry("seed 1", uint64(1)), Entry("seed 2", uint64(2)))
})

// play is a random sequence of what people, tools and machines do.
type play struct {
	*testworld.World
	book       *ledger
	dice       *rand.Rand
	namespaces []string
	copies     int
	stop       func()
	refuse     atomic.Bool
	told       []string
}

func (p *play) faults(next http.RoundTripper) http.RoundTripper {
	return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
		if p.refuse.Load() && r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/configmaps") {
			return nil, errors.New("no ConfigMaps now")
		}
		return next.RoundTrip(r)
	})
}

// copy makes another Secret with the login, and somebody who uses it.
func (p *play) copy(ctx context.Context, i int) {
	GinkgoHelper()
	p.copies++
	ns, name := p.namespaces[i%len(p.namespaces)], fmt.Sprintf("copy-%d", p.copies)
	loginSecret(ctx, p.World, ns, name, "ClusterTokenProvider."+p.Cluster("up42"), wrongPassword)
	p.Create(ctx, wantsLogin(p.World, ns, name, name))
}

// secrets with the login.
func (p *play) secrets(ctx context.Context) []corev1.Secret {
	GinkgoHelper()
	var all []corev1.Secret
	for _, ns := range p.namespaces {
		var list corev1.SecretList
		Expect(server.Client.List(ctx, &list, client.InNamespace(ns), client.HasLabels{v1alpha1.CredentialsForLabel})).To(Succeed())
		all = append(all, list.Items...)
	}
	return all
}

func (p *play) edit(ctx context.Context, change func(*corev1.Secret)) {
	GinkgoHelper()
	all := p.secrets(ctx)
	s := all[p.dice.IntN(len(all))]
	change(&s)
	Expect(server.Client.Update(ctx, &s)).To(Succeed())
}

func (p *play) correct(ctx context.Context) {
	GinkgoHelper()
	for _, s := range p.secrets(ctx) {
		s.Data["password"] = []byte(rightPassword)
		Expect(server.Client.Update(ctx, &s)).To(Succeed())
	}
}

func (p *play) tell(what string) {
	p.told = append(p.told, p.Clock.Now().Format("15:04:05 ")+what)
	GinkgoWriter.Println(p.told[len(p.told)-1])
}

func (p *play) step(ctx context.Context) {
	GinkgoHelper()
	// The operator gets some of the machine's time between two events, and sometimes all that it needs.
	pause := []time.Duration{0, 0, 10 * time.Millisecond, 60 * time.Millisecond}[p.dice.IntN(4)]
	if pause > 0 {
		testworld.StaysFor(pause, func() bool { return p.book.most() <= 2 }, true)
	}
	switch p.dice.IntN(13) {
	case 0, 1, 2:
		d := []time.Duration{5 * time.Second, 31 * time.Second, time.Minute, 5 * time.Minute, 14*time.Minute + 59*time.Second, 16 * time.Minute, time.Hour}[p.dice.IntN(7)]
		p.tell("time passes: " + d.String())
		p.Clock.Step(d)
	case 3:
		p.tell("a password is corrected, or spoilt again")
		p.edit(ctx, func(s *corev1.Secret) {
			if string(s.Data["password"]) == rightPassword {
				s.Data["password"] = []byte(wrongPassword)
			} else {
				s.Data["password"] = []byte(rightPassword)
			}
		})
	case 4:
		p.tell("a Secret is edited beside the password")
		p.edit(ctx, func(s *corev1.Secret) {
			mark := fmt.Sprint(p.dice.IntN(1000))
			s.Labels["note"], s.Annotations["note"], s.Data["client_secret"], s.Data["note"] = mark, mark, []byte(mark), []byte(mark)
		})
	case 5:
		p.tell("a ProviderToken is created again")
		s := p.secrets(ctx)
		name := client.ObjectKeyFromObject(&s[p.dice.IntN(len(s))])
		pt := wantsLogin(p.World, name.Namespace, name.Name, name.Name)
		Expect(client.IgnoreNotFound(server.Client.Delete(ctx, pt))).To(Succeed())
		p.Create(ctx, wantsLogin(p.World, name.Namespace, name.Name, name.Name))
	case 6:
		p.tell("another ProviderToken, of the same Secret")
		s := p.secrets(ctx)
		name := client.ObjectKeyFromObject(&s[p.dice.IntN(len(s))])
		p.copies++
		p.Create(ctx, wantsLogin(p.World, name.Namespace, fmt.Sprintf("further-%d", p.copies), name.Name))
	case 7:
		p.tell("a copy of the Secret")
		p.copy(ctx, p.dice.IntN(2))
	case 8:
		p.tell("everybody asks for a refresh")
		for _, ns := range p.namespaces {
			var list v1alpha1.ProviderTokenList
			Expect(server.Client.List(ctx, &list, client.InNamespace(ns))).To(Succeed())
			for i := range list.Items {
				ask(ctx, &list.Items[i], fmt.Sprint(p.dice.Int64()))
			}
		}
	case 9:
		p.tell("the provider object is edited")
		var def v1alpha1.ClusterTokenProvider
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: p.Cluster("up42")}, &def)).To(Succeed())
		def.Spec.Limits = &v1alpha1.Limits{Concurrency: int32(1 + p.dice.IntN(9))}
		Expect(server.Client.Update(ctx, &def)).To(Succeed())
	case 10:
		p.tell("the operator is killed between sending a login and writing down what came of it")
		p.book.killNext()
		p.Clock.Step(5 * time.Second)
		testworld.StaysFor(50*time.Millisecond, func() bool { return p.book.most() <= 2 }, true)
		p.stop()
		p.stop = p.Operator()
	case 11:
		p.tell("the operator is restarted")
		p.stop()
		p.stop = p.Operator()
	case 12:
		p.refuse.Store(!p.refuse.Load())
		p.tell(fmt.Sprintf("records cannot be written: %v", p.refuse.Load()))
	}
}
