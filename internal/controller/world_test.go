package controller_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

// world is what one spec has for itself: a namespace, simulated providers, a
// clock that stands still, and operators that can be started and stopped.
type world struct {
	namespace string
	clock     *clocktesting.FakeClock
	sim       *providersim.Simulator
	// timeout of one exchange; real time.
	timeout time.Duration
	// gate, when set, holds back what one of the operator's watches says.
	gate *watchGate
	// faults, when set, stands between the operator and the API server.
	faults func(http.RoundTripper) http.RoundTripper
	// shard, when set, selects the ProviderTokens of the operator.
	shard labels.Selector
	// around, when set, stands between the operator and the network.
	around func(controller.Exchanger) controller.Exchanger
	// guarded operators refuse loopback addresses, as in production.
	guarded bool
	// propagation tells pods of changed targets.
	propagation bool
	// catalog of the operator; the built-in one when nil.
	catalog *provider.Catalog
	// further namespaces that the operator serves.
	further []string
	// identities lets tokens of ServiceAccounts stand for stored credentials.
	identities bool
	// user, when set, is who the operator is to the API server.
	user *rest.ImpersonationConfig
	// requests of the operator to the API server, as "verb resource".
	requests *requestLog
}

// newWorld makes the world of a spec. The clock starts at a whole second.
func newWorld(ctx context.Context) *world {
	GinkgoHelper()
	w := &world{clock: clocktesting.NewFakeClock(time.Now().UTC().Truncate(time.Second)), timeout: 10 * time.Second, requests: &requestLog{}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(k8s.Create(ctx, ns)).To(Succeed())
	w.namespace = ns.Name
	var err error
	w.sim, err = providersim.Start(providersim.Options{Now: w.clock.Now})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.sim.Close)
	DeferCleanup(w.tell)
	for name, spec := range map[string]v1alpha1.ProviderDefinition{
		"plantpredict":   {Base: "PlantPredict", TokenURL: w.sim.PlantPredict.TokenURL()},
		"spatiafi-app":   {Base: "SpatiaFi", Method: "AppToken", TokenURL: w.sim.SpatiaFi.TokenURL()},
		"spatiafi-login": {Base: "SpatiaFi", Method: "LoginToken", TokenURL: w.sim.SpatiaFi.LoginURL()},
		"up42-project":   {Base: "UP42Project", TokenURL: w.sim.UP42Project.TokenURL()},
		"up42":           {Base: "UP42", TokenURL: w.sim.UP42.TokenURL()},
		"generic":        {TokenURL: w.sim.Generic.TokenURL()},
	} {
		spec.CABundle = w.sim.CABundle()
		p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.cluster(name)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: spec}}
		Expect(k8s.Create(ctx, p)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p))).To(Succeed()) })
	}
	return w
}

// tell writes down, after a failure, what there was to see.
func (w *world) tell(ctx context.Context) {
	if !CurrentSpecReport().Failed() {
		return
	}
	var list v1alpha1.ProviderTokenList
	Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
	for i := range list.Items {
		status, err := yaml.Marshal(list.Items[i].Status)
		Expect(err).NotTo(HaveOccurred())
		GinkgoWriter.Printf("clock %s; status of %s:\n%s", w.clock.Now(), list.Items[i].Name, status)
	}
}

// served are the namespaces of the operator.
func (w *world) served() []string { return append([]string{w.namespace}, w.further...) }

// newNamespace makes a further namespace that operators serve which start afterwards.
func (w *world) newNamespace(ctx context.Context, marks map[string]string) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-", Labels: marks}}
	Expect(k8s.Create(ctx, ns)).To(Succeed())
	w.further = append(w.further, ns.Name)
	return ns.Name
}

// cluster is the name of a cluster-scoped object of this world.
func (w *world) cluster(name string) string { return name + "-" + w.namespace }

