package disaster_test

import (
	"context"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

const quiet = 300 * time.Millisecond

// bundle is what a backup tool keeps of a namespace: Secrets and ProviderTokens as
// they were, without what the API server gave them.
type bundle struct {
	secrets []corev1.Secret
	tokens  []v1alpha1.ProviderToken
}

// take makes a backup.
func take(ctx context.Context, w *testworld.World, namespace string) bundle {
	GinkgoHelper()
	var secrets corev1.SecretList
	Expect(w.Server.Client.List(ctx, &secrets, client.InNamespace(namespace))).To(Succeed())
	var tokens v1alpha1.ProviderTokenList
	Expect(w.Server.Client.List(ctx, &tokens, client.InNamespace(namespace))).To(Succeed())
	b := bundle{secrets: secrets.Items, tokens: tokens.Items}
	for i := range b.secrets {
		bare(&b.secrets[i].ObjectMeta)
	}
	for i := range b.tokens {
		bare(&b.tokens[i].ObjectMeta)
		b.tokens[i].Status = v1alpha1.ProviderTokenStatus{}
	}
	return b
}

// bare is what Velero and the like restore of metadata.
func bare(m *metav1.ObjectMeta) {
	*m = metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, Labels: m.Labels, Annotations: m.Annotations}
}

// lose deletes all of a namespace, as with the namespace, and what the garbage
// collector would take.
func lose(ctx context.Context, w *testworld.World, namespace string) {
	GinkgoHelper()
	Expect(w.Server.Client.DeleteAllOf(ctx, &v1alpha1.ProviderToken{}, client.InNamespace(namespace))).To(Succeed())
	Expect(w.Server.Client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(namespace))).To(Succeed())
}

func (b bundle) restoreSecrets(ctx context.Context, w *testworld.World, namespace string) {
	GinkgoHelper()
	for i := range b.secrets {
		s := b.secrets[i].DeepCopy()
		s.Namespace = namespace
		Expect(w.Server.Client.Create(ctx, s)).To(Succeed())
	}
}

func (b bundle) restoreTokens(ctx context.Context, w *testworld.World, namespace string) {
	GinkgoHelper()
	for i := range b.tokens {
		pt := b.tokens[i].DeepCopy()
		pt.Namespace = namespace
		Expect(w.Server.Client.Create(ctx, pt)).To(Succeed())
	}
}

