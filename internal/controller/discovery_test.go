package controller_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

const (
	oidcDocument  = "/realm/.well-known/openid-configuration"
	oauthDocument = "/.well-known/oauth-authorization-server/realm"
)

var _ = Describe("discovery", func() {
	// metadata are what an issuer says.
	metadata := func(issuer, endpoint string) string {
		return fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, issuer, endpoint)
	}
	// setup makes a ClusterTokenProvider with that issuer, and credentials for it.
	setup := func(ctx SpecContext, w *world, issuer string) *v1alpha1.ProviderToken {
		GinkgoHelper()
		p := &v1alpha1.ClusterTokenProvider{
			ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("issuer")},
			Spec:       v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{IssuerURL: issuer, CABundle: w.Sim.CABundle()}},
		}
		Expect(k8s.Create(ctx, p)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p))).To(Succeed()) })
		w.Credentials(ctx, "issuer", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		return w.Wanted("issuer")
	}
	// reads counts the requests for a document.
	reads := func(w *world, path string) int {
		n := 0
		for _, c := range w.Sim.Generic.Calls() {
			if c.Path == path {
				n++
			}
		}
		return n
	}

	It("finds the token endpoint where OpenID Connect says, shows it in status, and asks again only after an hour", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Sim.Generic.SetDocument(oidcDocument, metadata(w.Sim.Generic.IssuerURL(), w.Sim.Generic.TokenURL()))
		w.Sim.Generic.SetLifetime(20 * time.Minute)
		w.Operator()
		pt := w.Ready(ctx, w.Create(ctx, setup(ctx, w, w.Sim.Generic.IssuerURL())))
		Expect(pt.Status.Provider.TokenURL).To(Equal(w.Sim.Generic.TokenURL()))
		Expect(reads(w, oidcDocument)).To(Equal(1))

		began := w.Clock.Now()
		for w.Clock.Now().Before(began.Add(provider.MetadataLifetime)) {
			Expect(reads(w, oidcDocument)).To(Equal(1))
			w.StepToRefresh(ctx, pt)
		}
		Expect(reads(w, oidcDocument)).To(Equal(2))
	})

	It("finds it where RFC 8414 says, too", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Sim.Generic.SetDocument(oauthDocument, metadata(w.Sim.Generic.IssuerURL(), w.Sim.Generic.TokenURL()))
		w.Operator()
		w.Ready(ctx, w.Create(ctx, setup(ctx, w, w.Sim.Generic.IssuerURL())))
	})

	It("believes no metadata of another issuer, be it for a slash, and sends no credential", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Sim.Generic.SetDocument(oidcDocument, metadata(w.Sim.Generic.IssuerURL()+"/", w.Sim.Generic.TokenURL()))
		w.Operator()
		pt := w.Create(ctx, setup(ctx, w, w.Sim.Generic.IssuerURL()))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonDiscoveryFailed)
		Expect(w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message).To(ContainSubstring("with or without a slash"))
		Expect(w.Sim.Generic.Count(providersim.KindClientCredentials)).To(BeZero())
	})

	It("sends credentials to another host than the issuer's only when they name it themselves", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Sim.Generic.SetDocument(oidcDocument, metadata(w.Sim.Generic.IssuerURL(), w.Sim.PlantPredict.TokenURL()))
		w.Operator()
		pt := w.Create(ctx, setup(ctx, w, w.Sim.Generic.IssuerURL()))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message).To(ContainSubstring(w.Sim.PlantPredict.Address()))
		Expect(w.Sim.PlantPredict.Calls()).To(BeEmpty())
	})

	It("does not ask an issuer that a namespace wrote before the credentials name its host", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Sim.Generic.SetDocument(oidcDocument, metadata(w.Sim.Generic.IssuerURL(), w.Sim.Generic.TokenURL()))
		w.Operator()
		s := w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		s.Labels[v1alpha1.CredentialsForLabel] = "ProviderToken.own"
		Expect(k8s.Update(ctx, s)).To(Succeed())
		pt := w.Create(ctx, &v1alpha1.ProviderToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "own"},
			Spec: v1alpha1.ProviderTokenSpec{
				Provider:    &v1alpha1.ProviderDefinition{IssuerURL: w.Sim.Generic.IssuerURL(), CABundle: w.Sim.CABundle()},
				Credentials: &v1alpha1.Credentials{SecretName: s.Name},
			},
		})
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
		s.Annotations = map[string]string{v1alpha1.AllowedHostsAnnotation: w.Sim.Generic.Address()}
		Expect(k8s.Update(ctx, s)).To(Succeed())
		w.Ready(ctx, pt)
	})

	It("keeps the endpoint that it knows while the metadata cannot be read, and follows when they change", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Sim.Generic.SetDocument(oidcDocument, metadata(w.Sim.Generic.IssuerURL(), w.Sim.Generic.TokenURL()))
		w.Sim.Generic.SetLifetime(3 * time.Hour)
		w.Operator()
		pt := w.Ready(ctx, w.Create(ctx, setup(ctx, w, w.Sim.Generic.IssuerURL())))
		w.Sim.Generic.SetDocument(oidcDocument, "")
		w.StepToRefresh(ctx, pt) // more than an hour later

		w.Sim.Generic.SetDocument(oidcDocument, metadata(w.Sim.Generic.IssuerURL(), w.Sim.PlantPredict.TokenURL()))
		w.Settle(ctx, pt)
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonHostNotAllowed)
		Expect(w.Sim.PlantPredict.Calls()).To(BeEmpty())
	})
})
