package main

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
)

// play brings a ProviderToken into a state.
type play func(ctx context.Context, s *stage) *v1alpha1.ProviderToken

// live is a ProviderToken with a fresh token.
func live(ctx context.Context, s *stage, changes ...func(*v1alpha1.ProviderToken)) *v1alpha1.ProviderToken {
	GinkgoHelper()
	s.plantPredict(ctx)
	s.credentials(ctx, clientCredentials())
	s.operator()
	pt := s.token(ctx, changes...)
	s.ready(ctx, pt)
	return pt
}

// frozen is a ProviderToken with a token, whose password was changed at the
// provider and refused twice since.
func frozen(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
	GinkgoHelper()
	s.up42(ctx)
	s.credentials(ctx, login(providersim.UP42Password))
	s.operator()
	pt := s.token(ctx)
	s.ready(ctx, pt)
	s.sim.UP42.SetLogin(providersim.UP42Username, "changed by its owner")
	s.sim.UP42.KillSessions()
	s.fails(ctx, pt, 3*time.Minute, v1alpha1.ReasonLoginFrozen)
	s.clock.SetTime(opening().Add(210 * time.Second))
	Eventually(s.sim.UP42.FailedLogins).WithTimeout(soon).WithPolling(polling).Should(Equal(2))
	s.says(ctx, pt, "2100-01-01T12:18:30Z")
	return pt
}

// down lets the provider answer 503 from now on.
func down(s *stage) { s.sim.PlantPredict.Always(providersim.Status(503)) }

var _ = DescribeTable("the operator writes", func(ctx SpecContext, file string, p play) {
	s := newStage(ctx)
	s.matches(ctx, p(ctx, s), "ProviderToken", "states/"+file+".yaml")
},
	Entry("nothing before it looks", "new", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		return s.token(ctx)
	})),
	Entry("that it waits for the credential Secret of the same commit", "waiting-for-credentials", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaitingForCredentials)
		return pt
	})),
	Entry("that it waits for the provider object of the same commit", "waiting-for-provider", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaitingForProvider)
		return pt
	})),
	Entry("that it has waited too long", "waited-too-long", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonWaitingForCredentials)
		s.clock.Step(10 * time.Minute)
		s.becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCredentialsNotFound)
		return pt
	})),
	Entry("that the first token is late because the provider is down", "first-token-delayed", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.credentials(ctx, clientCredentials())
		down(s)
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonProviderUnavailable)
		return pt
	})),
	Entry("that a token lives", "live", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		return live(ctx, s)
	})),
	Entry("that a token lives and is too short", "live-too-short", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.sim.PlantPredict.SetLifetime(2 * time.Minute)
		return live(ctx, s)
	})),
	Entry("that a token lives while the provider is down", "live-provider-down", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		down(s)
		s.fails(ctx, pt, 40*time.Minute, v1alpha1.ReasonProviderUnavailable)
		return pt
	})),
	Entry("that a token lives while its login is frozen", "live-login-frozen", play(frozen)),
	Entry("that a token lives while its credentials are gone", "live-credentials-gone", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		Expect(k8s.Delete(ctx, s.secret(nil))).To(Succeed())
		s.becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		s.clock.Step(10 * time.Minute)
		s.becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonCredentialsNotFound)
		return pt
	})),
	Entry("that a token lives while its target cannot be written any more", "live-template-broken", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		s.edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Spec.Target = &v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"config": "{{ .unknown }}"}}}
		})
		s.becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidTemplate)
		return pt
	})),
	Entry("that a token lives and is not refreshed", "live-suspended", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		s.edit(ctx, pt, suspended)
		s.ready(ctx, pt)
		return pt
	})),
	Entry("nothing about an edit that it has not seen", "edited", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.credentials(ctx, clientCredentials())
		stop := s.operator()
		pt := s.token(ctx)
		s.ready(ctx, pt)
		stop()
		s.edit(ctx, pt, narrower)
		return pt
	})),
	Entry("that the token is for an earlier spec and the provider down", "outdated", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		down(s)
		s.edit(ctx, pt, narrower)
		s.becomes(ctx, pt, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonProviderUnavailable)
		return pt
	})),
	Entry("that the token expired while the provider was down", "expired", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		down(s)
		s.fails(ctx, pt, 40*time.Minute, v1alpha1.ReasonProviderUnavailable)
		s.expires(ctx, pt)
		return pt
	})),
	Entry("that the token expired while suspended", "expired-suspended", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		s.edit(ctx, pt, suspended)
		s.ready(ctx, pt)
		s.expires(ctx, pt)
		return pt
	})),
	Entry("that the token expired while it waits for the credentials to come back", "expired-waiting", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		down(s)
		s.fails(ctx, pt, 40*time.Minute, v1alpha1.ReasonProviderUnavailable)
		s.clock.SetTime(opening().Add(55 * time.Minute))
		Expect(k8s.Delete(ctx, s.secret(nil))).To(Succeed())
		s.becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		s.expires(ctx, pt)
		return pt
	})),
	Entry("that the token expired while it waits for the provider object to come back", "expired-waiting-for-provider", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		down(s)
		s.fails(ctx, pt, 40*time.Minute, v1alpha1.ReasonProviderUnavailable)
		s.clock.SetTime(opening().Add(55 * time.Minute))
		Expect(k8s.Delete(ctx, &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: s.sso()}})).To(Succeed())
		s.becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForProvider)
		s.expires(ctx, pt)
		return pt
	})),
	Entry("that the token expired while suspended, and the credentials are gone too", "expired-suspended-without-credentials", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := live(ctx, s)
		s.edit(ctx, pt, suspended)
		s.ready(ctx, pt)
		s.clock.SetTime(opening().Add(55 * time.Minute))
		Expect(k8s.Delete(ctx, s.secret(nil))).To(Succeed())
		s.becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		s.expires(ctx, pt)
		return pt
	})),
	Entry("that the token expired and its login is frozen", "expired-login-frozen", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		pt := frozen(ctx, s)
		s.expires(ctx, pt)
		return pt
	})),
	Entry("that the first login was refused and is frozen", "login-frozen", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.up42(ctx)
		s.credentials(ctx, login("wrong"))
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonLoginFrozen)
		return pt
	})),
	Entry("that the provider refuses the client", "request-denied", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.credentials(ctx, map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": "wrong"})
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonRequestDenied)
		return pt
	})),
	Entry("that the target is somebody else's", "target-conflict", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.credentials(ctx, clientCredentials())
		Expect(k8s.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reports"}})).To(Succeed())
		s.operator()
		pt := s.token(ctx)
		s.becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonTargetConflict)
		return pt
	})),
	Entry("that it was told to ask for no token at all", "suspended", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.credentials(ctx, clientCredentials())
		s.operator()
		pt := s.token(ctx, suspended)
		s.becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
		return pt
	})),
	Entry("that it was told to ask for no token, and could not", "suspended-without-credentials", play(func(ctx context.Context, s *stage) *v1alpha1.ProviderToken {
		s.plantPredict(ctx)
		s.operator()
		pt := s.token(ctx, suspended)
		s.becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		s.clock.Step(10 * time.Minute)
		s.becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonCredentialsNotFound)
		return pt
	})),
)

