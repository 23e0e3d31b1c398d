package cluster_test

import (
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("a target", func() {
	It("that cannot hold the token leaves the old one, says how large is too large, and costs no second token", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.generic(ctx)
		pt := w.Create(ctx, w.named("large"))
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		first := w.Token(ctx, pt)

		// Fourteen keys that hold it three times each: with a short token there is room.
		repeated := map[string]v1alpha1.TemplateText{}
		for _, key := range strings.Split("abcdefghijklmn", "") {
			repeated[key] = v1alpha1.TemplateText(strings.Repeat("{{ .token }}", 3))
		}
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) {
			pt.Spec.Target = &v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: repeated}}
		})
		Eventually(func() map[string][]byte { return w.Secret(ctx, pt).Data }).Should(HaveKey("g"))
		Expect(w.Sim.Generic.Issued()).To(Equal(1))

		huge := strings.Repeat("h", 30_000)
		w.Sim.Generic.SetAnswer("application/json", `{"access_token":"{token}`+huge+`","token_type":"Bearer","expires_in":{expires_in}}`)
		w.due(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetTooLarge)
		told := w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Message
		tell("too large", told)
		Expect(told).To(And(ContainSubstring("more than 64 KiB"), ContainSubstring("template"), Not(ContainSubstring("hhh"))))
		Expect(w.Token(ctx, pt)).To(Equal(first))
		w.Ready(ctx, pt)
		w.Clock.Step(10 * time.Minute)
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 2)

		By("writing the token that waited, once the template holds less")
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Target.Template.Data = nil })
		Eventually(func() int { return len(w.Token(ctx, pt)) }).Should(BeNumerically(">", len(huge)))
		w.Ready(ctx, pt)
		Expect(w.Sim.Generic.Issued()).To(Equal(2))

		By("finding a template that is too large before the provider is asked, now that the size is known")
		w.Settle(ctx, pt)
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Spec.Target.Template.Data = repeated })
		w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetTooLarge)
		w.due(ctx, pt)
		testworld.StaysFor(quiet, func() int { return len(w.Sim.Generic.Calls()) }, 2)
		w.Ready(ctx, pt)
	})

	It("of a type that the control plane fills is neither made nor touched, whatever it says of itself", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.generic(ctx)
		k8s := w.Server.Client
		Expect(k8s.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "robot"}})).To(Succeed())
		plain, posing := w.named("plain"), w.named("posing")
		versions := map[string]string{}
		for _, pt := range []*v1alpha1.ProviderToken{plain, posing} {
			s := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: pt.Name, Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}},
				Type:       corev1.SecretTypeServiceAccountToken, Data: map[string][]byte{"token": []byte("the control plane's")},
			}
			if pt == posing {
				s.Labels = map[string]string{v1alpha1.TargetLabel: "true"}
				s.Annotations[v1alpha1.OwnerAnnotation] = w.Namespace + "/" + pt.Name
			}
			Expect(k8s.Create(ctx, s)).To(Succeed())
			versions[pt.Name] = s.ResourceVersion
		}
		w.Operator()
		w.Create(ctx, plain)
		w.Create(ctx, posing)
		w.Becomes(ctx, plain, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		w.Becomes(ctx, posing, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetTypeMismatch)
		w.Becomes(ctx, posing, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonTargetTypeMismatch)
		for _, pt := range []*v1alpha1.ProviderToken{plain, posing} {
			tell("a ServiceAccount's token, "+pt.Name, w.Condition(ctx, pt, v1alpha1.SecretPublishedCondition).Message)
		}
		w.Clock.Step(time.Hour)
		testworld.StaysFor(quiet, func() int { return len(w.Sim.Generic.Calls()) }, 0)
		for name, version := range versions {
			Expect(w.Secret(ctx, w.named(name)).ResourceVersion).To(Equal(version))
		}

		asking := w.named("asking")
		asking.Spec.Target = &v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Type: string(corev1.SecretTypeServiceAccountToken)}}
		err := k8s.Create(ctx, asking)
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
		tell("asking for the type", err.Error())
	})

	It("that two claim in the same instant goes to one of them, and to the other as soon as it is free", func(ctx SpecContext) {
		w := newWorld(ctx)
		// Both see that there is no target, and both are asked for before one is written.
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.Generic.Always(providersim.HoldAnswer(gate))
		w.Operator()
		w.generic(ctx)
		var both sync.WaitGroup
		claimants := []*v1alpha1.ProviderToken{w.named("one"), w.named("two")}
		for _, pt := range claimants {
			pt.Spec.Target = &v1alpha1.Target{SecretName: "shared"}
			both.Go(func() {
				defer GinkgoRecover()
				w.Create(ctx, pt)
			})
		}
		both.Wait()
		Expect(gate.Await(ctx, 2)).To(Succeed())
		w.Sim.Generic.Clear()
		gate.Release()
		var winner, loser *v1alpha1.ProviderToken
		Eventually(func() string {
			if s := w.Secret(ctx, claimants[0]); s != nil {
				return s.Annotations[v1alpha1.OwnerAnnotation]
			}
			return ""
		}).Should(HavePrefix(w.Namespace + "/"))
		winner, loser = claimants[0], claimants[1]
		if w.Secret(ctx, winner).Annotations[v1alpha1.OwnerAnnotation] == w.Namespace+"/two" {
			winner, loser = loser, winner
		}
		w.Ready(ctx, winner)
		w.Becomes(ctx, loser, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		tell("the second claimant", w.Condition(ctx, loser, v1alpha1.ReadyCondition).Message)
		Expect(w.Sim.Generic.Issued()).To(Equal(2), "nothing reserves a name before there is a token")

		By("a day in which the second one asks for nothing")
		for range 3 {
			w.StepToRefresh(ctx, winner)
		}
		Expect(w.Sim.Generic.Issued()).To(Equal(5))

		By("the first one going, and the garbage collector coming much later")
		k8s := w.Server.Client
		held := w.Secret(ctx, winner)
		Expect(k8s.Delete(ctx, winner)).To(Succeed())
		Eventually(func() int { return w.series(winner.Name) }).Should(BeZero())
		w.Clock.Step(10 * time.Minute)
		testworld.StaysFor(quiet, func() string { return w.Token(ctx, loser) }, string(held.Data["token"]))
		Expect(k8s.Delete(ctx, held)).To(Succeed())
		began := time.Now()
		w.Ready(ctx, loser) // by the watch, without a step of the clock
		tell("taken over", time.Since(began).Round(10*time.Millisecond).String()+" after the Secret was gone")
		Expect(w.Sim.Generic.Accepts(w.Token(ctx, loser))).To(BeTrue())
		Expect(w.Sim.Generic.Issued()).To(Equal(6))

		By("polling where no watch can tell: a foreign Secret is in the way, and goes")
		third := w.named("third")
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "third"}}
		Expect(k8s.Create(ctx, foreign)).To(Succeed())
		w.Create(ctx, third)
		w.Becomes(ctx, third, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		Expect(k8s.Delete(ctx, foreign)).To(Succeed())
		w.Clock.Step(29 * time.Second)
		testworld.StaysFor(quiet, func() bool { return w.Secret(ctx, third) == nil }, true)
		w.Clock.Step(time.Second)
		w.Ready(ctx, third)
	}, SpecTimeout(3*time.Minute))
})
