package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/alarms"
	"github.com/providertoken/operator/internal/audit"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/propagation"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/provisioning"
	"github.com/providertoken/operator/internal/rotation"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/traces"
	"github.com/providertoken/operator/internal/workload"
)

// Options of a Reconciler.
type Options struct {
	// InlineProviders allows spec.provider.
	InlineProviders bool
	// ClusterProviders allows references to ClusterTokenProviders, which need a cluster-wide informer.
	ClusterProviders bool
	// MaxConcurrentReconciles is the number of workers.
	MaxConcurrentReconciles int
	// Propagation tells pods of changed targets.
	Propagation bool
	// PropagationRate bounds the pods that are told in a second.
	PropagationRate int
	// WorkloadIdentity lets tokens of ServiceAccounts stand for stored credentials.
	WorkloadIdentity bool
	// APIAudiences are further audiences of the API server, never served.
	APIAudiences []string
	// APIPatience bounds the requests to the API server of one reconcile, and once more
	// the write of its status; 30 s when zero.
	APIPatience time.Duration
}

// apiPatience is APIPatience when it is left out. Requests that are never answered must
// not occupy the workers, and client-go waits as long as a Retry-After says.
const apiPatience = 30 * time.Second

// Reconciler keeps ProviderTokens fresh. All fields but Audit, Tracer, Leads, Identity, Propagation and Workload are required.
type Reconciler struct {
	// Client reads ProviderTokens, providers and CA bundles from the cache, and writes status.
	Client client.Client
	// Live reads ProviderTokens where the cache could be late.
	Live client.Reader
	// Credentials reads labelled credential Secrets from their own cache.
	Credentials client.Reader
	// Targets reads labelled target Secrets from their own cache.
	Targets client.Reader
	// Writer is the only way to a target.
	Writer *target.Writer
	// Catalog holds the built-in providers.
	Catalog *provider.Catalog
	// Exchanger talks to providers.
	Exchanger Exchanger
	// Scheduler says when an exchange may begin.
	Scheduler *exchange.Scheduler
	// Logins keeps accounts from being locked.
	Logins *Logins
	// Provisioned keeps credentials that providers make once.
	Provisioned *provisioning.Keeper
	// Rotation keeps refresh tokens that are themselves the credential.
	Rotation *rotation.Book
	// Clock is the only source of time.
	Clock clock.WithDelayedExecution
	// Events takes one event for each incident that may repeat itself.
	Events events.EventRecorder
	// News takes one event for each transition of a status.
	News events.EventRecorder
	// Metrics counts.
	Metrics *metrics.Metrics
	// Audit takes one line for each exchange; nil when nobody wants them.
	Audit *audit.Log
	// Tracer makes spans; nil when nobody wants them.
	Tracer *traces.Tracer
	// Leads tells whether nobody else can be the leader; nil where nobody else is.
	Leads func() bool
	// Identity tells this operator from others that may select the same ProviderTokens;
	// empty where there are none.
	Identity string
	// Log is for what happens outside of a reconcile.
	Log logr.Logger
	// Namespaces to work in; all when empty.
	Namespaces []string
	Options    Options
	// Propagation knows when pods were told; nil when they are not.
	Propagation *propagation.Teller
	// Workload gets tokens of ServiceAccounts; nil when that is not allowed.
	Workload *workload.Issuer

	memory  *memory
	alarms  *alarms.Alarms
	issuers issuers
	users   users
	// definitions were read before.
	definitions source.Definitions
}

// Reconcile brings one ProviderToken forward. It never waits for a provider.
//
// What the API server does not let it do is told in status, if that can be written, and
// tried again after the back-off of the work queue.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if r.deposed() {
		return reconcile.Result{RequeueAfter: retryFloor}, nil
	}
	var pt v1alpha1.ProviderToken
	if err := r.read(ctx, req.NamespacedName, &pt); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, r.depart(ctx, req.NamespacedName)
		}
		return reconcile.Result{}, fmt.Errorf("reading ProviderToken: %w", err)
	}
	if !pt.DeletionTimestamp.IsZero() {
		r.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}

	if r.memory.of(req.NamespacedName, pt.UID).gone {
		return reconcile.Result{}, nil
	}

	f, delayed := r.advance(ctx, &pt)
	if f == nil {
		return reconcile.Result{}, delayed
	}
	r.delay(f, delayed)
	r.greet(f)
	r.alarms.Set(req.NamespacedName, r.nextLook(f))
	telling, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	return reconcile.Result{}, errors.Join(delayed, r.report(telling, f))
}

// read gets a ProviderToken from the cache, with the status that this process wrote last.
// What the cache holds is shared: others replace fields of pt, and change none in place.
func (r *Reconciler) read(ctx context.Context, name types.NamespacedName, pt *v1alpha1.ProviderToken) error {
	uid, last := r.memory.told(name)
	if err := r.Client.Get(ctx, name, pt, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	if last == nil || pt.UID != uid {
		return nil
	}
	if older(pt.ResourceVersion, last.resourceVersion) {
		last.status.DeepCopyInto(&pt.Status) // the cache is late
		return nil
	}
	r.memory.shown(uid, pt.ResourceVersion)
	return nil
}

// advance does all but telling. There are no facts when they could not be read. An
// error is the API server's.
func (r *Reconciler) advance(ctx context.Context, pt *v1alpha1.ProviderToken) (*facts, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	f, err := r.gather(ctx, pt)
	if err != nil {
		return nil, err
	}
	if r.leaves(ctx, f) {
		return f, nil
	}
	if err := r.publish(ctx, f); err != nil {
		return f, err
	}
	if f.repaired {
		r.Events.Eventf(pt, nil, corev1.EventTypeNormal, v1alpha1.ReasonTargetRepaired, "Repair",
			"Secret %q was put back as it should be, with the same token", pt.TargetName())
	}
	return f, r.pursue(ctx, f)
}

func (r *Reconciler) patience() time.Duration { return cmp.Or(r.Options.APIPatience, apiPatience) }

// deposed tells that somebody else may lead by now: this process was stopped, or cut off
// from the API server, for longer than its Lease lasts. It must not act until it renewed
// the Lease; if it cannot, leader election ends it.
func (r *Reconciler) deposed() bool { return r.Leads != nil && !r.Leads() }

// forget drops everything about a ProviderToken that is gone. Its target is left
// to the garbage collector, or to its readers with deletionPolicy Retain.
func (r *Reconciler) forget(name types.NamespacedName) {
	r.alarms.Set(name, time.Time{})
	r.Metrics.Forget(name.Namespace, name.Name)
	if uid, known := r.memory.forget(name); known {
		r.Scheduler.Cancel(string(uid))
	}
}
