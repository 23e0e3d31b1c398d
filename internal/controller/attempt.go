package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/rotation"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/token"
	"github.com/providertoken/operator/internal/workload"
)

// attemptsAfterPanic is what a panic counts for: it will most likely happen again.
const attemptsAfterPanic = 5

// Exchanger makes one HTTP exchange; *exchange.Client does.
type Exchanger interface {
	Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error)
}

// attempt is one try to get a token, with everything it needs: it runs outside
// of the reconcile, and reads nothing that may change meanwhile.
type attempt struct {
	r     *Reconciler
	name  types.NamespacedName
	uid   types.UID
	label string // of the provider, for metrics
	res   provider.Resolved
	trust exchange.Trust
	input provider.RequestInput
	// identity is the ServiceAccount whose token is a credential too, nil when there is
	// none; issued is that token, which lives no longer than the attempt.
	identity *identity
	issued   token.Secret
	inputs   string
	basis    string
	request  string
	// issuer is asked where the token endpoint is; nil when that is known anyway.
	issuer *issuer
	// provisioning is set when credentials are to be made instead of a token.
	provisioning *provisioningAttempt
	// target is the Secret that the token goes to.
	target types.NamespacedName
	// expires is when the token at hand does, and replaces when it was issued; zero when there is none.
	expires, replaces time.Time
	// knows is how many attempts had ended when this one was decided.
	knows uint64
	// origin and sources are what the audit log tells of it, and exchange the one under way.
	origin   string
	sources  provenance
	exchange *exchangeRecord
	// rotation is set where the refresh token is itself the credential.
	rotation *rotation.Want
}

// pursue sees to it that a needed token is on its way, and that one no longer needed is not.
func (r *Reconciler) pursue(ctx context.Context, f *facts) error {
	if !r.wanted(f) {
		r.Scheduler.Cancel(string(f.pt.UID))
		return nil
	}
	if r.stillWithheld(ctx, f) {
		return nil
	}
	if err := r.probe(ctx, f); err != nil || f.unwritable != nil {
		return err
	}
	if f.unseen { // the rehearsal did not show that there is no target
		if err := r.observeLive(ctx, f); err != nil {
			return err
		}
		if err := r.publish(ctx, f); err != nil {
			return err
		}
		return r.pursue(ctx, f)
	}
	a := &attempt{
		r: r, name: f.name, uid: f.pt.UID, label: f.origin.Label(),
		res: f.resolved, trust: f.trust, input: f.ask(), identity: f.identity,
		inputs: f.inputs, basis: f.basis(), request: f.request(),
		target: types.NamespacedName{Namespace: f.pt.Namespace, Name: f.pt.TargetName()},
		origin: f.origin.BoundTo(), sources: f.sources,
		issuer: f.issuer, provisioning: f.provisioning, rotation: f.rotationWant(), knows: f.mem.verdicts,
	}
	if f.live() {
		a.expires = f.held.Token.ExpiresAt
	}
	if f.held != nil {
		a.replaces = f.held.Token.IssuedAt
	}
	// The attempt is looked up when its turn comes: what it is made with may change in the queue.
	r.memory.update(f.pt.UID, func(m *recollection) { m.attempt, m.basis = a, a.basis })
	job := exchange.Job{
		Key: string(f.pt.UID), Host: f.lane(), Namespace: f.pt.Namespace,
		Limits: f.resolved.Limits, Run: r.run(f.pt.UID),
		Done: func() { r.alarms.Wake(a.name) },
	}
	job.Expires = a.expires
	cause := f.outOfTurn()
	if r.Scheduler.Submit(job) {
		if cause != "" {
			r.memory.update(f.pt.UID, func(m *recollection) { m.turns = m.turns.take(cause, f.now) })
		}
		log.FromContext(ctx).V(1).Info("asking for a token", "because", f.need(), "host", job.Host)
	}
	return nil
}

// lane is what shares limits and pauses: a host, or, where a namespace wrote the
// URL itself, that namespace's own view of it, so that it cannot slow down others.
func (f *facts) lane() string {
	if f.trust.PublicOnly {
		return f.pt.Namespace + "/" + f.host()
	}
	return f.host()
}

