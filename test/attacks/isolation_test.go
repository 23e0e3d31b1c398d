package attacks_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("a tenant among others", func() {
	It("gets no token that was issued to another, whatever they have in common", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		other := w.NewNamespace(ctx, nil)
		generic := "ClusterTokenProvider." + w.Cluster("generic")
		held := map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret}
		w.Operator()
		var all []string
		for _, namespace := range []string{w.Namespace, other} {
			tenant := newTenant(ctx, namespace)
			secret(ctx, namespace, "login", generic, "", held)
			for _, name := range []string{"same", "twin"} {
				pt, err := ask(ctx, tenant, namespace, name, fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s}\ncredentials: {secretName: login}", w.Cluster("generic")))
				Expect(err).NotTo(HaveOccurred())
				w.Ready(ctx, pt)
				all = append(all, w.Token(ctx, pt))
			}
		}
		Expect(all).To(HaveLen(4))
		for i, one := range all {
			for _, another := range all[:i] {
				Expect(one).NotTo(Equal(another), "each ProviderToken has a token of its own")
			}
		}
		Expect(w.Sim.Generic.Issued()).To(Equal(4))
	})

	It("gets nothing of a ProviderToken that had the name before", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		login := w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		gate := providersim.NewGate()
		w.Sim.Generic.Next(providersim.HoldAnswer(gate))
		w.Operator()
		spec := fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s}\ncredentials: {secretName: generic-login}", w.Cluster("generic"))
		first, err := ask(ctx, server.Client, w.Namespace, "shared-name", spec)
		Expect(err).NotTo(HaveOccurred())
		Eventually(w.Sim.Generic.Calls).Should(HaveLen(1)) // its token is issued, and on its way
		Expect(server.Client.Delete(ctx, first)).To(Succeed())
		// The next one reads the same, and has no credentials any more: it must not be given the other's token.
		Expect(server.Client.Delete(ctx, login)).To(Succeed())
		w.Rest() // until the operator knows
		second, err := ask(ctx, tenant, w.Namespace, "shared-name", spec)
		Expect(err).NotTo(HaveOccurred())
		w.Becomes(ctx, second, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		gate.Release()
		testworld.StaysFor(300*time.Millisecond, func() *corev1.Secret { return w.Secret(ctx, second) }, (*corev1.Secret)(nil))
	})

	It("does not freeze another's login with a wrong password for the same account", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		other := w.NewNamespace(ctx, nil)
		tenant := newTenant(ctx, w.Namespace)
		up42 := "ClusterTokenProvider." + w.Cluster("up42")
		spec := fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s}\ncredentials: {secretName: login}", w.Cluster("up42"))
		secret(ctx, w.Namespace, "login", up42, "", map[string]string{"username": providersim.UP42Username, "password": "guessed"})
		secret(ctx, other, "login", up42, "", map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password})
		w.Operator()
		bad, err := ask(ctx, tenant, w.Namespace, "guess", spec)
		Expect(err).NotTo(HaveOccurred())
		w.Becomes(ctx, bad, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		good, err := ask(ctx, server.Client, other, "good", spec)
		Expect(err).NotTo(HaveOccurred())
		w.Ready(ctx, good)
	})

	It("does not have a request sent with the platform's credential that waits while the permission is withdrawn", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		team := w.NewNamespace(ctx, map[string]string{"team": "maps"})
		tenant := newTenant(ctx, team)
		p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("held")}}
		decode(fmt.Sprintf("tokenURL: %s\ncaBundle: %q\nlimits: {perSecond: 1}\ncredentials: {namespace: %s, secretName: held}\nallow: {namespaces: {selector: {matchLabels: {team: maps}}}}",
			w.Sim.Generic.TokenURL(), w.Sim.CABundle(), w.Namespace), &p.Spec)
		Expect(server.Client.Create(ctx, p)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(server.Client.Delete(ctx, p))).To(Succeed()) })
		secret(ctx, w.Namespace, "held", "ClusterTokenProvider."+p.Name, "", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		w.Operator()
		spec := "providerRef: {kind: ClusterTokenProvider, name: " + p.Name + "}"
		first, err := ask(ctx, tenant, team, "first", spec)
		Expect(err).NotTo(HaveOccurred())
		w.Ready(ctx, first)
		waiting, err := ask(ctx, tenant, team, "waiting", spec) // for the next second of a clock that stands still
		Expect(err).NotTo(HaveOccurred())
		Eventually(w.Waiting).Should(Equal(1))

		var ns corev1.Namespace
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: team}, &ns)).To(Succeed())
		ns.Labels["team"] = "others"
		Expect(server.Client.Update(ctx, &ns)).To(Succeed())
		w.Becomes(ctx, waiting, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		w.Clock.Step(2 * time.Second)
		testworld.StaysFor(200*time.Millisecond, w.Sim.Generic.Issued, 1)
		// Nor may the tenant put the label back.
		ns.Labels["team"] = "maps"
		Expect(tenant.Update(ctx, &ns)).NotTo(Succeed())
	})
})
