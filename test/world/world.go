package world

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/audit"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/lease"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/traces"
)

// World is what one spec has for itself: a namespace, simulated providers, a
// clock that stands still, and operators that can be started and stopped.
type World struct {
	Server    *Server
	Namespace string
	Clock     *Clock
	Sim       *providersim.Simulator
	// Timeout of one exchange; real time.
	Timeout time.Duration
	// Gate, when set, holds back what one of the operator's watches says.
	Gate *WatchGate
	// Faults, when set, stands between the operator and the API server.
	Faults func(http.RoundTripper) http.RoundTripper
	// Shard, when set, selects the ProviderTokens of the operator.
	Shard labels.Selector
	// Identity, when set, is the name by which operators that start afterwards know each
	// other; those with the same one are replicas.
	Identity string
	// Around, when set, stands between the operator and the network.
	Around func(controller.Exchanger) controller.Exchanger
	// Guarded operators refuse loopback addresses, as in production.
	Guarded bool
	// Propagation tells pods of changed targets.
	Propagation bool
	// Catalog of the operator; the built-in one when nil.
	Catalog *provider.Catalog
	// Further namespaces that the operator serves.
	Further []string
	// Identities lets tokens of ServiceAccounts stand for stored credentials.
	Identities bool
	// User, when set, is who the operator is to the API server, instead of a
	// ServiceAccount with exactly the rights that ship.
	User *rest.ImpersonationConfig
	// MayBeForbidden says that the operator lacks a right on purpose. Otherwise a spec
	// fails when it does.
	MayBeForbidden bool
	// Tune, when set, changes the options of operators that start afterwards.
	Tune func(*controller.Options)
	// Wall, when set, is the clock of operators that start afterwards, instead of Clock.
	Wall controller.Clock
	// WatchPatience is how long a watch may say nothing, real time; as in production when zero.
	WatchPatience time.Duration
	// Election, when set, makes operators that start afterwards compete for one lease.
	Election *Election
	// Leads tells the operators whether they may act; when nil, their Lease does, or nothing.
	Leads func() bool
	// Network, when set, changes how operators that start afterwards reach providers.
	Network func(*exchange.Options)
	// Requests of the operator to the API server, as "verb resource".
	Requests *RequestLog
	// Audit holds the audit log of its operators, and Collector their traces.
	Audit     *AuditTrail
	Collector *Collector
	// Registry holds the metrics of the operator that started last.
	Registry *prometheus.Registry

	bound    bool
	refusals refusals
	activity activity
	// leftQueued is what operators that have stopped left in their queues.
	leftQueued int

	mu    sync.Mutex
	views map[*Instance][]view // of running operators
}

// New makes the world of a spec. The clock starts at a whole second.
func New(ctx context.Context, server *Server) *World {
	GinkgoHelper()
	w := &World{Server: server, Timeout: 10 * time.Second, Requests: &RequestLog{}, views: map[*Instance][]view{}}
	w.Clock = &Clock{FakeClock: clocktesting.NewFakeClock(time.Now().UTC().Truncate(time.Second)), worlds: []*World{w}}
	w.leftQueued, _ = work()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(w.Server.Client.Create(ctx, ns)).To(Succeed())
	w.Namespace = ns.Name
	w.Audit, w.Collector = &AuditTrail{leaks: server.Leaks}, newCollector(server.Leaks)
	DeferCleanup(func(ctx SpecContext) {
		if !w.MayBeForbidden {
			w.refusals.expectNone(ctx, w.Server.Client)
		}
	})
	var err error
	w.Sim, err = providersim.Start(providersim.Options{Now: w.Clock.Now})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.Sim.Close)
	DeferCleanup(w.Tell)
	for name, spec := range map[string]v1alpha1.ProviderDefinition{
		"plantpredict":   {Base: "PlantPredict", TokenURL: w.Sim.PlantPredict.TokenURL()},
		"spatiafi-app":   {Base: "SpatiaFi", Method: "AppToken", TokenURL: w.Sim.SpatiaFi.TokenURL()},
		"spatiafi-login": {Base: "SpatiaFi", Method: "LoginToken", TokenURL: w.Sim.SpatiaFi.LoginURL()},
		"up42-project":   {Base: "UP42Project", TokenURL: w.Sim.UP42Project.TokenURL()},
		"up42":           {Base: "UP42", TokenURL: w.Sim.UP42.TokenURL()},
		"generic":        {TokenURL: w.Sim.Generic.TokenURL()},
	} {
		spec.CABundle = w.Sim.CABundle()
		p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster(name)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: spec}}
		Expect(w.Server.Client.Create(ctx, p)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(w.Server.Client.Delete(ctx, p))).To(Succeed()) })
	}
	return w
}

