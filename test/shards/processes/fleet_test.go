package processes_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
)

// lifetime of the tokens: they are replaced after 8 s.
const lifetime = 20 * time.Second

// fleet is a namespace with ProviderTokens of one client, and the books about them.
type fleet struct {
	sim       *providersim.Simulator
	namespace string

	mu     sync.Mutex
	tokens map[string][]published
}

// published is a token as its target tells of it, and when that was seen.
type published struct {
	token                             string
	issued, expires, replaceable, saw time.Time
}

func newFleet(ctx context.Context) *fleet {
	GinkgoHelper()
	sim, err := providersim.Start(providersim.Options{Lifetime: lifetime})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(sim.Close)
	f := &fleet{sim: sim, tokens: map[string][]published{}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "fleet-"}}
	Expect(server.Client.Create(ctx, ns)).To(Succeed())
	f.namespace = ns.Name
	f.follow()
	provider := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: ns.Name}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
		TokenURL: sim.Generic.TokenURL(), CABundle: sim.CABundle(),
	}}}
	credentials := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "login", Labels: map[string]string{v1alpha1.CredentialsForLabel: v1alpha1.CredentialsForValue(v1alpha1.ClusterProvider, ns.Name)}},
		StringData: map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret},
	}
	Expect(server.Client.Create(ctx, provider)).To(Succeed())
	Expect(server.Client.Create(ctx, credentials)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(server.Client.DeleteAllOf(ctx, &v1alpha1.ProviderToken{}, client.InNamespace(ns.Name))).To(Succeed())
		Expect(server.Client.Delete(ctx, provider)).To(Succeed())
	})
	return f
}

// add makes a ProviderToken of a team.
func (f *fleet) add(ctx context.Context, name, team string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	pt := &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name, Labels: map[string]string{"team": team}},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: f.namespace},
			Credentials: &v1alpha1.Credentials{SecretName: "login"},
			Refresh:     &v1alpha1.RefreshPolicy{MinimumInterval: &metav1.Duration{Duration: time.Second}},
		},
	}
	Expect(server.Client.Create(ctx, pt)).To(Succeed())
	return pt
}

// follow watches the targets until the spec ends.
func (f *fleet) follow() {
	GinkgoHelper()
	ctx, cancel := context.WithCancel(context.Background())
	DeferCleanup(cancel)
	watching, err := client.NewWithWatch(server.Config, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	events, err := watching.Watch(ctx, &corev1.SecretList{}, client.InNamespace(f.namespace), client.HasLabels{v1alpha1.TargetLabel})
	Expect(err).NotTo(HaveOccurred())
	go func() {
		for e := range events.ResultChan() {
			if s, is := e.Object.(*corev1.Secret); is {
				f.note(s)
			}
		}
	}()
}

func (f *fleet) note(s *corev1.Secret) {
	at := func(annotation string) time.Time {
		t, _ := time.Parse(time.RFC3339, s.Annotations[annotation])
		return t
	}
	p := published{
		token: string(s.Data["token"]), saw: time.Now(),
		issued: at(v1alpha1.IssuedAtAnnotation), expires: at(v1alpha1.ExpiresAtAnnotation), replaceable: at(v1alpha1.RefreshAtAnnotation),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.tokens[s.Name]; len(known) == 0 || known[len(known)-1].token != p.token {
		f.tokens[s.Name] = append(known, p)
	}
}

// books are what was published.
type books struct {
	published, refreshed int
	early, late          []string
}

func (f *fleet) audit() books {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b books
	for name, tokens := range f.tokens {
		b.published += len(tokens)
		b.refreshed += len(tokens) - 1
		for i := 1; i < len(tokens); i++ {
			before, after := tokens[i-1], tokens[i]
			if after.issued.Before(before.replaceable) {
				b.early = append(b.early, fmt.Sprintf("%s: %s before %s", name, after.issued, before.replaceable))
			}
			if !after.saw.Before(before.expires) {
				b.late = append(b.late, fmt.Sprintf("%s: %s after %s", name, after.saw, before.expires))
			}
		}
	}
	return b
}

// balanced waits until all that was minted is published.
func (f *fleet) balanced() books {
	GinkgoHelper()
	var b books
	Eventually(func() int { b = f.audit(); return b.published }).WithTimeout(soon).WithPolling(poll).Should(Equal(f.sim.Generic.Issued()), "published, of those minted")
	return b
}

// current is the token of a target as it was seen last.
func (f *fleet) current(name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.tokens[name]; len(known) > 0 {
		return known[len(known)-1].token
	}
	return ""
}

// awaits waits until a target holds another token than old.
func (f *fleet) awaits(name, old string) {
	GinkgoHelper()
	Eventually(func() string { return f.current(name) }).WithTimeout(soon).WithPolling(poll).ShouldNot(Or(Equal(old), BeEmpty()), name)
}

// servedBy is what the status of each ProviderToken says.
func servedBy(ctx context.Context, namespace string) []string {
	GinkgoHelper()
	var list v1alpha1.ProviderTokenList
	Expect(server.Client.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Status.ServedBy)
	}
	return names
}

// half are n of the one Lease, and n of the other.
func half(n int, one, other string) []string {
	var names []string
	for range n {
		names = append(names, "providertoken-system/"+one, "providertoken-system/"+other)
	}
	return names
}

// holder of the Lease of the operator without a shard; empty when it is released.
func holder(ctx context.Context) string {
	GinkgoHelper()
	var lease coordinationv1.Lease
	Expect(server.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "providertoken-operator"}, &lease)).To(Succeed())
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}