var _ = Describe("a namespace that is restored from a backup", func() {
	DescribeTable("goes on with tokens that still work, gets others for those that do not, and waits for a person where a refresh token is the credential",
		func(ctx SpecContext, running bool, secretsFirst bool) {
			w := testworld.New(ctx, server)
			rotate(ctx, w)
			stop := w.Operator()
			plain := w.PlantPredict(ctx)
			login := w.UP42(ctx)
			w.Credentials(ctx, rotating, map[string]string{"refresh_token": w.Authorize(ctx)})
			chain := w.Create(ctx, w.Wanted(rotating))
			for _, pt := range []*v1alpha1.ProviderToken{plain, login, chain} {
				w.Settle(ctx, pt)
			}
			yesterday := take(ctx, w, w.Namespace)
			w.StepToRefresh(ctx, chain) // the server's family of refresh tokens is newer than the backup
			w.Rest()                    // the other tokens may be due as well
			used := refreshes(w)
			if !running {
				stop()
			}
			lose(ctx, w, w.Namespace)
			// Some of the tokens of the backup have expired: those that live five minutes.
			w.Clock.Step(10 * time.Minute)
			issued, sessions := w.Sim.PlantPredict.Issued(), w.Sim.UP42.SessionsOpened()

			first, then := yesterday.restoreSecrets, yesterday.restoreTokens
			if !secretsFirst {
				first, then = then, first
			}
			first(ctx, w, w.Namespace)
			then(ctx, w, w.Namespace)
			if !running {
				w.Operator()
			}
			By("a token that still works is taken hold of, with no mint")
			w.Ready(ctx, plain)
			Eventually(func(g Gomega) {
				refs := w.Secret(ctx, plain).OwnerReferences
				g.Expect(refs).To(HaveLen(1))
				var pt v1alpha1.ProviderToken
				g.Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(plain), &pt)).To(Succeed())
				g.Expect(refs[0].UID).To(Equal(pt.UID))
			}).Should(Succeed())
			Expect(w.Sim.PlantPredict.Issued()).To(Equal(issued))
			By("one that expired is replaced by one login")
			w.Ready(ctx, login)
			Expect(w.Sim.UP42.Accepts(w.Token(ctx, login))).To(BeTrue())
			Expect(w.Sim.UP42.SessionsOpened()).To(Equal(sessions + 1))
			By("yesterday's refresh token is not sent")
			Expect(stops(ctx, w, chain, v1alpha1.ReasonRestoredState)).To(ContainSubstring(`put a new refresh token under key "refresh_token" of Secret "rotating-login"`))
			testworld.StaysFor(quiet, func() int { return refreshes(w) }, used)
			reauthorize(ctx, w, w.Namespace)
			w.Ready(ctx, chain)
		},
		Entry("while the operator runs, Secrets first", true, true),
		Entry("before the operator starts, ProviderTokens first", false, false),
	)

	It("is a second user of a refresh token where the first cluster goes on, and says so in both", func(ctx SpecContext) {
		one := testworld.New(ctx, server)
		rotate(ctx, one)
		one.Operator()
		one.Credentials(ctx, rotating, map[string]string{"refresh_token": one.Authorize(ctx)})
		chain := one.Create(ctx, one.Wanted(rotating))
		one.Settle(ctx, chain)
		one.StepToRefresh(ctx, chain)
		one.Settle(ctx, chain)

		By("the whole namespace in another cluster: nothing is sent there")
		two := one.Elsewhere(ctx)
		two.Operator()
		copied := take(ctx, one, one.Namespace)
		for i := range copied.secrets {
			annotations := copied.secrets[i].Annotations
			if annotations[v1alpha1.OwnerAnnotation] != "" {
				annotations[v1alpha1.OwnerAnnotation] = two.Namespace + "/" + copied.secrets[i].Name // there, the namespace has the same name
			}
		}
		copied.restoreSecrets(ctx, two, two.Namespace)
		copied.restoreTokens(ctx, two, two.Namespace)
		there := chain.DeepCopy()
		there.Namespace = two.Namespace
		due := two.Ready(ctx, there).Status.RefreshAt.Time
		if own := one.Ready(ctx, chain).Status.RefreshAt.Time; own.After(due) {
			due = own
		}
		one.Clock.SetTime(due)
		stops(ctx, two, there, v1alpha1.ReasonRestoredState)
		Expect(one.Sim.UP42.Sessions()).To(Equal(1), "and the first one goes on")
		one.Settle(ctx, chain)
		one.StepToRefresh(ctx, chain)
		reauthorize(ctx, two, two.Namespace)
		two.Ready(ctx, there)
		Expect(one.Sim.UP42.Sessions()).To(Equal(2), "each with an authorization of its own")

		By("only Git and the sealed credential in another cluster: the server sees it used twice, and revokes it for both")
		three := one.Elsewhere(ctx)
		three.Operator()
		var seed corev1.Secret
		Expect(server.Client.Get(ctx, client.ObjectKey{Namespace: one.Namespace, Name: rotating + "-login"}, &seed)).To(Succeed())
		bare(&seed.ObjectMeta)
		seed.Namespace = three.Namespace
		Expect(server.Client.Create(ctx, &seed)).To(Succeed())
		seeded := one.Wanted(rotating)
		seeded.Namespace = three.Namespace
		Expect(server.Client.Create(ctx, seeded)).To(Succeed())
		Expect(stops(ctx, three, seeded, v1alpha1.ReasonReauthorizationRequired)).To(ContainSubstring("put a new refresh token"))
		one.Clock.SetTime(one.Ready(ctx, chain).Status.RefreshAt.Time)
		Expect(stops(ctx, one, chain, v1alpha1.ReasonReauthorizationRequired)).To(ContainSubstring("the token in the Secret works until"))
		By("a person recovers each with an authorization of its own")
		reauthorize(ctx, one, one.Namespace)
		one.Ready(ctx, chain)
		reauthorize(ctx, three, three.Namespace)
		three.Ready(ctx, seeded)
		one.StepToRefresh(ctx, chain)
		Expect(one.Sim.UP42.Sessions()).To(BeNumerically(">=", 2))
	})
})

