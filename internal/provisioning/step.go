// Package provisioning makes credentials that a provider hands out once, and keeps
// them: the request that must never be repeated blindly, and the Secret that says what
// became of it. The operator and kubectl-providertoken share it.
//
// It must not import internal/controller.
package provisioning

import (
	"context"
	"errors"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

// Exchanger makes one HTTP exchange; *exchange.Client does.
type Exchanger interface {
	Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error)
}

// Make sends the step's request, once, and returns the credentials that the provider
// made. An *provider.Error with SentMaybe set means that there may be some now which
// nobody knows; without it there are none.
func Make(ctx context.Context, x Exchanger, p provider.Provisioning, trust exchange.Trust, access token.Secret) (provider.Credentials, error) {
	req, err := p.NewRequest(access)
	if err != nil {
		return nil, err
	}
	answer, err := x.Do(ctx, req, trust)
	if err != nil {
		return nil, err
	}
	return p.Decode(answer)
}

// Lost tells that the outcome of a failed step is not known.
func Lost(err error) bool {
	var pe *provider.Error
	return errors.As(err, &pe) && pe.SentMaybe
}
