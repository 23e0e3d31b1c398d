package source

import (
	"context"
	"fmt"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
)

// Vouches tells whether the origin stands for everything that decides where r sends
// credentials. Whoever fills a free host parameter decides that too.
func (o Origin) Vouches(r provider.Resolved) bool { return o.Vouched && !r.FreeHost }

// HostNotAllowed is that a credential Secret does not name the host that its content would be sent to.
func HostNotAllowed(host string) *Problem {
	return stalled(v1alpha1.ReasonHostNotAllowed, fmt.Sprintf(
		"every credential Secret must name %s in its annotation %s before its content is sent there",
		host, v1alpha1.AllowedHostsAnnotation))
}

// HostOf is host and port of a URL, as provider.Resolved.Host says it.
func HostOf(url string) string {
	return provider.Resolved{Definition: provider.Definition{TokenURL: url}}.Host()
}

// Exchanger makes one HTTP exchange; *exchange.Client does.
type Exchanger interface {
	Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error)
}

// ReadMetadata asks an issuer for its metadata, at every place where they may be.
func ReadMetadata(ctx context.Context, exchanger Exchanger, issuer string, trust exchange.Trust) (provider.Metadata, *provider.Error) {
	urls, err := provider.MetadataURLs(issuer)
	if err != nil {
		return provider.Metadata{}, failed(err)
	}
	var last *provider.Error
	for _, u := range urls {
		answer, err := exchanger.Do(ctx, provider.MetadataRequest(u), trust)
		if err != nil {
			return provider.Metadata{}, failed(err)
		}
		metadata, err := provider.DecodeMetadata(issuer, answer)
		if err == nil {
			return metadata, nil
		}
		last = failed(err)
		if !provider.NoMetadata(answer) {
			break
		}
	}
	return provider.Metadata{}, last
}
