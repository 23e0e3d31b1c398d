package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/target"
)

// publish brings the target to where it should be, with at most one write: the
// token that was just minted, or a repair with the one at hand. A token that was
// minted stays in memory until it is published or the spec changes.
func (r *Reconciler) publish(ctx context.Context, f *facts) error {
	r.store(ctx, f)
	if f.unstoredProblem() != nil {
		return nil
	}
	err := r.publishOnce(ctx, f)
	if te := (*target.Error)(nil); errors.As(err, &te) && te.Reason == target.Conflict {
		// The observation was old. Another process may have published a newer token
		// meanwhile, as happens to a leader that slept while it lost its lease.
		if err := r.observeLive(ctx, f); err != nil {
			return err
		}
		err = r.publishOnce(ctx, f)
	}
	if errors.Is(err, errDeparted) {
		return nil // the watch will say so, too
	}
	return err
}

// publishOnce decides what the target should hold, and writes that at most once.
func (r *Reconciler) publishOnce(ctx context.Context, f *facts) error {
	content, fresh := r.content(f)
	if content == nil || f.unwritable != nil {
		return nil
	}
	want, err := r.render(f, content)
	if err != nil {
		return r.refuse(f, err, fresh)
	}
	if !fresh && (f.lagging || f.have != nil && target.Matches(f.have, want)) {
		return nil
	}
	// A write whose answer was lost is recognised, and not made again.
	saved := f.have
	if saved == nil || !target.Matches(saved, want) {
		if err := r.mayWrite(ctx, f, want, fresh); err != nil {
			return err
		}
		_, span := r.Tracer.Continue(ctx, string(f.pt.UID), "publish", f.traced())
		saved, err = r.Writer.Apply(ctx, f.have, want)
		span.End(failureClass(err))
		if err != nil {
			return r.refuse(f, err, fresh)
		}
	}
	log.FromContext(ctx).Info("wrote the target", "secret", saved.Name, "fresh", fresh, "expires", stamp(content.Token.ExpiresAt))
	r.published(f, saved, content, fresh)
	return nil
}

// render makes the Secret for content. Where a template left the token
// unreadable, all that can be mended is what surrounds the data.
func (r *Reconciler) render(f *facts, content *target.Content) (*corev1.Secret, error) {
	if content.Token.Access.IsZero() {
		return target.Repair(f.pt, f.have)
	}
	return target.Render(f.pt, *content)
}

// refuse notes why the target cannot be written; an error is worth a prompt retry.
func (r *Reconciler) refuse(f *facts, err error, fresh bool) error {
	var te *target.Error
	if errors.As(err, &te) && te.Reason == target.InvalidToken {
		if fresh {
			r.discard(f)
		}
		return nil
	}
	if f.unwritable = f.refusedProblem(err); f.unwritable != nil {
		return nil
	}
	return fmt.Errorf("publishing the token: %w", err)
}

// discard drops a token that no Secret can hold, and counts it as a failed exchange.
func (r *Reconciler) discard(f *facts) {
	failed := &failure{
		err: &provider.Error{
			Kind:    provider.Unavailable,
			Problem: "the provider issued a token that cannot be written into a Secret",
			Fix:     "check response.accessToken in the provider's definition",
		},
		attempt: 1, at: f.now, basis: f.basis(),
	}
	f.mem.minted, f.mem.failure = nil, failed
	r.memory.update(f.pt.UID, func(m *recollection) { m.minted, m.failure = nil, failed })
}

// content is what the target should hold, and whether it is a new token; nil when
// there is nothing to say.
func (r *Reconciler) content(f *facts) (content *target.Content, fresh bool) {
	if m := f.mem.minted; m != nil {
		expired := !f.now.Before(m.token.ExpiresAt)
		if m.inputs == f.inputs && !expired && !f.overtaken(m) {
			return f.fresh(m), true
		}
		// One that expired while the API server would not have it is worth nothing. The
		// next one is not asked for before a rehearsal says that it can be written.
		r.memory.update(f.pt.UID, func(mem *recollection) { mem.minted, mem.undelivered = nil, mem.undelivered || expired })
		f.mem.minted, f.mem.undelivered = nil, f.mem.undelivered || expired
	}
	if !f.live() || f.held.Token.Access.IsZero() && f.have == nil {
		return nil, false
	}
	repair := f.held.WithLivePrevious(f.now)
	if !f.keepsPrevious() {
		repair = repair.WithoutPrevious()
	}
	repair.RefreshAt = f.refreshAt()
	return &repair, false
}

// overtaken tells whether the target holds a token for the same spec that was issued
// after m, and was not there when m was asked for: another process, which leads in
// place of this one, published it. That alone would not do, since clocks can be set back.
func (f *facts) overtaken(m *minted) bool {
	return f.live() && f.held.Inputs == f.inputs &&
		f.held.Token.IssuedAt.After(m.token.IssuedAt) && f.held.Token.IssuedAt.After(m.replaces)
}

