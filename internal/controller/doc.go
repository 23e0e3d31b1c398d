// Package controller reconciles ProviderTokens: it gathers facts, decides what
// is due, lets exchanges run outside of the reconcile, publishes their results
// and tells what happened. Kinds of failure are mapped to conditions and retries
// in one place, failures.go.
//
// It is the only package that knows all the others, and none may import it.
package controller
