package controller

import (
	"context"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/schedule"
)

// report turns facts into status with at most one write, and then into events.
func (r *Reconciler) report(ctx context.Context, f *facts) error {
	told := r.status(f)
	r.measure(f, &told)
	f.tenure.claim(&told)
	if !f.tenure.serves || sameStatus(&f.pt.Status, &told) || r.canWait(f, told) {
		return nil
	}
	f.tenure.sign(&told)
	next := f.pt.DeepCopy()
	next.Status = told
	span := r.traceStatus(ctx, f)
	err := r.Client.Status().Patch(ctx, next, statusPatch{&f.pt.Status})
	span.End(failureClass(err))
	r.Metrics.StatusWritten(err)
	if err != nil {
		if apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
			r.bury(f)
			return nil
		}
		return fmt.Errorf("writing status: %w", err)
	}
	r.memory.update(f.pt.UID, func(m *recollection) {
		m.reported = &reported{resourceVersion: next.ResourceVersion, status: next.Status}
	})
	r.announce(f, next)
	return nil
}

// bury ends all work for a ProviderToken that is gone, while the watch has yet to say so.
func (r *Reconciler) bury(f *facts) {
	r.Scheduler.Cancel(string(f.pt.UID))
	r.alarms.Set(f.name, time.Time{})
	r.Metrics.Forget(f.name.Namespace, f.name.Name)
	r.Tracer.Finish(string(f.pt.UID))
	r.memory.update(f.pt.UID, func(m *recollection) { m.gone = true })
}

func (f *facts) expires() time.Time {
	if f.held == nil {
		return time.Time{}
	}
	return f.held.Token.ExpiresAt
}

// validityLeft is how long the token that is being replaced still had; zero when it had expired.
func (f *facts) validityLeft() (time.Duration, bool) {
	if f.held == nil {
		return 0, false
	}
	return max(f.held.Token.ExpiresAt.Sub(f.now), 0), true
}

// issuing is what keeps a needed token from being issued; nil when nothing does.
func (r *Reconciler) issuing(f *facts) *problem {
	if p := f.unstoredProblem(); p != nil {
		return p
	}
	if last := f.mem.failure; last != nil && (f.need() != "" || f.answers(last)) && last.basis == f.basis() {
		return last.problem(f.origin, f.host(), f.expires(), f.live())
	}
	if at := f.turnAt(); !at.IsZero() && !f.pt.Spec.Suspend && f.blocked == nil {
		return turnProblem(at)
	}
	if !r.wanted(f) {
		return nil
	}
	if p := r.queued(f); p != nil {
		return p
	}
	return f.carried()
}

// answers tells whether last is what came of the refresh that was requested last. A
// definite failure uses the request up, so that nothing is needed any more while the
// token lives; but whoever asked, and whoever is to mend it in time, must see it.
func (f *facts) answers(last *failure) bool {
	return last.request != "" && last.request == f.mem.handled && last.request == requested(f.pt)
}

// carried is the problem that status tells of, while another attempt is under
// way: after a restart or an edit it is not over before that attempt succeeds.
func (f *facts) carried() *problem {
	last := meta.FindStatusCondition(f.pt.Status.Conditions, v1alpha1.TokenIssuedCondition)
	if told := f.toldWithheld(); told != nil {
		last = told
	}
	if last == nil || last.Status != metav1.ConditionFalse || last.ObservedGeneration != f.pt.Generation {
		return nil
	}
	return &problem{
		Condition: last.Type, Reason: last.Reason, Message: last.Message,
		Stalled: meta.IsStatusConditionTrue(f.pt.Status.Conditions, v1alpha1.StalledCondition),
	}
}