// Elsewhere is another cluster at the same time, with the same providers: a namespace of its own.
func (w *World) Elsewhere(ctx context.Context) *World {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(w.Server.Client.Create(ctx, ns)).To(Succeed())
	other := &World{
		Server: w.Server, Namespace: ns.Name, Clock: w.Clock, Sim: w.Sim, Timeout: w.Timeout, Requests: &RequestLog{},
		Audit: w.Audit, Collector: w.Collector, views: map[*Instance][]view{},
	}
	other.leftQueued, _ = work()
	w.Clock.worlds = append(w.Clock.worlds, other)
	return other
}

// Tell writes down, after a failure, what there was to see.
func (w *World) Tell(ctx context.Context) {
	if !CurrentSpecReport().Failed() {
		return
	}
	var list v1alpha1.ProviderTokenList
	Expect(w.Server.Client.List(ctx, &list, client.InNamespace(w.Namespace))).To(Succeed())
	for i := range list.Items {
		status, err := yaml.Marshal(list.Items[i].Status)
		Expect(err).NotTo(HaveOccurred())
		GinkgoWriter.Printf("clock %s; status of %s:\n%s", w.Clock.Now(), list.Items[i].Name, status)
	}
}

// Served are the namespaces of the operator.
func (w *World) Served() []string { return append([]string{w.Namespace}, w.Further...) }

// NewNamespace makes a further namespace that operators serve which start afterwards.
func (w *World) NewNamespace(ctx context.Context, marks map[string]string) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-", Labels: marks}}
	Expect(w.Server.Client.Create(ctx, ns)).To(Succeed())
	w.Further = append(w.Further, ns.Name)
	return ns.Name
}

// Cluster is the name of a cluster-scoped object of this world.
func (w *World) Cluster(name string) string { return name + "-" + w.Namespace }

// Operator runs an operator until the returned function is called (or the spec ends).
func (w *World) Operator() (stop func()) {
	GinkgoHelper()
	return w.Start().Stop
}

// Election are the times of a leader election, which go by real time.
type Election struct{ Lease, Renew, Retry time.Duration }

// Instance is one operator.
type Instance struct {
	// Stop ends it, and returns when it has ended. Other than being stopped, nothing
	// may end it but the loss of an Election.
	Stop func()
	// Ended is closed when it has ended.
	Ended <-chan struct{}
	// Elected is closed when it leads; at once without an Election.
	Elected <-chan struct{}
}

