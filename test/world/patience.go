package world

import (
	"context"
	"maps"
	"net/http"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
)

const (
	// onPurpose is how long a request must last to pass for one that a spec holds back, without stalls.
	onPurpose = time.Second
	// patience bounds the wait for operators that are kept busy or blind on purpose, without stalls.
	patience = 2 * time.Second
)

// Clock stands still until a spec moves it, and moves only when the operators have done
// what there was to do before: what they would have done in the meantime, the clock
// would otherwise leap over, and how far they got would depend on the machine.
type Clock struct {
	*clocktesting.FakeClock
	worlds []*World
}

// Step moves the clock by d.
func (c *Clock) Step(d time.Duration) {
	c.rest()
	c.FakeClock.Step(d)
}

// SetTime moves the clock to t.
func (c *Clock) SetTime(t time.Time) {
	c.rest()
	c.FakeClock.SetTime(t)
}

func (c *Clock) rest() {
	for _, w := range c.worlds {
		w.Rest()
	}
}

// Rest waits until the operators of this world know what the API server holds and have
// nothing left to do before the clock moves. It waits for no request that is held back
// on purpose.
func (w *World) Rest() {
	const look = 2 * time.Millisecond
	quiet, stuck, last, queued := 0, 0, -1, 0
	longest := newStalls().longest
	err := wait.PollUntilContextTimeout(context.Background(), look, patience+10*longest, true, func(context.Context) (bool, error) {
		begun, fresh, held := w.activity.look(onPurpose + 2*longest)
		waiting, working := work()
		idle := fresh == 0 && working <= held && begun == last
		stuck++
		if !idle || waiting != queued {
			stuck = 0
		}
		last, queued = begun, waiting
		if stuck == 50 { // with workers free for as long, it is in a queue that nobody serves any more
			w.leftQueued = queued
		}
		quiet++
		if !idle || queued > w.leftQueued || !w.knowing() {
			quiet = 0
		}
		return quiet == 2, nil
	})
	if err != nil {
		GinkgoWriter.Println("the clock moves though the operators are not at rest")
	}
}

// activity is what the operators of a world have under way, with the API server and with providers.
type activity struct {
	mu    sync.Mutex
	begun int
	under map[int]time.Time
}

func (a *activity) begin() (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.under == nil {
		a.under = map[int]time.Time{}
	}
	a.begun++
	n := a.begun
	a.under[n] = time.Now()
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.under, n)
	}
}

// look tells how many requests there were so far, and how many are under way: as ever, or
// held back, which is what those are that last for holding and longer.
func (a *activity) look(holding time.Duration) (begun, fresh, held int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, since := range a.under {
		if time.Since(since) < holding {
			fresh++
		} else {
			held++
		}
	}
	return a.begun, fresh, held
}

// Wrap takes note of requests to the API server, other than watches.
func (a *activity) Wrap(next http.RoundTripper) http.RoundTripper {
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		if !watches(r) {
			defer a.begin()()
		}
		return next.RoundTrip(r)
	})
}

// watches tells whether r is a watch.
func watches(r *http.Request) bool {
	w := r.URL.Query().Get("watch")
	return w == "true" || w == "1"
}

// active is an Exchanger that takes note of exchanges.
type active struct {
	next     controller.Exchanger
	activity *activity
}

// Do implements controller.Exchanger.
func (x active) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	defer x.activity.begin()()
	return x.next.Do(ctx, req, trust)
}

// work is how many objects wait in the queues of this process's controllers, and how many are worked on.
func work() (queued, working int) {
	families, err := ctrlmetrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	sum := func(of []*dto.Metric) int {
		n := 0.0
		for _, m := range of {
			n += m.GetGauge().GetValue()
		}
		return int(n)
	}
	for _, f := range families {
		switch f.GetName() {
		case "workqueue_depth":
			queued = sum(f.GetMetric())
		case "controller_runtime_active_workers":
			working = sum(f.GetMetric())
		}
	}
	return queued, working
}

// watched is a manager that shows the caches that were put into it.
type watched struct {
	ctrl.Manager
	labelled []*controller.LabelCache
}

// Add implements manager.Manager.
func (m *watched) Add(r ctrlmanager.Runnable) error {
	if c, is := r.(*controller.LabelCache); is {
		m.labelled = append(m.labelled, c)
	}
	return m.Manager.Add(r)
}

// view is what one cache holds of a kind.
type view struct {
	from     cache.Cache
	list     func() client.ObjectList
	selector labels.Selector
	// clusterwide says that the kind has no namespaces.
	clusterwide bool
}

// knowing tells whether the caches of the running operators hold what the API server holds. An
// API server that does not answer is not waited for.
func (w *World) knowing() bool {
	w.mu.Lock()
	views := make([]view, 0, len(w.views))
	for _, v := range w.views {
		views = append(views, v...)
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), onPurpose)
	defer cancel()
	for _, v := range views {
		places := w.Served()
		if v.clusterwide {
			places = []string{metav1.NamespaceAll}
		}
		for _, ns := range places {
			live, cached := v.list(), v.list()
			if w.Server.Client.List(ctx, live, client.InNamespace(ns), client.MatchingLabelsSelector{Selector: v.selector}) != nil {
				continue
			}
			if v.from.List(ctx, cached, client.InNamespace(ns)) != nil || !maps.Equal(versions(live), versions(cached)) {
				return false
			}
		}
	}
	return true
}

func versions(list client.ObjectList) map[types.UID]string {
	items, err := meta.ExtractList(list)
	Expect(err).NotTo(HaveOccurred())
	m := make(map[types.UID]string, len(items))
	for _, item := range items {
		o, err := meta.Accessor(item)
		Expect(err).NotTo(HaveOccurred())
		m[o.GetUID()] = o.GetResourceVersion()
	}
	return m
}

// viewsOf are the caches of an operator.
func (w *World) viewsOf(mgr *watched, options controller.Options) []view {
	GinkgoHelper()
	shard := w.Shard
	if shard == nil {
		shard = labels.Everything()
	}
	bundles, err := labels.Parse(v1alpha1.CABundleLabel)
	Expect(err).NotTo(HaveOccurred())
	own := mgr.GetCache()
	views := []view{
		{from: own, list: func() client.ObjectList { return &v1alpha1.ProviderTokenList{} }, selector: shard},
		{from: own, list: func() client.ObjectList { return &v1alpha1.TokenProviderList{} }, selector: labels.Everything()},
		{from: own, list: func() client.ObjectList { return &corev1.ConfigMapList{} }, selector: bundles},
	}
	if options.ClusterProviders {
		views = append(views, view{from: own, list: func() client.ObjectList { return &v1alpha1.ClusterTokenProviderList{} }, selector: labels.Everything(), clusterwide: true})
	}
	last := len(mgr.labelled) - 2 // the last two are of Secrets
	for i, c := range mgr.labelled {
		list := func() client.ObjectList { return &corev1.SecretList{} }
		if i < last {
			list = func() client.ObjectList { return &corev1.PodList{} }
		}
		views = append(views, view{from: c, list: list, selector: c.Selector})
	}
	return views
}
