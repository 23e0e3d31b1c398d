// The manager: flags become options, options become a manager, and it runs.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2" //nolint:depguard // only to send client-go's lines through logr, too
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/lease"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/options"
	"github.com/providertoken/operator/internal/process"
	"github.com/providertoken/operator/internal/provider"

	// The image is the binary alone: where the system has no CA certificates of its
	// own, those that Mozilla trusts are used. SSL_CERT_FILE still takes precedence.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// version and commit are set by the linker; see the Makefile.
var (
	version = "dev"
	commit  = "unknown"
)

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:], os.Getenv, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	var logging zap.Options
	o, err := options.Parse(args, env, logging.BindFlags, config.RegisterFlags)
	if err != nil {
		return err
	}
	catalog, err := provider.Builtin()
	if err != nil {
		return err
	}
	if o.Version {
		return printVersion(out, catalog)
	}
	log := process.Logger(logging)
	ctrl.SetLogger(log)
	klog.SetLogger(log) // client-go's own lines have the same form
	if err := process.ForbidDumps(); err != nil {
		return err
	}
	cfg, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	cfg = controller.Connection(cfg)
	if err := kindsInstalled(cfg, len(o.WatchNamespaces) == 0); err != nil {
		return err
	}
	history, term := &controller.History{}, &lease.Term{Duration: leaseDuration, Now: clock.RealClock{}.Now}
	mgr, err := newManager(cfg, history, term, o)
	if err != nil {
		return err
	}
	settle, err := assemble(ctx, mgr, cfg, history, term, o, catalog)
	if err != nil {
		return err
	}
	return errors.Join(mgr.Start(ctx), finish(settle))
}

// settlePatience is how long a process that has nothing else to do any more tries to
// store refresh tokens; whoever kills it has the last word.
const settlePatience = 10 * time.Minute

// finish stores what would be lost with the process. An API server that is away for
// longer than the lease ends every leader, and just then a refresh token that came back
// may not be stored.
func finish(settle func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), settlePatience)
	defer cancel()
	return settle(ctx)
}

func printVersion(out io.Writer, catalog *provider.Catalog) error {
	_, err := fmt.Fprintf(out, "providertoken operator %s (commit %s)\ncatalog:\n", version, commit)
	for _, name := range catalog.Names() {
		def, _ := catalog.Get(name)
		_, lineErr := fmt.Fprintf(out, "  %-20s %s  %s\n", name, catalog.Version(name), def.Summary())
		err = errors.Join(err, lineErr)
	}
	return err
}

// kindsInstalled says what to do where only the operator was applied.
func kindsInstalled(cfg *rest.Config, clusterWide bool) error {
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	list, err := d.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("asking the API server for its kinds: %w", err)
	}
	missing := map[string]bool{"providertokens": true, "tokenproviders": true, "clustertokenproviders": clusterWide}
	if list != nil {
		for i := range list.APIResources {
			delete(missing, list.APIResources[i].Name)
		}
	}
	var crds []string
	for name, needed := range missing {
		if needed {
			crds = append(crds, name+"."+v1alpha1.GroupVersion.Group)
		}
	}
	if len(crds) == 0 {
		return nil
	}
	slices.Sort(crds)
	return fmt.Errorf("these CRDs are not installed, or not in version %s: %s: apply dist/crds.yaml (Helm: crds.install=true); the pod tries again by itself",
		v1alpha1.GroupVersion.Version, strings.Join(crds, ", "))
}

func newManager(cfg *rest.Config, history *controller.History, term *lease.Term, o options.Options) (ctrl.Manager, error) {
	cfg.UserAgent = "providertoken-operator/" + version
	cfg.Wrap(history.Wrap)
	controller.GuardWatches(cfg, 0)
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	shard, err := labels.Parse(o.WatchLabelSelector)
	if err != nil {
		return nil, fmt.Errorf("--watch-label-selector: %w", err)
	}
	caches, err := controller.CacheOptions(o.WatchNamespaces, shard)
	if err != nil {
		return nil, err
	}
	serving := metricsserver.Options{BindAddress: o.MetricsBindAddress, SecureServing: o.MetricsSecure}
	if o.MetricsSecure {
		serving.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	electing := rest.CopyConfig(cfg)
	electing.Wrap(term.Watch)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         caches,
		Metrics:                       serving,
		HealthProbeBindAddress:        o.HealthProbeBindAddress,
		PprofBindAddress:              o.PprofBindAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName(o.WatchLabelSelector),
		LeaderElectionNamespace:       o.OperatorNamespace,
		LeaderElectionConfig:          electing,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	return mgr, errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping))
}

// leaseDuration is how long a standby waits for a leader that says nothing. It is what
// controller-runtime would take, too; but here it must be known.
const leaseDuration = 15 * time.Second

// leaseName tells shards apart.
func leaseName(selector string) string {
	if selector == "" {
		return "providertoken-operator"
	}
	sum := sha256.Sum256([]byte(selector))
	return "providertoken-operator-" + hex.EncodeToString(sum[:4])
}

// assemble puts the parts together.
func assemble(ctx context.Context, mgr ctrl.Manager, cfg *rest.Config, history *controller.History, term *lease.Term, o options.Options, catalog *provider.Catalog) (settle func(context.Context) error, err error) {
	live, err := client.New(cfg, client.Options{Scheme: mgr.GetScheme(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	now := clock.RealClock{}
	var leads func() bool
	if o.LeaderElect {
		leads = term.Running
	}
	exchanger, err := exchange.New(exchange.Options{
		UserAgent: userAgent(o.ClusterName), EgressProxy: o.EgressProxy, AllowNetworks: o.AllowNetworks, Internal: clusterAddresses(cfg.Host, os.Getenv), Clock: now,
		MaySend: leads,
	})
	if err != nil {
		return nil, err
	}
	counters, err := metrics.New(ctrlmetrics.Registry)
	if err != nil {
		return nil, err
	}
	return controller.Setup(ctx, mgr, controller.Parts{
		Config: cfg, Live: live, Namespaces: o.WatchNamespaces, OperatorNamespace: o.OperatorNamespace,
		Catalog: catalog, Exchanger: exchanger, Clock: now, Metrics: counters, Sharded: o.WatchLabelSelector != "", History: history, Leads: leads,
		Options: controller.Options{
			InlineProviders:         o.InlineProviders,
			ClusterProviders:        len(o.WatchNamespaces) == 0,
			MaxConcurrentReconciles: o.MaxConcurrentReconciles,
			Propagation:             o.Propagation,
			PropagationRate:         o.PropagationRate,
			WorkloadIdentity:        o.WorkloadIdentity,
			APIAudiences:            o.APIAudiences,
		},
	})
}

// clusterAddresses are those by which the operator itself reaches the API server.
func clusterAddresses(host string, env func(string) string) []netip.Addr {
	candidates := []string{env("KUBERNETES_SERVICE_HOST"), host}
	if u, err := url.Parse(host); err == nil && u.Host != "" {
		candidates = append(candidates, u.Hostname())
	}
	var found []netip.Addr
	for _, c := range candidates {
		if a, err := netip.ParseAddr(c); err == nil && !slices.Contains(found, a) {
			found = append(found, a)
		}
	}
	return found
}

func userAgent(cluster string) string {
	agent := "providertoken-operator/" + version
	if cluster != "" {
		agent += " (" + cluster + ")"
	}
	return agent
}
