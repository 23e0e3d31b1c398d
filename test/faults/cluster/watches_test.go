package cluster_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

// line is what all watches of an operator run over: it can be cut, and go silent.
type line struct {
	mu     sync.Mutex
	bodies map[*lineBody]bool
	silent bool
	began  int
}

// lineBody is the stream of one watch.
type lineBody struct {
	io.ReadCloser
	line *line
}

// carry is a rule for watches.
func (l *line) carry(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bodies == nil {
		l.bodies = map[*lineBody]bool{}
	}
	b := &lineBody{ReadCloser: resp.Body, line: l}
	l.bodies[b] = l.silent
	l.began++
	resp.Body = b
	return resp, nil
}

// cut ends all watches, as a reset connection does.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.bodies {
		_ = b.ReadCloser.Close()
	}
	clear(l.bodies)
}

// hush lets the watches that there are say nothing more, without an end. Later ones speak.
func (l *line) hush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.bodies {
		l.bodies[b] = true
	}
}

func (l *line) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began
}

// Read drops what comes while the line is silent.
func (b *lineBody) Read(p []byte) (int, error) {
	for {
		n, err := b.ReadCloser.Read(p)
		b.line.mu.Lock()
		silent := b.line.bodies[b]
		b.line.mu.Unlock()
		if !silent || err != nil {
			return n, err
		}
	}
}

var _ = Describe("the watches", func() {
	It("when they were cut for a while, miss nothing that happened meanwhile, and cost no token", func(ctx SpecContext) {
		w := newWorld(ctx)
		wire := &line{}
		w.api.on(watches, wire.carry)
		w.Operator()
		w.generic(ctx)
		deleted, edited, repaired := w.Create(ctx, w.named("deleted")), w.Create(ctx, w.named("edited")), w.Create(ctx, w.named("repaired"))
		for _, pt := range []*v1alpha1.ProviderToken{deleted, edited, repaired} {
			w.Ready(ctx, pt)
			w.Settle(ctx, pt)
		}
		Expect(w.series("deleted")).To(BeNumerically(">", 0))
		token := w.Token(ctx, repaired)

		// First the server is not there, and then it does not know any more where the watch was.
		w.api.on(watches, breaks)
		wire.cut()
		k8s := w.Server.Client
		Expect(k8s.Delete(ctx, deleted)).To(Succeed())
		Expect(k8s.Delete(ctx, w.Secret(ctx, deleted))).To(Succeed()) // the garbage collector's part
		Expect(k8s.Delete(ctx, w.Secret(ctx, repaired))).To(Succeed())
		w.Edit(ctx, edited, func(pt *v1alpha1.ProviderToken) { pt.Spec.Scopes = []v1alpha1.Scope{"a"} })
		created := w.Create(ctx, w.named("created"))
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 3)
		gone := refuses(http.StatusGone, metav1.StatusReasonExpired, "too old resource version", 0)
		seen := map[string]bool{}
		w.api.on(watches, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			wire.mu.Lock()
			first := !seen[r.URL.Path]
			seen[r.URL.Path] = true
			wire.mu.Unlock()
			if first && r.URL.Query().Get("resourceVersion") != "" {
				return gone(next, r)
			}
			return wire.carry(next, r)
		})
		began := time.Now()
		w.Ready(ctx, created)
		w.Ready(ctx, edited)
		Eventually(func() string { return w.Token(ctx, repaired) }).Should(Equal(token))
		Eventually(func() int { return w.series("deleted") }).Should(BeZero())
		tell("all noticed after the watches were back", time.Since(began).Round(100*time.Millisecond).String())
		Expect(w.Sim.Generic.Issued()).To(Equal(5), "three, one for the edit, one for the new one")
		w.Clock.Step(3 * time.Hour)
		Eventually(w.Sim.Generic.Issued).Should(Equal(8))
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 8)
		Expect(w.Secret(ctx, deleted)).To(BeNil())
	})

	It("that say nothing and do not end are begun anew", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.WatchPatience = time.Second
		wire := &line{}
		w.api.on(watches, wire.carry)
		w.Operator()
		w.generic(ctx)
		w.Ready(ctx, w.Create(ctx, w.named("first")))
		wire.hush()
		began := time.Now()
		w.Ready(ctx, w.Create(ctx, w.named("second")))
		tell("silence noticed", fmt.Sprintf("after %s, with a patience of %s", time.Since(began).Round(100*time.Millisecond), w.WatchPatience))
		Expect(w.Sim.Generic.Issued()).To(Equal(2))
	})

	It("that are late with a deletion do not let a ProviderToken be refreshed for ever that is gone", func(ctx SpecContext) {
		w := newWorld(ctx)
		wire := &line{}
		w.api.on(watches, wire.carry)
		w.Operator()
		w.generic(ctx)
		pt := w.named("gone")
		pt.Spec.Target = &v1alpha1.Target{DeletionPolicy: v1alpha1.RetainTarget}
		w.Create(ctx, pt)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		wire.hush()
		Expect(w.Server.Client.Delete(ctx, pt, client.GracePeriodSeconds(0))).To(Succeed())
		w.due(ctx, pt)
		Eventually(w.Sim.Generic.Issued).Should(Equal(2))
		Eventually(func() int { return w.series("gone") }).Should(BeZero())
		for range 5 {
			w.Clock.Step(2 * time.Hour)
			testworld.StaysFor(quiet/8, w.Sim.Generic.Issued, 2)
		}
	})
})

// series counts the metrics that are about a ProviderToken.
func (w *faulty) series(name string) int {
	GinkgoHelper()
	families, err := w.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == name {
					n++
				}
			}
		}
	}
	return n
}