var _ = Describe("a ProviderToken that is deleted and comes back from Git", func() {
	DescribeTable("has a token at once", func(ctx SpecContext, retain, orphan bool, mints int) {
		w := testworld.New(ctx, server)
		w.Operator()
		w.Credentials(ctx, "plantpredict", map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret})
		want := w.Wanted("plantpredict")
		if retain {
			want.Spec.Target = &v1alpha1.Target{DeletionPolicy: v1alpha1.RetainTarget}
		}
		pt := w.Create(ctx, want.DeepCopy())
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		held := w.Token(ctx, pt)
		if orphan {
			Expect(server.Client.Delete(ctx, pt, client.PropagationPolicy(metav1.DeletePropagationOrphan))).To(Succeed())
			s := w.Secret(ctx, pt) // the garbage collector's part, which does not run here
			s.OwnerReferences = nil
			Expect(server.Client.Update(ctx, s)).To(Succeed())
			w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Finalizers = nil })
		} else {
			Expect(server.Client.Delete(ctx, pt)).To(Succeed())
		}
		Eventually(func() bool { return apierrors.IsNotFound(server.Client.Get(ctx, client.ObjectKeyFromObject(pt), pt)) }).Should(BeTrue())
		if s := w.Secret(ctx, want); len(s.OwnerReferences) > 0 {
			Expect(server.Client.Delete(ctx, s)).To(Succeed()) // the garbage collector's part again
		}
		w.Clock.Step(time.Minute)
		again := w.Create(ctx, want.DeepCopy())
		w.Ready(ctx, again)
		w.Settle(ctx, again)
		// Where the Secret went along, an operator whose watch is late may still put the same token back.
		Expect(w.Sim.PlantPredict.Issued()).To(BeNumerically("<=", mints))
		if mints == 1 {
			Expect(w.Token(ctx, again)).To(Equal(held))
		}
		Expect(w.Sim.PlantPredict.Accepts(w.Token(ctx, again))).To(BeTrue())
	},
		Entry("a new one, where the Secret went with it", false, false, 2),
		Entry("the same, where it was deleted with --cascade=orphan", false, true, 1),
		Entry("the same, with deletionPolicy Retain", true, false, 1),
	)
})

var _ = Describe("the operator's namespace", func() {
	It("may be lost: tokens stay, and a password that was refused is tried once more", func(ctx SpecContext) {
		w, book := lockoutWorld(ctx)
		team := w.NewNamespace(ctx, nil)
		stop := w.Operator()
		loginSecret(ctx, w, team, "wrong", "ClusterTokenProvider."+w.Cluster("up42"), wrongPassword)
		wrong := w.Create(ctx, wantsLogin(w, team, "frozen", "wrong"))
		loginSecret(ctx, w, team, "right", "ClusterTokenProvider."+w.Cluster("up42"), rightPassword)
		right := w.Create(ctx, wantsLogin(w, team, "works", "right"))
		w.Becomes(ctx, wrong, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		w.Settle(ctx, right)
		held := w.Token(ctx, right)
		stop()
		lose(ctx, w, w.Namespace)
		Expect(server.Client.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(w.Namespace))).To(Succeed())
		w.Clock.Step(2 * time.Second)
		w.Operator()
		w.Becomes(ctx, wrong, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		Eventually(func() int { return book.count(wrongPassword) }).Should(Equal(2))
		testworld.StaysFor(quiet, func() int { return book.count(wrongPassword) }, 2)
		Expect(w.Token(ctx, right)).To(Equal(held))
		w.StepToRefresh(ctx, right)

		By("and is probed sparsely again")
		w.Clock.Step(30 * time.Minute)
		Eventually(func() int { return book.count(wrongPassword) }).Should(Equal(3))
		w.Becomes(ctx, wrong, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
	})

	It("may lose its key: no login is tried that may have been refused in the last quarter of an hour, and good ones go on then", func(ctx SpecContext) {
		w, book := lockoutWorld(ctx)
		team := w.NewNamespace(ctx, nil)
		stop := w.Operator()
		loginSecret(ctx, w, team, "wrong", "ClusterTokenProvider."+w.Cluster("up42"), wrongPassword)
		wrong := w.Create(ctx, wantsLogin(w, team, "frozen", "wrong"))
		w.Becomes(ctx, wrong, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		stop()
		key := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: keySecret}}
		Expect(server.Client.Delete(ctx, key)).To(Succeed())
		w.Clock.Step(5 * time.Minute)
		w.Operator()
		loginSecret(ctx, w, team, "right", "ClusterTokenProvider."+w.Cluster("up42"), rightPassword)
		right := w.Create(ctx, wantsLogin(w, team, "works", "right"))
		Expect(stops(ctx, w, right, v1alpha1.ReasonLoginFrozen)).To(ContainSubstring("the operator's key"))
		testworld.StaysFor(quiet, func() int { return book.count(wrongPassword) }, 1)
		w.Clock.Step(10*time.Minute + time.Second)
		w.Ready(ctx, right)
		Eventually(func() int { return book.count(wrongPassword) }).Should(Equal(2))
		Expect(book.most()).To(BeNumerically("<=", 2))
	})
})

// gone waits until the CRDs are, and with them all objects.
func gone(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		for _, kind := range []string{"providertokens", "tokenproviders", "clustertokenproviders"} {
			crd := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}}
			g.Expect(apierrors.IsNotFound(server.Client.Get(ctx, client.ObjectKey{Name: kind + ".providertoken.dev"}, crd))).To(BeTrue(), kind)
		}
	}).WithPolling(50 * time.Millisecond).Should(Succeed())
}

