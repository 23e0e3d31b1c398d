package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
	"github.com/providertoken/operator/internal/workload"
)

// identity is the ServiceAccount whose token stands for credentials that no Secret holds.
type identity struct {
	account v1alpha1.ServiceAccountCredentials
	// standsFor are the canonical names of those credentials.
	standsFor []string
}

// identify finds out what the ServiceAccount that pt names, if any, has to stand for
// in this way in, and whether it could. It asks nobody: consent is looked for when
// its token is about to be used.
func (r *Reconciler) identify(f *facts, w wallet) *problem {
	if w.From.ServiceAccount == nil {
		return nil
	}
	if r.Workload == nil {
		return providerProblem(v1alpha1.ReasonServiceAccountRefused,
			"this installation gives away no tokens of ServiceAccounts; ask who runs it for config/workload-identity (Helm: workloadIdentity.enabled), or put the credential into a Secret")
	}
	who := &identity{account: *w.From.ServiceAccount}
	for _, name := range f.resolved.FederatedCredentials() {
		if _, held := w.Get(name); !held {
			who.standsFor = append(who.standsFor, name)
		}
	}
	if len(who.standsFor) == 0 {
		return providerProblem(v1alpha1.ReasonInvalidCredentials, fmt.Sprintf(
			"nothing that %s wants to see is a token of a ServiceAccount, or a Secret holds it already; remove credentials.serviceAccount, or use a provider with grant TokenExchange or JWTBearer, or with clientAuthentication FederatedJWT",
			f.origin.Name))
	}
	f.identity = who
	id := who.at(f.pt.Namespace, f.resolved)
	if id.Host == "" {
		return nil // the issuer's metadata will tell where, and perhaps for whom
	}
	if err := r.Workload.Permits(id); err != nil {
		return providerProblem(v1alpha1.ReasonServiceAccountRefused, err.Error())
	}
	return nil
}

// at says what its token has to be for.
func (i *identity) at(namespace string, res provider.Resolved) workload.Identity {
	id := workload.Identity{Namespace: namespace, Name: i.account.Name, Audience: i.account.Audience}
	if id.Audience == "" {
		id.Audience = res.IdentityAudience()
	}
	if res.TokenURL != "" {
		id.Host = res.Host()
	}
	return id
}

// with adds to credentials what the token stands for. The result is for one request only.
func (i *identity) with(c provider.Credentials, issued token.Secret) provider.Credentials {
	all := maps.Clone(c)
	if all == nil {
		all = provider.Credentials{}
	}
	for _, name := range i.standsFor {
		all[name] = issued
	}
	return all
}

// rehearsal is what a request is tried out with before there is a token.
func (f *facts) rehearsal() provider.RequestInput {
	in := f.ask()
	if f.identity != nil {
		in.Credentials = f.identity.with(in.Credentials, token.NewSecret("to-be-issued"))
	}
	return in
}

// authenticate gets the ServiceAccount's token, if one is needed, for the requests
// of this attempt; nil when it is there.
func (a *attempt) authenticate(ctx context.Context) *verdict {
	if a.identity == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, exchange.DefaultTimeout)
	defer cancel()
	issued, err := a.r.Workload.Fetch(ctx, a.identity.at(a.name.Namespace, a.res))
	if err != nil {
		v := a.withheld(err)
		return &v
	}
	a.issued = issued
	return nil
}

// withheld is the verdict when there is no token of the ServiceAccount.
func (a *attempt) withheld(err error) verdict {
	var we *workload.Error
	if !errors.As(err, &we) {
		we = &workload.Error{Kind: workload.Unavailable, Message: "the ServiceAccount's token could not be requested", Cause: err}
	}
	if we.Cause != nil {
		a.r.Log.V(1).Info("no token of a ServiceAccount", "providertoken", a.name, "because", we.Cause.Error())
	}
	kind := provider.Input
	if we.Kind == workload.Unavailable {
		kind = provider.Unavailable
	}
	return verdict{err: &provider.Error{Kind: kind, Problem: we.Message}, ours: true, withheld: we.Kind}
}