// queued says why an exchange that could be made has to wait for its turn; nil
// when its turn is about to come.
func (r *Reconciler) queued(f *facts) *problem {
	until, probing := r.Scheduler.Paused(f.lane())
	if !probing && !until.After(f.now) {
		return nil
	}
	p := &problem{
		Condition: v1alpha1.TokenIssuedCondition,
		Reason:    v1alpha1.ReasonThrottled,
		Message:   fmt.Sprintf("%s at %s: the provider throttles requests; this one waits for its turn", f.origin.Name, f.host()),
	}
	if probing {
		p.Reason = v1alpha1.ReasonProviderUnavailable
		p.Message = fmt.Sprintf("%s at %s: other requests get no answer; this one waits until the provider is back", f.origin.Name, f.host())
	}
	if f.live() {
		return p.until(f.expires())
	}
	return p
}

// status projects the facts. It holds no instant that moves by itself.
func (r *Reconciler) status(f *facts) v1alpha1.ProviderTokenStatus {
	s := *f.pt.Status.DeepCopy()
	s.ObservedGeneration = f.pt.Generation
	s.SecretName = f.pt.TargetName()
	s.Refresh = effective(f.policy)
	s.Provider = f.providerStatus()
	s.Token, s.RefreshAt, s.CredentialExpiresAt = nil, nil, f.credentialExpiresAt()
	if f.held != nil {
		t := f.held.Token
		s.Token = &v1alpha1.TokenStatus{
			IssuedAt: metav1.NewTime(t.IssuedAt), ExpiresAt: metav1.NewTime(t.ExpiresAt),
			ExpirySource: string(t.ExpirySource), Type: shownType(t.Type), Scopes: t.Scopes,
		}
		if !f.pt.Spec.Suspend {
			at := metav1.NewTime(f.refreshAt())
			s.RefreshAt = &at
		}
		if f.held.HandledRefresh != "" {
			s.RefreshHandled = f.held.HandledRefresh
		}
	}
	if f.mem.handled != "" && f.mem.handled == requested(f.pt) {
		s.RefreshHandled = f.mem.handled
	}

	s.Propagation = r.propagated(f)
	issuing := r.issuing(f)
	s.Failure = f.failure(firstOf(f.blocked, f.unwritable, issuing))
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message,
			ObservedGeneration: f.pt.Generation, LastTransitionTime: metav1.NewTime(f.now),
		})
	}
	condition := func(kind string, p *problem, otherwise func()) {
		if p != nil && p.Condition == kind {
			set(kind, metav1.ConditionFalse, p.reason(f), p.Message)
			return
		}
		otherwise()
	}
	condition(v1alpha1.CredentialsResolvedCondition, firstOf(f.blocked, issuing), func() {
		if f.undecided() {
			set(v1alpha1.CredentialsResolvedCondition, metav1.ConditionUnknown, v1alpha1.ReasonProgressing,
				"whether the ServiceAccount permits it is found out with the first request")
			return
		}
		reason, message := f.resolution()
		set(v1alpha1.CredentialsResolvedCondition, metav1.ConditionTrue, reason, message)
	})
	condition(v1alpha1.TokenIssuedCondition, issuing, func() { f.issued(set) })
	condition(v1alpha1.SecretPublishedCondition, f.unwritable, func() { f.placed(set) })

	problem := firstOf(f.blocked, f.unwritable, issuing)
	isReady := f.ready()
	if isReady {
		set(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonReady,
			fmt.Sprintf("Secret %q holds a token that works", f.pt.TargetName()))
	} else {
		reason, message := f.notReady(problem)
		set(v1alpha1.ReadyCondition, metav1.ConditionFalse, reason, message)
	}
	f.kstatus(&s, isReady, problem, set)
	return s
}

// propagated tells when pods were last told of the target; of a time before this
// process, status itself is the only record.
func (r *Reconciler) propagated(f *facts) *v1alpha1.PropagationStatus {
	if r.Propagation == nil {
		return nil
	}
	told, known := r.Propagation.Report(client.ObjectKey{Namespace: f.pt.Namespace, Name: f.pt.TargetName()})
	if !known {
		return f.pt.Status.Propagation.DeepCopy()
	}
	return &v1alpha1.PropagationStatus{
		ToldAt: metav1.NewTime(told.At.UTC().Truncate(time.Second)),
		Pods:   int32(min(told.Pods, math.MaxInt32)), //nolint:gosec // bounded
	}
}

