package controller_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("the clock of a spec", func() {
	It("moves when the operator has done what there was to do before", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.PlantPredict(ctx)
		due := w.Ready(ctx, pt).Status.RefreshAt
		w.Sim.PlantPredict.Next(providersim.Delay(300 * time.Millisecond))
		w.Clock.SetTime(due.Time)
		w.Clock.Step(time.Minute)
		Expect(w.Sim.PlantPredict.Issued()).To(Equal(2))
		w.Settle(ctx, pt)
		Expect(w.Ready(ctx, pt).Status.Token.IssuedAt.UTC()).To(Equal(due.UTC()))
	})
})

var _ = Describe("a ProviderToken", func() {
	DescribeTable("gets a token, and another one each time it is due",
		func(ctx SpecContext, name string, data map[string]string, host func(*world) *providersim.Host) {
			w := newWorld(ctx)
			w.Operator()
			w.Credentials(ctx, name, data)
			pt := w.Create(ctx, w.Wanted(name))

			w.Ready(ctx, pt)
			Expect(host(w).Accepts(w.Token(ctx, pt))).To(BeTrue())
			s := w.Secret(ctx, pt)
			Expect(string(s.Data["authorization"])).To(Equal("Bearer " + w.Token(ctx, pt)))
			Expect(s.Data).To(HaveKey("expires-at"))
			Expect(s.OwnerReferences).To(HaveLen(1))

			for range 3 {
				w.StepToRefresh(ctx, pt)
				Expect(host(w).Accepts(w.Token(ctx, pt))).To(BeTrue())
			}
			w.Settle(ctx, pt)
			Expect(host(w).Issued()).To(Equal(4))
		},
		Entry("of PlantPredict", "plantpredict",
			map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret},
			func(w *world) *providersim.Host { return w.Sim.PlantPredict.Host }),
		Entry("of SpatiaFi, by login", "spatiafi-login",
			map[string]string{"username": providersim.SpatiaFiUsername, "password": providersim.SpatiaFiPassword},
			func(w *world) *providersim.Host { return w.Sim.SpatiaFi.Host }),
		Entry("of SpatiaFi, by app credentials", "spatiafi-app",
			map[string]string{"client_id": providersim.SpatiaFiClientID, "client_secret": providersim.SpatiaFiClientSecret},
			func(w *world) *providersim.Host { return w.Sim.SpatiaFi.Host }),
		Entry("of UP42's project API, under its own names", "up42-project",
			map[string]string{"project_id": providersim.UP42ProjectID, "project_api_key": providersim.UP42ProjectKey},
			func(w *world) *providersim.Host { return w.Sim.UP42Project.Host }),
		Entry("of UP42", "up42",
			map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password},
			func(w *world) *providersim.Host { return w.Sim.UP42.Host }),
		Entry("of a plain OAuth 2.0 server", "generic",
			map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret},
			func(w *world) *providersim.Host { return w.Sim.Generic.Host }),
	)

	It("is refreshed with the refresh token while that works, and logs in again when it does not", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.UP42(ctx)
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		Expect(w.Sim.UP42.Count(providersim.KindPassword)).To(Equal(1))
		Expect(w.Sim.UP42.Count(providersim.KindRefreshToken)).To(Equal(1))

		w.Settle(ctx, pt)
		w.Clock.Step(time.Hour) // every session has ended by now
		Eventually(func() bool { return w.Sim.UP42.Accepts(w.Token(ctx, pt)) }).Should(BeTrue())
		Expect(w.Sim.UP42.Count(providersim.KindPassword)).To(Equal(2))
	})

	It("says so when its tokens live too short for mounted files, and does what it can", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Sim.PlantPredict.SetLifetime(30 * time.Second)
		pt := w.PlantPredict(ctx)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionTrue, v1alpha1.ReasonLifetimeTooShort)
		for range 3 {
			w.StepToRefresh(ctx, pt)
			w.Ready(ctx, pt)
		}
	})

	It("follows an absolute expiry by the provider's clock, however wrong either clock is", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Sim.SpatiaFi.SetClockSkew(-2 * time.Hour)
		w.Credentials(ctx, "spatiafi-login", map[string]string{"username": providersim.SpatiaFiUsername, "password": providersim.SpatiaFiPassword})
		pt := w.Create(ctx, w.Wanted("spatiafi-login"))
		got := w.Ready(ctx, pt)
		Expect(got.Status.Token.ExpirySource).To(Equal("ExpiresAt"))
		Expect(got.Status.Token.ExpiresAt.Sub(w.Clock.Now())).To(BeNumerically("~", 15*time.Minute, 2*time.Second))
		w.StepToRefresh(ctx, pt)
	})

	It("tells of its first token once, and while that takes longer than a second, that it is on its way", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Settle(ctx, w.PlantPredict(ctx))
		Expect(w.Sent()["PATCH providertokens"]).To(Equal(1))

		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.PlantPredict.Next(providersim.HoldAnswer(gate))
		slow := w.Wanted("plantpredict")
		slow.Name = "slow"
		w.Create(ctx, slow)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		told := func() v1alpha1.ProviderTokenStatus {
			var got v1alpha1.ProviderToken
			Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(slow), &got)).To(Succeed())
			return got.Status
		}
		testworld.StaysFor(300*time.Millisecond, func() int64 { return told().ObservedGeneration }, int64(-1))
		w.Clock.Step(time.Second)
		Eventually(func(g Gomega) {
			s := told()
			g.Expect(s.ObservedGeneration).To(BeEquivalentTo(1))
			g.Expect(meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ReconcilingCondition)).To(BeTrue())
		}).Should(Succeed())
		gate.Release()
		w.Ready(ctx, slow)
	})

	// counted makes five steady refreshes.
	const refreshes = 5
	counted := func(ctx context.Context, w *world, pt *v1alpha1.ProviderToken) (served testworld.Requests) {
		GinkgoHelper()
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		sent := w.Sent()
		served = server.ServedRequests(ctx)
		for range refreshes {
			w.StepToRefresh(ctx, pt)
			w.Settle(ctx, pt)
		}
		sent = w.Sent().Since(sent)
		served = server.ServedRequests(ctx).Since(served)
		AddReportEntry("API requests", fmt.Sprintf("%d refreshes: the API server counted %v, of which the operator sent %v", refreshes, served, sent))
		// The specs themselves only read.
		Expect(served["PUT secrets"]).To(Equal(refreshes), "writes of the target")
		Expect(served["PATCH providertokens"]).To(Equal(refreshes), "writes of status")
		Expect(sent.Sum("GET")).To(BeZero(), "reads by the operator: %v", sent)
		return served
	}

	It("counts API requests: a steady refresh is two writes and no read", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		served := counted(ctx, w, w.PlantPredict(ctx))
		Expect(served.Sum("POST", "PUT", "PATCH", "APPLY", "DELETE")).To(Equal(2*refreshes), "all writes: %v", served)
	})

	It("writes a login down, too, where the token at hand would not outlive its freeze", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Credentials(ctx, "spatiafi-login", map[string]string{"username": providersim.SpatiaFiUsername, "password": providersim.SpatiaFiPassword})
		served := counted(ctx, w, w.Create(ctx, w.Wanted("spatiafi-login")))
		Expect(served["PUT configmaps"]).To(Equal(refreshes), "records of the login")
		Expect(served.Sum("POST", "PUT", "PATCH", "APPLY", "DELETE")).To(Equal(3*refreshes), "all writes: %v", served)
	})
})
