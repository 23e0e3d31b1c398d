package controller

import (
	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/source"
)

// Where definitions and credentials come from is source's to find out.
type (
	origin   = source.Origin
	wallet   = source.Wallet
	location = source.Location
)

// finder reads through the caches, and parses a definition once.
func (r *Reconciler) finder() source.Finder {
	return source.Finder{
		Objects: r.Client, Secrets: r.Credentials, Catalog: r.Catalog, Known: &r.definitions,
		ClusterProviders: r.Options.ClusterProviders, InlineProviders: r.Options.InlineProviders,
	}
}

// sourceProblem is what source found, in the terms of conditions.
func sourceProblem(p *source.Problem) *problem {
	if p == nil {
		return nil
	}
	return &problem{
		Condition: v1alpha1.CredentialsResolvedCondition,
		Reason:    p.Reason, Late: p.Late, Message: p.Message, Waiting: p.Waiting, Stalled: !p.Waiting,
	}
}
