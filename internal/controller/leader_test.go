package controller_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("a former leader that wakes up", func() {
	It("does not replace a newer token by the one that it was about to write", func(ctx SpecContext) {
		w := newWorld(ctx)
		var holding, once atomic.Bool
		arrived, release, answered := make(chan struct{}), make(chan struct{}), make(chan int, 8)
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/secrets/") || !holding.Load() {
					return next.RoundTrip(r)
				}
				if once.CompareAndSwap(false, true) {
					close(arrived)
					<-release
				}
				resp, err := next.RoundTrip(r)
				if err == nil {
					answered <- resp.StatusCode
				}
				return resp, err
			})
		}
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Settle(ctx, pt)
		holding.Store(true)
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		Eventually(arrived).Should(BeClosed())

		By("letting another one take over and publish meanwhile")
		w.Faults = nil
		w.Clock.Step(15 * time.Second)
		old := w.Token(ctx, pt)
		w.Operator()
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		newer := w.Secret(ctx, pt)
		close(release)
		Eventually(answered).Should(Receive(Equal(http.StatusConflict)))
		testworld.StaysFor(quiet, func() string { return w.Token(ctx, pt) }, string(newer.Data["token"]))
		Expect(answered).To(BeEmpty(), "there was nothing left to write")
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(3))
	})

	It("does nothing until it knows that it leads", func(ctx SpecContext) {
		w := newWorld(ctx)
		var deposed atomic.Bool
		w.Leads = func() bool { return !deposed.Load() }
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Settle(ctx, pt)
		old, due := w.Token(ctx, pt), w.Ready(ctx, pt).Status.RefreshAt.Time
		deposed.Store(true)
		w.Clock.SetTime(due)
		Expect(k8s.Delete(ctx, w.Secret(ctx, pt))).To(Succeed())
		testworld.StaysFor(quiet, func() bool { return w.Secret(ctx, pt) == nil && w.Sim.PlantPredict.Issued() == 1 }, true)
		deposed.Store(false)
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Or(BeEmpty(), Equal(old)))
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
	})

	It("goes on by itself where its write was only in the way of somebody's edit", func(ctx SpecContext) {
		w := newWorld(ctx)
		arrived, release := make(chan struct{}), make(chan struct{})
		var once atomic.Bool
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/secrets/") && once.CompareAndSwap(false, true) {
					close(arrived)
					<-release
				}
				return next.RoundTrip(r)
			})
		}
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Settle(ctx, pt)
		old := w.Token(ctx, pt)
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		Eventually(arrived).Should(BeClosed())
		s := w.Secret(ctx, pt)
		patch := client.MergeFrom(s.DeepCopy())
		s.Labels["somebody"] = "else"
		Expect(k8s.Patch(ctx, s, patch)).To(Succeed())
		close(release)
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Equal(old))
		Expect(w.Secret(ctx, pt).Labels).To(HaveKeyWithValue("somebody", "else"))
		Expect(w.Secret(ctx, pt).Labels).To(HaveKey(v1alpha1.TargetLabel))
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
	})
})
