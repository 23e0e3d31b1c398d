package controller_test

import (
	"context"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

// observed tells how far each request was trusted.
type observed struct {
	controller.Exchanger
	mu     *sync.Mutex
	trusts map[string]exchange.Trust
}

func (o observed) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	o.mu.Lock()
	o.trusts[req.URL] = trust
	o.mu.Unlock()
	return o.Exchanger.Do(ctx, req, trust)
}

var _ = Describe("credentials", func() {
	inline := func(w *world) *v1alpha1.ProviderToken {
		return &v1alpha1.ProviderToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "own"},
			Spec: v1alpha1.ProviderTokenSpec{
				Provider:    &v1alpha1.ProviderDefinition{TokenURL: w.Sim.Generic.TokenURL(), CABundle: w.Sim.CABundle()},
				Credentials: &v1alpha1.Credentials{SecretName: "own-login"},
			},
		}
	}
	login := func(w *world, hosts string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: w.Namespace, Name: "own-login",
				Labels:      map[string]string{v1alpha1.CredentialsForLabel: "ProviderToken.own"},
				Annotations: map[string]string{v1alpha1.AllowedHostsAnnotation: hosts},
			},
			StringData: map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret},
		}
	}

	It("go to an endpoint that a namespace wrote only when they name its host and port themselves", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		s := login(w, "127.0.0.1, example.com:443") // the port is missing: 443 is meant
		Expect(k8s.Create(ctx, s)).To(Succeed())
		pt := w.Create(ctx, inline(w))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message).To(ContainSubstring(w.Sim.Generic.Address()))
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())

		s.Annotations[v1alpha1.AllowedHostsAnnotation] = "example.com, " + w.Sim.Generic.Address()
		Expect(k8s.Update(ctx, s)).To(Succeed())
		w.Ready(ctx, pt)
	})

	It("may reach private addresses only where a ClusterTokenProvider or the catalog wrote the endpoint", func(ctx SpecContext) {
		w := newWorld(ctx)
		o := observed{mu: &sync.Mutex{}, trusts: map[string]exchange.Trust{}}
		w.Around = func(inner controller.Exchanger) controller.Exchanger {
			o.Exchanger = inner
			return o
		}
		w.Operator()
		Expect(k8s.Create(ctx, login(w, w.Sim.Generic.Address()))).To(Succeed())
		w.Ready(ctx, w.Create(ctx, inline(w)))
		w.Ready(ctx, w.PlantPredict(ctx))
		o.mu.Lock()
		defer o.mu.Unlock()
		Expect(o.trusts).To(HaveKeyWithValue(w.Sim.Generic.TokenURL(), HaveField("PublicOnly", true)))
		Expect(o.trusts).To(HaveKeyWithValue(w.Sim.PlantPredict.TokenURL(), HaveField("PublicOnly", false)))
	})

	It("are not handed to a TokenProvider of the same name as the provider they are bound to", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		s := w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		s.Annotations = map[string]string{v1alpha1.AllowedHostsAnnotation: w.Sim.Generic.Address()}
		Expect(k8s.Update(ctx, s)).To(Succeed())
		Expect(k8s.Create(ctx, &v1alpha1.TokenProvider{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Cluster("generic")},
			Spec:       v1alpha1.ProviderDefinition{TokenURL: w.Sim.Generic.TokenURL(), CABundle: w.Sim.CABundle()},
		})).To(Succeed())
		pt := w.Wanted("generic")
		pt.Spec.ProviderRef.Kind = v1alpha1.NamespacedProvider
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
	})

	It("that no label binds are never read", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		s := login(w, w.Sim.Generic.Address())
		s.Labels = nil
		Expect(k8s.Create(ctx, s)).To(Succeed())
		pt := w.Create(ctx, inline(w))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		Expect(w.Sent()["GET secrets"]).To(BeNumerically("<=", 3), "only the target is read live")
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
	})

	It("may be spread over several Secrets under other keys", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		bound := map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.Cluster("generic")}
		for name, data := range map[string]map[string]string{
			"id":     {"the-id": providersim.GenericClientID},
			"secret": {"the-secret": providersim.GenericClientSecret},
		} {
			Expect(k8s.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name, Labels: bound}, StringData: data})).To(Succeed())
		}
		pt := w.Wanted("generic")
		pt.Spec.Credentials = &v1alpha1.Credentials{Keys: []v1alpha1.CredentialKey{
			{Name: "client_id", SecretName: "id", Key: "the-id"},
			{Name: "client_secret", SecretName: "secret", Key: "the-secret"},
		}}
		w.Ready(ctx, w.Create(ctx, pt))
	})

	It("that lack a key are named, and used as soon as they have it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		s := w.Credentials(ctx, "plantpredict", map[string]string{"client_id": providersim.PlantPredictClientID})
		pt := w.Create(ctx, w.Wanted("plantpredict"))
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Condition(ctx, pt, v1alpha1.StalledCondition).Message).To(ContainSubstring("client_secret"))
		s.StringData = map[string]string{"client_secret": providersim.PlantPredictClientSecret}
		Expect(k8s.Update(ctx, s)).To(Succeed())
		w.Ready(ctx, pt)
	})

	It("reach the provider with the CA bundle of a labelled ConfigMap, and wait for it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := inline(w)
		pt.Spec.Provider.CABundle = ""
		pt.Spec.Provider.CABundleRef = &v1alpha1.ConfigMapKeyReference{Name: "ca"}
		Expect(k8s.Create(ctx, login(w, w.Sim.Generic.Address()))).To(Succeed())
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaitingForProvider)
		Expect(k8s.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "ca", Labels: map[string]string{v1alpha1.CABundleLabel: "true"}},
			Data:       map[string]string{"ca.crt": w.Sim.CABundle()},
		})).To(Succeed())
		w.Ready(ctx, pt)
	})

	It("do not reach a server that the bundle does not vouch for", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := inline(w)
		pt.Spec.Provider.CABundle = ""
		Expect(k8s.Create(ctx, login(w, w.Sim.Generic.Address()))).To(Succeed())
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderMisconfigured)
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
	})

	It("do not reach loopback or private addresses unless the operator's flags let them", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Guarded = true
		w.Operator()
		pt := inline(w)
		Expect(k8s.Create(ctx, login(w, w.Sim.Generic.Address()))).To(Succeed())
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderMisconfigured)
		Expect(w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message).To(ContainSubstring("--allow-networks"))
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
	})
})