var _ = Describe("what GitOps tools write on a ProviderToken", func() {
	It("never reaches the target Secret", func(ctx SpecContext) {
		s := newStage(ctx)
		pt := live(ctx, s, func(pt *v1alpha1.ProviderToken) {
			pt.Labels = map[string]string{
				"app.kubernetes.io/instance":            "tokens",
				"argocd.argoproj.io/instance":           "tokens",
				"kustomize.toolkit.fluxcd.io/name":      "tokens",
				"kustomize.toolkit.fluxcd.io/namespace": "flux-system",
			}
			pt.Annotations = map[string]string{
				"argocd.argoproj.io/tracking-id":  "tokens:providertoken.dev/ProviderToken:team/reports",
				"argocd.argoproj.io/sync-wave":    "3",
				"argocd.argoproj.io/sync-options": "Prune=true",
			}
		})
		s.matches(ctx, pt, "ProviderToken", "tracked/providertoken.yaml")
		s.matches(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.TargetName()}}, "Secret", "tracked/secret.yaml")
	})

	It("never reaches a target that stays behind", func(ctx SpecContext) {
		s := newStage(ctx)
		pt := live(ctx, s, func(pt *v1alpha1.ProviderToken) {
			pt.Labels = map[string]string{"app.kubernetes.io/instance": "tokens"}
			pt.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "tokens:providertoken.dev/ProviderToken:team/reports"}
			pt.Spec.Target = &v1alpha1.Target{DeletionPolicy: v1alpha1.RetainTarget}
		})
		s.matches(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.TargetName()}}, "Secret", "tracked/retained-secret.yaml")
	})
})
