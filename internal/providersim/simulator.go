// Package providersim serves the catalog's providers in-process: real TLS on
// loopback, each on a listener of its own, strict about every byte of a request.
// What the real provider refuses is refused in the real provider's words; what
// RFC 6749 forbids is refused even where a real one might look away.
//
// It is an oracle, so it must not import internal/provider, internal/exchange or
// anything else of the code that it judges, nor anything of Kubernetes.
package providersim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// The names of the simulated providers: keys of Options.Lifetimes and
// Options.Addresses. All but Generic are the catalog's own names.
const (
	PlantPredictName = "PlantPredict"
	SpatiaFiName     = "SpatiaFi"
	UP42Name         = "UP42"
	UP42ProjectName  = "UP42Project"
	GenericName      = "Generic"
)

// Names lists the simulated providers in alphabetical order.
func Names() []string {
	names := []string{GenericName, PlantPredictName, SpatiaFiName, UP42Name, UP42ProjectName}
	names = append(names, (&fleetB{}).names()...)
	names = append(names, fleetANames()...)
	slices.Sort(names)
	return names
}

// Options of a Simulator; the zero value is usable.
type Options struct {
	// Now is the providers' clock; time.Now when nil. It must be safe for concurrent use.
	Now func() time.Time
	// Lifetime of every access token, whatever form it is told in; each
	// provider's own when zero. Whole seconds.
	Lifetime time.Duration
	// Lifetimes by provider name; they win over Lifetime.
	Lifetimes map[string]time.Duration
	// Addresses to listen on by provider name; 127.0.0.1:0 when absent.
	Addresses map[string]string
	// ServerNames are further DNS names in the certificates, beside localhost
	// and 127.0.0.1. The first one, if any, is the host in every URL.
	ServerNames []string
	// HTTP1 switches HTTP/2 off. Clients repeat requests on broken connections by
	// other rules then.
	HTTP1 bool
}

// Simulator is the running set of providers.
type Simulator struct {
	PlantPredict *PlantPredict
	SpatiaFi     *SpatiaFi
	UP42         *UP42
	UP42Project  *UP42Project
	Generic      *Generic
	fleetB
	fleetA

	authority *authority
	cancel    context.CancelFunc
	hosts     []*Host

	mu     sync.Mutex
	closed bool
	holes  []*blackHole
}

// Start listens and serves until Close.
func Start(o Options) (*Simulator, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	ca, err := newAuthority(o.ServerNames)
	if err != nil {
		return nil, fmt.Errorf("making certificates: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Simulator{authority: ca, cancel: cancel}
	if err := s.startHosts(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (o Options) validate() error {
	known := Names()
	for name, d := range o.Lifetimes {
		if !slices.Contains(known, name) {
			return fmt.Errorf("lifetimes: no provider is named %q", name)
		}
		if !wholeSeconds(d) {
			return fmt.Errorf("lifetimes: %s must be a positive number of whole seconds", name)
		}
	}
	for name := range o.Addresses {
		if !slices.Contains(known, name) {
			return fmt.Errorf("addresses: no provider is named %q", name)
		}
	}
	if o.Lifetime != 0 && !wholeSeconds(o.Lifetime) {
		return errors.New("lifetime must be a positive number of whole seconds")
	}
	return nil
}

func wholeSeconds(d time.Duration) bool { return d > 0 && d%time.Second == 0 }

func (s *Simulator) startHosts(ctx context.Context, o Options) error {
	members := []member{
		{PlantPredictName, time.Hour, func(h *Host) { s.PlantPredict = newPlantPredict(h) }},
		{SpatiaFiName, 15 * time.Minute, func(h *Host) { s.SpatiaFi = newSpatiaFi(h) }},
		{UP42Name, 5 * time.Minute, func(h *Host) { s.UP42 = newUP42(h) }},
		{UP42ProjectName, 5 * time.Minute, func(h *Host) { s.UP42Project = newUP42Project(h) }},
		{GenericName, time.Hour, func(h *Host) { s.Generic = newGeneric(h) }},
	}
	members = append(members, s.members()...)
	for _, p := range members {
		h, err := s.newHost(ctx, o, p.name, p.lifetime)
		if err != nil {
			return fmt.Errorf("starting %s: %w", p.name, err)
		}
		s.hosts = append(s.hosts, h)
		p.attach(h)
	}
	if err := s.addFleetA(ctx, o); err != nil {
		return err
	}
	for _, h := range s.hosts {
		h.start(ctx)
	}
	return nil
}

func (s *Simulator) newHost(ctx context.Context, o Options, name string, lifetime time.Duration) (*Host, error) {
	if o.Lifetime != 0 {
		lifetime = o.Lifetime
	}
	if d, ok := o.Lifetimes[name]; ok {
		lifetime = d
	}
	address := o.Addresses[name]
	if address == "" {
		address = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	public := listener.Addr().String()
	if len(o.ServerNames) > 0 {
		_, port, err := net.SplitHostPort(public)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		public = net.JoinHostPort(o.ServerNames[0], port)
	}
	return &Host{
		name: name, address: public, listener: listener, certificate: s.authority.server, clock: o.Now,
		http1: o.HTTP1, lifetime: lifetime, counts: map[Kind]int{}, tokens: map[string]grant{},
	}, nil
}

// Close stops everything, ends hanging requests, and returns when no goroutine
// of the simulator serves a request any more. It may be called twice.
func (s *Simulator) Close() {
	s.mu.Lock()
	holes := s.holes
	s.holes, s.closed = nil, true
	s.mu.Unlock()
	s.cancel()
	for _, h := range s.hosts {
		h.stop()
	}
	for _, h := range holes {
		h.stop()
	}
}

// CABundle is the PEM certificate of the authority that signed the servers' certificates.
func (s *Simulator) CABundle() string { return s.authority.bundle }

// BlackHoles opens n listeners that accept connections and never say a word, and
// returns their addresses as host:port. They close with the Simulator.
func (s *Simulator) BlackHoles(n int) ([]string, error) {
	addresses := make([]string, 0, n)
	for range n {
		address, err := s.openBlackHole()
		if err != nil {
			return nil, fmt.Errorf("opening a black hole: %w", err)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

func (s *Simulator) openBlackHole() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", net.ErrClosed
	}
	h, err := newBlackHole()
	if err != nil {
		return "", err
	}
	s.holes = append(s.holes, h)
	return h.listener.Addr().String(), nil
}
