package cluster_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// terminate deletes a namespace; nothing in it goes yet, and nothing can be made in it.
func terminate(ctx SpecContext, w *faulty, name string) {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	Expect(w.Server.Client.Delete(ctx, ns)).To(Succeed())
	Eventually(func() bool {
		err := w.Server.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "probe"}}, client.DryRunAll)
		return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
	}).Should(BeTrue())
}

// finalize ends a namespace that was emptied.
func finalize(ctx SpecContext, w *faulty, name string) {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(w.Server.Config)
	Expect(err).NotTo(HaveOccurred())
	Expect(w.Server.Client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(name))).To(Succeed())
	ns, err := clients.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	Expect(err).NotTo(HaveOccurred())
	ns.Spec.Finalizers = nil
	_, err = clients.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() bool {
		return apierrors.IsNotFound(w.Server.Client.Get(ctx, client.ObjectKey{Name: name}, ns))
	}).Should(BeTrue())
}

// remake makes a namespace of the same name again, with the credentials.
func remake(ctx SpecContext, w *faulty, name string) {
	GinkgoHelper()
	Expect(w.Server.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	credentials(ctx, w, name)
}

// credentials for the plain provider, in any namespace.
func credentials(ctx SpecContext, w *faulty, name string) {
	GinkgoHelper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name, Name: "generic-login",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.Cluster("generic")},
		},
		StringData: map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret},
	}
	Expect(w.Server.Client.Create(ctx, s)).To(Succeed())
}

var _ = Describe("a namespace", func() {
	It("that is deleted while a token is on its way ends the matter without noise, and its next life begins anew", func(ctx SpecContext) {
		w := newWorld(ctx)
		doomed := w.NewNamespace(ctx, nil)
		w.Operator()
		credentials(ctx, w, doomed)
		refreshed, fresh := w.named("refreshed"), w.named("fresh")
		refreshed.Namespace, fresh.Namespace = doomed, doomed
		w.Create(ctx, refreshed)
		w.Ready(ctx, refreshed)
		w.Settle(ctx, refreshed)

		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.Generic.Always(providersim.HoldAnswer(gate))
		w.due(ctx, refreshed)
		w.Create(ctx, fresh)
		Expect(gate.Await(ctx, 2)).To(Succeed())

		// The namespace controller does not run here: this is its part, as slow as it may be.
		k8s := w.Server.Client
		terminate(ctx, w, doomed)
		Expect(k8s.Delete(ctx, w.Secret(ctx, refreshed))).To(Succeed())
		w.Sim.Generic.Clear()
		gate.Release()
		for _, pt := range []*v1alpha1.ProviderToken{refreshed, fresh} {
			w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetRefused)
			tell("in a namespace that is being deleted", w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Message)
		}
		before := w.Sent()
		testworld.StaysFor(2*quiet, func() int {
			sent := w.Requests.Snapshot().Since(before)
			return sent.Sum("POST", "PUT", "PATCH") - sent["POST events"] - sent["PATCH events"]
		}, 0)
		Expect(w.Sent()["POST events"]).To(BeNumerically("<", 10))
		Expect(w.Sim.Generic.Issued()).To(Equal(3))
		w.Clock.Step(5 * time.Hour) // finalizers may take their time
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 3)

		for _, pt := range []*v1alpha1.ProviderToken{refreshed, fresh} {
			Expect(k8s.Delete(ctx, pt)).To(Succeed())
		}
		Eventually(func() int { return w.series(doomed) }).Should(BeZero())
		finalize(ctx, w, doomed)
		w.Clock.Step(2 * time.Hour)
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 3)

		By("being made again")
		again := w.named("refreshed")
		again.Namespace = doomed
		remake(ctx, w, doomed)
		w.Create(ctx, again)
		w.Ready(ctx, again)
		Expect(w.Sim.Generic.Issued()).To(Equal(4))
	}, SpecTimeout(3*time.Minute))
})
