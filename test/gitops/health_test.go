package gitops

import (
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/argoproj/argo-cd/v3/util/lua"
)

// verdict is Argo CD's, by its own Lua VM, with the libraries that it opens for
// scripts of argocd-cm.
func (c customizations) verdict(t *testing.T, o *unstructured.Unstructured) health.HealthStatus {
	t.Helper()
	got, err := health.GetResourceHealth(o, lua.ResourceHealthOverrides(c))
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		t.Fatal("Argo CD found no health check for this kind")
	}
	return *got
}

func TestHealthOfEveryState(t *testing.T) {
	const (
		missing    = `there is no Secret "login" with the label providertoken.dev/credentials-for: ClusterTokenProvider.sso in namespace team; create it, or label it`
		works      = `Secret "reports" holds a token that works until 2100-01-01T13:00:00Z`
		worksShort = `Secret "reports" holds a token that works until 2100-01-01T12:05:00Z`
		refused    = `sso at sso.example.com:443: the token endpoint refused the username or password (invalid_grant); correct username and password in the credential Secret, and check that the account is not locked`
		locked     = `to keep the account from being locked, this login is not tried again before `
		changes    = `, or until the credential Secret changes`
	)
	tests := map[string]health.HealthStatus{
		// A token that works is Healthy, whatever becomes of refreshes.
		"live":               {Status: health.HealthStatusHealthy, Message: works},
		"live-suspended":     {Status: health.HealthStatusHealthy, Message: works + `; refreshing is suspended`},
		"live-provider-down": {Status: health.HealthStatusHealthy, Message: works + `; warning: sso at sso.example.com:443: the token endpoint failed (HTTP 503); check whether the provider has an outage; the token in the Secret works until 2100-01-01T13:00:00Z`},
		"live-login-frozen": {Status: health.HealthStatusHealthy, Message: worksShort + `; warning: ` + refused +
			`; the token in the Secret works until 2100-01-01T12:05:00Z; ` + locked + `2100-01-01T12:18:30Z` + changes},
		"live-credentials-gone": {Status: health.HealthStatusHealthy, Message: works + `; warning: ` + missing + `; the token in the Secret works until 2100-01-01T13:00:00Z`},
		"live-template-broken":  {Status: health.HealthStatusHealthy, Message: works + `; warning: the template of data key "config" does not work (config:1:3: executing "config" at <.unknown>: map has no entry for key "unknown"); correct target.template.data`},
		"live-too-short": {Status: health.HealthStatusHealthy, Message: `Secret "reports" holds a token that works until 2100-01-01T12:02:00Z; warning: ` +
			`sso issues tokens of 2m0s, too short to be replaced 2m0s before their end; mounted files, which follow with up to 90 s delay, may hold an expired one`},

		// What may still come by itself lets a sync wait.
		"new":                          {Status: health.HealthStatusProgressing, Message: `waiting for the operator to look at this spec`},
		"edited":                       {Status: health.HealthStatusProgressing, Message: `waiting for the operator to look at this spec`},
		"waiting-for-credentials":      {Status: health.HealthStatusProgressing, Message: missing},
		"waiting-for-provider":         {Status: health.HealthStatusProgressing, Message: `ClusterTokenProvider "sso" does not exist; create it, or correct providerRef`},
		"first-token-delayed":          {Status: health.HealthStatusProgressing, Message: `sso at sso.example.com:443: the token endpoint failed (HTTP 503); check whether the provider has an outage`},
		"outdated":                     {Status: health.HealthStatusProgressing, Message: `sso at sso.example.com:443: the token endpoint failed (HTTP 503); check whether the provider has an outage; the token in the Secret works until 2100-01-01T13:00:00Z`},
		"expired-waiting":              {Status: health.HealthStatusProgressing, Message: `the token in Secret "reports" expired at 2100-01-01T13:00:00Z: ` + missing},
		"expired-waiting-for-provider": {Status: health.HealthStatusProgressing, Message: `the token in Secret "reports" expired at 2100-01-01T13:00:00Z: ClusterTokenProvider "sso" does not exist; create it, or correct providerRef`},

		// What a workload cannot live with, or nobody but a person can mend.
		"expired":                               {Status: health.HealthStatusDegraded, Message: `the token in Secret "reports" expired at 2100-01-01T13:00:00Z: sso at sso.example.com:443: the token endpoint failed (HTTP 503); check whether the provider has an outage`},
		"expired-suspended":                     {Status: health.HealthStatusDegraded, Message: `the token in Secret "reports" expired at 2100-01-01T13:00:00Z; refreshing is suspended: set spec.suspend to false`},
		"expired-suspended-without-credentials": {Status: health.HealthStatusDegraded, Message: `the token in Secret "reports" expired at 2100-01-01T13:00:00Z: ` + missing + `; refreshing is suspended: set spec.suspend to false`},
		"expired-login-frozen":                  {Status: health.HealthStatusDegraded, Message: `the token in Secret "reports" expired at 2100-01-01T12:05:00Z: ` + refused + `; ` + locked + `2100-01-01T12:18:30Z` + changes},
		"login-frozen":                          {Status: health.HealthStatusDegraded, Message: refused + `; ` + locked + `2100-01-01T12:15:00Z` + changes},
		"request-denied":                        {Status: health.HealthStatusDegraded, Message: `sso at sso.example.com:443: the token endpoint refused the client's credentials (invalid_client); correct client_id and client_secret in the credential Secret`},
		"target-conflict":                       {Status: health.HealthStatusDegraded, Message: `Secret reports exists and was not made for this ProviderToken; use another target.secretName in a new ProviderToken, or delete the Secret if nobody needs it`},
		"waited-too-long":                       {Status: health.HealthStatusDegraded, Message: missing},

		// What a person told to do nothing.
		"suspended":                     {Status: health.HealthStatusSuspended, Message: `there is no token for this spec, and none is asked for while spec.suspend is true`},
		"suspended-without-credentials": {Status: health.HealthStatusSuspended, Message: missing},
	}
	all(t, tests)
	c := load(t)
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			if got := c.verdict(t, state(t, name)); got != want {
				t.Errorf("got  %s: %s\nwant %s: %s", got.Status, got.Message, want.Status, want.Message)
			}
		})
	}
}

