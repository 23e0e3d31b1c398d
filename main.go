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
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
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
	"github.com/providertoken/operator/internal/audit"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/lease"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/options"
	"github.com/providertoken/operator/internal/process"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/traces"

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
	process.Collect(env)
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
	watch, err := newWatching(ctx, o, out)
	if err != nil {
		return err
	}
	settle, err := assemble(ctx, mgr, cfg, history, term, o, catalog, watch)
	if err != nil {
		return err
	}
	return errors.Join(mgr.Start(ctx), finish(settle), watch.close())
}

// watching is what tells others of the operator's work, besides its log.
type watching struct {
	audit  *audit.Log
	file   io.Closer
	tracer *traces.Tracer
}

// newWatching opens what o asks for. stdout takes the audit log where it says so.
func newWatching(ctx context.Context, o options.Options, stdout io.Writer) (watching, error) {
	var w watching
	var out io.Writer
	switch o.AuditLog {
	case "":
	case options.AuditStdout:
		out = stdout
	case options.AuditStderr:
		out = os.Stderr
	default:
		f, err := os.OpenFile(o.AuditLog, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return w, fmt.Errorf("--audit-log: %w; name a file in a volume that the operator may write to", err)
		}
		out, w.file = f, f
	}
	if out != nil {
		w.audit = audit.New(out, func(err error) { ctrl.Log.Error(err, "an exchange is missing from the audit log") })
	}
	if o.OTLPEndpoint == "" {
		return w, nil
	}
	var err error
	w.tracer, err = traces.New(ctx, o.OTLPEndpoint, version, clock.RealClock{}.Now)
	return w, err
}

// tracesPatience is how long a process that ends waits for a collector to take what is left.
const tracesPatience = 3 * time.Second

func (w watching) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), tracesPatience)
	defer cancel()
	if err := w.tracer.Close(ctx); err != nil {
		ctrl.Log.Info("the last traces could not be sent; is --otlp-endpoint right?")
	}
	if w.file != nil {
		return w.file.Close()
	}
	return nil
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
	shard, err := shardOf(o)
	if err != nil {
		return nil, err
	}
	caches, err := controller.CacheOptions(o.WatchNamespaces, shard)
	if err != nil {
		return nil, err
	}
	serving := metricsserver.Options{BindAddress: o.MetricsBindAddress, SecureServing: o.MetricsSecure}
	if o.MetricsSecure {
		serving.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	recorder := &lateRecorder{}
	lock, err := newLock(cfg, term, recorder, o)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                 scheme,
		Cache:                  caches,
		Metrics:                serving,
		HealthProbeBindAddress: o.HealthProbeBindAddress,
		PprofBindAddress:       o.PprofBindAddress,
		LeaderElection:         o.LeaderElect,
		LeaderElectionID:       leaseName(o.WatchLabelSelector),
		// Released after everything has ended, also the exchanges that are on their way.
		LeaderElectionReleaseOnCancel:       true,
		LeaderElectionResourceLockInterface: lock,
		LeaseDuration:                       new(leaseDuration),
		RenewDeadline:                       new(renewDeadline),
		RetryPeriod:                         new(standbyPeriod),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up the manager: %w", err)
	}
	recorder.to = mgr.GetEventRecorderFor("providertoken-leader-election") //nolint:staticcheck // leader election knows no other
	return mgr, errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping))
}

const (
	// leaseDuration is how long a standby waits for a leader that says nothing. It is what
	// controller-runtime would take, too; but here it must be known. So is renewDeadline,
	// after which a leader gives up.
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	// leaderPeriod is the time between two renewals, and standbyPeriod between two looks of
	// a standby, which take up to 2.2 times that.
	leaderPeriod  = 2 * time.Second
	standbyPeriod = 500 * time.Millisecond
)

// newLock makes the lock of the leader election.
func newLock(cfg *rest.Config, term *lease.Term, recorder resourcelock.EventRecorder, o options.Options) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("finding the name of this host, for the leader election: %w", err)
	}
	electing := rest.AddUserAgent(rest.CopyConfig(cfg), "leader-election") // which changes what it gets
	electing.Wrap(term.Watch)
	electing.Timeout = renewDeadline / 2 // one request that hangs must not cost the Lease
	clients, err := kubernetes.NewForConfig(electing)
	if err != nil {
		return nil, fmt.Errorf("making a client for the leader election: %w", err)
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, o.OperatorNamespace, leaseName(o.WatchLabelSelector), clients.CoreV1(), clients.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: host + "_" + uuid.NewString(), EventRecorder: recorder})
	if err != nil {
		return nil, fmt.Errorf("setting up the leader election: %w", err)
	}
	return &lease.Sparing{Interface: lock, Every: leaderPeriod, Now: clock.RealClock{}.Now}, nil
}

// lateRecorder makes the events of the leader election, which needs one before there is
// the manager that has it.
type lateRecorder struct{ to resourcelock.EventRecorder }

// Eventf implements resourcelock.EventRecorder.
func (r *lateRecorder) Eventf(o runtime.Object, kind, reason, message string, args ...any) {
	if r.to != nil {
		r.to.Eventf(o, kind, reason, message, args...)
	}
}

// shardOf is what selects the ProviderTokens; nil for all.
func shardOf(o options.Options) (labels.Selector, error) {
	if o.WatchLabelSelector == "" {
		return nil, nil
	}
	shard, err := labels.Parse(o.WatchLabelSelector)
	if err != nil {
		return nil, fmt.Errorf("--watch-label-selector: %w", err)
	}
	return shard, nil
}

// leaseName tells shards apart. The operator that takes what no other shard names has the
// same Lease as one without shards, and a longer list of others does not change it: so
// what was rolled out before ends before what is rolled out now begins.
func leaseName(selector string) string {
	const name = "providertoken-operator"
	shard, err := labels.Parse(selector)
	if err != nil || shard.Empty() {
		return name // a selector that cannot be read ends the process elsewhere
	}
	if all, _ := shard.Requirements(); len(all) == 1 && all[0].Key() == v1alpha1.ShardLabel {
		values := all[0].ValuesUnsorted()
		switch q := all[0]; {
		case q.Operator() == selection.NotIn, q.Operator() == selection.NotEquals, q.Operator() == selection.DoesNotExist:
			return name
		case len(values) == 1 && len(validation.IsDNS1123Label(values[0])) == 0:
			return name + "-shard-" + values[0]
		}
	}
	sum := sha256.Sum256([]byte(selector))
	return "providertoken-operator-" + hex.EncodeToString(sum[:4])
}

// assemble puts the parts together.
func assemble(ctx context.Context, mgr ctrl.Manager, cfg *rest.Config, history *controller.History, term *lease.Term, o options.Options, catalog *provider.Catalog, watch watching) (settle func(context.Context) error, err error) {
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
	counters, err := metrics.NewWith(ctrlmetrics.Registry, metrics.Options{
		Aggregated: !o.ObjectMetrics, Version: version, Commit: commit, GoVersion: goruntime.Version(),
	})
	if err != nil {
		return nil, err
	}
	shard, err := shardOf(o)
	if err != nil {
		return nil, err
	}
	return controller.Setup(ctx, mgr, controller.Parts{
		Config: cfg, Live: live, Namespaces: o.WatchNamespaces, OperatorNamespace: o.OperatorNamespace,
		Catalog: catalog, Exchanger: exchanger, Clock: now, Metrics: counters, Audit: watch.audit, Tracer: watch.tracer, Shard: shard, Identity: o.OperatorNamespace + "/" + leaseName(o.WatchLabelSelector), History: history, Leads: leads,
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
