package shards_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("a running fleet", func() {
	It("is split in two and joined again without a mint that was not due, and without an expired second", func(ctx SpecContext) {
		w := newFleet(ctx)
		first := w.operator("")
		everything := w.Registry
		const size = 18 // a host takes 20 a second, and this clock stands still
		for i := range size {
			w.add(ctx, fmt.Sprintf("token-%d", i), "")
		}
		w.settle(ctx)
		hour := func(steps int) { // in which some tokens are due at every step
			for range steps {
				w.Clock.Step(5 * time.Minute)
				w.settle(ctx)
			}
		}
		hour(8)

		By("the operator gets a selector, and its former self is there for a moment longer")
		remaining := w.operator(rest)
		others := w.Registry
		for _, pt := range w.all {
			w.served(ctx, pt, w.name(rest), "")
		}
		keeps(everything, 0)
		w.Clock.Step(courtesy / 2)
		first.Stop()
		w.Clock.Step(courtesy)
		w.settle(ctx)

		By("a second operator begins, and half of the fleet is moved")
		second := w.operator(shardB)
		for i, pt := range w.all {
			if i%2 == 0 {
				continue
			}
			w.move(ctx, pt, "b")
			w.served(ctx, pt, w.name(shardB), "b")
		}
		keeps(others, size/2)
		w.Clock.Step(courtesy)
		w.settle(ctx)
		hour(12)

		By("half of the fleet is moved back, and the second operator ends")
		for i, pt := range w.all {
			if i%2 == 0 {
				continue
			}
			w.move(ctx, pt, "")
			w.served(ctx, pt, w.name(rest), "")
		}
		keeps(w.Registry, 0)
		second.Stop()
		w.Clock.Step(courtesy)
		w.settle(ctx)
		hour(8)

		By("the operator loses its selector")
		w.operator("")
		for _, pt := range w.all {
			w.served(ctx, pt, w.name(""), "")
		}
		keeps(others, 0)
		remaining.Stop()
		w.Clock.Step(courtesy)
		w.settle(ctx)
		hour(8)

		var all int
		var early, late []string
		Eventually(func() int {
			all, early, late = w.books.audit()
			return all
		}).WithPolling(poll).Should(Equal(w.issued()), "tokens that were published, and that were minted")
		AddReportEntry("tokens", all)
		Expect(all).To(BeNumerically(">", 4*size), "nothing was refreshed")
		Expect(early).To(BeEmpty(), "replaced before they were due")
		Expect(late).To(BeEmpty(), "replaced after they had expired")
	}, SpecTimeout(3*time.Minute))
})

