package scale_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	testworld "github.com/providertoken/operator/test/world"
)

// crowd is a world with many ProviderTokens.
type crowd struct {
	*testworld.World
	providers *providers
}

func newCrowd(ctx context.Context) *crowd {
	GinkgoHelper()
	w := testworld.New(ctx, server)
	c := &crowd{World: w, providers: newProviders(w.Clock.Now)}
	w.Around = func(controller.Exchanger) controller.Exchanger { return c.providers }
	return c
}

// host of a provider of this crowd.
func (c *crowd) host(name string) string { return name + ".example.com" }

// provider makes a ClusterTokenProvider and the credentials for it in a namespace.
func (c *crowd) provider(ctx context.Context, name, namespace string, limits v1alpha1.Limits) {
	GinkgoHelper()
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: c.Cluster(name)}}
	p.Spec.TokenURL, p.Spec.Limits = "https://"+c.host(name)+"/token", &limits
	Expect(server.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(server.Client.Delete(ctx, p))).To(Succeed()) })
	Expect(server.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name + "-login",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + c.Cluster(name)},
		},
		StringData: map[string]string{"client_id": "id-" + name, "client_secret": "secret-of-" + name},
	})).To(Succeed())
}

// create makes n ProviderTokens of a provider.
func (c *crowd) create(ctx context.Context, provider, prefix, namespace string, n int) {
	GinkgoHelper()
	var all sync.WaitGroup
	failures := make(chan error, n)
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < n; i += 8 {
				pt := c.Wanted(provider)
				pt.Namespace, pt.Name = namespace, fmt.Sprintf("%s-%05d", prefix, i)
				pt.Spec.Scopes = []v1alpha1.Scope{v1alpha1.Scope(pt.Name)}
				if err := server.Client.Create(ctx, pt); err != nil {
					failures <- err
				}
			}
		})
	}
	all.Wait()
	close(failures)
	Expect(<-failures).NotTo(HaveOccurred())
}

// ready waits until that many ProviderTokens of a namespace are, with tokens issued at that instant.
func (c *crowd) ready(ctx context.Context, namespace string, n int, issued time.Time) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var list v1alpha1.ProviderTokenList
		g.Expect(server.Client.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
		count := 0
		for i := range list.Items {
			if t := list.Items[i].Status.Token; t != nil && !t.IssuedAt.Time.Before(issued) {
				count++
			}
		}
		g.Expect(count).To(Equal(n))
	}).WithContext(ctx).WithTimeout(2 * time.Minute).WithPolling(100 * time.Millisecond).Should(Succeed())
}

// failing counts those that tell of an outage.
func (c *crowd) failing(ctx context.Context) (n int) {
	GinkgoHelper()
	var list v1alpha1.ProviderTokenList
	Expect(server.Client.List(ctx, &list, client.InNamespace(c.Namespace))).To(Succeed())
	for i := range list.Items {
		if f := list.Items[i].Status.Failure; f != nil && f.Reason == v1alpha1.ReasonProviderUnavailable {
			n++
		}
	}
	return n
}

// quiet waits until the operator rests: the clock stands still, so nothing falls due.
func (c *crowd) quiet() {
	GinkgoHelper()
	last := -1
	Eventually(func() bool {
		before := last
		last = reconciles()
		return before == last
	}).WithTimeout(time.Minute).WithPolling(300 * time.Millisecond).Should(BeTrue())
	c.Rest() // events are written beside what reconciles do
}

// reconciles counts those that have ended in this process.
func reconciles() (n int) {
	GinkgoHelper()
	families, err := ctrlmetrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, f := range families {
		if f.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			n += int(m.GetCounter().GetValue())
		}
	}
	return n
}

func wide() v1alpha1.Limits { return v1alpha1.Limits{Concurrency: 64, PerSecond: 1000} }

// due is when every token of an hour has been due for a moment.
const due = 41 * time.Minute

