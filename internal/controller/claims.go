package controller

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Leader election keeps two processes of one operator apart. Two operators that select
// the same ProviderToken, for the moment in which it goes from one shard to another or
// because somebody wrote selectors that overlap, are kept apart by a claim in its
// status: whoever finds another one's name there leaves the mint to that one, and takes
// over when the token is not replaced in time.

// claim is what this process remembers of who serves a ProviderToken.
type claim struct {
	// seen is true once it was looked at, and foreign while another operator serves it.
	seen, foreign bool
	// cause is what an exchange would be for that is left to the other operator, until when,
	// and how often that was in vain.
	cause string
	until time.Time
	vain  int
}

// tenure is who serves a ProviderToken.
type tenure struct {
	// serves is true where this operator does: it mends the target and writes status.
	serves bool
	// by is its name, where claims are in use.
	by string
	// until is when an exchange may begin that another operator might have under way; zero
	// when at once.
	until time.Time
}

const (
	// handover is how long a token takes from an exchange's end until others see it, and a
	// moment more.
	handover = 5 * time.Second
	// courtesyMax bounds the doubling times for which two operators leave to each other what
	// neither of them can get.
	courtesyMax = 10 * time.Minute
)

// tenure finds out who serves the object of f. It is ours when nobody says so, when we
// said so, and when we see it for the first time: then it came from another shard, whose
// operator may still have an exchange under way, or selectors overlap, and the latest
// process wins. It is another operator's when that one put its name over ours.
func (r *Reconciler) tenure(f *facts) tenure {
	if r.Identity == "" {
		return tenure{serves: true}
	}
	last, holder := f.mem.claim, f.pt.Status.ServedBy
	t, next := tenure{serves: true, by: r.Identity}, last
	next.seen, next.foreign = true, false
	switch {
	case holder == "" || holder == r.Identity:
	case !last.seen:
		if f.live() {
			next.until = f.now.Add(f.courtesy())
		}
	case f.need() == "" || f.pt.Spec.Suspend || f.blocked != nil || f.unwritable != nil:
		t.serves, next.foreign = false, true
	default:
		next.foreign = true
		if cause := f.cause(); cause != last.cause {
			next.cause, next.vain, next.until = cause, 0, f.now.Add(f.courtesy())
		} else if !last.foreign { // we took over, got nothing either, and lost it again
			next.vain++
			next.until = f.now.Add(min(f.courtesy()<<min(next.vain, 8), courtesyMax))
		}
		t.serves = !f.now.Before(next.until)
	}
	if f.now.Before(next.until) {
		t.until = next.until
	}
	if next != last {
		r.memory.update(f.pt.UID, func(m *recollection) { m.claim = next })
	}
	return t
}

// courtesy is the time in which another operator can bring an exchange to its end that
// it has begun; half of what remains of a token that would not live that long.
func (f *facts) courtesy() time.Duration {
	if !f.live() {
		return patience(time.Time{}, f.now) + handover
	}
	expires := f.held.Token.ExpiresAt
	return min(patience(expires, f.now)+handover, expires.Sub(f.now)/2)
}

// cause tells one wish for a token from the next.
func (f *facts) cause() string {
	issued := ""
	if f.held != nil {
		issued = stamp(f.held.Token.IssuedAt)
	}
	return strings.Join([]string{issued, f.inputs, f.request()}, "|")
}

// yields tells that an exchange is left to another operator for now.
func (f *facts) yields() bool { return !f.tenure.serves || f.now.Before(f.tenure.until) }

// leaves tells that nothing is to be done but to look again. A token that is there all
// the same is published: it was on its way when the other operator began.
func (r *Reconciler) leaves(ctx context.Context, f *facts) bool {
	if f.tenure.serves || f.mem.minted != nil {
		return false
	}
	r.Scheduler.Cancel(string(f.pt.UID))
	if !f.tenure.until.IsZero() && f.mem.claim.cause != f.cause() {
		const text = "operator %s serves this ProviderToken, and %s selects it, too; correct --watch-label-selector or --watch-namespaces of one of them, or the labels here"
		r.Events.Eventf(f.pt, nil, corev1.EventTypeWarning, v1alpha1.ReasonServedByAnother, "Refresh", text, f.pt.Status.ServedBy, r.Identity)
		log.FromContext(ctx).Info("another operator serves this ProviderToken; this one would take over if its token were not replaced in time", "servedBy", f.pt.Status.ServedBy)
	}
	return true
}

// claimed tells that another operator put its name on a ProviderToken.
func (r *Reconciler) claimed(before, now client.Object) bool {
	was, ok := before.(*v1alpha1.ProviderToken)
	is, also := now.(*v1alpha1.ProviderToken)
	return ok && also && is.Status.ServedBy != was.Status.ServedBy && is.Status.ServedBy != r.Identity
}

// claim puts the operator's name in place of another one's.
func (t tenure) claim(next *v1alpha1.ProviderTokenStatus) {
	if next.ServedBy != "" {
		t.sign(next)
	}
}

// sign puts the operator's name into a status that is written anyway: an upgrade writes none.
func (t tenure) sign(next *v1alpha1.ProviderTokenStatus) {
	if t.by != "" {
		next.ServedBy = t.by
	}
}

// targetsOf selects the targets of a shard's ProviderTokens; all when their labels do not
// tell.
func targetsOf(shard labels.Selector) []labels.Requirement {
	if shard == nil {
		return nil
	}
	requirements, _ := shard.Requirements()
	if slices.ContainsFunc(requirements, func(q labels.Requirement) bool { return q.Key() != v1alpha1.ShardLabel }) {
		return nil
	}
	return requirements
}
