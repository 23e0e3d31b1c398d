package controller_test

import (
	"context"
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

// platform is a world in which a ClusterTokenProvider holds the credentials.
type platform struct {
	*world
	team     string // a namespace with the label team=maps
	provider *v1alpha1.ClusterTokenProvider
	secret   *corev1.Secret
}

func newPlatform(ctx context.Context, allow v1alpha1.Allow) *platform {
	GinkgoHelper()
	w := newWorld(ctx)
	p := &platform{world: w, team: w.NewNamespace(ctx, map[string]string{"team": "maps"})}
	p.provider = &v1alpha1.ClusterTokenProvider{
		ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("held")},
		Spec: v1alpha1.ClusterTokenProviderSpec{
			ProviderDefinition: v1alpha1.ProviderDefinition{TokenURL: w.Sim.Generic.TokenURL(), CABundle: w.Sim.CABundle(), Scopes: []v1alpha1.Scope{"a"}},
			Credentials:        &v1alpha1.PlatformCredentials{Namespace: w.Namespace, SecretName: "held-client"},
			Allow:              &allow,
		},
	}
	Expect(k8s.Create(ctx, p.provider)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p.provider))).To(Succeed()) })
	p.secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: "held-client",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + p.provider.Name},
		},
		StringData: map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret},
	}
	Expect(k8s.Create(ctx, p.secret)).To(Succeed())
	return p
}

// teams is a ProviderToken of the team, without credentials of its own.
func (p *platform) teams() *v1alpha1.ProviderToken {
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.team, Name: "held"},
		Spec:       v1alpha1.ProviderTokenSpec{ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: p.provider.Name}},
	}
}

func (p *platform) allow(ctx context.Context, change func(*v1alpha1.Allow)) {
	GinkgoHelper()
	before := p.provider.DeepCopy()
	change(p.provider.Spec.Allow)
	Expect(k8s.Patch(ctx, p.provider, client.MergeFrom(before))).To(Succeed())
}

