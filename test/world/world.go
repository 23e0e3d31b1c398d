package world

import (
	"context"
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

// World is what one spec has for itself: a namespace, simulated providers, a
// clock that stands still, and operators that can be started and stopped.
type World struct {
	Server    *Server
	Namespace string
	Clock     *clocktesting.FakeClock
	Sim       *providersim.Simulator
	// Timeout of one exchange; real time.
	Timeout time.Duration
	// Gate, when set, holds back what one of the operator's watches says.
	Gate *WatchGate
	// Faults, when set, stands between the operator and the API server.
	Faults func(http.RoundTripper) http.RoundTripper
	// Shard, when set, selects the ProviderTokens of the operator.
	Shard labels.Selector
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
	// User, when set, is who the operator is to the API server.
	User *rest.ImpersonationConfig
	// Tune, when set, changes the options of operators that start afterwards.
	Tune func(*controller.Options)
	// Leads tells the operators whether they may act; nil lets them.
	Leads func() bool
	// Network, when set, changes how operators that start afterwards reach providers.
	Network func(*exchange.Options)
	// Requests of the operator to the API server, as "verb resource".
	Requests *RequestLog
	// Registry holds the metrics of the operator that started last.
	Registry *prometheus.Registry
}

// New makes the world of a spec. The clock starts at a whole second.
func New(ctx context.Context, server *Server) *World {
	GinkgoHelper()
	w := &World{Server: server, Clock: clocktesting.NewFakeClock(time.Now().UTC().Truncate(time.Second)), Timeout: 10 * time.Second, Requests: &RequestLog{}}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-"}}
	Expect(w.Server.Client.Create(ctx, ns)).To(Succeed())
	w.Namespace = ns.Name
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
	cfg := rest.CopyConfig(w.Server.Config)
	cfg.Wrap(w.Requests.Wrap)
	if w.User != nil {
		cfg.Impersonate = *w.User
	}
	if w.Gate != nil {
		cfg.Wrap(w.Gate.Wrap)
	}
	if w.Faults != nil {
		cfg.Wrap(w.Faults)
	}
	caches, err := controller.CacheOptions(w.Served(), w.Shard)
	Expect(err).NotTo(HaveOccurred())
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:     w.Server.Scheme,
		Cache:      caches,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		Logger:     ctrl.Log.WithName(w.Namespace),
	})
	Expect(err).NotTo(HaveOccurred())
	live, err := client.New(cfg, client.Options{Scheme: w.Server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	catalog := w.Catalog
	if catalog == nil {
		catalog, err = provider.Builtin()
		Expect(err).NotTo(HaveOccurred())
	}
	allowed := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if w.Guarded {
		allowed = nil
	}
	network := exchange.Options{UserAgent: "spec", Clock: w.Clock, Timeout: w.Timeout, AllowNetworks: allowed}
	if w.Network != nil {
		w.Network(&network)
	}
	exchanger, err := exchange.New(network)
	Expect(err).NotTo(HaveOccurred())
	var sender controller.Exchanger = exchanger
	if w.Around != nil {
		sender = w.Around(exchanger)
	}
	w.Registry = prometheus.NewRegistry()
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
	Expect(controller.Setup(ctx, mgr, controller.Parts{
		Config: cfg, Live: live, Namespaces: w.Served(), OperatorNamespace: w.Namespace,
		Catalog: catalog, Exchanger: sender, Clock: w.Clock, Metrics: counters, Leads: w.Leads, Options: options,
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
