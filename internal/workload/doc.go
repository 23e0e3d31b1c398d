// Package workload gets tokens of ServiceAccounts, with their consent, that stand
// for a stored credential: short-lived, for one audience, never the API server's.
//
// It knows Kubernetes, and must not import the controller, nor what talks to providers.
package workload