// run makes the latest attempt of an object, if it is still wanted. One that was
// decided before the last attempt ended is not: a reconcile can take long between
// gathering facts and asking, and what it asks for may have come meanwhile. The end
// of that attempt lets somebody decide anew.
func (r *Reconciler) run(uid types.UID) func(context.Context) exchange.Outcome {
	return func(ctx context.Context) exchange.Outcome {
		var a *attempt
		var verdicts uint64
		r.memory.update(uid, func(m *recollection) { a, m.attempt, verdicts = m.attempt, nil, m.verdicts })
		if a == nil || a.knows != verdicts || r.deposed() {
			return exchange.Outcome{Kind: provider.Input} // nothing was learnt about the provider
		}
		return a.run(ctx)
	}
}

// wanted tells whether an exchange should be under way now.
func (r *Reconciler) wanted(f *facts) bool {
	if f.need() == "" || f.mem.minted != nil || f.pt.Spec.Suspend || f.blocked != nil || f.unwritable != nil || f.yields() {
		return false
	}
	return (f.retryDue() || r.outage(f)) && f.turnAt().IsZero()
}

// outage tells that the host is down for all: then the attempt waits in the
// scheduler, which lets one through at a time, and not for its own back-off. So
// everybody is served as soon as the provider is back.
func (r *Reconciler) outage(f *facts) bool {
	last := f.mem.failure
	if last == nil || last.ours || last.err.Kind != provider.Unavailable {
		return false
	}
	_, down := r.Scheduler.Paused(f.lane())
	return down
}

// retryDue tells whether the last failure, if any, allows another attempt: its
// time has come, something that it depended on changed, or a person asks.
func (f *facts) retryDue() bool {
	last := f.mem.failure
	if last == nil || last.basis != f.basis() {
		return true
	}
	if f.now.Before(last.at.Add(-clockTolerance)) {
		return true // a clock was set back since, and would hold it for as long
	}
	if q := f.request(); q != "" && q != last.request {
		return true
	}
	at := f.retryAt()
	return !at.IsZero() && !f.now.Before(at)
}

func (f *facts) retryAt() time.Time {
	if f.mem.failure == nil {
		return time.Time{}
	}
	var expires time.Time
	if f.live() {
		expires = f.held.Token.ExpiresAt
	}
	return f.mem.failure.retryAt(expires, string(f.pt.UID))
}

// verdict is what came of an attempt.
type verdict struct {
	token token.Token
	// err is nil when there is a token.
	err *provider.Error
	// frozenUntil is set when the login is not to be tried before.
	frozenUntil time.Time
	// ours is true when the operator itself kept the request back, so that nothing
	// was learnt about the provider.
	ours bool
	// reason is that of the condition where it is not for the kind of err to say.
	reason string
	// made are credentials that were made instead of a token.
	made provider.Credentials
	// again tells that nothing came of the attempt, and that the next look knows more.
	again bool
	// withheld is why there was no token of the ServiceAccount; empty when that is not it.
	withheld workload.Kind
	// hold is why the refresh token that is itself the credential must not be used now.
	hold *rotation.Hold
	// unstored is true when the refresh token that came with the token is in memory only.
	unstored bool
}

// outcome is what the scheduler learns from a verdict about the host.
func (v verdict) outcome() exchange.Outcome {
	switch {
	case v.err == nil:
		return exchange.Outcome{}
	case v.ours:
		return exchange.Outcome{Kind: provider.Input}
	default:
		return exchange.Outcome{Kind: v.err.Kind, RetryAfter: v.err.RetryAfter}
	}
}