func TestATokenThatExpiredWithoutTheOperatorIsDegraded(t *testing.T) {
	// The operator was stopped while this token lived, and nobody touched the
	// object since; what differs from the state is that its time has come.
	c, o := load(t), state(t, "live")
	set(t, o, "2026-01-01T00:00:00Z", "status", "token", "expiresAt")
	want := health.HealthStatus{
		Status:  health.HealthStatusDegraded,
		Message: "the token expired at 2026-01-01T00:00:00Z and the operator has not said so: check that it runs",
	}
	if got := c.verdict(t, o); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAProviderTokenThatIsBeingDeletedIsProgressing(t *testing.T) {
	c, o := load(t), state(t, "expired")
	set(t, o, "2100-01-01T13:00:00Z", "metadata", "deletionTimestamp")
	if got := c.verdict(t, o); got.Status != health.HealthStatusProgressing {
		t.Errorf("got %v", got)
	}
}

// The scripts run for every object of every version of the operator.
func TestStatusOfAnotherVersionIsNoError(t *testing.T) {
	c := load(t)
	tests := map[string]func(*unstructured.Unstructured){
		"no metadata beyond the name": func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, "metadata", "generation") },
		"no spec":                     func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, "spec") },
		"empty conditions": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(o.Object, []any{}, "status", "conditions")
		},
		"conditions that say nothing": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"type": "Ready"}, map[string]any{}}, "status", "conditions")
		},
		"no token": func(o *unstructured.Unstructured) { unstructured.RemoveNestedField(o.Object, "status", "token") },
		"only an observedGeneration, as by default": func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedMap(o.Object, map[string]any{"observedGeneration": int64(-1)}, "status")
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			for _, s := range states(t) {
				o := state(t, s)
				change(o)
				c.verdict(t, o)
			}
		})
	}
}

func TestProvidersNeedNoHealthCheck(t *testing.T) {
	c := load(t)
	for _, kind := range []string{"TokenProvider", "ClusterTokenProvider"} {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("providertoken.dev/v1alpha1")
		o.SetKind(kind)
		got, err := health.GetResourceHealth(o, lua.ResourceHealthOverrides(c))
		// Nothing to say is what Argo CD takes for healthy as soon as it is there.
		if err != nil || got != nil {
			t.Errorf("%s: %v, %v", kind, got, err)
		}
	}
}
