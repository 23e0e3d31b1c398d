package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// wall is a clock as machines have one: the time of day can be set, and timers do not
// care, since they count what really passed.
type wall struct {
	*clocktesting.FakeClock
	off atomic.Int64
}

func (c *wall) Now() time.Time { return c.FakeClock.Now().Add(time.Duration(c.off.Load())) }

func (c *wall) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// set puts the time of day that much off what it really is.
func (c *wall) set(off time.Duration) { c.off.Store(int64(off)) }

var _ = Describe("a clock", func() {
	DescribeTable("of the operator's node that is set while tokens live costs one early refresh at most, and no expired token",
		func(ctx SpecContext, step time.Duration) {
			w := newWorld(ctx)
			clock := &wall{FakeClock: w.Clock.FakeClock}
			w.Wall = clock
			w.Operator()
			w.generic(ctx)
			hour := w.PlantPredict(ctx)
			w.Sim.Generic.SetLifetime(5 * time.Minute)
			minutes := w.Create(ctx, w.named("minutes"))
			w.Sim.UP42.SetLifetime(12 * time.Minute)
			login := w.UP42(ctx)
			hosts := map[*v1alpha1.ProviderToken]*providersim.Host{hour: w.Sim.PlantPredict.Host, minutes: w.Sim.Generic.Host, login: w.Sim.UP42.Host}
			really := map[*v1alpha1.ProviderToken]time.Time{} // when each is due, by what really passes
			for pt := range hosts {
				w.Ready(ctx, pt)
				w.Settle(ctx, pt)
				really[pt] = w.said(ctx, pt, v1alpha1.RefreshAtAnnotation)
			}
			w.Clock.Step(time.Minute)

			By("setting it")
			clock.set(step)
			for _, pt := range []*v1alpha1.ProviderToken{minutes, login, hour} {
				old, issued := w.Token(ctx, pt), hosts[pt].Issued()
				Expect(hosts[pt].Accepts(old)).To(BeTrue())
				w.Clock.SetTime(really[pt])
				Expect(hosts[pt].Accepts(old)).To(BeTrue())
				w.changes(ctx, pt, hosts[pt], old)
				Expect(hosts[pt].Issued()-issued).To(BeNumerically("<=", 1), pt.Name)
				w.Ready(ctx, pt)
				w.Settle(ctx, pt)
			}
			w.Rest() // the other two may have fallen due, too
			total := func() int { return hosts[hour].Issued() + hosts[minutes].Issued() + hosts[login].Issued() }
			storm := total()
			testworld.StaysFor(quiet, total, storm)

			By("setting it right again, and letting two hours pass")
			clock.set(0)
			for range 120 {
				w.Clock.Step(time.Minute)
				for pt, host := range hosts {
					Eventually(func() bool { return host.Accepts(w.Token(ctx, pt)) }).WithPolling(2*time.Millisecond).Should(BeTrue(), pt.Name)
				}
			}
			tell(fmt.Sprintf("clock set by %s and back", step), fmt.Sprintf("issued: %d of an hour, %d of 5 minutes, %d of 12 minutes",
				hosts[hour].Issued(), hosts[minutes].Issued(), hosts[login].Issued()))
			Expect(hosts[hour].Issued()).To(BeNumerically("<=", 8))
			Expect(hosts[minutes].Issued()).To(BeNumerically("<=", 80))
		},
		Entry("back by an hour", -time.Hour),
		Entry("forward by an hour", time.Hour),
	)

	It("of a provider that is an hour off does not change when its tokens are replaced", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		w.Sim.PlantPredict.SetClockSkew(time.Hour)
		w.Sim.UP42.SetClockSkew(-time.Hour)
		w.Sim.UP42Project.SetClockSkew(time.Hour)
		w.Sim.SpatiaFi.SetClockSkew(time.Hour)
		w.Credentials(ctx, "up42-project", map[string]string{"project_id": providersim.UP42ProjectID, "project_api_key": providersim.UP42ProjectKey})
		w.Credentials(ctx, "spatiafi-login", map[string]string{"username": providersim.SpatiaFiUsername, "password": providersim.SpatiaFiPassword})
		hosts := map[*v1alpha1.ProviderToken]*providersim.Host{
			w.PlantPredict(ctx):                       w.Sim.PlantPredict.Host,
			w.UP42(ctx):                               w.Sim.UP42.Host,
			w.Create(ctx, w.Wanted("up42-project")):   w.Sim.UP42Project.Host,
			w.Create(ctx, w.Wanted("spatiafi-login")): w.Sim.SpatiaFi.Host,
		}
		for pt, host := range hosts {
			got := w.Ready(ctx, pt)
			left := got.Status.Token.ExpiresAt.Sub(w.Clock.Now())
			tell("provider an hour off, "+pt.Name, fmt.Sprintf("expires in %s by %s", left, got.Status.Token.ExpirySource))
			Expect(left).To(And(BeNumerically(">", 4*time.Minute), BeNumerically("<", 2*time.Hour)))
			Expect(host.Issued()).To(Equal(1))
		}
		for pt, host := range hosts {
			issued := host.Issued()
			if w.said(ctx, pt, v1alpha1.RefreshAtAnnotation).After(w.Clock.Now()) {
				w.StepToRefresh(ctx, pt)
				Expect(host.Issued()).To(Equal(issued + 1))
			}
			Eventually(func() bool { return host.Accepts(w.Token(ctx, pt)) }).Should(BeTrue())
		}
	})

	DescribeTable("that is wrong when an assertion is signed is found out by the provider's, and told when it is too far off",
		func(ctx SpecContext, off time.Duration, works bool) {
			w := newWorld(ctx)
			clock := &wall{FakeClock: w.Clock.FakeClock}
			clock.set(off)
			w.Wall = clock
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			Expect(err).NotTo(HaveOccurred())
			der, err := x509.MarshalECPrivateKey(key)
			Expect(err).NotTo(HaveOccurred())
			w.Sim.Keycloak.SetKey("jwt-client", "key-1", key.Public())
			p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("keycloak")}, Spec: v1alpha1.ClusterTokenProviderSpec{
				ProviderDefinition: v1alpha1.ProviderDefinition{
					Base: "Keycloak", Method: "PrivateKeyJWT", CABundle: w.Sim.CABundle(),
					Parameters: map[string]v1alpha1.ParameterValue{"host": v1alpha1.ParameterValue(w.Sim.Keycloak.Address()), "realm": providersim.KeycloakRealm},
				},
			}}
			Expect(w.Server.Client.Create(ctx, p)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(w.Server.Client.Delete(ctx, p)).To(Succeed()) })
			w.Credentials(ctx, "keycloak", map[string]string{
				"client_id": "jwt-client", "key_id": "key-1",
				"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
			})
			w.Operator()
			pt := w.Create(ctx, w.Wanted("keycloak"))
			calls := func() int { return len(w.Sim.Keycloak.Calls()) }
			if !works {
				w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonRequestDenied)
				tell("an assertion dated wrong", w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message)
				Expect(w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message).To(ContainSubstring("clock"))
				return
			}
			w.Ready(ctx, pt)
			Expect(calls()).To(Equal(2), "one with the wrong date, one with the right one")
			old := w.Token(ctx, pt)
			w.Clock.Step(w.said(ctx, pt, v1alpha1.RefreshAtAnnotation).Sub(clock.Now()))
			w.changes(ctx, pt, w.Sim.Keycloak.Host, old)
			Expect(calls()).To(Equal(3), "it is known by now")
			w.Settle(ctx, pt)

			By("the clock being set right")
			old = w.Token(ctx, pt)
			due := w.said(ctx, pt, v1alpha1.RefreshAtAnnotation).Sub(clock.Now())
			clock.set(0)
			w.Clock.Step(due)
			w.changes(ctx, pt, w.Sim.Keycloak.Host, old)
			Expect(calls()).To(BeNumerically("<=", 5))
		},
		Entry("an hour ahead", time.Hour, true),
		Entry("an hour behind", -time.Hour, true),
		Entry("a day ahead", 24*time.Hour, false),
	)
})
