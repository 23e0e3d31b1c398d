package main

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
)

// overdueAfter is how late a refresh may be before it counts as one that the operator
// should have begun: a busy operator, and a laptop whose clock is not exact.
const overdueAfter = 2 * time.Minute

// urgency of looking at a ProviderToken, the most urgent first.
type urgency int

const (
	// expired: whoever reads the Secret is refused by now.
	expired urgency = iota
	// stuck: there is no token, and it will not come by itself.
	stuck
	// waiting: there is no token yet.
	waiting
	// failing: the token works, and cannot be replaced.
	failing
	// overdue: the token works, and nobody seems to replace it.
	overdue
	// suspended: the token works, and is not to be replaced.
	suspended
	// fine needs no look.
	fine
)

// standing of a ProviderToken at an instant.
type standing struct {
	urgency urgency
	// word is what lists show: Ready, or the reason why not.
	word string
	// expires and refresh are zero where they are not known.
	expires, refresh time.Time
}

// judge says how pt stands.
func judge(pt *v1alpha1.ProviderToken, now time.Time) standing {
	var s standing
	if pt.Status.Token != nil {
		s.expires = pt.Status.Token.ExpiresAt.Time
	}
	if pt.Status.RefreshAt != nil && !pt.Spec.Suspend {
		s.refresh = pt.Status.RefreshAt.Time
	}
	ready := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.ReadyCondition)
	switch {
	case !s.expires.IsZero() && !s.expires.After(now):
		s.urgency, s.word = expired, v1alpha1.ReasonTokenExpired
	case ready == nil:
		s.urgency, s.word = waiting, "not looked at"
	case ready.Status != metav1.ConditionTrue:
		s.urgency, s.word = waiting, ready.Reason
		if meta.IsStatusConditionTrue(pt.Status.Conditions, v1alpha1.StalledCondition) {
			s.urgency = stuck
		}
	case pt.Status.Failure != nil:
		s.urgency, s.word = failing, "Ready, but "+pt.Status.Failure.Reason
	case pt.Spec.Suspend:
		s.urgency, s.word = suspended, "Ready, suspended"
	case !s.refresh.IsZero() && now.Sub(s.refresh) > overdueAfter:
		s.urgency, s.word = overdue, "Ready, but overdue"
	default:
		s.urgency, s.word = fine, v1alpha1.ReadyCondition
	}
	return s
}

// byUrgency sorts what needs a look to the top; among equals, what expires first.
func byUrgency(all []v1alpha1.ProviderToken, now time.Time) {
	slices.SortStableFunc(all, func(a, b v1alpha1.ProviderToken) int {
		x, y := judge(&a, now), judge(&b, now)
		return cmp.Or(
			cmp.Compare(x.urgency, y.urgency),
			x.expires.Compare(y.expires),
			cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name),
		)
	})
}

// readiness is the status of the condition Ready: True, False or Unknown.
func readiness(pt *v1alpha1.ProviderToken) string {
	if ready := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return string(ready.Status)
	}
	return string(metav1.ConditionUnknown)
}

// providerName is what the ProviderToken refers to.
func providerName(pt *v1alpha1.ProviderToken) string {
	switch {
	case pt.Spec.ProviderRef != nil:
		return pt.Spec.ProviderRef.Name
	case pt.Status.Provider != nil:
		return pt.Status.Provider.Name
	}
	return string(v1alpha1.InlineProvider)
}