// Start runs an operator until it is stopped, the spec ends, or it loses its lease.
func (w *World) Start() *Instance {
	GinkgoHelper()
	history := &controller.History{}
	cfg := w.access(history)
	bare, leads := w.manager(cfg)
	mgr := &watched{Manager: bare}
	live, err := client.New(cfg, client.Options{Scheme: w.Server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	catalog := w.Catalog
	if catalog == nil {
		catalog, err = provider.Builtin()
		Expect(err).NotTo(HaveOccurred())
	}
	var wall controller.Clock = w.Clock
	if w.Wall != nil {
		wall = w.Wall
	}
	sender := w.sender(wall)
	registry := prometheus.NewRegistry()
	w.Registry = registry
	DeferCleanup(func() { w.Server.Leaks.metrics(registry) })
	counters, err := metrics.New(w.Registry)
	Expect(err).NotTo(HaveOccurred())
	options := controller.Options{
		InlineProviders: true, ClusterProviders: true, MaxConcurrentReconciles: 16,
		Propagation: w.Propagation, PropagationRate: 4,
		WorkloadIdentity: w.Identities,
	}
	if w.Tune != nil {
		w.Tune(&options)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tracer, err := traces.New(ctx, w.Collector.URL, "spec", wall.Now)
	Expect(err).NotTo(HaveOccurred())
	settle, err := controller.Setup(ctx, mgr, controller.Parts{
		Config: cfg, Live: live, Namespaces: w.Served(), OperatorNamespace: w.Namespace,
		Catalog: catalog, Exchanger: sender, Clock: wall, Metrics: counters, Options: options,
		Shard: w.Shard, Identity: w.Identity, History: history, Leads: leads,
		Audit: audit.New(w.Audit, func(err error) { Expect(err).NotTo(HaveOccurred()) }), Tracer: tracer,
	})
	Expect(err).NotTo(HaveOccurred())
	ended := make(chan struct{})
	var failed error
	i := &Instance{Ended: ended, Elected: mgr.Elected()}
	go func() {
		failed = mgr.Start(ctx)
		w.gone(i)
		failed = errors.Join(failed, settle(context.Background()), tracer.Close(context.Background()))
		close(ended)
	}()
	i.Stop = sync.OnceFunc(func() {
		cancel()
		Eventually(ended).Should(BeClosed())
		if w.Election == nil {
			Expect(failed).NotTo(HaveOccurred())
		}
	})
	DeferCleanup(i.Stop)
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.views[i] = w.viewsOf(mgr, options)
	return i
}

// gone forgets an operator that has ended, and what it left in its queues.
func (w *World) gone(i *Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.views, i)
	if len(w.views) == 0 {
		w.leftQueued, _ = work()
	}
}

// sender is how an operator reaches providers.
func (w *World) sender(wall controller.Clock) controller.Exchanger {
	GinkgoHelper()
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if w.Guarded {
		allowed = nil
	}
	network := exchange.Options{UserAgent: "spec", Clock: wall, Timeout: w.Timeout, AllowNetworks: allowed}
	if w.Network != nil {
		w.Network(&network)
	}
	exchanger, err := exchange.New(network)
	Expect(err).NotTo(HaveOccurred())
	var sender controller.Exchanger = listener{next: exchanger, leaks: w.Server.Leaks}
	if held := newStalls(); held.longest > 0 {
		sender = stalledExchanger{next: sender, stalls: held}
	}
	if w.Around != nil {
		sender = w.Around(sender)
	}
	return active{next: sender, activity: &w.activity}
}

// access is how an operator reaches the API server.
func (w *World) access(history *controller.History) *rest.Config {
	GinkgoHelper()
	cfg := controller.Connection(w.Server.Config)
	cfg.Wrap(newStalls().Wrap)
	cfg.Wrap(w.Requests.Wrap)
	cfg.Wrap(w.refusals.Wrap)
	cfg.Wrap(history.Wrap)
	user := w.User
	if user == nil {
		user = w.operatorUser(context.Background())
	}
	cfg.Impersonate = *user
	if w.Gate != nil {
		cfg.Wrap(w.Gate.Wrap)
	}
	if w.Faults != nil {
		cfg.Wrap(w.Faults)
	}
	controller.GuardWatches(cfg, w.WatchPatience)
	cfg.Wrap(w.activity.Wrap)
	return cfg
}

// manager of an operator, and what tells whether it may act.
func (w *World) manager(cfg *rest.Config) (mgr ctrl.Manager, leads func() bool) {
	GinkgoHelper()
	caches, err := controller.CacheOptions(w.Served(), w.Shard)
	Expect(err).NotTo(HaveOccurred())
	managing := ctrl.Options{
		Scheme:     w.Server.Scheme,
		Cache:      caches,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Logger:     ctrl.Log.WithName(w.Namespace),
	}
	leads = w.Leads
	if e := w.Election; e != nil {
		term := &lease.Term{Duration: e.Lease, Now: clock.RealClock{}.Now}
		managing.LeaderElectionConfig = rest.CopyConfig(cfg)
		managing.LeaderElectionConfig.Wrap(term.Watch)
		if leads == nil {
			leads = term.Running
		}
		managing.LeaderElection, managing.LeaderElectionID, managing.LeaderElectionNamespace = true, "providertoken-operator", w.Namespace
		managing.LeaderElectionReleaseOnCancel = true
		managing.LeaseDuration, managing.RenewDeadline, managing.RetryPeriod = &e.Lease, &e.Renew, &e.Retry
	}
	mgr, err = ctrl.NewManager(cfg, managing)
	Expect(err).NotTo(HaveOccurred())
	return mgr, leads
}

// Credentials makes a Secret that is bound to a provider of this world.
func (w *World) Credentials(ctx context.Context, providerName string, data map[string]string) *corev1.Secret {
	GinkgoHelper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: providerName + "-login",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.Cluster(providerName)},
		},
		StringData: data,
	}
	Expect(w.Server.Client.Create(ctx, s)).To(Succeed())
	return s
}

// Wanted is a ProviderToken for a provider of this world, not yet created.
func (w *World) Wanted(providerName string) *v1alpha1.ProviderToken {
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: providerName},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: w.Cluster(providerName)},
			Credentials: &v1alpha1.Credentials{SecretName: providerName + "-login"},
		},
	}
}

// PlantPredict makes a ProviderToken for the simulated PlantPredict, and its credentials.
func (w *World) PlantPredict(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.Credentials(ctx, "plantpredict", map[string]string{
		"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
	})
	return w.Create(ctx, w.Wanted("plantpredict"))
}

// UP42 makes a ProviderToken for the simulated UP42, and its credentials.
func (w *World) UP42(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password})
	return w.Create(ctx, w.Wanted("up42"))
}

// Create makes pt.
func (w *World) Create(ctx context.Context, pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	GinkgoHelper()
	Expect(w.Server.Client.Create(ctx, pt)).To(Succeed())
	return pt
}