var _ = Describe("many ProviderTokens", func() {
	It("wait for their own host only: not for one that is slow, however many wait for that", func(ctx SpecContext) {
		slow, fast := many(100), many(20)
		c := newCrowd(ctx)
		greedy := c.NewNamespace(ctx, nil)
		c.provider(ctx, "slow", greedy, v1alpha1.Limits{Concurrency: 8, PerSecond: 1000})
		c.provider(ctx, "fast", c.Namespace, wide())
		c.Operator()
		c.create(ctx, "slow", "slow", greedy, slow)
		c.create(ctx, "fast", "fast", c.Namespace, fast)
		c.ready(ctx, greedy, slow, c.Clock.Now())
		c.ready(ctx, c.Namespace, fast, c.Clock.Now())

		By("letting all of them fall due at once, while the slow one takes for ever")
		release := c.providers.hold(c.host("slow"))
		DeferCleanup(release)
		mark, began := c.providers.mark(), time.Now()
		c.Clock.Step(due)
		c.ready(ctx, c.Namespace, fast, c.Clock.Now())
		took := time.Since(began)
		Expect(c.providers.minted(mark, c.host("fast"))).To(Equal(fast))
		waiting := c.providers.since(mark, c.host("slow"))
		Expect(c.providers.minted(mark, c.host("slow"))).To(BeZero(), "somebody waited for an answer of the slow host")
		Expect(len(waiting)).To(BeNumerically("<=", 8))
		AddReportEntry("a slow host", fmt.Sprintf("%d refreshes took %s beside %d that wait for a slow host", fast, took.Round(time.Millisecond), slow))

		By("letting it answer")
		release()
		c.ready(ctx, greedy, slow, c.Clock.Now())
		Expect(c.providers.since(mark, c.host("slow"))).To(HaveLen(slow), "each is asked for once")
	}, SpecTimeout(5*time.Minute))

	It("are not minted anew, nor written, when the provider of all of them is edited", func(ctx SpecContext) {
		n := many(80)
		c := newCrowd(ctx)
		c.provider(ctx, "corp", c.Namespace, wide())
		c.Operator()
		c.create(ctx, "corp", "user", c.Namespace, n)
		c.ready(ctx, c.Namespace, n, c.Clock.Now())
		c.quiet()

		By("editing it")
		mark, requests, looked := c.providers.mark(), c.Requests.Snapshot(), reconciles()
		p := &v1alpha1.ClusterTokenProvider{}
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: c.Cluster("corp")}, p)).To(Succeed())
		p.Spec.FormParameters = map[string]v1alpha1.FormValue{"edited": "yes"}
		Expect(server.Client.Update(ctx, p)).To(Succeed())
		Eventually(func() int { return reconciles() - looked }).WithTimeout(time.Minute).Should(BeNumerically(">=", n), "not everybody has seen the edit")
		c.quiet()
		Expect(c.providers.since(mark, c.host("corp"))).To(BeEmpty(), "an edit of the provider minted tokens at once")
		sent := c.Requests.Snapshot().Since(requests)
		Expect(sent.Sum("POST", "PUT", "PATCH", "DELETE")).To(BeZero(), "an edit of the provider was written into those who use it: %v", sent)

		By("letting the tokens fall due")
		requests = c.Requests.Snapshot()
		c.Clock.Step(due)
		c.ready(ctx, c.Namespace, n, c.Clock.Now())
		calls := c.providers.since(mark, c.host("corp"))
		Expect(calls).To(HaveLen(n))
		for _, asked := range calls {
			Expect(asked.form.Get("edited")).To(Equal("yes"))
		}
		c.quiet()
		sent = c.Requests.Snapshot().Since(requests)
		Expect(sent).To(HaveKeyWithValue("PUT secrets", n))
		Expect(sent).To(HaveKeyWithValue("PATCH providertokens", n))
		Expect(sent.Sum("POST", "DELETE")).To(BeZero(), "a steady refresh is two writes: %v", sent)
		Expect(sent["GET secrets"]).To(BeZero(), "a steady refresh reads nothing: %v", sent)
		var list v1alpha1.ProviderTokenList
		Expect(server.Client.List(ctx, &list, client.InNamespace(c.Namespace))).To(Succeed())
		for i := range list.Items {
			Expect(list.Items[i].Status.Provider.Version).To(Equal("2"), "status tells what the token was made with")
		}
	}, SpecTimeout(5*time.Minute))

	It("are renewed after an outage at the rate of their host, one canary first and the nearest expiry next", func(ctx SpecContext) {
		n, rate := many(80), 20
		c := newCrowd(ctx)
		c.provider(ctx, "corp", c.Namespace, v1alpha1.Limits{Concurrency: 20, PerSecond: 1000})
		host := c.host("corp")
		c.Operator()
		// Four kinds of tokens, the later ones with less to live.
		quarter := n / 4
		for i := range 4 {
			c.providers.lifetime = time.Hour - time.Duration(i)*time.Minute
			c.create(ctx, "corp", fmt.Sprintf("kind-%d", i), c.Namespace, quarter)
			c.ready(ctx, c.Namespace, (i+1)*quarter, c.Clock.Now())
		}
		p := &v1alpha1.ClusterTokenProvider{}
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: c.Cluster("corp")}, p)).To(Succeed())
		p.Spec.Limits.PerSecond = int32(rate)
		Expect(server.Client.Update(ctx, p)).To(Succeed())

		By("letting all of them fall due while nobody answers")
		c.providers.takeDown(host)
		mark := c.providers.mark()
		c.Clock.Step(32 * time.Minute)
		for range 10 {
			c.Clock.Step(time.Minute)
		}
		// Those whose turn did not come before the host was down have nothing to tell yet.
		Eventually(func() int { return c.failing(ctx) }).WithTimeout(time.Minute).Should(BeNumerically(">=", 3))
		c.quiet()
		tries := len(c.providers.since(mark, host))
		Expect(tries).To(BeNumerically("<=", 40), "a host that is down is asked by one at a time, ever more seldom")

		By("bringing it back")
		c.providers.bringBack(host)
		mark = c.providers.mark()
		release := c.providers.hold(host)
		DeferCleanup(release)
		c.Clock.Step(61 * time.Second) // longer than between any two canaries
		Eventually(func() int { return len(c.providers.since(mark, host)) }).Should(Equal(1))
		Consistently(func() int { return len(c.providers.since(mark, host)) }).WithTimeout(300*time.Millisecond).Should(Equal(1), "one canary first")
		release()
		recovered := c.Clock.Now()
		for done := 0; done < n; {
			// The canary's second has one start less.
			Eventually(func() int { return c.providers.minted(mark, host) }).
				Should(BeNumerically(">=", min(done+rate-1, n)), "less than the rate within a second")
			done = c.providers.minted(mark, host)
			if done < n {
				c.Clock.Step(time.Second)
			}
		}
		took := c.Clock.Now().Sub(recovered)
		AddReportEntry("after an outage", fmt.Sprintf("%d tokens at %d a second were fresh %s after the canary; N ÷ rate is %s", n, rate, took, time.Duration(n/rate)*time.Second))
		Expect(took).To(BeNumerically("<=", time.Duration(n)*time.Second*11/10/time.Duration(rate)))

		calls := c.providers.since(mark, host)
		Expect(calls).To(HaveLen(n), "each is asked for once")
		seconds := map[time.Time][]string{}
		for _, asked := range calls {
			seconds[asked.began] = append(seconds[asked.began], asked.object)
		}
		var order []string
		instants := make([]time.Time, 0, len(seconds))
		for at := range seconds {
			instants = append(instants, at)
		}
		slices.SortFunc(instants, time.Time.Compare)
		for _, at := range instants {
			// One that began in the second before may arrive in this one; exchange's own
			// test counts every sliding second.
			elapsed := int(at.Sub(recovered)/time.Second) + 1
			Expect(len(order)+len(seconds[at])).To(BeNumerically("<=", elapsed*rate), "starts within %d seconds", elapsed)
			slices.SortFunc(seconds[at], func(a, b string) int { return strings.Compare(b, a) })
			order = append(order, seconds[at]...)
		}
		// Those of kind 3 expire first.
		kinds := make([]string, len(order))
		for i, object := range order {
			kinds[i], _, _ = strings.Cut(strings.TrimPrefix(object, "kind-"), "-")
		}
		Expect(slices.IsSortedFunc(kinds, func(a, b string) int { return strings.Compare(b, a) })).To(BeTrue(), "nearest expiry first: %v", kinds)
		c.ready(ctx, c.Namespace, n, recovered.Add(-time.Minute))
	}, SpecTimeout(5*time.Minute))

	It("that are new get every fourth start of a host with a backlog, and leave it the others", func(ctx SpecContext) {
		n, newcomers := many(84), 20
		c := newCrowd(ctx)
		c.provider(ctx, "corp", c.Namespace, wide())
		host := c.host("corp")
		c.Operator()
		c.create(ctx, "corp", "old", c.Namespace, n)
		c.ready(ctx, c.Namespace, n, c.Clock.Now())
		p := &v1alpha1.ClusterTokenProvider{}
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: c.Cluster("corp")}, p)).To(Succeed())
		p.Spec.Limits.Concurrency = 1
		c.quiet()
		looked := reconciles()
		Expect(server.Client.Update(ctx, p)).To(Succeed())
		Eventually(func() int { return reconciles() - looked }).WithTimeout(time.Minute).Should(BeNumerically(">=", n), "not everybody has seen the edit")

		release := c.providers.hold(host)
		DeferCleanup(release)
		mark := c.providers.mark()
		c.Clock.Step(due)
		Eventually(func() int { return len(c.providers.since(mark, host)) }).WithTimeout(time.Minute).Should(BeNumerically(">=", 1))
		c.create(ctx, "corp", "new", c.Namespace, newcomers)
		Eventually(func() int { return c.Waiting() + len(c.providers.since(mark, host)) }).WithTimeout(time.Minute).Should(Equal(n+newcomers), "not all are in the queue")
		held := len(c.providers.since(mark, host))
		release()
		Eventually(func() int { return c.providers.minted(mark, host) }).WithTimeout(time.Minute).Should(Equal(n + newcomers))
		// Of those that were let through after the gate opened, in the order of their starts.
		first := c.providers.since(mark, host)[held:][:4*newcomers+4]
		count := 0
		for _, asked := range first {
			if strings.HasPrefix(asked.object, "new-") {
				count++
			}
		}
		Expect(count).To(Equal(newcomers), "new objects are starved")
		for i := 0; i+8 <= len(first); i++ {
			fresh := 0
			for _, asked := range first[i : i+8] {
				if strings.HasPrefix(asked.object, "new-") {
					fresh++
				}
			}
			Expect(fresh).To(BeNumerically("<=", 3), "new objects starve the others")
		}
	}, SpecTimeout(5*time.Minute))
})
