package scale_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
	testworld "github.com/providertoken/operator/test/world"
)

// tokenLength is that of a usual JWT, in bytes.
const tokenLength = 900

// heap is what is in use after a collection.
func heap() int {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// inParallel calls f for each number below n.
func inParallel(n int, f func(i int) error) {
	GinkgoHelper()
	var all sync.WaitGroup
	failures := make(chan error, n)
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < n; i += 8 {
				if err := f(i); err != nil {
					failures <- err
				}
			}
		})
	}
	all.Wait()
	close(failures)
	Expect(<-failures).NotTo(HaveOccurred())
}

// populate makes n ProviderTokens as they are in steady life, each with a credential and a target.
func populate(ctx context.Context, namespace string, n int) {
	GinkgoHelper()
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	inParallel(n, func(i int) error {
		name := fmt.Sprintf("token-of-team-%05d", i)
		pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: strings.Repeat("what kubectl applied ", 30)},
		}}
		pt.Spec.ProviderRef = &v1alpha1.ProviderReference{Name: "UP42"}
		pt.Spec.Credentials = &v1alpha1.Credentials{SecretName: name + "-login"}
		if err := server.Client.Create(ctx, pt); err != nil {
			return err
		}
		for kind, message := range map[string]string{
			v1alpha1.CredentialsResolvedCondition: "the credentials for UP42 are there", v1alpha1.TokenIssuedCondition: "UP42 issued the token",
			v1alpha1.SecretPublishedCondition: fmt.Sprintf("Secret %q is as it should be", name), v1alpha1.ReadyCondition: fmt.Sprintf("Secret %q holds a token that works", name),
		} {
			pt.Status.Conditions = append(pt.Status.Conditions, metav1.Condition{
				Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: message, ObservedGeneration: 1, LastTransitionTime: now,
			})
		}
		pt.Status.ObservedGeneration, pt.Status.SecretName, pt.Status.RefreshAt = 1, name, &now
		pt.Status.Token = &v1alpha1.TokenStatus{IssuedAt: now, ExpiresAt: metav1.NewTime(now.Add(time.Hour)), ExpirySource: "ExpiresIn", Type: "Bearer"}
		pt.Status.Provider = &v1alpha1.ProviderStatus{Kind: "Builtin", Name: "UP42", Version: "0123456789ab", Host: "auth.example.com:443", TokenURL: "https://auth.example.com/token"}
		if err := server.Client.Status().Update(ctx, pt); err != nil {
			return err
		}
		held, err := target.Render(pt, target.Content{
			Token: token.Token{
				Access: token.NewSecret(fmt.Sprintf("%0*d", tokenLength, i)), Type: "Bearer", IssuedAt: now.Time, ExpiresAt: now.Add(time.Hour), ExpirySource: token.ExpiresIn,
			},
			Inputs: "v1:0123456789abcdef0123456789abcdef", RefreshAt: now.Add(40 * time.Minute),
		})
		if err != nil {
			return err
		}
		if err := server.Client.Create(ctx, held); err != nil {
			return err
		}
		return server.Client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name + "-login", Labels: map[string]string{v1alpha1.CredentialsForLabel: "UP42"},
				Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: strings.Repeat("what kubectl applied ", 20)},
			},
			StringData: map[string]string{"username": "somebody@example.com", "password": "a password of usual length"},
		})
	})
}

// kept is how the heap grows by the caches of an operator for a namespace, and what they hold of Secrets.
func kept(ctx context.Context, namespace string) (bytes, tokens, secrets int) {
	GinkgoHelper()
	before := heap()
	running, stop := context.WithCancel(ctx)
	defer stop()
	options, err := controller.CacheOptions([]string{namespace}, nil)
	Expect(err).NotTo(HaveOccurred())
	options.Scheme = server.Scheme
	own, err := cache.New(server.Config, options)
	Expect(err).NotTo(HaveOccurred())
	logins, err := controller.NewSecretCache(server.Config, server.Scheme, v1alpha1.CredentialsForLabel, []string{namespace})
	Expect(err).NotTo(HaveOccurred())
	targets, err := controller.NewSecretCache(server.Config, server.Scheme, v1alpha1.TargetLabel, []string{namespace})
	Expect(err).NotTo(HaveOccurred())
	for c, kind := range map[cache.Cache]client.Object{own: &v1alpha1.ProviderToken{}, logins: &corev1.Secret{}, targets: &corev1.Secret{}} {
		go func() {
			defer GinkgoRecover()
			Expect(c.Start(running)).To(Succeed())
		}()
		_, err := c.GetInformer(ctx, kind)
		Expect(err).NotTo(HaveOccurred())
		Expect(c.WaitForCacheSync(ctx)).To(BeTrue())
	}
	bytes = heap() - before
	var list v1alpha1.ProviderTokenList
	Expect(own.List(ctx, &list)).To(Succeed())
	for _, c := range []cache.Cache{logins, targets} {
		var held corev1.SecretList
		Expect(c.List(ctx, &held)).To(Succeed())
		secrets += len(held.Items)
	}
	return bytes, len(list.Items), secrets
}

var _ = Describe("the memory of the informers", func() {
	It("grows by what the operator uses of its objects, and not by the Secrets of others", func(ctx SpecContext) {
		const few = 10
		more, foreign := many(80), many(100)
		w := testworld.New(ctx, server)
		small, large := w.NewNamespace(ctx, nil), w.NewNamespace(ctx, nil)
		populate(ctx, small, few)
		populate(ctx, large, few+more)
		kept(ctx, small) // what is made once for the process
		base, _, _ := kept(ctx, small)
		with, tokens, secrets := kept(ctx, large)
		Expect(tokens).To(Equal(few + more))
		Expect(secrets).To(Equal(2 * (few + more)))
		each := (with - base) / more
		AddReportEntry("informers", fmt.Sprintf("%d bytes of heap for each ProviderToken with its credential and its target, whose token has %d", each, tokenLength))
		Expect(each).To(BeNumerically("<", 7<<10))

		inParallel(foreign, func(i int) error {
			return server.Client.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: large, Name: fmt.Sprintf("foreign-%05d", i)},
				Data:       map[string][]byte{"x": []byte(strings.Repeat("x", 10<<10))},
			})
		})
		after, tokens, secrets := kept(ctx, large)
		Expect(tokens).To(Equal(few + more))
		Expect(secrets).To(Equal(2*(few+more)), "Secrets of others are cached")
		AddReportEntry("foreign Secrets", fmt.Sprintf("%d of 10 KiB make the heap %d KiB larger", foreign, (after-with)>>10))
		Expect(after-with).To(BeNumerically("<", foreign<<10), "a tenth of what they hold")
	}, SpecTimeout(5*time.Minute))
})