// run makes the attempt and remembers what came of it.
func (a *attempt) run(ctx context.Context) exchange.Outcome {
	began := a.r.Clock.Now()
	v := a.obtain(ctx)
	label := "success"
	switch {
	case v.ours:
		label = "withheld"
	case v.err != nil:
		label = string(v.err.Kind)
	}
	a.r.Metrics.Exchanged(a.label, label, a.r.Clock.Now().Sub(began))
	a.r.memory.update(a.uid, func(m *recollection) {
		m.verdicts++
		switch {
		case v.again:
			return
		case v.made != nil:
			m.provisioned, m.failure = &provisioned{place: a.provisioning.place, made: v.made}, nil
			return
		case v.err == nil:
			m.minted = &minted{token: v.token, inputs: a.inputs, request: a.request, replaces: a.replaces}
			if v.unstored {
				m.minted.unstored = &unstored{state: a.rotation.State(), tries: 1, at: a.r.Clock.Now()}
			}
			return
		}
		m.failure = a.failed(v, m.failure)
		if m.failure.definite() && a.request != "" {
			m.handled = a.request
		}
	})
	return v.outcome()
}

// failed is the failure that follows last.
func (a *attempt) failed(v verdict, last *failure) *failure {
	now := a.r.Clock.Now()
	next := &failure{
		err: v.err, ours: v.ours, reason: v.reason, withheld: v.withheld, frozenUntil: v.frozenUntil, hold: v.hold,
		attempt: 1, at: now, since: now, basis: a.basis, request: a.request,
	}
	if last != nil && last.basis == a.basis {
		next.attempt, next.since = last.attempt+1, last.since
	}
	return next
}

// obtain gets what the attempt is for: the endpoint, credentials, or a token.
func (a *attempt) obtain(ctx context.Context) verdict {
	if a.issuer != nil {
		changed, err := a.rediscover(ctx)
		if err != nil {
			return verdict{err: err, reason: discoveryReason(err)}
		}
		if changed {
			return verdict{again: true}
		}
	}
	if a.provisioning != nil {
		return a.provision(ctx)
	}
	return a.mint(ctx)
}

// mint tries the refresh token first, if there is one, and then the primary credentials.
func (a *attempt) mint(ctx context.Context) verdict {
	if v := a.authenticate(ctx); v != nil {
		return *v
	}
	if a.res.Grant == provider.RefreshToken {
		return a.rotate(ctx)
	}
	if refresh := a.refreshToken(); !refresh.IsZero() {
		in := a.input
		in.RefreshToken = refresh
		got, err := a.ask(ctx, in)
		if err == nil {
			a.remember(got, refresh)
			return verdict{token: got}
		}
		if err.Kind != provider.RefreshDenied {
			return verdict{err: err}
		}
		a.remember(token.Token{}, token.Secret{})
	}
	if a.res.Grant == provider.Password {
		return a.login(ctx)
	}
	got, err := a.ask(ctx, a.input)
	if err == nil {
		a.remember(got, token.Secret{})
	}
	return verdict{token: got, err: err}
}

// login tries username and password, which may lock the account: only with the
// consent of the durable record of logins.
func (a *attempt) login(ctx context.Context) verdict {
	grant, frozen, err := a.r.Logins.Begin(ctx, a.res, a.input.Credentials, Use{User: a.name, Target: a.target, Held: a.replaces, Expires: a.expires})
	if err != nil {
		a.r.Log.Error(err, "a login is held back", "providertoken", a.name)
		return verdict{err: noRecord(err), ours: true}
	}
	if !frozen.Until.IsZero() {
		return verdict{frozenUntil: frozen.Until, ours: true, err: &provider.Error{
			Kind:    provider.LoginDenied,
			Problem: frozen.Problem,
			Fix:     frozen.Fix,
		}}
	}
	defer grant.Abandon()
	got, failed := a.ask(ctx, a.input)
	v := verdict{token: got, err: failed}
	switch {
	case failed == nil:
		err = grant.Worked(ctx)
		a.remember(got, token.Secret{})
	case failed.Kind == provider.LoginDenied:
		v.frozenUntil, err = grant.Refused(ctx)
		a.r.Metrics.Froze(a.label)
	default:
		err = grant.Unanswered(ctx, failed.SentMaybe && failed.Status == 0)
	}
	if err != nil {
		a.r.Log.Error(err, "recording what became of a login", "providertoken", a.name)
	}
	return v
}

