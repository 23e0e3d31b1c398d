//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/test/e2e/wire"
)

const (
	oldImage = "ghcr.io/providertoken/operator:v0.1.0"
	newImage = "ghcr.io/providertoken/operator:v0.2.0"
)

// atEnd is done in this order, whatever failed before.
var atEnd []func(context.Context)

var _ = AfterSuite(func(ctx context.Context) {
	for _, do := range atEnd {
		do(ctx)
	}
})

// Everything here happens on one timeline: the workloads start once, and go on
// while one thing after the other is broken. The scenarios wait for the next
// refresh that is due, since a fault at any other time proves nothing.
var _ = Describe("A Pod that mounts the target Secret", Ordered, ContinueOnFailure, func() {
	var (
		c       *cluster
		all     []*source
		loads   []workload
		again   restarted
		targets *history
		result  *results
		started time.Time
	)
	named := func(name string) *source {
		i := slices.IndexFunc(all, func(s *source) bool { return s.name == name })
		return all[i]
	}
	// following are the workloads that must never see a 401.
	following := func() []workload {
		return slices.DeleteFunc(slices.Clone(loads), func(w workload) bool { return !w.way.follows() || w.source.name == doomed })
	}
	healthy := func() []*source {
		return slices.DeleteFunc(slices.Clone(all), func(s *source) bool { return s.name == doomed })
	}

	// scenario counts what the workloads live through meanwhile.
	scenario := func(ctx context.Context, name string, do func()) {
		GinkgoHelper()
		before, from := ask(ctx, c, loads), time.Now()
		do()
		after, took := ask(ctx, c, loads), time.Since(from)
		result.Windows = append(result.Windows, between(name, took, loads, before, after))
		for _, w := range following() {
			a, b := after[w.name()], before[w.name()]
			if took > 5*time.Second {
				Expect(a.Reads).To(BeNumerically(">", b.Reads), "%s stopped reading", w.name())
			}
			Expect(a.Unauthorized-b.Unauthorized).To(BeZero(), "401s of %s: %+v", w.name(), a.Failures)
			Expect(a.Unreadable-b.Unreadable).To(BeZero(), "%s found no token: %+v", w.name(), a.Failures)
		}
	}
	// due waits until a refresh comes nearer than lead, and returns whose.
	due := func(ctx context.Context, lead time.Duration, among ...*source) *source {
		GinkgoHelper()
		var next *source
		Eventually(func() error {
			var soonest time.Time
			next = nil
			for _, s := range among {
				refresh, err := s.refreshAt(ctx, c)
				if err != nil {
					return err
				}
				// One that is nearer than the lead already has been missed.
				if time.Until(refresh) > lead-poll && (next == nil || refresh.Before(soonest)) {
					next, soonest = s, refresh
				}
			}
			if next == nil || time.Until(soonest) > lead {
				return errors.New("nothing is due")
			}
			return nil
		}).WithContext(ctx).WithTimeout(3 * soon).WithPolling(poll / 2).Should(Succeed())
		return next
	}
	replaced := func(ctx context.Context, s *source, hash string, within time.Duration) issue {
		GinkgoHelper()
		return targets.replaced(ctx, s.target(), hash, within)
	}
	minted := func(ctx context.Context) map[string]int {
		GinkgoHelper()
		counts := map[string]int{}
		for _, s := range all {
			Eventually(func() error {
				state, err := s.state(ctx, c)
				counts[s.name] = state.Minted
				return err
			}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
		}
		return counts
	}

	BeforeAll(func(ctx context.Context) {
		started = time.Now()
		c = connect()
		result = &results{
			Cluster: os.Getenv("E2E_CLUSTER"), Started: started, Totals: map[string]wire.Reader{},
			Propagation: map[string]*delays{}, Targets: map[string]targetResult{}, Facts: map[string]string{},
		}
		if raw, err := os.ReadFile(filepath.Join(os.Getenv("E2E_IMAGES"), "facts.json")); err == nil {
			Expect(json.Unmarshal(raw, &result.Facts)).To(Succeed())
		}
		refuseIfInstalled(ctx, c)
		atEnd = append(atEnd, func(ctx context.Context) { removeEverything(ctx, c) }, func(context.Context) {
			result.WallSeconds = time.Since(started).Seconds()
			result.publish(c.logs)
		})
		c.loadImages(ctx)

		for _, name := range []string{workNamespace, providerNamespace} {
			Expect(c.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				Name: name, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
			}})).To(Succeed())
		}
		stop := make(chan struct{})
		DeferCleanup(func() { close(stop) })
		targets = follow(c, stop)

		all = sources()
		for _, s := range all {
			s.serve(ctx, c)
		}
		for _, s := range all {
			s.learn(ctx, c)
		}
		// The order in which a GitOps tool may well apply things: the operator last.
		c.run(ctx, "apply", "--server-side", "-f", c.crds)
		c.run(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", c.crds)
		for _, s := range all {
			for _, object := range s.objects() {
				Expect(c.client.Create(ctx, object)).To(Succeed())
			}
		}
		loads = workloads(all)
		for _, w := range loads {
			w.start(ctx, c)
		}
		again = restarted{source: named("up42")}
		again.start(ctx, c)
		go playReloader(context.Background(), c, targets)
		c.run(ctx, "apply", "--server-side", "-f", c.install)
		awaitOperator(ctx, c)
		for _, w := range loads {
			w.read(ctx, c)
		}
		// From here on no token of this one is replaced; it expires while all the
		// rest happens.
		named(doomed).outage(ctx, c, "error")
	})

	AfterEach(func(ctx context.Context) {
		if report := CurrentSpecReport(); report.Failed() {
			c.dump(ctx, strings.Map(plainLetters, report.LeafNodeText))
		}
	})

	It("gets its first token seconds after the operator's start", func(ctx context.Context) {
		begun := beginOf(ctx, c)
		asked := firstAsked(ctx, c, all)
		result.Facts["start-up, while all other Pods start"] = fmt.Sprintf("reconciling %s; first request for a token after %s",
			begun, seconds(asked.Sub(begun.container)))
		Expect(asked.Sub(begun.container)).To(BeNumerically("<", 10*time.Second))
	})

	It("reads valid tokens while nothing special happens", func(ctx context.Context) {
		least := time.Duration(0)
		if given := os.Getenv("E2E_SECONDS"); given != "" {
			n, err := strconv.Atoi(given)
			Expect(err).NotTo(HaveOccurred(), "E2E_SECONDS must be a number of seconds")
			least = time.Duration(n) * time.Second
		}
		scenario(ctx, "steady", func() {
			from := time.Now()
			Eventually(func() error {
				if left := least - time.Since(from); left > 0 {
					return fmt.Errorf("%s left", left)
				}
				for _, s := range healthy() {
					if n := len(targets.of(s.target())); n < 2 {
						return fmt.Errorf("%s has seen %d tokens", s.target(), n)
					}
				}
				return nil
			}).WithContext(ctx).WithTimeout(least + 3*soon).WithPolling(poll).Should(Succeed())
		})
		result.Facts["memory of the operator's Pods (working set)"] = workingSet(ctx, c)
	})

	It("reads valid tokens while the operator restarts", func(ctx context.Context) {
		scenario(ctx, "operator restarts", func() {
			// New Pods need more than a second: nobody is there when it is due.
			next := due(ctx, time.Second, healthy()...)
			held := targets.last(next.target())
			c.run(ctx, "delete", "pods", "-n", operatorNamespace, "-l", "app.kubernetes.io/component=manager", "--wait=false")
			now := replaced(ctx, next, held.Hash, soon)
			awaitOperator(ctx, c)
			result.Facts["operator restarts: refresh late by"] = seconds(now.Published.Sub(held.Refresh))
		})
	})

	It("reads valid tokens while the leader crashes and the other one takes over", func(ctx context.Context) {
		scenario(ctx, "leader crashes", func() {
			next := due(ctx, 5*time.Second, healthy()...)
			held := targets.last(next.target())
			leader, err := holder(ctx, c)
			Expect(err).NotTo(HaveOccurred())
			for _, pod := range operatorPods(ctx, c) {
				if leads(leader, pod.Name) {
					crash(ctx, c, pod)
					// Its restarted container shall not be the one that takes over.
					c.run(ctx, "delete", "pod", "-n", operatorNamespace, pod.Name, "--grace-period=0", "--force", "--wait=false")
				}
			}
			crashed := time.Now()
			still, err := holder(ctx, c)
			Expect(err).NotTo(HaveOccurred())
			Expect(still).To(Equal(leader), "the leader gave up its Lease, so it did not crash")
			Eventually(func() (string, error) { return holder(ctx, c) }).
				WithContext(ctx).WithTimeout(soon).WithPolling(poll).ShouldNot(Equal(leader))
			heir, err := holder(ctx, c)
			Expect(err).NotTo(HaveOccurred())
			result.Facts["leader crashes: Lease taken over after"] = fmt.Sprintf("%s (%s, then %s)", seconds(time.Since(crashed)), pod(leader), pod(heir))
			Expect(pod(heir)).NotTo(Equal(pod(leader)))
			now := replaced(ctx, next, held.Hash, soon)
			result.Facts["leader crashes: refresh late by"] = seconds(now.Published.Sub(held.Refresh))
			awaitOperator(ctx, c)
		})
	})

	It("reads valid tokens while the provider is down for as long as the bound allows", func(ctx context.Context) {
		scenario(ctx, "provider down, short", func() {
			var group sync.WaitGroup
			var mu sync.Mutex
			for name, kind := range map[string]string{"up42": "error", "spatiafi": "cut", "plantpredict": "hang"} {
				group.Go(func() {
					defer GinkgoRecover()
					fact := interrupt(ctx, c, targets, named(name), kind, kubeletDelay, due)
					mu.Lock()
					defer mu.Unlock()
					result.Facts["provider down, "+name] = fact
				})
			}
			group.Wait()
		})
	})

	It("reads valid tokens while the kubelet restarts", func(ctx context.Context) {
		restart := os.Getenv("E2E_RESTART_KUBELET")
		if restart == "" {
			Expect(os.Getenv("E2E_CLUSTER")).To(Equal("kubeconfig"), "hack/cluster.sh gives E2E_RESTART_KUBELET for clusters of its own")
			Skip("E2E_RESTART_KUBELET is not set: this cluster's kubelet cannot be restarted from here")
		}
		scenario(ctx, "kubelet restarts", func() {
			before := kubeletStarts(ctx, c)
			next := due(ctx, time.Second, healthy()...)
			held := targets.last(next.target())
			shell(ctx, restart)
			now := replaced(ctx, next, held.Hash, soon)
			Expect(kubeletStarts(ctx, c)).NotTo(Equal(before), "E2E_RESTART_KUBELET restarted no kubelet")
			// Its Pods get the new token from a kubelet that knows them from its
			// own start only.
			Eventually(func() error {
				for name, state := range ask(ctx, c, ofSource(following(), next)) {
					if !seen(state, now) {
						return fmt.Errorf("%s does not see the new token", name)
					}
				}
				return nil
			}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
		})
	})

	It("reads valid tokens while the operator is upgraded and rolled back, which mints nothing", func(ctx context.Context) {
		scenario(ctx, "upgrade, roll back", func() {
			pp := named("plantpredict")
			asked := func() map[string]int {
				GinkgoHelper()
				state, err := pp.state(ctx, c)
				Expect(err).NotTo(HaveOccurred())
				return state.Scopes
			}
			Expect(asked()).To(HaveLen(1), "one version asks for scopes in one order")

			c.run(ctx, "set", "image", "-n", operatorNamespace, "deployment/"+operatorName, "manager="+newImage)
			awaitOperator(ctx, c)
			// The changed entry of the catalog is in force: a refresh that is asked for
			// names the scopes in its order.
			held := targets.last(pp.target())
			request := metav1.Now().UTC().Format(time.RFC3339)
			c.run(ctx, "annotate", "ptok", "-n", workNamespace, pp.name, "--overwrite", v1alpha1.RefreshRequestedAtAnnotation+"="+request)
			replaced(ctx, pp, held.Hash, soon)
			Expect(asked()).To(HaveLen(2), "the new version does not use its changed catalog")

			c.run(ctx, "set", "image", "-n", operatorNamespace, "deployment/"+operatorName, "manager="+oldImage)
			awaitOperator(ctx, c)
		})
		// One token was asked for; all others came when they were due.
		for _, s := range healthy() {
			want := 0
			if s.name == "plantpredict" {
				want = 1
			}
			Expect(targets.early(s.target())).To(Equal(want), "%s was replaced before its time: %+v", s.target(), targets.of(s.target()))
		}
	})

	It("keeps everything when the operator is uninstalled, and nothing is minted when it comes back", func(ctx context.Context) {
		scenario(ctx, "uninstall, reinstall", func() {
			quiet(ctx, c, healthy(), 25*time.Second)
			before := minted(ctx)
			c.run(ctx, "delete", "-f", c.install, "--timeout=60s")
			var crds metav1.List
			Expect(json.Unmarshal([]byte(c.run(ctx, "get", "-f", c.crds, "-o", "json")), &crds)).To(Succeed())
			Expect(crds.Items).To(HaveLen(3))
			var tokens v1alpha1.ProviderTokenList
			Expect(c.client.List(ctx, &tokens, client.InNamespace(workNamespace))).To(Succeed())
			Expect(tokens.Items).To(HaveLen(len(all)))
			for _, s := range all {
				Expect(secretOf(ctx, c, s)).To(Succeed())
			}
			c.run(ctx, "apply", "--server-side", "-f", c.install)
			awaitOperator(ctx, c)
			result.Facts["start-up, alone"] = "reconciling " + beginOf(ctx, c).String()
			// It has looked at every token once it has replaced the next one that is due.
			next := due(ctx, 2*time.Second, healthy()...)
			held := targets.last(next.target())
			replaced(ctx, next, held.Hash, soon)
			for name, n := range minted(ctx) {
				if name == doomed {
					continue
				}
				var published int
				for _, i := range targets.of(named(name).target()) {
					if i.Published.After(held.Refresh) {
						published++
					}
				}
				Expect(n-before[name]).To(Equal(published), "%s was minted by the reinstallation", name)
			}
		})
	})

	It("would be noticed if it read an expired token", func(ctx context.Context) {
		s := named(doomed)
		w := ofSource(loads, s)[0]
		Eventually(func() (int, error) {
			state, err := w.state(ctx, c)
			return state.Unauthorized, err
		}).WithContext(ctx).WithTimeout(2*soon).WithPolling(poll).Should(BeNumerically(">", 10),
			"the provider was down for longer than the token lives, and nobody got a 401")
		pt, err := s.token(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		Expect(meta.IsStatusConditionFalse(pt.Status.Conditions, v1alpha1.ReadyCondition)).To(BeTrue())
		s.outage(ctx, c, "none")
		replaced(ctx, s, targets.last(s.target()).Hash, soon)
	})

	It("reads tokens of half a minute from the file when the operator tells Pods of new ones", func(ctx context.Context) {
		overlay := c.overlay("propagation")
		atEnd = append([]func(context.Context){func(ctx context.Context) {
			if out, err := c.try(ctx, "delete", "-k", overlay, "--ignore-not-found", "--timeout=60s"); err != nil {
				GinkgoWriter.Println("cleaning up:", out)
			}
		}}, atEnd...)
		c.run(ctx, "apply", "--server-side", "-k", overlay)
		awaitOperator(ctx, c)
		brief := briefSources()
		for _, s := range brief {
			s.serve(ctx, c)
		}
		for _, s := range brief {
			s.learn(ctx, c)
			for _, object := range s.objects() {
				Expect(c.client.Create(ctx, object)).To(Succeed())
			}
			for _, w := range []way{plainVolume, projectedVolume, volumeWithItems} {
				one := workload{source: s, way: w, told: true}
				one.start(ctx, c)
				loads = append(loads, one)
			}
		}
		all = append(all, brief...)
		for _, w := range loads {
			w.read(ctx, c)
		}
		scenario(ctx, "tokens of 30 s and 60 s", func() {
			Eventually(func() int { return len(targets.of(brief[0].target())) }).
				WithContext(ctx).WithTimeout(2 * soon).WithPolling(poll).Should(BeNumerically(">=", 6))
		})
		scenario(ctx, "the same, provider down", func() {
			s := brief[1]
			result.Facts["provider down, "+s.name+", with propagation"] = interrupt(ctx, c, targets, s, "error", propagationDelay, due)
		})

		By("hinting at Pods that read the token once")
		reads := []string{"up42-env", "up42-subpath"}
		for _, name := range reads {
			c.run(ctx, "label", "pod", "-n", workNamespace, name, v1alpha1.MountsLabel+"="+named("up42").target())
		}
		for _, name := range reads {
			Eventually(func() (string, error) {
				return c.try(ctx, "get", "events", "-n", workNamespace, "--field-selector", "reason="+v1alpha1.ReasonPodReadsOnce)
			}).WithContext(ctx).WithTimeout(soon).WithPolling(time.Second).Should(ContainSubstring(name))
		}
	})

	It("has read all of it from the file, and nothing new from env and subPath", func(ctx context.Context) {
		scenario(ctx, "settling", func() {
			// Whatever was published until now reaches its file, or its successor does.
			published := map[string]int{}
			for _, s := range all {
				published[s.name] = len(targets.of(s.target()))
			}
			Eventually(func() error {
				states := ask(ctx, c, following())
				for _, w := range following() {
					if !seen(states[w.name()], targets.of(w.source.target())[published[w.source.name]-1:]...) {
						return fmt.Errorf("%s does not see the last token", w.name())
					}
				}
				return nil
			}).WithContext(ctx).WithTimeout(soon).WithPolling(time.Second).Should(Succeed())
		})
		final := ask(ctx, c, loads)
		result.Totals = final
		measurePropagation(result, targets, following(), final)
		for heading, sample := range result.Propagation {
			bound := 1.1 * kubeletDelay.Seconds()
			if strings.Contains(heading, "told") {
				bound = propagationDelay.Seconds()
			}
			Expect(sample.quantile(0.5)).To(BeNumerically("<", bound), heading)
		}
		for _, w := range loads {
			state := final[w.name()]
			if w.way.follows() {
				continue
			}
			Expect(state.Tokens).To(HaveLen(1), "%s has seen a second token", w.name())
			Expect(state.Unauthorized).To(BeNumerically(">", 0), "%s still has a good token: the suite was too short", w.name())
		}
		for _, w := range following() {
			Expect(final[w.name()].Unauthorized).To(BeZero(), "%s: %+v", w.name(), final[w.name()].Failures)
			Expect(len(final[w.name()].Tokens)).To(BeNumerically(">=", 3), "%s has seen too few tokens to prove anything", w.name())
		}
		checkWitnesses(ctx, c, all, loads, final)
		result.Facts["env, restarted at each new token (as by Reloader)"] = experienceOf(ctx, c, again)
		for name, n := range minted(ctx) {
			target := named(name).target()
			result.Targets[target] = targetResult{
				Tokens: len(targets.of(target)), Minted: n, Early: targets.early(target), ExpiredSeconds: targets.expired(target).Seconds(),
			}
			if name != doomed {
				Expect(targets.expired(target)).To(BeZero(), "%s held an expired token", target)
				// A crash between mint and publication costs a mint; there was one crash.
				Expect(n-len(targets.of(target))).To(BeNumerically("<=", 1), "%s: tokens were minted that nobody got", name)
			}
		}
	})

	It("keeps its Secret when all ProviderTokens are orphaned and the CRDs are deleted, and loses it otherwise", func(ctx context.Context) {
		gone := named("up42-project")
		c.run(ctx, "delete", "ptok", "-n", workNamespace, gone.name)
		Eventually(func() bool { return apierrors.IsNotFound(secretOf(ctx, c, gone)) }).
			WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(BeTrue(), "its Secret outlives a ProviderToken with deletionPolicy Delete")

		c.run(ctx, "delete", "ptok", "-n", workNamespace, "--all", "--cascade=orphan")
		for _, s := range all {
			c.run(ctx, "delete", "clustertokenprovider", clusterName(s))
		}
		c.run(ctx, "delete", "-f", c.crds, "--timeout=60s")
		for _, s := range all {
			if s == gone {
				continue
			}
			var secret corev1.Secret
			Expect(c.client.Get(ctx, client.ObjectKey{Namespace: workNamespace, Name: s.target()}, &secret)).To(Succeed())
			Expect(secret.OwnerReferences).To(BeEmpty(), "the garbage collector may still take %s", s.target())
		}
	})
})

// workloads use the tokens in every way, and one provider in all of them.
func workloads(all []*source) []workload {
	kinds := map[string][]way{
		"up42":         {plainVolume, projectedVolume, volumeWithItems, environment, subPath},
		"plantpredict": {plainVolume, projectedVolume, volumeWithItems},
		"spatiafi":     {plainVolume, volumeWithItems},
		"up42-project": {plainVolume, projectedVolume},
		doomed:         {plainVolume},
	}
	var loads []workload
	for _, s := range all {
		for _, w := range kinds[s.name] {
			loads = append(loads, workload{source: s, way: w})
		}
	}
	return loads
}

func ofSource(loads []workload, s *source) []workload {
	return slices.DeleteFunc(slices.Clone(loads), func(w workload) bool { return w.source != s })
}

// longestOutage of a provider that no workload notices, for a token that is
// refreshed this long before its end, where a new one takes so long to reach a file:
//
//	outage + retry gap + delay + a moment ≤ lead
//
// The retry gap: near the expiry, a provider that is down is asked again after an
// eighth of what remains of the token's life at the latest, (lead − outage) / 8. The
// moment is for the exchange itself and the write.
func longestOutage(lead, delay time.Duration) time.Duration {
	const moment = 3 * time.Second
	return (lead - (delay+moment)*8/7).Truncate(time.Second)
}

// interrupt takes a token endpoint out of service from the moment of a refresh on,
// for as long as the bound allows, and tells how it went.
func interrupt(ctx context.Context, c *cluster, targets *history, s *source, kind string, delay time.Duration,
	due func(context.Context, time.Duration, ...*source) *source,
) string {
	GinkgoHelper()
	due(ctx, 2*time.Second, s)
	held := targets.last(s.target())
	lead := held.Expires.Sub(held.Refresh)
	bound := longestOutage(lead, delay)
	down := bound
	if kind == "hang" {
		// A try that begins in the outage lasts for a sixth of what remains of the
		// token's life, which the bound does not know: let the first be the only one.
		down = min(bound, 10*time.Second)
	}
	s.outage(ctx, c, kind)
	Eventually(time.Now).WithContext(ctx).WithTimeout(soon).WithPolling(poll / 5).Should(BeTemporally(">=", held.Refresh.Add(down)))
	s.outage(ctx, c, "none")
	back := time.Now()
	now := targets.replaced(ctx, s.target(), held.Hash, soon)
	Expect(now.Published).To(BeTemporally(">", back), "the token endpoint was not down")
	Expect(now.Published.Sub(held.Refresh)).To(BeNumerically("<=", lead-delay), "the bound is wrong: a file could have been late")
	return fmt.Sprintf("refreshed %s before the end, so that an outage of %s is bridged; down (%s) for %s, new token %s after its return, %s before the old one's end",
		seconds(lead), seconds(bound), kind, seconds(back.Sub(held.Refresh)), seconds(now.Published.Sub(back)), seconds(held.Expires.Sub(now.Published)))
}

// quiet waits until none of the tokens is refreshed within that time.
func quiet(ctx context.Context, c *cluster, among []*source, span time.Duration) {
	GinkgoHelper()
	Eventually(func() error {
		for _, s := range among {
			refresh, err := s.refreshAt(ctx, c)
			if err != nil {
				return err
			}
			if left := time.Until(refresh); left < span {
				return fmt.Errorf("%s is refreshed in %s", s.name, left)
			}
		}
		return nil
	}).WithContext(ctx).WithTimeout(3 * soon).WithPolling(poll).Should(Succeed())
}

// measurePropagation from publication to first sight, of every token but the first,
// which a Pod waits for.
func measurePropagation(result *results, targets *history, loads []workload, states map[string]wire.Reader) {
	for _, w := range loads {
		heading := string(w.way) + ", at the kubelet's own pace"
		if w.told {
			heading = string(w.way) + ", told by the operator"
		}
		sample := result.Propagation[heading]
		if sample == nil {
			sample = &delays{}
			result.Propagation[heading] = sample
		}
		for _, i := range targets.of(w.source.target()) {
			for n, t := range states[w.name()].Tokens {
				if n > 0 && t.Hash == i.Hash {
					sample.add(t.Seen.Sub(i.Published))
				}
			}
		}
	}
}

// checkWitnesses compares what the workloads say with what their providers saw.
func checkWitnesses(ctx context.Context, c *cluster, all []*source, loads []workload, states map[string]wire.Reader) {
	GinkgoHelper()
	for _, s := range all {
		state, err := s.state(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		for _, w := range ofSource(loads, s) {
			saw := state.Readers[w.name()]
			Expect(saw).NotTo(BeNil(), "%s never called %s", w.name(), s.name)
			// The workloads go on while this asks.
			said := states[w.name()]
			Expect(saw.OK+saw.Unauthorized).To(BeNumerically(">=", said.OK+said.Unauthorized), w.name())
			if w.way.follows() && s.name != doomed {
				Expect(saw.Unauthorized).To(BeZero(), "the provider answered %s with 401, of which it does not tell", w.name())
			}
		}
	}
}

// experienceOf a workload whose Pods come and go, as its provider saw it.
func experienceOf(ctx context.Context, c *cluster, r restarted) string {
	GinkgoHelper()
	state, err := r.source.state(ctx, c)
	Expect(err).NotTo(HaveOccurred())
	saw := state.Readers[r.name()]
	Expect(saw).NotTo(BeNil(), "%s never called its provider", r.name())
	Expect(saw.OK).To(BeNumerically(">", 100))
	Expect(saw.Unauthorized).To(BeZero(), "%s was not restarted in time", r.name())
	return fmt.Sprintf("%d 401s of %d reads", saw.Unauthorized, saw.OK+saw.Unauthorized+saw.Other)
}

// firstAsked is when any provider was first asked for a token.
func firstAsked(ctx context.Context, c *cluster, all []*source) time.Time {
	GinkgoHelper()
	var first time.Time
	for _, s := range all {
		state, err := s.state(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		if first.IsZero() || state.FirstAsked.Before(first) {
			first = state.FirstAsked
		}
	}
	return first
}

// secretOf returns the error of reading a target.
func secretOf(ctx context.Context, c *cluster, s *source) error {
	return c.client.Get(ctx, client.ObjectKey{Namespace: workNamespace, Name: s.target()}, new(corev1.Secret))
}

// refuseIfInstalled protects a cluster that somebody lends to the suite.
func refuseIfInstalled(ctx context.Context, c *cluster) {
	GinkgoHelper()
	for _, name := range []string{operatorNamespace, workNamespace, providerNamespace} {
		err := c.client.Get(ctx, client.ObjectKey{Name: name}, new(corev1.Namespace))
		Expect(apierrors.IsNotFound(err)).To(BeTrue(),
			"namespace %s exists: this suite installs and removes the operator with its CRDs, so it wants a cluster without (%v)", name, err)
	}
	out, err := c.try(ctx, "get", "crd", "providertokens.providertoken.dev", "--ignore-not-found", "-o", "name")
	Expect(err).NotTo(HaveOccurred(), out)
	Expect(strings.TrimSpace(out)).To(BeEmpty(), "the CRDs are installed: this suite would delete them and all their objects")
}

// removeEverything that the suite made, whatever became of it.
func removeEverything(ctx context.Context, c *cluster) {
	for _, args := range [][]string{
		{"delete", "namespace", workNamespace, providerNamespace, "--ignore-not-found", "--wait=false"},
		{"delete", "-f", c.install, "--ignore-not-found", "--timeout=60s"},
		{"delete", "-f", c.crds, "--ignore-not-found", "--timeout=60s"},
		{"wait", "--for=delete", "namespace/" + workNamespace, "namespace/" + providerNamespace, "--timeout=60s"},
	} {
		if out, err := c.try(ctx, args...); err != nil {
			GinkgoWriter.Println("cleaning up:", out)
		}
	}
}

func pod(holder string) string {
	name, _, _ := strings.Cut(holder, "_")
	return name
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func plainLetters(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '-'
}