// operator runs an operator until the returned function is called (or the spec ends).
func (w *world) operator() (stop func()) {
	GinkgoHelper()
	cfg := rest.CopyConfig(apiServer)
	cfg.Wrap(w.requests.wrap)
	if w.user != nil {
		cfg.Impersonate = *w.user
	}
	if w.gate != nil {
		cfg.Wrap(w.gate.wrap)
	}
	if w.faults != nil {
		cfg.Wrap(w.faults)
	}
	caches, err := controller.CacheOptions(w.served(), w.shard)
	Expect(err).NotTo(HaveOccurred())
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:     scheme,
		Cache:      caches,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Logger:     ctrl.Log.WithName(w.namespace),
	})
	Expect(err).NotTo(HaveOccurred())
	live, err := client.New(cfg, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	catalog := w.catalog
	if catalog == nil {
		catalog, err = provider.Builtin()
		Expect(err).NotTo(HaveOccurred())
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if w.guarded {
		allowed = nil
	}
	exchanger, err := exchange.New(exchange.Options{UserAgent: "spec", Clock: w.clock, Timeout: w.timeout, AllowNetworks: allowed})
	Expect(err).NotTo(HaveOccurred())
	var sender controller.Exchanger = exchanger
	if w.around != nil {
		sender = w.around(exchanger)
	}
	counters, err := metrics.New(prometheus.NewRegistry())
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	Expect(controller.Setup(ctx, mgr, controller.Parts{
		Config: cfg, Live: live, Namespaces: w.served(), OperatorNamespace: w.namespace,
		Catalog: catalog, Exchanger: sender, Clock: w.clock, Metrics: counters,
		Options: controller.Options{
			InlineProviders: true, ClusterProviders: true, MaxConcurrentReconciles: 16,
			Propagation: w.propagation, PropagationRate: 4,
			WorkloadIdentity: w.identities,
		},
	})).To(Succeed())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		var err error
		Eventually(done).WithTimeout(40 * time.Second).Should(Receive(&err))
		Expect(err).NotTo(HaveOccurred())
	})
	DeferCleanup(stop)
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	return stop
}

// credentials makes a Secret that is bound to a provider of this world.
func (w *world) credentials(ctx context.Context, providerName string, data map[string]string) *corev1.Secret {
	GinkgoHelper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: providerName + "-login",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.cluster(providerName)},
		},
		StringData: data,
	}
	Expect(k8s.Create(ctx, s)).To(Succeed())
	return s
}

// wanted is a ProviderToken for a provider of this world, not yet created.
func (w *world) wanted(providerName string) *v1alpha1.ProviderToken {
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: providerName},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: w.cluster(providerName)},
			Credentials: &v1alpha1.Credentials{SecretName: providerName + "-login"},
		},
	}
}

func (w *world) plantPredict(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.credentials(ctx, "plantpredict", map[string]string{
		"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
	})
	return w.create(ctx, w.wanted("plantpredict"))
}

func (w *world) up42(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password})
	return w.create(ctx, w.wanted("up42"))
}

func (w *world) create(ctx context.Context, pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	GinkgoHelper()
	Expect(k8s.Create(ctx, pt)).To(Succeed())
	return pt
}

// edit changes pt by a patch, whatever the operator writes meanwhile.
func (w *world) edit(ctx context.Context, pt *v1alpha1.ProviderToken, change func(*v1alpha1.ProviderToken)) {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	edited := got.DeepCopy()
	change(edited)
	Expect(k8s.Patch(ctx, edited, client.MergeFrom(&got))).To(Succeed())
}

