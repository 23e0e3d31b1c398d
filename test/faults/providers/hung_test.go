package providers_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	testworld "github.com/providertoken/operator/test/world"
)

// held counts exchanges by host. Those with one host last until that host lets go:
// no deadline ends them.
type held struct {
	controller.Exchanger
	host string

	mu           sync.Mutex
	began, ended map[string]int
}

func (h *held) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	host := hostOf(req)
	h.count(host, 1, 0)
	if host == h.host {
		ctx = context.WithoutCancel(ctx)
	}
	answer, err := h.Exchanger.Do(ctx, req, trust)
	h.count(host, 0, 1)
	return answer, err
}

func (h *held) count(host string, began, ended int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began[host] += began
	h.ended[host] += ended
}

func (h *held) of(host string) (began, ended int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.began[host], h.ended[host]
}

// changes tells when the Secrets of a namespace last changed their token.
type changes struct {
	mu     sync.Mutex
	tokens map[string]string
	at     map[string]time.Time
}

func (c *changes) follow(events watch.Interface) {
	for event := range events.ResultChan() {
		s, is := event.Object.(*corev1.Secret)
		if !is || s.Data["token"] == nil {
			continue
		}
		c.mu.Lock()
		if token := string(s.Data["token"]); c.tokens[s.Name] != token {
			c.tokens[s.Name], c.at[s.Name] = token, time.Now()
		}
		c.mu.Unlock()
	}
}

// since counts the changes after an instant, and tells how long after it the last one came.
func (c *changes) since(start time.Time) (count int, last time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.at {
		if at.After(start) {
			count++
			last = max(last, at.Sub(start))
		}
	}
	return count, last
}

var _ = Describe("a provider that hangs", func() {
	const hung, good = 1000, 50

	It("does not delay the refreshes of another one, with a thousand objects that wait for it", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		w.Timeout = 5 * time.Minute // of real time: the spec is over before
		greedy := w.NewNamespace(ctx, nil)
		shown, dns := newCertificates(), newNames()
		// It takes requests, so that not even the time-out of a handshake ends them.
		hole := newEndpoint(&fault{id: "hole", answer: mute, hangs: true}, "hole", w.Clock.Now, shown, dns, nil)
		swift := newEndpoint(&fault{id: "swift"}, "swift", w.Clock.Now, shown, dns, nil)
		hole.fail()
		h := &held{host: hole.host, began: map[string]int{}, ended: map[string]int{}}
		w.Around = func(inner controller.Exchanger) controller.Exchanger {
			h.Exchanger = inner
			return h
		}
		w.Operator()
		l := &life{World: w}
		waiting := l.declare(ctx, hole, greedy)
		wanted := l.declare(ctx, swift, w.Namespace)
		// Starts in a second are by the clock that stands still.
		widen(ctx, w.Cluster("swift"), 64, 1000)
		// As many as one namespace may have under way.
		widen(ctx, w.Cluster("hole"), 16, 1000)

		watcher, err := client.NewWithWatch(server.Config, client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		events, err := watcher.Watch(ctx, &corev1.SecretList{}, client.InNamespace(w.Namespace))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(events.Stop)
		seen := &changes{tokens: map[string]string{}, at: map[string]time.Time{}}
		go seen.follow(events)

		begun := time.Now()
		createAll(ctx, wanted, good)
		Eventually(func() int { n, _ := seen.since(begun); return n }).WithTimeout(time.Minute).Should(Equal(good))
		// dueAll steps the clock to where all of them are due, and returns when the last has its new token.
		dueAll := func() time.Duration {
			settleAll(ctx, w, good)
			start := time.Now()
			w.Clock.Step(lifetime * 2 / 3) // later than any planned refresh
			var last time.Duration
			Eventually(func() (count int) {
				count, last = seen.since(start)
				return count
			}).WithTimeout(time.Minute).WithPolling(5 * time.Millisecond).Should(Equal(good))
			return last
		}
		// The best of three is the operator's own time; anything else is this machine's.
		quickest := func() time.Duration { return min(dueAll(), dueAll(), dueAll()) }
		alone := quickest()

		patches := w.Requests.Snapshot()["PATCH providertokens"]
		createAll(ctx, waiting, hung)
		Eventually(w.Waiting).WithTimeout(time.Minute).Should(Equal(hung - 16))
		w.Clock.Step(time.Second) // for so long, new ones have no status
		Eventually(func() int { return w.Requests.Snapshot()["PATCH providertokens"] - patches }).
			WithTimeout(time.Minute).Should(BeNumerically(">=", hung))
		Eventually(func() int { began, _ := h.of(hole.host); return began }).WithTimeout(time.Minute).Should(Equal(16), "it is not as busy as it may be")
		beside := quickest()

		// This proves it without a stopwatch: no refresh waited for any of them.
		_, ended := h.of(hole.host)
		Expect(ended).To(BeZero(), "exchanges with the provider that hangs have ended")
		AddReportEntry("one hung provider", fmt.Sprintf("%d refreshes that were due at once took %s alone, %s beside %d objects of a provider that hangs",
			good, alone.Round(time.Millisecond), beside.Round(time.Millisecond), hung))
		hole.heal()
	}, SpecTimeout(3*time.Minute))
})

// widen sets the limits of a definition.
func widen(ctx context.Context, name string, concurrency, perSecond int32) {
	GinkgoHelper()
	p := &v1alpha1.ClusterTokenProvider{}
	Expect(server.Client.Get(ctx, client.ObjectKey{Name: name}, p)).To(Succeed())
	p.Spec.Limits = &v1alpha1.Limits{Concurrency: concurrency, PerSecond: perSecond}
	Expect(server.Client.Update(ctx, p)).To(Succeed())
}

// createAll makes n of them.
func createAll(ctx context.Context, like *v1alpha1.ProviderToken, n int) {
	GinkgoHelper()
	var all sync.WaitGroup
	failures := make(chan error, n)
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < n; i += 8 {
				pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: like.Namespace, Name: fmt.Sprintf("%s-%d", like.Name, i)}, Spec: like.Spec}
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

// settleAll waits until status tells of the token that each target holds.
func settleAll(ctx context.Context, w *testworld.World, n int) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var secrets corev1.SecretList
		var tokens v1alpha1.ProviderTokenList
		g.Expect(server.Client.List(ctx, &secrets, client.InNamespace(w.Namespace), client.HasLabels{v1alpha1.TargetLabel})).To(Succeed())
		g.Expect(server.Client.List(ctx, &tokens, client.InNamespace(w.Namespace))).To(Succeed())
		issued := map[string]string{}
		for i := range secrets.Items {
			issued[secrets.Items[i].Name] = secrets.Items[i].Annotations[v1alpha1.IssuedAtAnnotation]
		}
		g.Expect(issued).To(HaveLen(n))
		for i := range tokens.Items {
			status := tokens.Items[i].Status
			g.Expect(status.Token).NotTo(BeNil())
			g.Expect(status.Token.IssuedAt.UTC().Format(time.RFC3339)).To(Equal(issued[tokens.Items[i].Name]))
		}
	}).WithTimeout(time.Minute).WithPolling(50 * time.Millisecond).Should(Succeed())
}
