package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/providertoken/operator/hack/internal/pki"
)

// clientSecret is what every client of the token endpoint shows.
const clientSecret = "a-secret-of-the-bench"

// mint is a token that was issued.
type mint struct {
	client string
	// at is when the request arrived; the token's life counts from there.
	at, expires time.Time
}

// provider issues tokens at one or more hosts, and knows all that it issued.
type provider struct {
	authority *pki.Authority
	padding   string
	lifetime  time.Duration

	mu    sync.Mutex
	mints []mint
	// arrivals are the instants of all requests, in order.
	arrivals []time.Time
	refused  int
	down     bool
	servers  []*http.Server
}

// newProvider makes tokens of that lifetime, of about size bytes each.
func newProvider(lifetime time.Duration, size int) (*provider, error) {
	authority, err := pki.NewAuthority("providertoken bench")
	if err != nil {
		return nil, err
	}
	return &provider{authority: authority, lifetime: lifetime, padding: strings.Repeat("x", max(size-16, 0))}, nil
}

// host is a token endpoint, as templates see it.
type host struct {
	Name, URL, CA          string
	Concurrency, PerSecond int
}

// CA64 is the authority in base64.
func (h host) CA64() string { return base64.StdEncoding.EncodeToString([]byte(h.CA)) }

// serve opens an endpoint that answers after latency.
func (p *provider) serve(name string, latency time.Duration, http1 bool) (host, error) {
	pair, err := p.authority.Server("localhost", "127.0.0.1")
	if err != nil {
		return host{}, err
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return host{}, fmt.Errorf("reading the token endpoint's certificate: %w", err)
	}
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return host{}, fmt.Errorf("opening the token endpoint: %w", err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!http1)
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, latency) }),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		Protocols:         protocols,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that end cut their connections
	}
	p.mu.Lock()
	p.servers = append(p.servers, server)
	p.mu.Unlock()
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Printf("the token endpoint ended: %v", err)
		}
	}()
	return host{Name: name, URL: "https://" + listener.Addr().String() + "/token", CA: string(p.authority.Pair.Certificate)}, nil
}

func (p *provider) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request, latency time.Duration) {
	arrived := p.arrive()
	client, secret := r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	if !wait(r.Context(), latency) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	p.mu.Lock()
	down := p.down
	if down {
		p.refused++
	}
	p.mu.Unlock()
	switch {
	case down:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case client == "" || secret != clientSecret || r.PostFormValue("grant_type") != "client_credentials":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
		return
	}
	token := p.issue(client, arrived)
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int(p.lifetime.Seconds()))
}

// arrive notes a request.
func (p *provider) arrive() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.arrivals = append(p.arrivals, now)
	return now
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// issue notes a mint. The token tells which one it is.
func (p *provider) issue(client string, at time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mints = append(p.mints, mint{client: client, at: at, expires: at.Add(p.lifetime)})
	return strconv.Itoa(len(p.mints)-1) + "." + p.padding
}

// recognise finds the mint of a token.
func (p *provider) recognise(token string) (mint, bool) {
	number, _, _ := strings.Cut(token, ".")
	i, err := strconv.Atoi(number)
	if err != nil {
		return mint{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i < 0 || i >= len(p.mints) {
		return mint{}, false
	}
	return p.mints[i], true
}

// minted counts the tokens issued so far.
func (p *provider) minted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mints)
}

// setDown lets every request fail, or none.
func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// mintedBefore counts the tokens that were asked for before then.
func (p *provider) mintedBefore(then time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, m := range p.mints {
		if m.at.Before(then) {
			n++
		}
	}
	return n
}

// arrivalsSince are the instants of requests from then on, in order.
func (p *provider) arrivalsSince(then time.Time) []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, _ := slices.BinarySearchFunc(p.arrivals, then, time.Time.Compare)
	return slices.Clone(p.arrivals[i:])
}

// refusals counts the requests that failed because the provider was down.
func (p *provider) refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}
