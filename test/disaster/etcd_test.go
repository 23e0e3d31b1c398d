package disaster_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("an etcd that is put back to yesterday", func() {
	It("gets the newest tokens from an operator that kept running, and from one that starts afterwards what a person says", func(ctx SpecContext) {
		plane := newControlPlane(ctx)
		w := testworld.New(ctx, plane.Server)
		w.MayBeForbidden = true // until a restored API server knows its roles again
		rotate(ctx, w)
		stop := w.Operator()
		plain := w.PlantPredict(ctx)
		w.Credentials(ctx, rotating, map[string]string{"refresh_token": w.Authorize(ctx)})
		chain := w.Create(ctx, w.Wanted(rotating))
		w.Settle(ctx, plain)
		w.Settle(ctx, chain)
		plane.backup(ctx, "yesterday")

		By("a day's work, after which versions of yesterday are far behind")
		w.StepToRefresh(ctx, chain)
		w.StepToRefresh(ctx, chain)
		w.Clock.SetTime(w.Ready(ctx, plain).Status.RefreshAt.Time)
		var newest string
		Eventually(w.Sim.PlantPredict.Issued).Should(Equal(2))
		w.Settle(ctx, plain)
		Eventually(func() string { newest = w.Token(ctx, chain); return newest }).Should(Satisfy(w.Sim.UP42.Accepts))
		w.Settle(ctx, chain)
		newestPlain := w.Token(ctx, plain)
		day := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "day"}}
		Expect(plane.Client.Create(ctx, day)).To(Succeed())
		for i := range 400 {
			day.Data = map[string]string{"i": fmt.Sprint(i)}
			Expect(plane.Client.Update(ctx, day)).To(Succeed())
		}
		used := refreshes(w)
		plane.restore(ctx, "yesterday")
		Expect(w.Token(ctx, plain)).NotTo(Equal(newestPlain))

		By("the operator notices, and puts back what it remembers, with no mint")
		Eventually(func() string { return w.Token(ctx, plain) }).WithTimeout(60 * time.Second).WithPolling(50 * time.Millisecond).Should(Equal(newestPlain))
		Eventually(func() string { return w.Token(ctx, chain) }).WithTimeout(60 * time.Second).WithPolling(50 * time.Millisecond).Should(Equal(newest))
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
		Expect(refreshes(w)).To(Equal(used))

		By("it sees what is made from now on")
		other := w.Wanted("plantpredict")
		other.Name = "other"
		Expect(plane.Client.Create(ctx, other)).To(Succeed())
		w.Ready(ctx, other)

		By("it goes on with the refresh token that it remembers, and not with yesterday's")
		w.StepToRefresh(ctx, chain)
		w.StepToRefresh(ctx, chain)
		Expect(w.Sim.UP42.Sessions()).To(Equal(1), "nothing was revoked")

		By("an operator that starts after the restore cannot know: a person deletes the states first")
		stop()
		plane.restore(ctx, "yesterday")
		states, err := labels.Parse(stateSelector)
		Expect(err).NotTo(HaveOccurred())
		used, issued := refreshes(w), w.Sim.PlantPredict.Issued()
		Expect(plane.Client.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(w.Namespace), client.MatchingLabelsSelector{Selector: states})).To(Succeed())
		w.Operator()
		w.Ready(ctx, plain)
		Eventually(w.Sim.PlantPredict.Issued).Should(Equal(issued+1), "what yesterday's status planned is over")
		w.Clock.Step(time.Hour)
		Expect(stops(ctx, w, chain, v1alpha1.ReasonRestoredState)).To(ContainSubstring("put a new refresh token under key"))
		Expect(refreshes(w)).To(Equal(used))
		reauthorize(ctx, w, w.Namespace)
		w.Ready(ctx, chain)
		Eventually(w.Sim.PlantPredict.Issued).Should(Equal(issued+2), "an hour later")
	})
})
