// Package shards is a fleet that several operators share: split in two and joined again,
// moved while tokens are on their way, and selected twice by mistake.
package shards_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share.
var server *testworld.Server

func TestSuite(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "shards")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })

const (
	// quiet is how long to look for something that must not happen; real time.
	quiet = 300 * time.Millisecond
	poll  = 10 * time.Millisecond
	// courtesy is longer than an operator waits for what another one may have under way.
	courtesy = 36 * time.Second
)

// The selectors of docs/scaling.md: one shard by name, and one that takes the rest.
const (
	shardB = v1alpha1.ShardLabel + "=b"
	rest   = v1alpha1.ShardLabel + " notin (b)"
)

// fleet is a world with ProviderTokens of one client.
type fleet struct {
	*testworld.World
	all   []*v1alpha1.ProviderToken
	books *chronicle
}

func newFleet(ctx context.Context) *fleet {
	GinkgoHelper()
	w := &fleet{World: testworld.New(ctx, server)}
	w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
	w.books = follow(w.Namespace)
	return w
}

// operator starts one with a selector; its name is that of its Lease in main.
func (w *fleet) operator(selector string) *testworld.Instance {
	GinkgoHelper()
	w.Shard, w.Identity = nil, w.name(selector)
	if selector != "" {
		var err error
		w.Shard, err = labels.Parse(selector)
		Expect(err).NotTo(HaveOccurred())
	}
	return w.Start()
}

func (w *fleet) name(selector string) string { return w.Namespace + "/operator-" + selector }

// add makes a ProviderToken with a shard, none when empty.
func (w *fleet) add(ctx context.Context, name, shard string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	pt := w.Wanted("generic")
	pt.Name = name
	if shard != "" {
		pt.Labels = map[string]string{v1alpha1.ShardLabel: shard}
	}
	w.all = append(w.all, w.Create(ctx, pt))
	return pt
}

// move writes the label that says to which shard pt belongs, as kubectl label does.
func (w *fleet) move(ctx context.Context, pt *v1alpha1.ProviderToken, shard string) {
	GinkgoHelper()
	w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
		delete(pt.Labels, v1alpha1.ShardLabel)
		if shard != "" {
			pt.Labels = map[string]string{v1alpha1.ShardLabel: shard}
		}
	})
}

// served waits until an operator says that it serves pt, and its target is labelled alike.
func (w *fleet) served(ctx context.Context, pt *v1alpha1.ProviderToken, by, shard string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var got v1alpha1.ProviderToken
		g.Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
		g.Expect(got.Status.ServedBy).To(Equal(by))
		s := w.Secret(ctx, pt)
		g.Expect(s).NotTo(BeNil())
		g.Expect(s.Labels[v1alpha1.ShardLabel]).To(Equal(shard))
	}).WithPolling(poll).Should(Succeed())
}

// keeps waits until the operator of a registry knows that n ProviderTokens are left to it.
// That others serve the rest stands in their status before this operator sees it there,
// and the clock of a spec must not leap over that moment.
func keeps(registry *prometheus.Registry, n int) {
	GinkgoHelper()
	Eventually(func() (int, error) { return testutil.GatherAndCount(registry, "providertoken_ready") }).WithPolling(poll).Should(Equal(n))
}

// settle waits until no token is due, by what the targets say, and status tells of all.
func (w *fleet) settle(ctx context.Context) {
	GinkgoHelper()
	for _, pt := range w.all {
		Eventually(func(g Gomega) {
			g.Expect(w.said(g, ctx, pt, v1alpha1.RefreshAtAnnotation)).To(BeTemporally(">", w.Clock.Now()))
		}).WithPolling(poll).Should(Succeed(), pt.Name)
		w.Settle(ctx, pt)
	}
}

// said is an instant that the target tells of itself.
func (w *fleet) said(g Gomega, ctx context.Context, pt *v1alpha1.ProviderToken, annotation string) time.Time { //nolint:revive // g first, as Eventually has it
	s := w.Secret(ctx, pt)
	g.Expect(s).NotTo(BeNil())
	at, err := time.Parse(time.RFC3339, s.Annotations[annotation])
	g.Expect(err).NotTo(HaveOccurred())
	return at
}

// due moves the clock to where the token of pt is to be replaced.
func (w *fleet) due(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	w.Clock.SetTime(w.said(Default, ctx, pt, v1alpha1.RefreshAtAnnotation))
}

// issued is how many tokens the provider handed out.
func (w *fleet) issued() int { return w.Sim.Generic.Issued() }

// becomes waits until the provider has handed out n tokens, and for a while sees no other one.
func (w *fleet) becomes(n int) {
	GinkgoHelper()
	Eventually(w.issued).WithPolling(poll).Should(Equal(n))
	testworld.StaysFor(quiet, w.issued, n)
}

// chronicle is every token that was ever published in a namespace.
type chronicle struct {
	mu     sync.Mutex
	tokens map[string][]published
}

type published struct {
	token                       string
	issued, expires, replacable time.Time
}

// follow watches the targets of a namespace until the spec ends.
func follow(namespace string) *chronicle {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.Background())
	DeferCleanup(cancel)
	watching, err := client.NewWithWatch(server.Config, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	events, err := watching.Watch(ctx, &corev1.SecretList{}, client.InNamespace(namespace), client.HasLabels{v1alpha1.TargetLabel})
	Expect(err).NotTo(HaveOccurred())
	c := &chronicle{tokens: map[string][]published{}}
	go func() {
		for e := range events.ResultChan() {
			if s, is := e.Object.(*corev1.Secret); is {
				c.note(s)
			}
		}
	}()
	return c
}

func (c *chronicle) note(s *corev1.Secret) {
	at := func(annotation string) time.Time {
		t, _ := time.Parse(time.RFC3339, s.Annotations[annotation])
		return t
	}
	p := published{token: string(s.Data["token"]), issued: at(v1alpha1.IssuedAtAnnotation), expires: at(v1alpha1.ExpiresAtAnnotation), replacable: at(v1alpha1.RefreshAtAnnotation)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.tokens[s.Name]; len(known) == 0 || known[len(known)-1].token != p.token {
		c.tokens[s.Name] = append(known, p)
	}
}

// audit counts the tokens, those that replaced one which was not due, and those that
// came after the one before had expired.
func (c *chronicle) audit() (all int, early, late []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, tokens := range c.tokens {
		all += len(tokens)
		for i := 1; i < len(tokens); i++ {
			before, after := tokens[i-1], tokens[i]
			if after.issued.Before(before.replacable) {
				early = append(early, fmt.Sprintf("%s: %s before %s", name, after.issued, before.replacable))
			}
			if !after.issued.Before(before.expires) {
				late = append(late, fmt.Sprintf("%s: %s after %s", name, after.issued, before.expires))
			}
		}
	}
	return all, early, late
}
