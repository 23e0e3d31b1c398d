package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/test/e2e/wire"
)

// desk is where the suite asks and instructs.
type desk struct {
	host      *providersim.Host
	bundle    string
	endpoints map[string]string
}

func newDesk(host *providersim.Host, bundle string, endpoints map[string]string) *desk {
	return &desk{host: host, bundle: bundle, endpoints: endpoints}
}

func (d *desk) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.state())
	})
	mux.HandleFunc("POST /outage/{kind}", d.outage)
	return mux
}

func (d *desk) state() wire.Provider {
	s := wire.Provider{
		Now: time.Now(), CABundle: d.bundle, Endpoints: d.endpoints, Minted: d.host.Issued(),
		Asked: map[string]int{}, Scopes: map[string]int{}, Readers: map[string]*wire.Calls{},
	}
	for _, call := range d.host.Calls() {
		if call.Kind != providersim.KindResource {
			if s.FirstAsked.IsZero() {
				s.FirstAsked = call.Time
			}
			s.Asked[string(call.Kind)]++
			s.Scopes[call.Form.Get("scope")]++
			continue
		}
		calls := s.Readers[call.UserAgent]
		if calls == nil {
			calls = &wire.Calls{}
			s.Readers[call.UserAgent] = calls
		}
		calls.Count(call.Status)
	}
	return s
}

// outage of the token endpoint: cut, error, hang, or none to end it.
func (d *desk) outage(w http.ResponseWriter, r *http.Request) {
	switch kind := r.PathValue("kind"); kind {
	case "none":
		d.host.Clear()
	case "cut":
		d.host.Always(providersim.Drop())
	case "error":
		d.host.Always(providersim.Status(http.StatusServiceUnavailable))
	case "hang":
		d.host.Always(providersim.Hang())
	default:
		http.Error(w, fmt.Sprintf("there is no outage %q, only cut, error, hang and none", kind), http.StatusNotFound)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