var _ = Describe("a ProviderToken whose label changes from one shard to another", func() {
	It("while a token is on its way gets that token, and no second one is asked for", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator("providertoken.dev/shard=a")
		w.operator(shardB)
		pt := w.add(ctx, "one", "a")
		w.settle(ctx)
		old := w.Token(ctx, pt)
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.Generic.Next(providersim.HoldAnswer(gate))
		w.due(ctx, pt)
		Expect(gate.Await(ctx, 1)).To(Succeed())

		w.move(ctx, pt, "b")
		w.served(ctx, pt, w.name(shardB), "b")
		testworld.StaysFor(quiet, w.issued, 2)
		gate.Release()
		Eventually(func() string { return w.Token(ctx, pt) }).WithPolling(poll).ShouldNot(Equal(old))
		w.settle(ctx)
		w.served(ctx, pt, w.name(shardB), "b")
		w.Clock.Step(courtesy)
		w.becomes(2)
		w.due(ctx, pt)
		w.becomes(3)
	}, SpecTimeout(3*time.Minute))

	It("while a token is on its way gets that token at once, though the operator that has it has not heard of the move", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.Gate = testworld.NewWatchGate(testworld.TokenWatch)
		w.operator("providertoken.dev/shard=a")
		late := w.Gate
		w.Gate = nil
		w.operator(shardB)
		pt := w.add(ctx, "one", "a")
		w.settle(ctx)
		old := w.Token(ctx, pt)
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.Generic.Next(providersim.HoldAnswer(gate))
		w.due(ctx, pt)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		late.Shut()
		DeferCleanup(late.Open)
		w.move(ctx, pt, "b")
		w.served(ctx, pt, w.name(shardB), "b")
		gate.Release()
		Eventually(func() string { return w.Token(ctx, pt) }).WithPolling(poll).ShouldNot(Equal(old))
		w.served(ctx, pt, w.name(shardB), "b") // the token came with the label of before
		w.settle(ctx)
		Expect(w.issued()).To(Equal(2))
	}, SpecTimeout(3*time.Minute))

	It("while the operator that has it on its way is lost gets another one in time", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator("providertoken.dev/shard=a")
		w.operator(shardB)
		pt := w.add(ctx, "one", "a")
		w.settle(ctx)
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.Generic.Next(providersim.Hold(gate))
		w.due(ctx, pt)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		w.move(ctx, pt, "b")
		w.served(ctx, pt, w.name(shardB), "b")
		w.Clock.Step(courtesy)
		w.becomes(2)
		w.settle(ctx)
	}, SpecTimeout(3*time.Minute))

	It("while its refresh token is used that works once, loses neither", func(ctx SpecContext) {
		w := newFleet(ctx)
		pt := w.rotating(ctx, "a")
		w.operator("providertoken.dev/shard=a")
		w.operator(shardB)
		w.settle(ctx)
		used := func() int { return w.Sim.UP42.Count(providersim.KindRefreshToken) }
		gate := providersim.NewGate()
		DeferCleanup(gate.Release)
		w.Sim.UP42.NextOf(providersim.KindRefreshToken, providersim.HoldAnswer(gate))
		w.due(ctx, pt)
		Expect(gate.Await(ctx, 1)).To(Succeed())
		w.move(ctx, pt, "b")
		w.served(ctx, pt, w.name(shardB), "b")
		testworld.StaysFor(quiet, used, 2)
		gate.Release()
		w.settle(ctx)
		Expect(used()).To(Equal(2))
		w.due(ctx, pt)
		Eventually(used).WithPolling(poll).Should(Equal(3))
		w.settle(ctx)
		Expect(w.Sim.UP42.Accepts(w.Token(ctx, pt))).To(BeTrue())
	}, SpecTimeout(3*time.Minute))
})

