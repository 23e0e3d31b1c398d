package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/audit"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/propagation"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/provisioning"
	"github.com/providertoken/operator/internal/rotation"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/traces"
)

// sweepInterval is the time between two clearings of login records.
const sweepInterval = 24 * time.Hour

// Caps of exchanges in flight. A namespace may have 16 hosts that hang with all
// their connections without running into its own cap, and five such namespaces
// leave room for others.
const (
	perNamespace = 192
	inFlight     = 1024
)

// Clock is what the operator takes time from.
type Clock interface {
	clock.WithDelayedExecution
	exchange.AlarmClock
}

// Parts are what a manager's controller is made of. All fields but Namespaces, Audit, Tracer, History, Shard, Identity and Leads are required.
type Parts struct {
	// Config reaches the API server.
	Config *rest.Config
	// Live reads and writes without a cache.
	Live client.Client
	// Namespaces to work in; all when empty.
	Namespaces []string
	// OperatorNamespace holds the operator's own records.
	OperatorNamespace string
	Catalog           *provider.Catalog
	Exchanger         Exchanger
	// History stands between Config and the API server; nil when nothing does.
	History *History
	// Shard selects the ProviderTokens, and tells that other operators work in the same
	// namespace of their own; nil for all.
	Shard labels.Selector
	// Identity tells this operator from others, and is the same for all of its replicas;
	// empty where there are no others.
	Identity string
	Clock    Clock
	Metrics  *metrics.Metrics
	// Audit takes one line for each exchange; nil when nobody wants them.
	Audit *audit.Log
	// Tracer makes spans; nil when nobody wants them.
	Tracer *traces.Tracer
	// Leads tells whether nobody else can be the leader; nil where nobody else is.
	Leads   func() bool
	Options Options
}

// Setup puts the controller, its caches and its scheduler into mgr. To be called when
// mgr has ended for whatever reason, and before the process does: settle, which stores
// the refresh tokens that came back while the API server was away, or gives up with ctx.
func Setup(ctx context.Context, mgr ctrl.Manager, p Parts) (settle func(ctx context.Context) error, err error) {
	credentials, noCredentials := NewSecretCache(p.Config, mgr.GetScheme(), v1alpha1.CredentialsForLabel, p.Namespaces)
	targets, noTargets := NewSecretCache(p.Config, mgr.GetScheme(), v1alpha1.TargetLabel, p.Namespaces, targetsOf(p.Shard)...)
	if err := errors.Join(noCredentials, noTargets); err != nil {
		return nil, err
	}
	log := mgr.GetLogger().WithName("providertoken")
	logins := &Logins{
		Client: p.Live, Namespace: p.OperatorNamespace, Now: p.Clock.Now, Shared: p.Shard != nil,
		Issued: func(ctx context.Context, name types.NamespacedName) (time.Time, bool) {
			var s corev1.Secret
			if err := targets.Get(ctx, name, &s, client.UnsafeDisableDeepCopy); err != nil {
				return time.Time{}, false
			}
			return target.Issued(&s)
		},
	}
	announcer := newAnnouncer(p.Live, log)
	r := &Reconciler{
		Client:      mgr.GetClient(),
		Live:        p.Live,
		Credentials: credentials,
		Targets:     targets,
		Writer:      &target.Writer{Client: p.Live, Live: p.Live},
		Catalog:     p.Catalog,
		Exchanger:   p.Exchanger,
		Logins:      logins,
		Provisioned: &provisioning.Keeper{Client: p.Live},
		Rotation:    &rotation.Book{Client: p.Live, Now: p.Clock.Now},
		Clock:       p.Clock,
		Events:      mgr.GetEventRecorder(eventSource),
		News:        announcer,
		Metrics:     p.Metrics,
		Audit:       p.Audit,
		Tracer:      p.Tracer,
		Leads:       p.Leads,
		Identity:    p.Identity,
		Log:         log,
		Namespaces:  p.Namespaces,
		Options:     p.Options,
	}
	r.Scheduler = exchange.NewScheduler(exchange.SchedulerOptions{Clock: p.Clock, PerNamespace: perNamespace, Total: inFlight, Panicked: func(key string, _ any) {
		// What a panic says may hold a secret.
		log.Error(errPanicked, "an exchange panicked", "uid", key)
		r.recover(types.UID(key))
	}})
	sweep := manager.RunnableFunc(func(ctx context.Context) error {
		for {
			if err := logins.Sweep(ctx); err != nil {
				log.Error(err, "clearing old login records")
			}
			r.Rotation.Sweep()
			select {
			case <-ctx.Done():
				return nil
			case <-p.Clock.After(sweepInterval):
			}
		}
	})
	if p.History != nil {
		p.History.WentBack(func() {
			log.Info("the cluster was put back to an earlier state; everything is read anew")
			r.memory.rewind()
			r.definitions.Forget()
		})
	}
	if err := r.serveIdentities(ctx, p); err != nil {
		return nil, fmt.Errorf("setting up workload identity: %w", err)
	}
	if err := r.propagate(ctx, mgr, p, targets); err != nil {
		return nil, fmt.Errorf("setting up propagation into pods: %w", err)
	}
	err = errors.Join(
		mgr.Add(credentials), mgr.Add(targets),
		mgr.Add(manager.RunnableFunc(r.exchange)), mgr.Add(sweep), mgr.Add(announcer),
		r.SetupWithManager(mgr, credentials, targets),
	)
	if err != nil {
		return nil, fmt.Errorf("setting up the controller: %w", err)
	}
	return r.Rotation.SettleAll, nil
}

// propagate puts what tells pods into mgr, if that is wanted.
func (r *Reconciler) propagate(ctx context.Context, mgr ctrl.Manager, p Parts, targets *LabelCache) error {
	if !p.Options.Propagation {
		return nil
	}
	if err := propagation.Allowed(ctx, p.Live, p.Namespaces); err != nil {
		return err
	}
	pods, err := newPodCache(p.Config, mgr.GetScheme(), p.Namespaces)
	if err != nil {
		return err
	}
	r.Propagation = &propagation.Teller{
		Client: r.Client, Targets: targets, Pods: pods, Live: p.Live, Clock: p.Clock,
		Events: r.Events, Metrics: r.Metrics, PerSecond: p.Options.PropagationRate,
		Told: func(owner types.NamespacedName) { r.alarms.Wake(owner) },
	}
	return errors.Join(mgr.Add(pods), r.Propagation.SetupWithManager(ctx, mgr, targets, pods))
}

var errPanicked = errors.New("a bug in the operator; please report it with the lines around this one")
