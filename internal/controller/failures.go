package controller

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/rotation"
	"github.com/providertoken/operator/internal/schedule"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/workload"
)

// problem is what stands in the way, in the terms of conditions. This file is
// the only place where errors become problems.
type problem struct {
	// Condition that it makes false.
	Condition string
	// Reason while it may still pass by itself; Late is used instead once a
	// Waiting problem has lasted too long.
	Reason, Late string
	// Message is one sentence that says what to do next. It does not change while the problem lasts.
	Message string
	// Waiting problems are normal while the objects of one commit arrive.
	Waiting bool
	// Stalled problems need a person.
	Stalled bool
}

func providerProblem(reason, message string) *problem {
	return &problem{Condition: v1alpha1.CredentialsResolvedCondition, Reason: reason, Message: message, Stalled: true}
}

// inputProblem is an *provider.Error of kind Input found before an exchange.
func inputProblem(err error, pt *v1alpha1.ProviderToken) *problem {
	return providerProblem(v1alpha1.ReasonInvalidCredentials,
		fmt.Sprintf("%s (%s)", err, sources(pt)))
}

// targetProblem says what a *target.Error means; nil when it is the API server's and worth a retry.
func targetProblem(err error) *problem {
	var te *target.Error
	if !errors.As(err, &te) {
		return nil
	}
	reason := map[target.Reason]string{
		target.Foreign:         v1alpha1.ReasonTargetConflict,
		target.Immutable:       v1alpha1.ReasonTargetImmutable,
		target.TypeMismatch:    v1alpha1.ReasonTargetTypeMismatch,
		target.TooLarge:        v1alpha1.ReasonTargetTooLarge,
		target.InvalidTemplate: v1alpha1.ReasonInvalidTemplate,
		target.Refused:         v1alpha1.ReasonTargetRefused,
	}[te.Reason]
	if reason == "" {
		return nil
	}
	return &problem{
		Condition: v1alpha1.SecretPublishedCondition,
		Reason:    reason,
		Message:   te.Error(),
		Stalled:   te.Reason != target.Refused,
	}
}

// delayGrace is how long the API server may fail what a target needs before status says
// so: a conflict or a restart is no news, unless a token expires over it.
const delayGrace = 30 * time.Second

// delay notes since when err, the API server's, keeps the target from being written; nil when it does not.
func (r *Reconciler) delay(f *facts, err error) {
	since := f.mem.delayed
	if err == nil {
		since = time.Time{}
	} else if since.IsZero() {
		since = f.now
	}
	if !since.Equal(f.mem.delayed) {
		f.mem.delayed = since
		r.memory.update(f.pt.UID, func(m *recollection) { m.delayed = since })
	}
	late := !f.now.Before(since.Add(delayGrace)) || f.held != nil && !f.live()
	if err != nil && late && f.unwritable == nil {
		f.unwritable = f.delayProblem(err)
	}
}

// refusedProblem is targetProblem, and where the API server refuses the write, what is
// still good meanwhile and how soon the end of it is noticed.
func (f *facts) refusedProblem(err error) *problem {
	p := targetProblem(err)
	if p == nil || p.Reason != v1alpha1.ReasonTargetRefused {
		return p
	}
	p.Message += "; it is tried again every 30 s"
	if f.live() && f.have != nil {
		return p.until(f.held.Token.ExpiresAt)
	}
	return p
}

func (f *facts) delayProblem(err error) *problem {
	what := fmt.Sprintf("the API server does not answer about Secret %q", f.pt.TargetName())
	if te, ok := errors.AsType[*target.Error](err); ok {
		what = te.Problem
		if code := te.StatusCode(); code != 0 {
			what += fmt.Sprintf(" (%d %s)", code, http.StatusText(code))
		}
	}
	p := &problem{
		Condition: v1alpha1.SecretPublishedCondition, Reason: v1alpha1.ReasonAPIServerUnavailable,
		Message: what + "; it is tried again every 30 s or more often: if this lasts, look at the API server, its etcd and its admission webhooks",
	}
	if f.mem.minted != nil {
		p.Message += "; a new token waits in the operator's memory meanwhile, so do not restart it"
	}
	if f.live() && f.have != nil {
		return p.until(f.held.Token.ExpiresAt)
	}
	return p
}

// failure is an exchange that did not bring a token.
type failure struct {
	err *provider.Error
	// ours is true when the operator itself kept the request back.
	ours bool
	// reason is that of the condition where it is not for the kind of err to say.
	reason string
	// withheld is why there was no token of the ServiceAccount; empty when that is not it.
	withheld workload.Kind
	// hold is why the refresh token that is itself the credential must not be used now.
	hold *rotation.Hold
	// frozenUntil is set when the login is not to be tried before.
	frozenUntil time.Time
	attempt     int
	// at is when it failed; since is when the first in this row did.
	at, since time.Time
	// basis is what was tried with: another basis deserves a try of its own.
	basis string
	// request is the refresh request that the attempt answered.
	request string
}

// definite failures do not get better by trying again.
func (f *failure) definite() bool {
	if f.hold != nil {
		return f.retryAt(time.Time{}, "").IsZero()
	}
	switch f.err.Kind {
	case provider.Denied, provider.LoginDenied, provider.Input, provider.Misconfigured:
		return true
	default:
		return false
	}
}

// retryAt is when the next attempt may begin; zero when only an edit can help.
func (f *failure) retryAt(expires time.Time, seed string) time.Time {
	if !f.frozenUntil.IsZero() {
		return f.frozenUntil
	}
	if at := f.withheldRetry(); !at.IsZero() {
		return at
	}
	if f.hold != nil {
		return retryHold(f.hold, f.at)
	}
	return schedule.RetryAt(schedule.Failure{
		Class: schedule.Class(f.err.Kind), Attempt: f.attempt, At: f.at, Since: f.since,
		Expires: expires, RetryAfter: f.err.RetryAfter, Seed: seed,
	})
}

// problem tells a failure, and until when the token at hand (if any) works.
func (f *failure) problem(o origin, host string, expires time.Time, live bool) *problem {
	p := &problem{
		Condition: v1alpha1.TokenIssuedCondition,
		Message:   fmt.Sprintf("%s at %s: %s", o.Name, host, f.err.Error()),
	}
	if withheld := f.withheldProblem(); withheld != nil {
		p = withheld
	}
	if f.hold != nil {
		p = holdProblem(f.hold)
	}
	if live {
		p = p.until(expires)
	}
	if f.withheld != "" || f.hold != nil {
		return p
	}
	p.Reason, p.Stalled = source.Reason(f.err.Kind)
	switch {
	case f.err.Kind == provider.Input:
		p.Condition = v1alpha1.CredentialsResolvedCondition
	case f.err.Kind == provider.LoginDenied && !f.frozenUntil.IsZero():
		p.Reason = v1alpha1.ReasonLoginFrozen
		p.Message += fmt.Sprintf("; to keep the account from being locked, this login is not tried again before %s, or until the credential Secret changes", stamp(f.frozenUntil))
	case f.ours && p.Reason == v1alpha1.ReasonProviderUnavailable:
		p.Reason = v1alpha1.ReasonOperatorStateUnavailable
	}
	if f.reason != "" {
		p.Reason, p.Stalled = f.reason, true
	}
	return p
}

// until adds to a problem how long the token at hand works.
func (p *problem) until(expires time.Time) *problem {
	if p == nil {
		return nil
	}
	q := *p
	q.Message += fmt.Sprintf("; the token in the Secret works until %s", stamp(expires))
	return &q
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func join(names []string) string { return strings.Join(names, ", ") }
