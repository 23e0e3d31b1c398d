// Package source finds out where a ProviderToken's definition and credentials come
// from, whether it may use them, and how far its endpoint is trusted. The operator and
// those who try a ProviderToken without it ask the same questions here.
//
// It reads objects, and writes none; it must not import internal/controller, and sends
// nothing but requests for an issuer's metadata.
package source

import (
	"context"
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/internal/provider"
)

// Getter reads one object; a client.Reader does. An object that does not exist is a NotFound error.
// Nobody here changes what was read, so that a cache is asked for no copy; to a Getter
// that makes objects anew, that option means nothing.
type Getter interface {
	Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error
}

// Finder reads what a ProviderToken refers to.
type Finder struct {
	// Objects reads provider objects, ConfigMaps and the labels of namespaces.
	Objects Getter
	// Secrets reads credential Secrets.
	Secrets Getter
	Catalog *provider.Catalog
	// Known spares those who look often what was read before; nil for those who look once.
	// With it, Objects must tell resource versions.
	Known *Definitions
	// ClusterProviders and InlineProviders tell whether those may be used here.
	ClusterProviders, InlineProviders bool
}

// Problem is what stands in the way, and what the user has to mend.
type Problem struct {
	// Reason while it may still pass by itself; Late is used instead once a Waiting
	// problem has lasted too long.
	Reason, Late string
	// Message is one sentence that says what to do next. It does not change while the problem lasts.
	Message string
	// Waiting problems are normal while the objects of one commit arrive; all others need a person.
	Waiting bool
}

func stalled(reason, message string) *Problem { return &Problem{Reason: reason, Message: message} }

// failed is err as the *provider.Error that both packages promise.
func failed(err error) *provider.Error {
	if pe, ok := errors.AsType[*provider.Error](err); ok {
		return pe
	}
	return &provider.Error{Kind: provider.Unavailable, Problem: "the exchange failed in an unexpected way"}
}
