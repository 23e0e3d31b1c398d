package controller

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/rotation"
	"github.com/providertoken/operator/internal/schedule"
	"github.com/providertoken/operator/internal/token"
)

// prepareRotation finds out where the refresh token is kept, where it is itself the credential.
func (f *facts) prepareRotation(w wallet) *problem {
	if f.resolved.Grant != provider.RefreshToken {
		return nil
	}
	if f.origin.Platform != nil {
		// The state would be in the team's namespace, and one refresh token serves one ProviderToken.
		return providerProblem(v1alpha1.ReasonInvalidProvider, fmt.Sprintf(
			"ClusterTokenProvider %q has a refresh token of its own, which several ProviderTokens cannot share; set spec.credentials of a ProviderToken whose provider has none", f.origin.Name))
	}
	secret, key := w.Where(provider.CredRefreshToken)
	f.rotation = &rotation.Want{
		Owner: f.name, Secret: secret, Key: key, Token: f.credentials[provider.CredRefreshToken],
		Confirmation: confirmed(f.pt),
	}
	if state := f.rotation.State().Name; state == f.pt.TargetName() {
		return &problem{
			Condition: v1alpha1.SecretPublishedCondition, Reason: v1alpha1.ReasonTargetConflict, Stalled: true,
			Message: fmt.Sprintf("Secret %q keeps the refresh token and cannot be the target as well; set target.secretName to another name in a new ProviderToken", state),
		}
	}
	return nil
}

// rotationWant is what an attempt begins with; nil for other grants.
func (f *facts) rotationWant() *rotation.Want {
	if f.rotation == nil {
		return nil
	}
	want := *f.rotation
	// A token for this spec was issued before, so a record must be there.
	want.Used = f.held != nil && f.current()
	var expires time.Time
	if f.live() {
		expires = f.held.Token.ExpiresAt
		want.ReplayFrom = expires.Add(-f.policy.Effective().MinimumLead)
	}
	want.Patience = patience(expires, f.now)
	return &want
}

// rotate uses the refresh token that is itself the credential: only with the
// consent of its durable record, and with that record brought up to date before
// anything else happens.
func (a *attempt) rotate(ctx context.Context) verdict {
	if a.rotation == nil {
		return verdict{again: true} // planned before the endpoint was known
	}
	use, hold, err := a.r.Rotation.Begin(ctx, *a.rotation)
	if hold != nil && err == nil {
		return verdict{ours: true, hold: hold, err: &provider.Error{Kind: provider.RefreshDenied, Problem: "the refresh token must not be used"}}
	}
	if err != nil {
		a.r.Log.Error(err, "a refresh is held back", "providertoken", a.name)
		return verdict{ours: true, err: noState("the refresh could not be written down before it is made, without which a crash could lose the refresh token")}
	}
	defer use.Abandon()
	// Once the time is over that was written down, somebody else may use the token.
	left := use.Until().Sub(a.r.Clock.Now())
	if left <= 0 {
		return a.ended(use.Unused(ctx), verdict{ours: true, err: noState("the API server took too long to write down the refresh before it is made")})
	}
	sending, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	in := a.input
	in.Credentials = maps.Clone(in.Credentials)
	in.Credentials[provider.CredRefreshToken] = use.Token
	req, answer, failed := a.send(sending, in)
	var got token.Token
	if failed == nil {
		got, failed = a.judge(req, answer)
	}
	return a.conclude(ctx, use, answer, got, failed)
}

// conclude writes down what came of a use of the refresh token.
func (a *attempt) conclude(ctx context.Context, use *rotation.Use, answer provider.Answer, got token.Token, failed *provider.Error) verdict {
	if failed == nil {
		v := verdict{token: got}
		next, expires := a.res.Successor(answer) // also where the definition does not use those that come along
		if err := use.Rotated(ctx, next, expires); err != nil {
			a.r.Log.Error(err, "a new refresh token waits in memory", "providertoken", a.name)
			v.unstored = true
		}
		return v
	}
	v := verdict{err: failed}
	switch outcomeOf(failed) {
	case refused:
		v.hold = &rotation.Hold{
			Reason: rotation.Refused, At: a.r.Clock.Now(),
			Secret: a.rotation.Secret, Key: a.rotation.Key, State: a.rotation.State().Name,
		}
		return a.ended(use.Refused(ctx), v)
	case unused:
		if failed.Kind == provider.RefreshDenied {
			// Not the refresh token is refused, but how it was asked: sparse retries.
			again := *failed
			again.Kind, v.err = provider.Denied, &again
		}
		return a.ended(use.Unused(ctx), v)
	case unknown:
	}
	// An answer of success that makes no sense may still bring the next refresh token.
	if next, expires := a.res.Successor(answer); !next.IsZero() {
		return a.ended(use.Rotated(ctx, next, expires), v)
	}
	// Nothing is written: the open intent says it all. The next look asks when the token may be used once more.
	return v
}

// ended is v, when what came of the use could be written down or not: it waits in memory then.
func (a *attempt) ended(err error, v verdict) verdict {
	if err != nil {
		a.r.Log.Error(err, "what became of a refresh waits in memory", "providertoken", a.name)
	}
	return v
}

// outcome of a use of a refresh token that brought no token.
type outcome int

const (
	unknown outcome = iota
	unused
	refused
)