// fresh is what the target should hold now that m was minted.
func (f *facts) fresh(m *minted) *target.Content {
	handled := m.request
	if handled == "" && f.held != nil {
		handled = f.held.HandledRefresh
	}
	c := target.Content{
		Token: m.token, Inputs: m.inputs, HandledRefresh: handled,
		RefreshAt: refreshAt(f.pt, m.token.IssuedAt, m.token.ExpiresAt),
	}
	// A token for another spec is not kept: whoever tries it would show one
	// provider's token to another, or use scopes that were taken back.
	if f.keepsPrevious() && f.current() {
		c = c.Succeeding(*f.held, f.now)
	}
	return &c
}

// keepsPrevious tells whether the spec wants the token that was replaced to stay.
func (f *facts) keepsPrevious() bool { return f.pt.Spec.Target != nil && f.pt.Spec.Target.KeepPrevious }

// errDeparted means that the ProviderToken is being deleted, is gone, or is another shard's.
var errDeparted = errors.New("the ProviderToken is being deleted, or belongs to another shard")

// mayWrite asks the API server what has become of the ProviderToken where the watch may
// be late, and a write could undo what somebody else just did:
//   - A target is put back that is gone. A Secret that goes with its ProviderToken must not
//     come back.
//   - An owner reference is added to a target that lacks it. Whoever deletes a ProviderToken
//     with --cascade=orphan has the reference removed to keep the Secret: put back, it would
//     let the garbage collector take the Secret.
//   - The target gets another shard's label. The operator of the shard that a ProviderToken
//     just left would take back what that of its new one wrote, and so on in turns. (A new
//     token is published all the same, rather than kept until the watch has caught up.)
func (r *Reconciler) mayWrite(ctx context.Context, f *facts, want *corev1.Secret, fresh bool) error {
	shard := f.pt.Labels[v1alpha1.ShardLabel]
	var doubtful bool
	if have := f.have; have == nil {
		doubtful = f.mem.published != nil
	} else {
		owns := slices.ContainsFunc(have.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == f.pt.UID })
		doubtful = len(want.OwnerReferences) > 0 && !owns || !fresh && have.Labels[v1alpha1.ShardLabel] != shard
	}
	if !doubtful {
		return nil
	}
	var live v1alpha1.ProviderToken
	err := r.Live.Get(ctx, f.name, &live)
	switch {
	case apierrors.IsNotFound(err):
		return errDeparted
	case err != nil:
		return fmt.Errorf("reading ProviderToken: %w", err)
	case live.UID != f.pt.UID || !live.DeletionTimestamp.IsZero() || !fresh && live.Labels[v1alpha1.ShardLabel] != shard:
		return errDeparted
	}
	return nil
}

// published remembers a write, so that a cache that lags behind is not believed.
func (r *Reconciler) published(f *facts, saved *corev1.Secret, content *target.Content, fresh bool) {
	f.repaired = !fresh && f.have == nil || !fresh && !f.seen.Intact
	if f.refreshed = fresh; fresh {
		left, replaced := f.validityLeft()
		r.Metrics.Published(f.origin.Label(), left, replaced)
		r.countLateness(f)
	}
	f.have, f.seen, f.held = saved, target.Observe(f.pt, saved), content
	p := &published{resourceVersion: saved.ResourceVersion, content: *content}
	f.mem.published = p
	if fresh {
		f.mem.minted, f.mem.failure = nil, nil
	}
	r.memory.update(f.pt.UID, func(m *recollection) {
		m.published, m.undelivered = p, false
		if fresh && m.minted != nil && m.minted.token.IssuedAt.Equal(content.Token.IssuedAt) {
			m.minted, m.failure, m.attempt = nil, nil, nil
		}
	})
}

// probe asks the API server, without writing, whether a target could be written that
// does not exist yet, or that could not be written last time: a quota or an admission
// policy that refuses it is found before a token is minted for nothing.
func (r *Reconciler) probe(ctx context.Context, f *facts) error {
	known := f.have != nil || f.mem.published != nil
	if known && !f.mem.undelivered || f.unwritable != nil {
		return nil
	}
	tried := false
	sample, err := target.Sample(f.pt)
	if err == nil {
		tried, err = r.Writer.Rehearse(ctx, f.have, sample)
	}
	if f.unwritable = f.refusedProblem(err); f.unwritable != nil {
		return nil
	}
	var te *target.Error
	switch {
	case errors.As(err, &te) && te.Reason == target.Conflict:
		f.unseen = !f.looked // it exists by now, or is another than it was
		return nil
	case err != nil:
		return fmt.Errorf("rehearsing the target: %w", err)
	}
	if f.unseen && tried {
		f.unseen = false // what could be created is not there: as good as a live read
		r.memory.update(f.pt.UID, func(m *recollection) { m.looked = true })
	}
	return nil
}