type setCondition func(kind string, status metav1.ConditionStatus, reason, message string)

func (f *facts) issued(set setCondition) {
	switch {
	case f.held != nil && f.live() && f.current():
		if schedule.LifetimeTooShort(f.held.Token.Lifetime(), f.policy) {
			set(v1alpha1.TokenIssuedCondition, metav1.ConditionTrue, v1alpha1.ReasonLifetimeTooShort, fmt.Sprintf(
				"%s issues tokens of %s, too short to be replaced %s before their end; mounted files, which follow with up to 90 s delay, may hold an expired one",
				f.origin.Name, f.held.Token.Lifetime(), f.policy.Effective().MinimumLead))
			return
		}
		set(v1alpha1.TokenIssuedCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued, f.origin.Name+" issued the token")
	case f.pt.Spec.Suspend:
		set(v1alpha1.TokenIssuedCondition, metav1.ConditionUnknown, v1alpha1.ReasonSuspended, "no token is asked for while spec.suspend is true")
	default:
		set(v1alpha1.TokenIssuedCondition, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "the token has not been issued yet")
	}
}

func (f *facts) placed(set setCondition) {
	switch {
	case f.inTarget():
		set(v1alpha1.SecretPublishedCondition, metav1.ConditionTrue, v1alpha1.ReasonPublished,
			fmt.Sprintf("Secret %q is as it should be", f.pt.TargetName()))
	case f.held != nil && !f.live():
		set(v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired,
			fmt.Sprintf("Secret %q holds an expired token", f.pt.TargetName()))
	default:
		set(v1alpha1.SecretPublishedCondition, metav1.ConditionUnknown, v1alpha1.ReasonProgressing,
			fmt.Sprintf("Secret %q has not been written yet", f.pt.TargetName()))
	}
}

// inTarget tells whether the target holds the held token, as far as is known.
func (f *facts) inTarget() bool {
	return f.live() && f.unwritable == nil && (f.lagging || f.seen.Exists && !f.seen.Foreign && f.seen.Intact)
}

// ready: the target now holds an unexpired token for this spec. A template or a
// target that cannot be written any more leaves what is there as it is.
func (f *facts) ready() bool {
	held := f.lagging || f.seen.Exists && !f.seen.Foreign && f.seen.Intact
	return f.live() && f.current() && held
}

// notReady says why, as somebody wants to read it who is woken by it.
func (f *facts) notReady(p *problem) (reason, message string) {
	because := ""
	if p != nil {
		because = ": " + p.Message
	}
	switch {
	case f.held != nil && !f.live():
		if f.pt.Spec.Suspend {
			because += "; refreshing is suspended: set spec.suspend to false"
		}
		return v1alpha1.ReasonTokenExpired, fmt.Sprintf("the token in Secret %q expired at %s%s", f.pt.TargetName(), stamp(f.expires()), because)
	case p != nil:
		return p.reason(f), p.Message
	case f.pt.Spec.Suspend:
		return v1alpha1.ReasonSuspended, "there is no token for this spec, and none is asked for while spec.suspend is true"
	case f.held != nil && !f.current():
		return v1alpha1.ReasonOutdated, fmt.Sprintf("the token in Secret %q was issued for an earlier spec; another one is on its way", f.pt.TargetName())
	case f.held != nil:
		return v1alpha1.ReasonProgressing, fmt.Sprintf("Secret %q is about to be written", f.pt.TargetName())
	default:
		return v1alpha1.ReasonNoToken, "the first token is on its way"
	}
}

// kstatus adds the conditions by which GitOps tools judge: Reconciling while
// something is still to come, Stalled when it will not come by itself. While the
// token works there is neither, so that a routine refresh never flickers and a
// failing one does not fail a sync.
func (f *facts) kstatus(s *v1alpha1.ProviderTokenStatus, isReady bool, p *problem, set setCondition) {
	stalled := !isReady && p != nil && p.stuck(f)
	if stalled {
		set(v1alpha1.StalledCondition, metav1.ConditionTrue, p.reason(f), p.Message)
	} else {
		removeCondition(&s.Conditions, v1alpha1.StalledCondition)
	}
	if isReady || stalled || f.pt.Spec.Suspend {
		removeCondition(&s.Conditions, v1alpha1.ReconcilingCondition)
		return
	}
	reason, message := f.notReady(p)
	set(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, reason, message)
}