var _ = Describe("two operators that select the same ProviderTokens", func() {
	It("ask for each token once, say so, and are each other's standby", func(ctx SpecContext) {
		w := newFleet(ctx)
		one := w.operator("")
		first := w.Registry
		pt := w.add(ctx, "one", "")
		w.settle(ctx)
		w.served(ctx, pt, w.name(""), "")
		two := w.operator(rest)
		w.served(ctx, pt, w.name(rest), "")
		keeps(first, 0) // a sum over both counts the object once
		Expect(testutil.GatherAndCount(w.Registry, "providertoken_ready")).To(Equal(1))
		w.Clock.Step(courtesy)
		for n := 2; n < 6; n++ {
			w.due(ctx, pt)
			w.becomes(n)
			w.settle(ctx)
		}
		w.served(ctx, pt, w.name(rest), "")
		Expect(w.writes(ctx, pt)).To(Equal("one a refresh"), "the one that is not in charge writes nothing")
		Eventually(func(g Gomega) {
			var list eventsv1.EventList
			g.Expect(w.Server.Client.List(ctx, &list, client.InNamespace(w.Namespace))).To(Succeed())
			at := slices.IndexFunc(list.Items, func(e eventsv1.Event) bool { return e.Reason == v1alpha1.ReasonServedByAnother })
			g.Expect(at).To(BeNumerically(">=", 0))
			g.Expect(list.Items[at].Type).To(Equal("Warning"))
			g.Expect(list.Items[at].Note).To(And(ContainSubstring(w.name("")), ContainSubstring(w.name(rest)), ContainSubstring("--watch-label-selector")))
		}).WithPolling(poll).Should(Succeed())

		By("the one in charge ends")
		two.Stop()
		w.due(ctx, pt)
		testworld.StaysFor(quiet, w.issued, 6)
		w.Clock.Step(courtesy)
		w.becomes(7)
		w.settle(ctx)
		w.served(ctx, pt, w.name(""), "")
		w.due(ctx, pt)
		w.becomes(8)
		_, early, late := w.books.audit()
		Expect(append(early, late...)).To(BeEmpty())
		one.Stop()
	}, SpecTimeout(3*time.Minute))

	It("do not write over each other while the provider is down", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator("")
		first := w.Registry
		pt := w.add(ctx, "one", "")
		w.settle(ctx)
		w.operator(rest)
		w.served(ctx, pt, w.name(rest), "")
		keeps(first, 0)
		w.Clock.Step(courtesy)
		w.due(ctx, pt)
		w.becomes(2)
		w.settle(ctx)
		w.Sim.Generic.Always(providersim.Status(http.StatusServiceUnavailable))
		before, calls := w.Sent(), len(w.Sim.Generic.Calls())
		w.due(ctx, pt)
		const steps = 18 // nine minutes
		for range steps {
			w.Clock.Step(30 * time.Second)
			testworld.StaysFor(quiet/5, w.issued, 2)
		}
		took := w.Sent().Since(before)
		AddReportEntry("in nine minutes", fmt.Sprint(took, len(w.Sim.Generic.Calls())-calls))
		Expect(len(w.Sim.Generic.Calls()) - calls).To(BeNumerically("<=", 2*steps))
		Expect(took.Sum("PATCH", "PUT")).To(BeNumerically("<=", steps/2))
		w.Sim.Generic.Always(nil)
		Eventually(func() int {
			w.Clock.Step(10 * time.Second)
			return w.issued()
		}).WithPolling(quiet / 10).Should(BeNumerically(">", 2))
		w.settle(ctx)
		w.Clock.Step(courtesy)
		testworld.StaysFor(quiet, func() bool { return w.issued() <= 4 }, true) // each may have been asking
		now := w.issued()
		w.due(ctx, pt)
		w.becomes(now + 1)
	}, SpecTimeout(3*time.Minute))

	It("leave a target to the ProviderToken that had it first, in whichever shard", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator("providertoken.dev/shard=a")
		w.operator(shardB)
		mine := w.add(ctx, "mine", "a")
		w.settle(ctx)
		held := w.Secret(ctx, mine)
		theirs := w.Wanted("generic")
		theirs.Name, theirs.Labels = "theirs", map[string]string{v1alpha1.ShardLabel: "b"}
		theirs.Spec.Target = &v1alpha1.Target{SecretName: "mine"}
		w.Create(ctx, theirs)
		w.Becomes(ctx, theirs, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetConflict)
		testworld.StaysFor(quiet, w.issued, 1)
		Expect(w.Secret(ctx, mine).ResourceVersion).To(Equal(held.ResourceVersion))
	}, SpecTimeout(3*time.Minute))
})

