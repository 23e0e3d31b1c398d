package controller

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/metrics"
)

// otherHost stands in metrics for every host that a namespace chose itself.
const otherHost = "other"

// soon is how near its end a token is "soon" to expire: the lead that a kubelet needs.
const soon = 2 * time.Minute

// measure tells metrics of an object with that status; of one that another operator
// serves that one tells, and a sum over both would count it twice.
func (r *Reconciler) measure(f *facts, told *v1alpha1.ProviderTokenStatus) {
	if !f.tenure.serves {
		r.Metrics.Forget(f.pt.Namespace, f.pt.Name)
		return
	}
	r.Metrics.Token(f.measured(told))
}

// measured is what metrics tell of an object with that status.
func (f *facts) measured(told *v1alpha1.ProviderTokenStatus) metrics.Token {
	t := metrics.Token{
		Namespace: f.pt.Namespace, Name: f.pt.Name,
		Group: metrics.Group{
			Provider: f.origin.Label(), Host: f.hostLabel(),
			Credential: f.credentialLabel(), Severity: severityLabel(f.pt),
		},
		Ready: meta.IsStatusConditionTrue(told.Conditions, v1alpha1.ReadyCondition), Suspended: f.pt.Spec.Suspend,
		ExpiresAt: f.expires(), RefreshAt: f.refreshAt(), CredentialExpiresAt: f.sources.expires,
	}
	if f.held != nil {
		t.IssuedAt = f.held.Token.IssuedAt
	}
	if last := told.Failure; last != nil {
		t.Reason, t.FailingSince = last.Reason, last.Since.Time
	}
	return t
}

// hostLabel is the host's name for metrics. One that a namespace or an issuer's metadata
// named is not shown: labels hold only what the platform or the catalog wrote.
func (f *facts) hostLabel() string {
	if f.vouched && !f.resolved.NeedsDiscovery() {
		return f.resolved.Host()
	}
	if f.vouched && f.issuer != nil {
		return f.issuer.host()
	}
	return otherHost
}

// severityLabel is how severe an alert about pt is.
func severityLabel(pt *v1alpha1.ProviderToken) string {
	if told := pt.Labels[v1alpha1.SeverityLabel]; slices.Contains([]string{"critical", "info"}, told) {
		return told
	}
	return "warning"
}

// countLateness compares a refresh that is being published with its plan. It is called
// while the held token is still the former one. What somebody asked for has no plan.
func (r *Reconciler) countLateness(f *facts) {
	if due := f.beginAt(); !due.IsZero() && !f.now.Before(due) && f.current() {
		r.Metrics.Refreshed(f.origin.Label(), f.now.Sub(due))
	}
}

// load is what the scheduler knows of hosts, for metrics.
func (r *Reconciler) load() []metrics.Host {
	loads := r.Scheduler.Load(soon)
	hosts := make([]metrics.Host, len(loads))
	for i, l := range loads {
		name := l.Host
		if strings.Contains(name, "/") { // the lane of a namespace
			name = otherHost
		}
		hosts[i] = metrics.Host{
			Name: name, Down: l.Down, Throttled: l.Throttled, Running: l.Running,
			Waiting: map[string]int{metrics.UrgencyNone: l.None, metrics.UrgencySoon: l.Soon, metrics.UrgencyRoutine: l.Routine},
		}
	}
	return hosts
}
