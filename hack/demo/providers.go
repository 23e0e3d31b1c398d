package main

import (
	"github.com/providertoken/operator/internal/providersim"
)

// way is one of the ways in to a provider: a file in manifests, with a
// ProviderToken of this name in it.
type way struct {
	name string
	host *providersim.Host
	// kinds of request that this way makes; two ways share SpatiaFi.
	kinds []providersim.Kind
}

// calls that the provider saw so far.
func (w way) calls() int {
	n := 0
	for _, kind := range w.kinds {
		n += w.host.Count(kind)
	}
	return n
}

func waysIn(sim *providersim.Simulator) []way {
	return []way{
		{name: "plantpredict", host: sim.PlantPredict.Host, kinds: []providersim.Kind{providersim.KindClientCredentials}},
		{name: "spatiafi-login", host: sim.SpatiaFi.Host, kinds: []providersim.Kind{providersim.KindLogin}},
		{name: "spatiafi-app", host: sim.SpatiaFi.Host, kinds: []providersim.Kind{providersim.KindClientCredentials}},
		{name: "up42-project", host: sim.UP42Project.Host, kinds: []providersim.Kind{providersim.KindClientCredentials}},
		{name: "up42", host: sim.UP42.Host, kinds: []providersim.Kind{providersim.KindPassword, providersim.KindRefreshToken}},
	}
}

// values fill the manifests.
func values(sim *providersim.Simulator) map[string]string {
	return map[string]string{
		"CA_BUNDLE":                  sim.CABundle(),
		"PLANTPREDICT_URL":           sim.PlantPredict.TokenURL(),
		"PLANTPREDICT_CLIENT_ID":     providersim.PlantPredictClientID,
		"PLANTPREDICT_CLIENT_SECRET": providersim.PlantPredictClientSecret,
		"SPATIAFI_LOGIN_URL":         sim.SpatiaFi.LoginURL(),
		"SPATIAFI_USERNAME":          providersim.SpatiaFiUsername,
		"SPATIAFI_PASSWORD":          providersim.SpatiaFiPassword,
		"SPATIAFI_TOKEN_URL":         sim.SpatiaFi.TokenURL(),
		"SPATIAFI_CLIENT_ID":         providersim.SpatiaFiClientID,
		"SPATIAFI_CLIENT_SECRET":     providersim.SpatiaFiClientSecret,
		"UP42PROJECT_URL":            sim.UP42Project.TokenURL(),
		"UP42PROJECT_ID":             providersim.UP42ProjectID,
		"UP42PROJECT_API_KEY":        providersim.UP42ProjectKey,
		"UP42_URL":                   sim.UP42.TokenURL(),
		"UP42_USERNAME":              providersim.UP42Username,
		"UP42_PASSWORD":              providersim.UP42Password,
	}
}
