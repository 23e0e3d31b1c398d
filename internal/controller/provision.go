package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/provisioning"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/token"
)

// provisioned are credentials that the provider made and that are on their way into
// their Secret. They exist nowhere else, so they are kept until the cache shows them.
type provisioned struct {
	place  provisioning.Place
	made   provider.Credentials
	stored bool
}

// provisioningAttempt is what an attempt needs that makes credentials instead of a token.
type provisioningAttempt struct {
	step  provider.Provisioning
	place provisioning.Place
	trust exchange.Trust
}

// wantsProvisioning tells whether pt keeps credentials that the provider makes for it.
func wantsProvisioning(pt *v1alpha1.ProviderToken) bool {
	return pt.Spec.Credentials != nil && pt.Spec.Credentials.Provision != nil
}

// keepProvisioned stores credentials that were just made, before anything else is done
// with them. While that fails, they stay in memory, and no token is asked for.
func (r *Reconciler) keepProvisioned(ctx context.Context, f *facts) *problem {
	p := f.mem.provisioned
	if p == nil || p.stored {
		return nil
	}
	if err := r.Provisioned.Store(ctx, p.place, p.made); err != nil {
		log.FromContext(ctx).Error(err, "provisioned credentials wait in memory", "secret", p.place.Secret.Name)
		return &problem{
			Condition: v1alpha1.CredentialsResolvedCondition, Reason: v1alpha1.ReasonOperatorStateUnavailable,
			Message: fmt.Sprintf("the provider made credentials, which could not be written into Secret %q yet and wait in the operator's memory; make sure that the operator may "+
				"create and update Secrets in this namespace, that this one is not immutable and not somebody else's, and do not restart the operator before", p.place.Secret.Name),
		}
	}
	log.FromContext(ctx).Info("stored provisioned credentials", "secret", p.place.Secret.Name)
	stored := *p
	stored.stored = true
	f.mem.provisioned = &stored
	r.memory.update(f.pt.UID, func(m *recollection) { m.provisioned = &stored })
	r.Events.Eventf(f.pt, nil, corev1.EventTypeNormal, v1alpha1.ReasonProvisioned, "Provision",
		"the provider made credentials, which Secret %q keeps from now on; the Secret that they were made with is not needed any more", p.place.Secret.Name)
	return nil
}

// keepAt is when the next attempt to store provisioned credentials is due; zero when
// there is nothing to store. It is often: they exist nowhere else.
func (f *facts) keepAt() time.Time {
	if p := f.mem.provisioned; p == nil || p.stored {
		return time.Time{}
	}
	return f.now.Add(keepInterval)
}

const keepInterval = 3 * time.Second

// provisionedWallet is the wallet with the credentials that were made; false while there are none.
func (r *Reconciler) provisionedWallet(ctx context.Context, f *facts) (wallet, bool, error) {
	name := f.pt.Spec.Credentials.Provision.SecretName
	w := wallet{Definition: f.origin.Definition, From: location{Namespace: f.pt.Namespace, SecretName: name}}
	s, err := r.finder().Secret(ctx, f.pt.Namespace, name, f.origin)
	if err != nil {
		return w, false, err
	}
	if s != nil && provisioning.StateOf(s) == provisioning.Made {
		if f.mem.provisioned != nil {
			r.memory.update(f.pt.UID, func(m *recollection) { m.provisioned = nil })
		}
		w.Secrets = map[string]*corev1.Secret{name: s}
		return w, true, nil
	}
	if p := f.mem.provisioned; p != nil && p.place.Secret.Name == name {
		w.Made, w.MadeHosts = p.made, p.place.AllowedHosts
		return w, true, nil
	}
	return w, false, nil
}