// ready waits until pt says so, for this generation.
func (w *world) ready(ctx context.Context, pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	GinkgoHelper()
	return w.becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// becomes waits for a condition.
func (w *world) becomes(ctx context.Context, pt *v1alpha1.ProviderToken, kind string, status metav1.ConditionStatus, reason string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	got := &v1alpha1.ProviderToken{}
	Eventually(func(g Gomega) {
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), got)).To(Succeed())
		c := meta.FindStatusCondition(got.Status.Conditions, kind)
		g.Expect(c).NotTo(BeNil())
		g.Expect([]string{string(c.Status), c.Reason}).To(Equal([]string{string(status), reason}), c.Message)
		g.Expect(c.ObservedGeneration).To(Equal(got.Generation))
	}).WithTimeout(10 * time.Second).WithPolling(20 * time.Millisecond).Should(Succeed())
	return got
}

// condition of pt as it is now.
func (w *world) condition(ctx context.Context, pt *v1alpha1.ProviderToken, kind string) *metav1.Condition {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	return meta.FindStatusCondition(got.Status.Conditions, kind)
}

// secret is the target as it is now; nil when absent.
func (w *world) secret(ctx context.Context, pt *v1alpha1.ProviderToken) *corev1.Secret {
	var s corev1.Secret
	if err := k8s.Get(ctx, client.ObjectKey{Namespace: pt.Namespace, Name: pt.TargetName()}, &s); err != nil {
		return nil
	}
	return &s
}

// token in the target as it is now.
func (w *world) token(ctx context.Context, pt *v1alpha1.ProviderToken) string {
	if s := w.secret(ctx, pt); s != nil {
		return string(s.Data["token"])
	}
	return ""
}

// stepToRefresh moves the clock to the planned refresh and waits for another token.
func (w *world) stepToRefresh(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	w.settle(ctx, pt) // or status may tell of the token before
	old := w.token(ctx, pt)
	got := w.ready(ctx, pt)
	w.clock.SetTime(got.Status.RefreshAt.Time)
	Eventually(func() string { return w.token(ctx, pt) }).WithTimeout(10 * time.Second).WithPolling(20 * time.Millisecond).
		ShouldNot(Or(Equal(old), BeEmpty()))
}

// settle waits until the operator has nothing left to do: status tells of the
// token that the target holds.
func (w *world) settle(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var got v1alpha1.ProviderToken
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
		s := w.secret(ctx, pt)
		g.Expect(s).NotTo(BeNil())
		g.Expect(got.Status.Token).NotTo(BeNil())
		g.Expect(got.Status.Token.IssuedAt.UTC().Format(time.RFC3339)).To(Equal(s.Annotations[v1alpha1.IssuedAtAnnotation]))
	}).WithTimeout(10 * time.Second).WithPolling(20 * time.Millisecond).Should(Succeed())
}

// staysFor asserts that v stays what it is for a while of real time.
func staysFor[T any](d time.Duration, v func() T, expected any) {
	GinkgoHelper()
	Consistently(v).WithTimeout(d).WithPolling(20 * time.Millisecond).Should(Equal(expected))
}

// watchGate delays a watch, as a slow API server or network does.
type watchGate struct {
	// watches tells whether a request is that watch.
	watches func(*http.Request) bool

	mu     sync.Mutex
	opened chan struct{}
}

// targetWatch is that of target Secrets, tokenWatch that of ProviderTokens.
func targetWatch(r *http.Request) bool {
	return r.URL.Query().Get("labelSelector") == v1alpha1.TargetLabel
}

func tokenWatch(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/providertokens") }

func newWatchGate(watches func(*http.Request) bool) *watchGate {
	g := &watchGate{watches: watches, opened: make(chan struct{})}
	close(g.opened)
	return g
}

func (g *watchGate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *watchGate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

func (g *watchGate) wait() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	<-opened
}

func (g *watchGate) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		q := r.URL.Query()
		if err == nil && (q.Get("watch") == "true" || q.Get("watch") == "1") && g.watches(r) {
			resp.Body = &gatedBody{ReadCloser: resp.Body, gate: g}
		}
		return resp, err
	})
}

// gatedBody holds back what it has read while the gate is shut.
type gatedBody struct {
	io.ReadCloser
	gate *watchGate
}

func (b *gatedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.gate.wait()
	return n, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
