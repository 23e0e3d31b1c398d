package disaster_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("an etcd that is put back to an earlier state", func() {
	It("is noticed by an operator that keeps running", func(ctx SpecContext) {
		plane := newControlPlane(ctx)
		w := testworld.New(ctx, plane.Server)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Settle(ctx, pt)
		first := w.Token(ctx, pt)
		plane.backup(ctx, "yesterday")
		time.Sleep(2*time.Second)
		w.StepToRefresh(ctx, pt)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		newest := w.Token(ctx, pt)
		Expect(newest).NotTo(Equal(first))
		issued := w.Sim.PlantPredict.Issued()
		plane.restore(ctx, "yesterday")
		GinkgoWriter.Println("RESTORED", w.Token(ctx, pt) == first, w.Token(ctx, pt) == newest)
		for i := 0; i < 10; i++ {
			time.Sleep(time.Second)
			GinkgoWriter.Println("AFTER", i, w.Token(ctx, pt) == first, w.Token(ctx, pt) == newest, w.Sim.PlantPredict.Issued()-issued)
		}
		other := w.Wanted("plantpredict")
		other.Name = "other"
		w.Create(ctx, other)
		for i := 0; i < 10; i++ {
			time.Sleep(time.Second)
			GinkgoWriter.Println("OTHER", i, w.Token(ctx, other) != "", w.Token(ctx, pt) == first, w.Token(ctx, pt) == newest, w.Sim.PlantPredict.Issued()-issued)
		}
		_ = providersim.PlantPredictName
	})
})