func noRecord(err error) *provider.Error {
	problem := "the login could not be written down before it is tried, which keeps the account from being locked"
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		problem = "another login with the same credential has not ended yet"
	}
	if errors.Is(err, errKeyUnusable) {
		return &provider.Error{
			Kind:    provider.Unavailable,
			Problem: fmt.Sprintf("the operator's Secret %q, without which no login can be written down before it is tried, is spoilt", loginKeySecret),
			Fix:     "let whoever runs the operator delete that Secret in the operator's namespace: it is put back, or made anew",
		}
	}
	return &provider.Error{
		Kind: provider.Unavailable, Problem: problem,
		Fix: "if this lasts, check that the operator may write Secrets and ConfigMaps in its own namespace",
	}
}

// ask makes one exchange.
func (a *attempt) ask(ctx context.Context, in provider.RequestInput) (token.Token, *provider.Error) {
	ctx, cancel := context.WithTimeout(ctx, patience(a.expires, a.r.Clock.Now()))
	defer cancel()
	used := a.ahead()
	req, answer, failed := a.send(ctx, in)
	if failed != nil {
		return token.Token{}, failed
	}
	got, failed := a.judge(req, answer)
	ahead, correctable := a.learnClock(req, answer)
	if failed == nil || !failed.Refusal() || within(ahead-used, clockTolerance) {
		return got, failed
	}
	if !correctable {
		return got, blameClocks(failed, ahead)
	}
	// What it refused was most likely dated wrong.
	a.r.Log.Info("the operator's clock and the provider's differ; check that both keep time (NTP)",
		"providertoken", a.name, "provider", a.label, "ahead", ahead.Round(time.Minute).String())
	req, answer, again := a.send(ctx, in)
	if again != nil {
		return token.Token{}, again
	}
	got, again = a.judge(req, answer)
	if again != nil && again.Refusal() {
		again = blameClocks(again, ahead)
	}
	return got, again
}

// blameClocks is a refusal of what was signed while the clocks differ.
func blameClocks(refusal *provider.Error, ahead time.Duration) *provider.Error {
	told := *refusal
	told.Problem += fmt.Sprintf(", maybe because the provider's clock and that of the operator's node differ by %s", ahead.Abs().Round(time.Minute))
	told.Fix = "check that both clocks are right (NTP); if they are, " + cmp.Or(told.Fix, "ask the provider's operators")
	return &told
}

const (
	// clockTolerance is what providers are expected to tolerate.
	clockTolerance = 30 * time.Second
	// clockCorrection bounds how far what we sign is dated by a provider's clock: no
	// provider gets statements that are good for another day.
	clockCorrection = 2 * time.Hour
)

func within(d, bound time.Duration) bool { return d.Abs() <= bound }

// learnClock notes how far the provider's clock is ahead, where that matters; zero where
// it does not. It is not correctable when it is too far.
func (a *attempt) learnClock(req provider.Request, answer provider.Answer) (ahead time.Duration, correctable bool) {
	ahead, dated := answer.Ahead()
	if !req.Dated || !dated || within(ahead, clockTolerance) {
		ahead = 0
	}
	if !within(ahead, clockCorrection) {
		return ahead, false
	}
	a.r.memory.update(a.uid, func(m *recollection) { m.ahead = ahead })
	return ahead, true
}

// ahead is by how much the provider's clock was ahead when it mattered last.
func (a *attempt) ahead() (ahead time.Duration) {
	a.r.memory.update(a.uid, func(m *recollection) { ahead = m.ahead })
	return ahead
}

// send makes a request and sends it.
func (a *attempt) send(ctx context.Context, in provider.RequestInput) (provider.Request, provider.Answer, *provider.Error) {
	in.Now, in.ID = a.r.Clock.Now().Add(a.ahead()), uuid.NewString()
	if a.identity != nil {
		in.Credentials = a.identity.with(in.Credentials, a.issued)
	}
	req, err := a.res.NewRequest(in)
	if err != nil {
		return req, provider.Answer{}, typed(err)
	}
	if a.r.deposed() { // since the attempt began, as while a login was written down
		return req, provider.Answer{}, &provider.Error{
			Kind: provider.Unavailable, Problem: "this process leads no more", Fix: "nothing is to be done: the one that leads asks for the token",
		}
	}
	ctx = a.begin(ctx, in.RefreshToken)
	answer, err := a.r.Exchanger.Do(ctx, req, a.trust)
	if err != nil {
		a.exchange.end(token.Token{}, typed(err))
		return req, provider.Answer{}, typed(err)
	}
	a.exchange.status = answer.Status
	return req, answer, nil
}

