// Package cluster puts a real operator through the faults of the cluster that the operator runs in.
package cluster_test

import (
	"context"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share which leave it as it is.
var server *testworld.Server

func TestFaults(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "faults: cluster")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })

// quiet is how long to look for something that must not happen; real time.
const quiet = 400 * time.Millisecond

// faulty is the world of a spec, with a board between its operators and the API server.
type faulty struct {
	*testworld.World
	api *board
}

func newWorld(ctx context.Context) *faulty { return worldOn(ctx, server) }

func worldOn(ctx context.Context, s *testworld.Server) *faulty {
	GinkgoHelper()
	w := &faulty{World: testworld.New(ctx, s), api: &board{}}
	w.Faults = w.api.wrap
	return w
}

// generic makes the credentials of the plain provider, which takes 20 exchanges a second.
func (w *faulty) generic(ctx context.Context) {
	GinkgoHelper()
	w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
}

// named is a ProviderToken for the plain provider, not yet created.
func (w *faulty) named(name string) *v1alpha1.ProviderToken {
	pt := w.Wanted("generic")
	pt.Name = name
	return pt
}

// said is an instant that the target tells of itself.
func (w *faulty) said(ctx context.Context, pt *v1alpha1.ProviderToken, annotation string) time.Time {
	GinkgoHelper()
	s := w.Secret(ctx, pt)
	Expect(s).NotTo(BeNil())
	at, err := time.Parse(time.RFC3339, s.Annotations[annotation])
	Expect(err).NotTo(HaveOccurred())
	return at
}

// due moves the clock to where the tokens of all of these are due.
func (w *faulty) due(ctx context.Context, all ...*v1alpha1.ProviderToken) {
	GinkgoHelper()
	var last time.Time
	for _, pt := range all {
		if at := w.said(ctx, pt, v1alpha1.RefreshAtAnnotation); at.After(last) {
			last = at
		}
	}
	w.Clock.SetTime(last)
}

// changes waits until the target holds another token than old, which the host accepts.
func (w *faulty) changes(ctx context.Context, pt *v1alpha1.ProviderToken, host *providersim.Host, old string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		now := w.Token(ctx, pt)
		g.Expect(now).NotTo(Equal(old))
		g.Expect(host.Accepts(now)).To(BeTrue())
	}).WithPolling(20 * time.Millisecond).Should(Succeed())
}

// warnings are the reasons of the warnings about pt, sorted.
func (w *faulty) warnings(ctx context.Context, name string) []string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(w.Server.Client.List(ctx, &list, client.InNamespace(w.Namespace))).To(Succeed())
	var reasons []string
	for i := range list.Items {
		if e := &list.Items[i]; e.Type == corev1.EventTypeWarning && e.Regarding.Name == name {
			reasons = append(reasons, e.Reason)
		}
	}
	slices.Sort(reasons)
	return reasons
}

// exchanges is the operator's own count of those with that result.
func (w *faulty) exchanges(result string) float64 {
	GinkgoHelper()
	families, err := w.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	n := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "providertoken_exchanges_total" && l.GetValue() == result {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// tell writes a message into the report, for those who judge what people read.
func tell(what, message string) {
	AddReportEntry(what, message)
	GinkgoWriter.Println(what+":", message)
}