// stillWithheld asks again whether a ServiceAccount consents that did not before:
// here and not in an attempt, so that who waits for consent takes no turns at the
// provider from others.
func (r *Reconciler) stillWithheld(ctx context.Context, f *facts) bool {
	last := f.mem.failure
	if f.identity == nil || last == nil || last.withheld != workload.Unwilling || last.basis != f.basis() {
		return false
	}
	err := r.Workload.Check(ctx, f.identity.at(f.pt.Namespace, f.resolved))
	var we *workload.Error
	if !errors.As(err, &we) || we.Kind != workload.Unwilling {
		return false // the attempt finds out the rest
	}
	again := *last
	again.at, again.request = f.now, f.request()
	f.mem.failure = &again
	r.memory.update(f.pt.UID, func(m *recollection) { m.failure = &again })
	return true
}

// withheldRetry is when to look again for a ServiceAccount's token; zero when
// looking again is not enough, or when the failure is of another kind.
func (f *failure) withheldRetry() time.Time {
	switch f.withheld {
	case workload.Unwilling, workload.Forbidden:
		return f.at.Add(pollInterval) // no watch tells of ServiceAccounts, roles and policies
	default:
		return time.Time{}
	}
}

// withheldProblem tells that there is no token of the ServiceAccount; nil when that
// is not why the failure is one.
func (f *failure) withheldProblem() *problem {
	p := &problem{
		Condition: v1alpha1.CredentialsResolvedCondition, Reason: v1alpha1.ReasonServiceAccountRefused,
		Message: f.err.Error(),
	}
	switch f.withheld {
	case "":
		return nil
	case workload.Unwilling:
		p.Reason, p.Late, p.Waiting = v1alpha1.ReasonWaitingForCredentials, v1alpha1.ReasonServiceAccountRefused, true
	case workload.Unavailable:
		p.Condition, p.Reason = v1alpha1.TokenIssuedCondition, v1alpha1.ReasonOperatorStateUnavailable
	default:
		p.Stalled = true
	}
	return p
}

// undecided tells that nobody has looked yet whether the ServiceAccount consents.
func (f *facts) undecided() bool {
	return f.identity != nil && f.blocked == nil && f.held == nil && f.mem.minted == nil && f.mem.failure == nil
}

// toldWithheld is the condition by which status tells that there was no token of the
// ServiceAccount; nil when it does not.
func (f *facts) toldWithheld() *metav1.Condition {
	told := meta.FindStatusCondition(f.pt.Status.Conditions, v1alpha1.CredentialsResolvedCondition)
	if f.identity == nil || told == nil || told.Status != metav1.ConditionFalse {
		return nil
	}
	if told.Reason != v1alpha1.ReasonWaitingForCredentials && told.Reason != v1alpha1.ReasonServiceAccountRefused {
		return nil
	}
	return told
}

// sources names, for people, what holds pt's credentials.
func sources(pt *v1alpha1.ProviderToken) string {
	var all []string
	if names := pt.CredentialSecrets(); len(names) > 0 {
		all = append(all, "Secrets: "+join(names))
	}
	if c := pt.Spec.Credentials; c != nil && c.ServiceAccount != nil {
		all = append(all, "ServiceAccount: "+c.ServiceAccount.Name)
	}
	return strings.Join(all, "; ")
}

// serveIdentities lets tokens of ServiceAccounts stand for credentials, if that is wanted.
func (r *Reconciler) serveIdentities(ctx context.Context, p Parts) error {
	if !p.Options.WorkloadIdentity {
		return nil
	}
	if err := workload.Allowed(ctx, p.Live, p.Namespaces); err != nil {
		return err
	}
	o := workload.Options{OwnToken: p.Config.BearerToken, APIAudiences: p.Options.APIAudiences}
	if len(p.Namespaces) == 0 {
		o.OwnNamespace = p.OperatorNamespace
	}
	r.Workload = workload.New(p.Live, o)
	return nil
}