var _ = Describe("a shard by the label providertoken.dev/shard", func() {
	It("watches its own targets only, also those that come to it", func(ctx SpecContext) {
		w := newFleet(ctx)
		var mu sync.Mutex
		selectors := map[string]bool{}
		w.Faults = func(next http.RoundTripper) http.RoundTripper {
			return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if q := r.URL.Query(); strings.HasSuffix(r.URL.Path, "/secrets") && q.Has("watch") {
					mu.Lock()
					selectors[q.Get("labelSelector")] = true
					mu.Unlock()
				}
				return next.RoundTrip(r)
			})
		}
		w.operator(rest)
		w.Faults = nil
		w.operator(shardB)
		Eventually(func() map[string]bool {
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(selectors)
		}).Should(And(HaveLen(2), HaveKey(v1alpha1.CredentialsForLabel), HaveKey(v1alpha1.ShardLabel+" notin (b),"+v1alpha1.TargetLabel)))
		pt := w.add(ctx, "one", "b")
		w.settle(ctx)
		w.served(ctx, pt, w.name(shardB), "b")
		before := w.Sent()
		w.move(ctx, pt, "")
		w.served(ctx, pt, w.name(rest), "")
		w.Settle(ctx, pt)
		moved := w.Sent().Since(before)
		Expect(moved.Sum("PUT", "PATCH", "POST")).To(Equal(2), fmt.Sprint("a move writes target and status: ", moved))

		By("its cache knows the target: a refresh reads nothing")
		w.Clock.Step(courtesy)
		before = w.Sent()
		w.due(ctx, pt)
		w.becomes(2)
		w.settle(ctx)
		took := w.Sent().Since(before)
		Expect(took.Sum("GET", "LIST")).To(BeZero(), "%v", took)
		Expect(took.Sum("PUT", "PATCH", "POST")).To(Equal(2), "%v", took)
	}, SpecTimeout(3*time.Minute))

	It("is not fought for by the operator that has yet to hear that a ProviderToken went to another one", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator(rest)
		w.Gate = testworld.NewWatchGate(testworld.TokenWatch)
		w.operator(shardB)
		pt := w.add(ctx, "one", "b")
		w.settle(ctx)
		w.served(ctx, pt, w.name(shardB), "b")
		before := w.Sent()
		w.Gate.Shut()
		DeferCleanup(w.Gate.Open)
		w.move(ctx, pt, "")
		w.served(ctx, pt, w.name(rest), "")
		sent := func() testworld.Requests { return w.Requests.Snapshot().Since(before) }
		// Each asks before it labels the target: the one that has the ProviderToken, and the other, whose target is gone.
		Eventually(func() int { return sent()["GET providertokens"] }).WithPolling(poll).Should(BeNumerically(">=", 2))
		testworld.StaysFor(quiet, func() int { return sent().Sum("PUT", "PATCH", "POST") }, 2)
		Expect(w.issued()).To(Equal(1))
	}, SpecTimeout(3*time.Minute))

	It("shows what belongs to nobody: the API server counts more objects than all operators together", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator("providertoken.dev/shard in (a)")
		w.add(ctx, "one", "a")
		w.settle(ctx)
		w.add(ctx, "typo", "aa")
		var orphans v1alpha1.ProviderTokenList
		Expect(w.Server.Client.List(ctx, &orphans, client.InNamespace(w.Namespace), matching("providertoken.dev/shard notin (a)"))).To(Succeed())
		Expect(orphans.Items).To(HaveLen(1))
		Expect(orphans.Items[0].Name).To(Equal("typo"))
		testworld.StaysFor(quiet, func() int64 {
			var got v1alpha1.ProviderToken
			Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(&orphans.Items[0]), &got)).To(Succeed())
			return got.Status.ObservedGeneration
		}, int64(-1))
		w.all = w.all[:1]
	}, SpecTimeout(3*time.Minute))
})

var _ = Describe("the sizes of objects that docs/scaling.md computes with", func() {
	It("are those that etcd stores", func(ctx SpecContext) {
		w := newFleet(ctx)
		w.operator("")
		pt := w.add(ctx, "one", "")
		w.settle(ctx)
		w.StepToRefresh(ctx, pt)
		w.settle(ctx)
		costs := estimated()
		token := len(w.Token(ctx, pt))
		target := stored(ctx, "/api/v1/namespaces/"+w.Namespace+"/secrets/one", "application/vnd.kubernetes.protobuf")
		object := stored(ctx, "/apis/providertoken.dev/v1alpha1/namespaces/"+w.Namespace+"/providertokens/one", "application/json")
		login := stored(ctx, "/api/v1/namespaces/"+w.Namespace+"/secrets/generic-login", "application/vnd.kubernetes.protobuf")
		AddReportEntry("bytes", fmt.Sprint(target, token, object, login))
		near := func(bytes int) OmegaMatcher { return BeNumerically("~", bytes, bytes/6) }
		Expect(target - int(costs.TokenCopies)*token).To(near(int(costs.TargetBytesBesideTokens)))
		Expect(object).To(near(int(costs.ProviderTokenBytes)))
		Expect(login).To(near(int(costs.CredentialBytes)))
	}, SpecTimeout(3*time.Minute))
})
