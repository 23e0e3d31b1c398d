package controller

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// sameStatus tells whether a and b say the same, with instants compared as such: what
// was read has another time zone than what was computed. It is asked in every reconcile
// of every object, so it does not reflect.
func sameStatus(a, b *v1alpha1.ProviderTokenStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration &&
		a.SecretName == b.SecretName &&
		a.RefreshHandled == b.RefreshHandled &&
		a.ServedBy == b.ServedBy &&
		a.CredentialExpiresAt.Equal(b.CredentialExpiresAt) &&
		slices.EqualFunc(a.Conditions, b.Conditions, sameCondition) &&
		a.RefreshAt.Equal(b.RefreshAt) &&
		ptr.Equal(a.Provider, b.Provider) &&
		both(a.Token, b.Token, sameToken) &&
		both(a.Refresh, b.Refresh, samePolicy) &&
		both(a.Propagation, b.Propagation, func(a, b *v1alpha1.PropagationStatus) bool {
			return a.ToldAt.Equal(&b.ToldAt) && a.Pods == b.Pods
		}) &&
		both(a.Failure, b.Failure, func(a, b *v1alpha1.FailureStatus) bool {
			return a.Reason == b.Reason && a.Since.Equal(&b.Since)
		})
}

// canWait tells whether there is no news yet: a first token is on its way, or there is
// another version of the definition, of which nothing is used yet. While the token works, status says what that was asked for with. An edit
// of a ClusterTokenProvider, or an upgrade with another catalog, would otherwise write
// the status of ten thousand ProviderTokens at once. It is told with the next token.
func (r *Reconciler) canWait(f *facts, told v1alpha1.ProviderTokenStatus) bool {
	if told.Failure == nil && f.now.Before(f.silentUntil()) {
		return true
	}
	last := f.pt.Status.Provider
	if last == nil || told.Provider == nil || !f.ready() || f.mem.failure != nil || last.Kind != told.Provider.Kind || last.Name != told.Provider.Name {
		return false
	}
	told.Provider = last
	return sameStatus(&f.pt.Status, &told)
}

// firstWord is how long a new ProviderToken may have no status while its first token is on
// its way: most come sooner, and the API server is spared one request of five.
// Until then clients read observedGeneration -1, which they take for a thing in progress.
const firstWord = time.Second

// greet notes when this process first saw a ProviderToken without a status.
func (r *Reconciler) greet(f *facts) {
	if f.mem.greeted.IsZero() && f.untold() {
		f.mem.greeted = f.now
		r.memory.update(f.pt.UID, func(m *recollection) { m.greeted = f.now })
	}
}

// untold tells that no status was written yet.
func (f *facts) untold() bool {
	return f.pt.Status.ObservedGeneration <= 0 && len(f.pt.Status.Conditions) == 0
}

// silentUntil is when status must tell of a first token that is still on its way; zero
// when it is to tell at once.
func (f *facts) silentUntil() time.Time {
	if f.mem.greeted.IsZero() || !f.untold() || f.held != nil || f.need() == "" || f.pt.Spec.Suspend ||
		f.blocked != nil || f.unwritable != nil || f.mem.failure != nil {
		return time.Time{}
	}
	return f.mem.greeted.Add(firstWord)
}

func sameCondition(a, b metav1.Condition) bool {
	at := a.LastTransitionTime
	a.LastTransitionTime = b.LastTransitionTime
	return a == b && at.Equal(&b.LastTransitionTime)
}

func sameToken(a, b *v1alpha1.TokenStatus) bool {
	return a.IssuedAt.Equal(&b.IssuedAt) && a.ExpiresAt.Equal(&b.ExpiresAt) &&
		a.ExpirySource == b.ExpirySource && a.Type == b.Type && slices.Equal(a.Scopes, b.Scopes)
}

func samePolicy(a, b *v1alpha1.RefreshPolicy) bool {
	return a.AtPercent == b.AtPercent && ptr.Equal(a.MinimumLead, b.MinimumLead) && ptr.Equal(a.MinimumInterval, b.MinimumInterval)
}

// both tells whether neither is there, or both are and same.
func both[T any](a, b *T, same func(a, b *T) bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return same(a, b)
}

// removeCondition is meta.RemoveStatusCondition, which copies all others even where there is nothing to remove.
func removeCondition(conditions *[]metav1.Condition, kind string) {
	if meta.FindStatusCondition(*conditions, kind) != nil {
		meta.RemoveStatusCondition(conditions, kind)
	}
}

// statusPatch is the merge patch from one status to another. It looks at nothing else:
// spec and metadata are the same, and turning them into JSON and back takes longer than the rest.
type statusPatch struct {
	from *v1alpha1.ProviderTokenStatus
}

var _ client.Patch = statusPatch{}

// Type implements client.Patch.
func (statusPatch) Type() types.PatchType { return types.MergePatchType }

// Data implements client.Patch.
func (p statusPatch) Data(o client.Object) ([]byte, error) {
	to, is := o.(*v1alpha1.ProviderToken)
	if !is {
		return client.MergeFrom(&v1alpha1.ProviderToken{}).Data(o)
	}
	return client.MergeFrom(&v1alpha1.ProviderToken{Status: *p.from}).Data(&v1alpha1.ProviderToken{Status: to.Status})
}
