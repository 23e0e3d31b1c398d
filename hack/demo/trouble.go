package main

import (
	"context"
	"net/http"
	"time"

	"github.com/providertoken/operator/internal/providersim"
)

// trouble is something that goes wrong at an instant after the beginning.
type trouble struct {
	at     time.Duration
	what   string
	happen func(*providersim.Simulator)
}

func program() []trouble {
	return []trouble{
		{time.Minute, "SpatiaFi throttles", func(s *providersim.Simulator) {
			s.SpatiaFi.Always(providersim.JSON(http.StatusTooManyRequests, "{}"))
		}},
		{75 * time.Second, "SpatiaFi answers again", func(s *providersim.Simulator) { s.SpatiaFi.Clear() }},
		{90 * time.Second, "PlantPredict is down", func(s *providersim.Simulator) {
			s.PlantPredict.Always(providersim.JSON(http.StatusBadGateway, "{}"))
		}},
		{2 * time.Minute, "somebody changes the password at UP42", func(s *providersim.Simulator) {
			s.UP42.SetLogin(providersim.UP42Username, "another password")
			s.UP42.KillSessions()
		}},
		{4 * time.Minute, "PlantPredict is back", func(s *providersim.Simulator) { s.PlantPredict.Clear() }},
	}
}

// troubles lets everything on the program happen.
func troubles(ctx context.Context, sim *providersim.Simulator) {
	began := time.Now()
	for _, t := range program() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(t.at))):
		}
		t.happen(sim)
	}
}
