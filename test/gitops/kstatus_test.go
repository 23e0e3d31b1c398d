package gitops

import (
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
)

// Flux and kubectl judge by kstatus: Failed fails a Kustomization that waits.
func TestKstatusOfEveryState(t *testing.T) {
	tests := map[string]status.Status{
		"live":                  status.CurrentStatus,
		"live-suspended":        status.CurrentStatus,
		"live-provider-down":    status.CurrentStatus,
		"live-login-frozen":     status.CurrentStatus,
		"live-credentials-gone": status.CurrentStatus,
		"live-too-short":        status.CurrentStatus,
		"live-template-broken":  status.CurrentStatus,

		// It has observedGeneration -1: without, kstatus would take it for done.
		"new":                                   status.InProgressStatus,
		"edited":                                status.InProgressStatus,
		"waiting-for-credentials":               status.InProgressStatus,
		"waiting-for-provider":                  status.InProgressStatus,
		"first-token-delayed":                   status.InProgressStatus,
		"outdated":                              status.InProgressStatus,
		"expired-waiting":                       status.InProgressStatus,
		"expired":                               status.InProgressStatus,
		"expired-waiting-for-provider":          status.InProgressStatus,
		"expired-suspended-without-credentials": status.InProgressStatus,
		"expired-suspended":                     status.InProgressStatus,
		"suspended":                             status.InProgressStatus,

		"expired-login-frozen":          status.FailedStatus,
		"login-frozen":                  status.FailedStatus,
		"request-denied":                status.FailedStatus,
		"target-conflict":               status.FailedStatus,
		"waited-too-long":               status.FailedStatus,
		"suspended-without-credentials": status.FailedStatus,
	}
	all(t, tests)
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := status.Compute(state(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != want {
				t.Errorf("got %s (%s), want %s", got.Status, got.Message, want)
			}
		})
	}
}