// judge reads a token out of an answer.
func (a *attempt) judge(req provider.Request, answer provider.Answer) (token.Token, *provider.Error) {
	got, failed := a.decode(req, answer)
	a.exchange.end(got, failed)
	return got, failed
}

func (a *attempt) decode(req provider.Request, answer provider.Answer) (token.Token, *provider.Error) {
	got, err := a.res.Decode(req, answer)
	if err != nil {
		return token.Token{}, typed(err)
	}
	if a.repeats(got) {
		return token.Token{}, &provider.Error{
			Kind: provider.Unavailable, Status: answer.Status, SentMaybe: true,
			Problem: "the answer holds a secret as token_type",
			Fix:     "check response.tokenType in the provider's definition",
		}
	}
	got.Scopes = a.tellable(got)
	// What is written into a Secret has whole seconds; so has what is remembered.
	got.IssuedAt, got.ExpiresAt = got.IssuedAt.UTC().Truncate(time.Second), got.ExpiresAt.UTC().Truncate(time.Second)
	if !a.r.Clock.Now().Before(got.ExpiresAt) {
		return token.Token{}, &provider.Error{
			Kind: provider.Unavailable, Status: answer.Status, SentMaybe: true,
			Problem: "the token endpoint issued a token that has expired already",
			Fix:     "check the clocks of the provider and of the cluster's nodes",
		}
	}
	return got, nil
}

// patience bounds one exchange such that a provider that accepts connections and
// never answers leaves time for another try, and for kubelets to show its result: a
// sixth of what remains of the token's life, but not less than slowest, since a slow
// answer is better than none.
func patience(expires, now time.Time) time.Duration {
	const slowest = 10 * time.Second
	remaining := expires.Sub(now)
	if remaining <= 0 {
		return exchange.DefaultTimeout
	}
	return min(max(remaining/6, slowest), exchange.DefaultTimeout)
}

// typed is err as the *provider.Error that both packages promise.
func typed(err error) *provider.Error {
	if pe, ok := errors.AsType[*provider.Error](err); ok {
		return pe
	}
	return &provider.Error{Kind: provider.Unavailable, Problem: "the exchange failed in an unexpected way"}
}

// sessionBasis is what a refresh token belongs to.
func (a *attempt) sessionBasis() string {
	return a.inputs + "|" + a.res.TokenURL + "|" + source.Fingerprint(a.input.Credentials)
}

// refreshToken is the one to use, if it came with the same credentials and still works.
func (a *attempt) refreshToken() token.Secret {
	var found token.Secret
	if a.res.UseRefreshToken == provider.Never {
		return found
	}
	a.r.memory.update(a.uid, func(m *recollection) {
		s := m.session
		if s != nil && s.basis == a.sessionBasis() && (s.expires.IsZero() || a.r.Clock.Now().Before(s.expires)) {
			found = s.refresh
		}
	})
	return found
}

// remember keeps the refresh token of an answer, or the one that was used when
// the answer brings none (RFC 6749 section 6).
func (a *attempt) remember(got token.Token, used token.Secret) {
	next := &session{refresh: got.Refresh, expires: got.RefreshExpiresAt, basis: a.sessionBasis()}
	a.r.memory.update(a.uid, func(m *recollection) {
		switch {
		case !got.Refresh.IsZero():
			m.session = next
		case used.IsZero():
			m.session = nil
		}
	})
}

// recover lets an object whose attempt panicked be tried again, later.
func (r *Reconciler) recover(uid types.UID) {
	now := r.Clock.Now()
	r.memory.update(uid, func(m *recollection) {
		m.verdicts++
		m.failure = &failure{
			err: &provider.Error{
				Kind:    provider.Unavailable,
				Problem: "the operator failed while it asked for a token",
				Fix:     "look at the operator's log, and report what it says",
			},
			attempt: attemptsAfterPanic, at: now, since: now, basis: m.basis,
		}
	})
}
