package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	// farewell is how long a process that ends in good order tries to publish what its last
	// exchanges brought. The next leader waits for that.
	farewell = 8 * time.Second
	// farewellPause is the time between two rounds of it. Both are real time: the process
	// ends by it.
	farewellPause = 200 * time.Millisecond
)

// exchange runs the scheduler, and after its end brings home the tokens that were on
// their way: the work queue takes nothing any more by then, and whoever leads next would
// ask for them again. The Lease is released afterwards.
func (r *Reconciler) exchange(ctx context.Context) error {
	err := r.Scheduler.Run(ctx)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	left := r.memory.waiting()
	_ = wait.PollUntilContextCancel(ending, farewellPause, true, func(ctx context.Context) (bool, error) {
		if !r.deposed() {
			left = r.bringHome(ctx, left)
		}
		return len(left) == 0 || r.deposed(), nil
	}) // what is left then was told by Reconcile's error
	return err
}

// bringHome reconciles each once more, and returns those for which the API server failed.
func (r *Reconciler) bringHome(ctx context.Context, names []types.NamespacedName) []types.NamespacedName {
	var all sync.WaitGroup
	failed := make([]bool, len(names))
	workers := make(chan struct{}, max(r.Options.MaxConcurrentReconciles, 1))
	for i, name := range names {
		workers <- struct{}{}
		all.Go(func() {
			defer func() { <-workers }()
			if _, err := r.Reconcile(ctx, reconcile.Request{NamespacedName: name}); err != nil {
				r.Log.Error(err, "publishing a token before the end of this process", "providertoken", name)
				failed[i] = true
			}
		})
	}
	all.Wait()
	var left []types.NamespacedName
	for i, name := range names {
		if failed[i] {
			left = append(left, name)
		}
	}
	return left
}

// waiting names the objects with a token that is not published yet.
func (m *memory) waiting() []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []types.NamespacedName
	for name, uid := range m.byName {
		if rec := m.byUID[uid]; rec != nil && rec.minted != nil {
			names = append(names, name)
		}
	}
	return names
}

// known returns what is remembered under a name.
func (m *memory) known(name types.NamespacedName) (types.UID, recollection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uid := m.byName[name]
	if rec := m.byUID[uid]; rec != nil {
		return uid, *rec
	}
	return uid, recollection{}
}

// depart ends the work for a ProviderToken that the cache does not show any more: it is
// gone, or its labels put it into another shard. What was on its way for one that is still
// there is published first, for nobody else has it.
func (r *Reconciler) depart(ctx context.Context, name types.NamespacedName) error {
	uid, rec := r.memory.known(name)
	r.alarms.Set(name, time.Time{})
	r.Metrics.Forget(name.Namespace, name.Name)
	if r.Scheduler.Cancel(string(uid)) {
		// The end of the exchange lets somebody look again; and should the object come back
		// before, it is seen for the first time.
		r.memory.update(uid, func(m *recollection) { m.claim = claim{} })
		return nil
	}
	if rec.minted != nil && !rec.gone {
		if err := r.deliver(ctx, name, uid); err != nil {
			return err
		}
	}
	r.forget(name)
	return nil
}

// deliver publishes the token of a ProviderToken that belongs to another shard by now.
func (r *Reconciler) deliver(ctx context.Context, name types.NamespacedName, uid types.UID) error {
	ctx, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	var pt v1alpha1.ProviderToken
	err := r.Live.Get(ctx, name, &pt)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading ProviderToken: %w", err)
	case pt.UID != uid || !pt.DeletionTimestamp.IsZero():
		return nil
	}
	f, err := r.gather(ctx, &pt)
	if err != nil {
		return err
	}
	return r.publish(ctx, f)
}