var _ = Describe("platform-held credentials", func() {
	byLabel := v1alpha1.Allow{Namespaces: v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "maps"}}}}
	resolved := v1alpha1.CredentialsResolvedCondition

	It("give a namespace that is allowed its token, and never the credential", func(ctx SpecContext) {
		p := newPlatform(ctx, byLabel)
		p.Operator()
		pt := p.Ready(ctx, p.Create(ctx, p.teams()))
		Expect(p.Sim.Generic.Accepts(p.Token(ctx, pt))).To(BeTrue())
		var secrets corev1.SecretList
		Expect(k8s.List(ctx, &secrets, client.InNamespace(p.team))).To(Succeed())
		Expect(secrets.Items).To(HaveLen(1), "the target alone")
		Expect(secrets.Items[0].Data).NotTo(ContainElement(ContainSubstring(providersim.GenericClientSecret)))
		Expect(pt.Status.Provider.Kind).To(Equal("ClusterTokenProvider"))
	})

	It("are refused to a namespace that is not allowed, and used as soon as it is, by name or by label", func(ctx SpecContext) {
		p := newPlatform(ctx, v1alpha1.Allow{Namespaces: v1alpha1.AllowedNamespaces{Names: []string{"somebody-else"}}})
		p.Operator()
		pt := p.Create(ctx, p.teams())
		p.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNotAllowed)
		Expect(p.Condition(ctx, pt, resolved).Message).To(And(ContainSubstring("does not let namespace "+p.team), ContainSubstring("allow.namespaces")))
		Expect(p.Sim.Generic.Calls()).To(BeEmpty())

		p.allow(ctx, func(a *v1alpha1.Allow) { a.Namespaces.Names = append(a.Namespaces.Names, p.team) })
		p.Ready(ctx, pt)
	})

	It("are refused to all when a list is empty and there is no selector", func(ctx SpecContext) {
		p := newPlatform(ctx, v1alpha1.Allow{})
		p.Operator()
		pt := p.Create(ctx, p.teams())
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		Expect(p.Sim.Generic.Calls()).To(BeEmpty())
	})

	It("are refused with a word to their owner when the selector is none", func(ctx SpecContext) {
		p := newPlatform(ctx, v1alpha1.Allow{Namespaces: v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Is", Values: []string{"maps"}}},
		}}})
		p.Operator()
		pt := p.Create(ctx, p.teams())
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonInvalidProvider)
		Expect(p.Condition(ctx, pt, resolved).Message).To(ContainSubstring("allow.namespaces.selector"))
		Expect(p.Sim.Generic.Calls()).To(BeEmpty())
	})

	It("stop being used when the namespace loses its label, while its token stays until it expires", func(ctx SpecContext) {
		p := newPlatform(ctx, byLabel)
		p.Operator()
		pt := p.Ready(ctx, p.Create(ctx, p.teams()))
		token := p.Token(ctx, pt)
		minted := p.Sim.Generic.Issued()

		p.label(ctx, p.team, "somebody-else")
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		got := p.Ready(ctx, pt)
		Expect(p.Condition(ctx, pt, resolved).Message).To(ContainSubstring("works until " + got.Status.Token.ExpiresAt.UTC().Format(time.RFC3339)))
		p.Clock.SetTime(got.Status.RefreshAt.Time)
		testworld.StaysFor(300*time.Millisecond, func() string { return p.Token(ctx, pt) }, token)
		Expect(p.Sim.Generic.Issued()).To(Equal(minted))
		p.Clock.SetTime(got.Status.Token.ExpiresAt.Time)
		p.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		p.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNotAllowed)

		p.label(ctx, p.team, "maps")
		p.Ready(ctx, pt)
		Expect(p.Sim.Generic.Issued()).To(Equal(minted + 1))
	})

	It("are used for the definition's own scopes unless allow lists the one that is asked for", func(ctx SpecContext) {
		p := newPlatform(ctx, byLabel)
		p.Operator()
		pt := p.teams()
		pt.Spec.Scopes = []v1alpha1.Scope{"b"}
		p.Create(ctx, pt)
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		Expect(p.Condition(ctx, pt, resolved).Message).To(And(ContainSubstring(`scope "b"`), ContainSubstring("allow.scopes")))
		Expect(p.Sim.Generic.Calls()).To(BeEmpty())

		p.allow(ctx, func(a *v1alpha1.Allow) { a.Scopes = []v1alpha1.Scope{"a", "b"} })
		p.Ready(ctx, pt)
		Expect(p.Sim.Generic.Calls()[0].Form.Get("scope")).To(Equal("b"))
	})

	DescribeTable("are not used for what allow does not list", func(ctx SpecContext, ask func(*v1alpha1.ProviderToken), what string) {
		p := newPlatform(ctx, byLabel)
		p.Operator()
		pt := p.teams()
		ask(pt)
		p.Create(ctx, pt)
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonNotAllowed)
		Expect(p.Condition(ctx, pt, resolved).Message).To(ContainSubstring(what))
		Expect(p.Sim.Generic.Calls()).To(BeEmpty())
	},
		Entry("an audience", func(pt *v1alpha1.ProviderToken) { pt.Spec.Audience = "https://api.example.com" }, "allow.audiences"),
		Entry("a resource", func(pt *v1alpha1.ProviderToken) { pt.Spec.Resources = []string{"https://api.example.com"} }, "allow.resources"),
		Entry("a parameter", func(pt *v1alpha1.ProviderToken) {
			pt.Spec.ProviderRef.Parameters = map[string]v1alpha1.ParameterValue{"region": "eu"}
		}, "providerRef.parameters"),
	)

	It("are not mixed with credentials of the ProviderToken", func(ctx SpecContext) {
		p := newPlatform(ctx, byLabel)
		p.Operator()
		pt := p.teams()
		pt.Spec.Credentials = &v1alpha1.Credentials{SecretName: "own"}
		p.Create(ctx, pt)
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		Expect(p.Condition(ctx, pt, resolved).Message).To(ContainSubstring("remove spec.credentials"))
	})

	It("that are missing or not bound are told without saying where the platform keeps them, and wake who waits", func(ctx SpecContext) {
		p := newPlatform(ctx, byLabel)
		p.secret.Labels[v1alpha1.CredentialsForLabel] = "UP42"
		Expect(k8s.Update(ctx, p.secret)).To(Succeed())
		p.Operator()
		pt := p.Create(ctx, p.teams())
		p.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		Expect(p.Condition(ctx, pt, resolved).Message).NotTo(Or(ContainSubstring("held-client"), ContainSubstring("namespace "+p.Namespace)))
		p.secret.Labels[v1alpha1.CredentialsForLabel] = "ClusterTokenProvider." + p.provider.Name
		Expect(k8s.Update(ctx, p.secret)).To(Succeed())
		p.Ready(ctx, pt)
	})

	It("are asked for by name where a provider has none", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.Wanted("generic")
		pt.Spec.Credentials = nil
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, resolved, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Condition(ctx, pt, resolved).Message).To(ContainSubstring("set spec.credentials.secretName"))
	})
})

// label sets the label team of a namespace.
func (p *platform) label(ctx context.Context, namespace, team string) {
	GinkgoHelper()
	ns := &corev1.Namespace{}
	Expect(k8s.Get(ctx, client.ObjectKey{Name: namespace}, ns)).To(Succeed())
	ns.Labels["team"] = team
	Expect(k8s.Update(ctx, ns)).To(Succeed())
}
