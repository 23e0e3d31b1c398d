package providersim

import (
	"context"
	"fmt"
	"time"
)

// The names of the simulated identity providers, as in the catalog.
const (
	Auth0Name    = "Auth0"
	CognitoName  = "Cognito"
	EntraIDName  = "EntraID"
	KeycloakName = "Keycloak"
	OktaName     = "Okta"
	ZitadelName  = "Zitadel"
)

// fleetA is the part of a Simulator that is about identity providers.
type fleetA struct {
	Auth0    *Auth0
	Cognito  *Cognito
	EntraID  *EntraID
	Keycloak *Keycloak
	Okta     *Okta
	Zitadel  *Zitadel
}

func fleetANames() []string {
	return []string{Auth0Name, CognitoName, EntraIDName, KeycloakName, OktaName, ZitadelName}
}

func (s *Simulator) addFleetA(ctx context.Context, o Options) error {
	for _, p := range []struct {
		name     string
		lifetime time.Duration // the real provider's, by default
		attach   func(*Host)
	}{
		{Auth0Name, 24 * time.Hour, func(h *Host) { s.Auth0 = newAuth0(h) }},
		{CognitoName, time.Hour, func(h *Host) { s.Cognito = newCognito(h) }},
		{EntraIDName, time.Hour - time.Second, func(h *Host) { s.EntraID = newEntraID(h) }},
		{KeycloakName, 5 * time.Minute, func(h *Host) { s.Keycloak = newKeycloak(h) }},
		{OktaName, time.Hour, func(h *Host) { s.Okta = newOkta(h) }},
		{ZitadelName, 12*time.Hour - time.Second, func(h *Host) { s.Zitadel = newZitadel(h) }},
	} {
		h, err := s.newHost(ctx, o, p.name, p.lifetime)
		if err != nil {
			return fmt.Errorf("starting %s: %w", p.name, err)
		}
		s.hosts = append(s.hosts, h)
		p.attach(h)
	}
	return nil
}
