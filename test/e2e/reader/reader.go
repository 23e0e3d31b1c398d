package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/providertoken/operator/test/e2e/wire"
)

const (
	// patience with the provider: it is on the same cluster.
	patience = 5 * time.Second
	// maxTold failures are told in full; the counts go on.
	maxTold = 200
)

// reader uses one token source.
type reader struct {
	options
	fixed  string // from the environment
	client *http.Client
	out    *json.Encoder

	mu    sync.Mutex
	state wire.Reader
}

func newReader(o options, ca, fixed string, out io.Writer) (*reader, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("the variable that -ca names holds no certificate")
	}
	return &reader{
		options: o, fixed: fixed, out: json.NewEncoder(out),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}},
		state: wire.Reader{Name: o.name},
	}, nil
}

// watch notices new tokens, between the calls too.
func (r *reader) watch(ctx context.Context, every time.Duration) {
	tick(ctx, every, func() { _, _, _ = r.read() })
}

// use calls the provider.
func (r *reader) use(ctx context.Context, every time.Duration) {
	tick(ctx, every, func() { r.call(ctx) })
}

func tick(ctx context.Context, every time.Duration, do func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// read returns the Authorization header's value and the token's hash.
func (r *reader) read() (authorization, hash string, err error) {
	content := []byte(r.fixed)
	if r.file != "" {
		if content, err = os.ReadFile(r.file); err != nil {
			return "", "", err
		}
	}
	token := strings.TrimPrefix(string(bytes.TrimSpace(content)), "Bearer ")
	if token == "" {
		return "", "", errors.New("the token is empty")
	}
	hash = wire.Hash(token)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noticed(hash)
	return "Bearer " + token, hash, nil
}

// noticed returns the entry of a token, new where need be. The caller holds mu.
func (r *reader) noticed(hash string) *wire.Token {
	for i := len(r.state.Tokens) - 1; i >= 0; i-- {
		if r.state.Tokens[i].Hash == hash {
			return &r.state.Tokens[i]
		}
	}
	seen := wire.Token{Hash: hash, Seen: time.Now()}
	r.state.Tokens = append(r.state.Tokens, seen)
	r.tell("token", seen)
	return &r.state.Tokens[len(r.state.Tokens)-1]
}

func (r *reader) call(ctx context.Context) {
	f := wire.Failure{Time: time.Now()}
	authorization, hash, err := r.read()
	if err == nil {
		f.Hash = hash
		f.Status, err = r.get(ctx, authorization)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		f.Problem = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Reads++
	r.state.Count(f.Status)
	if hash == "" {
		r.state.Unreadable++
	} else {
		r.noticed(hash).Count(f.Status)
	}
	if f.Status == http.StatusOK {
		return
	}
	if len(r.state.Failures) < maxTold {
		r.state.Failures = append(r.state.Failures, f)
	}
	r.tell("failure", f)
}

func (r *reader) get(ctx context.Context, authorization string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", authorization)
	request.Header.Set("User-Agent", r.name)
	response, err := r.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	return response.StatusCode, err
}

// tell writes one line. The caller holds mu. A log that cannot be written is no
// reason to stop reading.
func (r *reader) tell(event string, about any) {
	_ = r.out.Encode(map[string]any{"event": event, "about": about})
}

func (r *reader) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.state.Now = time.Now()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.state)
	})
	return mux
}
