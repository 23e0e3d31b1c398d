package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

// convert maps the API's definition onto the provider's, field by field. The error is
// about a JSON body that is none.
func convert(s v1alpha1.ProviderDefinition) (provider.Definition, error) {
	d := provider.Definition{
		TokenURL:             s.TokenURL,
		IssuerURL:            s.IssuerURL,
		Grant:                provider.Grant(s.Grant),
		GrantType:            s.GrantType,
		ClientAuthentication: provider.ClientAuthentication(s.ClientAuthentication),
		ClientID:             s.ClientID,
		Scopes:               texts(s.Scopes),
		FormParameters:       textMap(s.FormParameters),
		TokenLifetime:        provider.Duration{Duration: duration(s.TokenLifetime)},
		UseRefreshToken:      provider.RefreshTokenUse(s.UseRefreshToken),
		CABundle:             s.CABundle,
	}
	for _, name := range s.ExtraCredentials {
		d.ExtraCredentials = append(d.ExtraCredentials, provider.ExtraCredential{Name: string(name)})
	}
	if a := s.Assertion; a != nil {
		d.Assertion = provider.AssertionFormat{
			Algorithm:  string(a.Algorithm),
			Issuer:     string(a.Issuer),
			Subject:    string(a.Subject),
			Audience:   string(a.Audience),
			KeyID:      string(a.KeyID),
			Lifetime:   provider.Duration{Duration: duration(a.Lifetime)},
			Backdate:   provider.Duration{Duration: duration(a.Backdate)},
			Thumbprint: a.Thumbprint,
			Claims:     textMap(a.Claims),
		}
	}
	if x := s.TokenExchange; x != nil {
		d.TokenExchange = provider.TokenExchangeFormat{
			SubjectTokenType:   string(x.SubjectTokenType),
			ActorTokenType:     string(x.ActorTokenType),
			RequestedTokenType: string(x.RequestedTokenType),
		}
	}
	if a := s.Response; a != nil {
		d.Response = provider.ResponseFormat{
			AccessToken:      texts(a.AccessToken),
			TokenType:        texts(a.TokenType),
			ExpiresIn:        texts(a.ExpiresIn),
			ExpiresAt:        texts(a.ExpiresAt),
			RefreshToken:     texts(a.RefreshToken),
			RefreshExpiresIn: texts(a.RefreshExpiresIn),
			Scope:            texts(a.Scope),
			Error:            texts(a.Error),
		}
	}
	if l := s.Limits; l != nil {
		d.Limits = provider.Limits{Concurrency: int(l.Concurrency), PerSecond: int(l.PerSecond)}
	}
	var err error
	d.Request, err = convertRequest(s.Request)
	return d, err
}

// maxJSONBody bounds request.json in bytes: the schema cannot.
const maxJSONBody = 8 << 10

func convertRequest(q *v1alpha1.RequestFormat) (provider.RequestFormat, error) {
	if q == nil {
		return provider.RequestFormat{}, nil
	}
	f := provider.RequestFormat{
		Method:    string(q.Method),
		Headers:   textMap(q.Headers),
		Login:     provider.LoginPlacement(q.Login),
		Assertion: provider.AssertionPlacement(q.Assertion),
		Scopes:    provider.ScopePlacement(q.Scopes),
		Body:      provider.BodyFormat(q.Body),
	}
	if q.JSON == nil || len(q.JSON.Raw) == 0 {
		return f, nil
	}
	if len(q.JSON.Raw) > maxJSONBody {
		return f, fmt.Errorf("request.json is larger than %d bytes; shorten it", maxJSONBody)
	}
	if err := json.Unmarshal(q.JSON.Raw, &f.JSON); err != nil {
		return f, errors.New("request.json is not a JSON object; write it as members and values")
	}
	return f, nil
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

func texts[S ~string](in []S) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = string(s)
	}
	return out
}

func textMap[S ~string](in map[string]S) map[string]string {
	if in == nil {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, s := range in {
		out[k] = string(s)
	}
	return out
}