// planProvisioning finds out how credentials can be made with those in w.
func (r *Reconciler) planProvisioning(f *facts, w wallet, parameters map[string]string) (*problem, error) {
	step, err := f.origin.Definition.Provision(parameters, w.Has)
	if err != nil {
		return inputProblem(err, f.pt), nil
	}
	f.resolved, f.credentials, f.sources = step.Login, w.Credentials(), provenanceOf(w)
	if p := f.trusted(w); p != nil {
		return p, nil
	}
	if !f.vouched && !w.Allows(step.Host()) {
		return sourceProblem(source.HostNotAllowed(step.Host())), nil
	}
	place := provisioning.Place{
		Secret:         types.NamespacedName{Namespace: f.pt.Namespace, Name: f.pt.Spec.Credentials.Provision.SecretName},
		CredentialsFor: f.origin.BoundTo(),
		Owner:          f.name.String(),
		Confirmed:      confirmed(f.pt),
	}
	for _, s := range w.Secrets {
		place.AllowedHosts = s.Annotations[v1alpha1.AllowedHostsAnnotation]
	}
	f.provisioning = &provisioningAttempt{step: step, place: place, trust: f.trust}
	return nil, nil
}

// provision makes credentials instead of a token: once, and never again while it is not
// certain that the last request made none.
func (a *attempt) provision(ctx context.Context) verdict {
	keeper, place := a.r.Provisioned, a.provisioning.place
	if err := keeper.Check(ctx, place); err != nil {
		return a.notProvisioned(err)
	}
	login := a.mint(ctx)
	if login.err != nil {
		return login
	}
	if err := keeper.Begin(ctx, place); err != nil {
		return a.notProvisioned(err)
	}
	ctx = a.begin(ctx, token.Secret{})
	a.exchange.entry.Grant, a.exchange.entry.Host = "Provisioning", a.provisioning.step.Host()
	made, err := provisioning.Make(ctx, a.r.Exchanger, a.provisioning.step, a.provisioning.trust, login.token.Access)
	if err == nil {
		a.exchange.end(token.Token{}, nil)
		return verdict{made: made}
	}
	a.exchange.end(token.Token{}, typed(err))
	if provisioning.Lost(err) {
		a.r.Log.Error(err, "the outcome of making credentials is not known", "providertoken", a.name)
		return unknownOutcome(place, typed(err).Problem)
	}
	if err := keeper.Refused(ctx, place); err != nil {
		a.r.Log.Error(err, "recording that no credentials were made", "providertoken", a.name)
	}
	return verdict{err: typed(err)}
}

// notProvisioned says why nothing was sent to make credentials.
func (a *attempt) notProvisioned(err error) verdict {
	place := a.provisioning.place
	switch {
	case errors.Is(err, provisioning.ErrMade):
		return verdict{again: true} // the cache is late; the next look finds them
	case errors.Is(err, provisioning.ErrForeign):
		return verdict{ours: true, reason: v1alpha1.ReasonInvalidCredentials, err: &provider.Error{
			Kind:    provider.Input,
			Problem: fmt.Sprintf("Secret %q exists and is not for provisioned credentials of this ProviderToken", place.Secret.Name),
			Fix:     "choose another name in credentials.provision.secretName, or delete that Secret if nobody needs it",
		}}
	case errors.Is(err, provisioning.ErrUnknownOutcome):
		v := unknownOutcome(place, "an earlier request to make credentials was begun, and its outcome was not recorded")
		v.ours = true
		return v
	}
	a.r.Log.Error(err, "credentials are not made", "providertoken", a.name)
	return verdict{ours: true, err: &provider.Error{
		Kind:    provider.Unavailable,
		Problem: fmt.Sprintf("Secret %q cannot be read or written, so that no credentials are made that could be lost", place.Secret.Name),
		Fix:     "check that the operator may write Secrets in this namespace, and its quota",
	}}
}

// unknownOutcome stops: another request could leave credentials behind that nobody
// knows and nobody can revoke.
func unknownOutcome(place provisioning.Place, problem string) verdict {
	return verdict{reason: v1alpha1.ReasonProvisioningUnknown, err: &provider.Error{
		Kind:    provider.Input,
		Problem: problem,
		Fix: fmt.Sprintf("look at the provider's list of credentials and revoke one that nobody uses; then set the annotation %s of this ProviderToken to a new value to let the operator try once more, or put working credentials into Secret %q yourself",
			v1alpha1.ConfirmAnnotation, place.Secret.Name),
	}}
}

// confirmed is the value of the confirmation, shortened where it is very long.
func confirmed(pt *v1alpha1.ProviderToken) string {
	return bounded(pt.Annotations[v1alpha1.ConfirmAnnotation])
}