func (f *facts) failure(p *problem) *v1alpha1.FailureStatus {
	if p == nil {
		return nil
	}
	return &v1alpha1.FailureStatus{Reason: p.reason(f), Since: metav1.NewTime(p.since(f).Truncate(time.Second))}
}

func (f *facts) providerStatus() *v1alpha1.ProviderStatus {
	s := &v1alpha1.ProviderStatus{Kind: string(f.origin.Kind), Name: f.origin.Name, Version: f.origin.Version}
	if f.resolved.TokenURL != "" {
		s.Method, s.Host, s.TokenURL = f.resolved.Method, f.resolved.Host(), f.resolved.TokenURL
	} else if last := f.pt.Status.Provider; last != nil && last.Kind == s.Kind && last.Name == s.Name {
		s.Method, s.Host, s.TokenURL = last.Method, last.Host, last.TokenURL
	}
	return s
}

func effective(p schedule.Policy) *v1alpha1.RefreshPolicy {
	e := p.Effective()
	return &v1alpha1.RefreshPolicy{
		AtPercent:       int32(min(e.AtPercent, 100)), //nolint:gosec // Effective keeps it within 0 and 100
		MinimumLead:     &metav1.Duration{Duration: e.MinimumLead},
		MinimumInterval: &metav1.Duration{Duration: e.MinimumInterval},
	}
}

func firstOf(problems ...*problem) *problem {
	for _, p := range problems {
		if p != nil {
			return p
		}
	}
	return nil
}

func ready(pt *v1alpha1.ProviderToken) bool {
	return meta.IsStatusConditionTrue(pt.Status.Conditions, v1alpha1.ReadyCondition)
}

// announce makes one event for each transition that a person may care about. Ready
// says what other conditions say, and more: where both turn for the same reason,
// that is one transition.
func (r *Reconciler) announce(f *facts, next *v1alpha1.ProviderToken) {
	turned := func(kind string) *metav1.Condition {
		was := meta.FindStatusCondition(f.pt.Status.Conditions, kind)
		is := meta.FindStatusCondition(next.Status.Conditions, kind)
		if is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason {
			return nil
		}
		return is
	}
	sum := turned(v1alpha1.ReadyCondition)
	for _, kind := range []string{v1alpha1.CredentialsResolvedCondition, v1alpha1.TokenIssuedCondition, v1alpha1.SecretPublishedCondition} {
		if is := turned(kind); is != nil && (sum == nil || sum.Reason != is.Reason) {
			r.warn(next, is)
		}
	}
	if sum == nil {
		return
	}
	if sum.Status == metav1.ConditionTrue {
		r.News.Eventf(next, nil, corev1.EventTypeNormal, sum.Reason, "Refresh", "%s", sum.Message)
		return
	}
	r.warn(next, sum)
}

// warn makes the event of a condition that turned false.
func (r *Reconciler) warn(pt *v1alpha1.ProviderToken, is *metav1.Condition) {
	if (is.Status == metav1.ConditionFalse || foreboding(is.Reason)) && !initial(is.Reason) {
		r.News.Eventf(pt, nil, severity(is.Reason), is.Reason, "Refresh", "%s", is.Message)
	}
}

// severity of an event: to wait for other objects of the same commit is normal.
func severity(reason string) string {
	switch reason {
	case v1alpha1.ReasonWaitingForCredentials, v1alpha1.ReasonWaitingForProvider, v1alpha1.ReasonSuspended:
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// initial reasons are the ordinary course of a new or edited object, and no news.
func initial(reason string) bool {
	switch reason {
	case v1alpha1.ReasonNoToken, v1alpha1.ReasonProgressing, v1alpha1.ReasonOutdated:
		return true
	}
	return false
}