var _ = Describe("the CRDs", Serial, func() {
	It("take every ProviderToken with them when they are removed, and what they come back to is used again", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		rotate(ctx, w)
		stop := w.Operator()
		plain := w.PlantPredict(ctx)
		kept := w.Wanted("plantpredict")
		kept.Name, kept.Spec.Target = "kept", &v1alpha1.Target{DeletionPolicy: v1alpha1.RetainTarget}
		w.Create(ctx, kept)
		w.Credentials(ctx, rotating, map[string]string{"refresh_token": w.Authorize(ctx)})
		chain := w.Create(ctx, w.Wanted(rotating))
		for _, pt := range []*v1alpha1.ProviderToken{plain, kept, chain} {
			w.Settle(ctx, pt)
		}
		held, issued, used := w.Token(ctx, kept), w.Sim.PlantPredict.Issued(), refreshes(w)
		git := take(ctx, w, w.Namespace)
		var providers v1alpha1.ClusterTokenProviderList
		Expect(server.Client.List(ctx, &providers)).To(Succeed())
		stop()

		options := envtest.CRDInstallOptions{Paths: []string{filepath.Join(testworld.Root(), "config", "crd", "bases")}, ErrorIfPathMissing: true}
		Expect(envtest.UninstallCRDs(server.Config, options)).To(Succeed())
		gone(ctx)
		var secrets corev1.SecretList
		Expect(server.Client.List(ctx, &secrets, client.InNamespace(w.Namespace), client.HasLabels{v1alpha1.TargetLabel})).To(Succeed())
		Expect(secrets.Items).To(HaveLen(3))
		for i := range secrets.Items {
			if len(secrets.Items[i].OwnerReferences) > 0 {
				Expect(server.Client.Delete(ctx, &secrets.Items[i])).To(Succeed()) // the garbage collector's part, which does not run here
			}
		}
		Expect(w.Token(ctx, kept)).To(Equal(held), "deletionPolicy Retain")

		_, err := envtest.InstallCRDs(server.Config, options)
		Expect(err).NotTo(HaveOccurred())
		for i := range providers.Items {
			p := &providers.Items[i]
			p.ObjectMeta = metav1.ObjectMeta{Name: p.Name}
			Expect(server.Client.Create(ctx, p)).To(Succeed())
		}
		w.Clock.Step(2 * time.Second)
		w.Operator()
		git.restoreTokens(ctx, w, w.Namespace)
		for _, pt := range []*v1alpha1.ProviderToken{plain, kept, chain} {
			w.Ready(ctx, pt)
		}
		Expect(w.Token(ctx, kept)).To(Equal(held))
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(issued+1), "one for the Secret that went, none for the one that stayed")
		Expect(refreshes(w)).To(Equal(used+1), "the state outlived its ProviderToken")
		Expect(w.Sim.UP42.Sessions()).To(Equal(1))
	})
})
