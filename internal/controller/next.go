package controller

import (
	"time"
)

const (
	// waitingGrace is how long an object may wait for others before that counts as
	// a failure: the time of a slow GitOps sync.
	waitingGrace = 10 * time.Minute
	// pollInterval is for obstacles that no watch tells of: a foreign target
	// carries no label, a quota is not ours.
	pollInterval = 30 * time.Second
)

// nextLook is the earliest instant at which something changes by itself; zero
// when only a watch can bring news. There is always one at the expiry of a token.
func (r *Reconciler) nextLook(f *facts) time.Time {
	var next time.Time
	consider := func(at time.Time) {
		if at.After(f.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if f.live() {
		consider(f.held.Token.ExpiresAt)
		consider(f.beginAt())
		consider(f.held.PreviousExpiresAt)
	}
	consider(f.tenure.until)
	consider(f.silentUntil())
	if f.need() != "" && !f.pt.Spec.Suspend {
		consider(f.retryAt())
		consider(f.turnAt())
	}
	consider(f.credentialNews())
	consider(f.storeAt())
	consider(f.keepAt())
	if !f.mem.delayed.IsZero() {
		consider(f.mem.delayed.Add(delayGrace))
	}
	if f.unwritable != nil {
		consider(f.now.Add(pollInterval))
	}
	if p := f.blocked; p != nil && p.Waiting {
		consider(p.since(f).Add(waitingGrace))
	}
	return next
}

// since is when the problem began: it survives restarts in status, and a changed
// spec begins anew.
func (p *problem) since(f *facts) time.Time {
	last := f.pt.Status.Failure
	if last == nil || f.pt.Status.ObservedGeneration != f.pt.Generation {
		return f.now
	}
	if last.Reason != p.Reason && (p.Late == "" || last.Reason != p.Late) {
		return f.now
	}
	return last.Since.Time
}

// late tells whether a Waiting problem outlasted its grace.
func (p *problem) late(f *facts) bool {
	return p.Waiting && !f.now.Before(p.since(f).Add(waitingGrace))
}

// reason is the problem's now.
func (p *problem) reason(f *facts) string {
	if p.late(f) {
		return p.Late
	}
	return p.Reason
}

// stuck tells whether only a person can help.
func (p *problem) stuck(f *facts) bool { return p.Stalled || p.late(f) }