// outcomeOf tells whether a failed exchange used the refresh token up. A complete
// refusal did not, whatever its reason; a failure of the server, or on the way back, may have.
func outcomeOf(e *provider.Error) outcome {
	switch {
	case slices.Contains([]string{"invalid_grant", "invalid_token", "expired_token"}, e.Code):
		return refused
	case !e.SentMaybe, e.Status == http.StatusServiceUnavailable:
		return unused
	case e.Status >= 300 && e.Status < 500, e.Status >= 200 && e.Code != "" && e.Status < 500:
		return unused
	}
	return unknown
}

func noState(problem string) *provider.Error {
	return &provider.Error{
		Kind: provider.Unavailable, Problem: problem,
		Fix: "if this lasts, check that the operator may get, create and update Secrets in this namespace, and the namespace's quotas and admission policies",
	}
}

// store writes a refresh token that could not be written when it came, before the
// access token that came with it may be published.
func (r *Reconciler) store(ctx context.Context, f *facts) {
	m := f.mem.minted
	if m == nil || m.unstored == nil {
		return
	}
	stored := *m
	if err := r.Rotation.Settle(ctx, m.unstored.state); err != nil {
		r.Log.Error(err, "a new refresh token waits in memory", "providertoken", f.name)
		stored.unstored = &unstored{state: m.unstored.state, tries: m.unstored.tries + 1, at: f.now}
	} else {
		stored.unstored = nil
	}
	f.mem.minted = &stored
	r.memory.update(f.pt.UID, func(mem *recollection) {
		if mem.minted == m {
			mem.minted = &stored
		}
	})
}

// unstored says that the refresh token that came with a token is in memory only.
type unstored struct {
	state types.NamespacedName
	tries int
	at    time.Time
}

// unstoredProblem tells of a refresh token that is in memory only; nil when there is none.
func (f *facts) unstoredProblem() *problem {
	if f.mem.minted == nil || f.mem.minted.unstored == nil {
		return nil
	}
	p := &problem{
		Condition: v1alpha1.TokenIssuedCondition, Reason: v1alpha1.ReasonOperatorStateUnavailable,
		Message: fmt.Sprintf("the provider issued a new refresh token, which could not be written into Secret %q yet and waits in the operator's memory; "+
			"make sure that the operator may update Secrets in this namespace, and do not restart it before", f.mem.minted.unstored.state.Name),
	}
	if f.live() {
		return p.until(f.expires())
	}
	return p
}

// storeAt is when the next attempt to store it is due.
func (f *facts) storeAt() time.Time {
	if f.mem.minted == nil || f.mem.minted.unstored == nil {
		return time.Time{}
	}
	u := f.mem.minted.unstored
	return schedule.RetryAt(schedule.Failure{Class: schedule.KubernetesAPI, Attempt: max(u.tries, 1), At: u.at, Seed: string(f.pt.UID)})
}

// retryHold is when a held-back refresh token may be looked at again; zero when a
// person must do something first.
func retryHold(h *rotation.Hold, failedAt time.Time) time.Time {
	switch h.Reason {
	case rotation.Unknown:
		return h.At
	case rotation.InUse, rotation.Foreign:
		return failedAt.Add(pollInterval) // no watch tells of these
	default:
		return time.Time{}
	}
}

// holdProblem says why a refresh token is not used, and what to do.
func holdProblem(h *rotation.Hold) *problem {
	p := &problem{Condition: v1alpha1.TokenIssuedCondition, Reason: v1alpha1.ReasonReauthorizationRequired, Stalled: true}
	replace := fmt.Sprintf("put a new refresh token under key %q of Secret %q", h.Key, h.Secret)
	confirm := fmt.Sprintf("set the annotation %s of this ProviderToken to a new value", v1alpha1.ConfirmAnnotation)
	switch h.Reason {
	case rotation.InUse:
		p.Reason = v1alpha1.ReasonCredentialInUse
		p.Message = fmt.Sprintf("ProviderToken %q uses the refresh token under key %q of Secret %q, and only one can; use a refresh token of its own in another Secret, or delete that ProviderToken",
			h.Owner, h.Key, h.Secret)
	case rotation.Foreign:
		p.Reason = v1alpha1.ReasonOperatorStateUnavailable
		p.Message = fmt.Sprintf("Secret %q exists and was not made by the operator, which needs that name to keep the refresh token; rename that Secret, or the credential Secret", h.State)
	case rotation.Doubtful:
		p.Reason = v1alpha1.ReasonRestoredState
		p.Message = fmt.Sprintf("the record of the refresh token in Secret %q is missing, spoilt or a restored copy, so the refresh token may have been used by others, "+
			"and a second use may revoke everything; %s, or, if it was not used elsewhere, %s", h.State, replace, confirm)
	case rotation.TooLarge:
		p.Condition, p.Reason = v1alpha1.CredentialsResolvedCondition, v1alpha1.ReasonInvalidCredentials
		p.Message = fmt.Sprintf("what is under key %q of Secret %q is too long for a refresh token; correct it", h.Key, h.Secret)
	case rotation.Unknown:
		p.Reason, p.Stalled = v1alpha1.ReasonRefreshOutcomeUnknown, false
		p.Message = fmt.Sprintf("a refresh was begun and its outcome is not known, because the operator stopped or the answer was lost; the same refresh token is tried once more at %s, "+
			"and if that is to be avoided, %s", stamp(h.At), replace)
	case rotation.Lost:
		p.Message = fmt.Sprintf("the answers to a refresh and to its repetition were lost, so the refresh token is most likely used up; %s, or, to try the same one once more, %s", replace, confirm)
	default:
		p.Message = fmt.Sprintf("the provider refused the refresh token; %s", replace)
	}
	return p
}
