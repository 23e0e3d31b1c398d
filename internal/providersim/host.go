package providersim

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what a request asks for, as far as can be told before it is judged.
type Kind string

// The kinds of request. A grant keeps its name on the wire (RFC 6749 §4).
const (
	KindClientCredentials Kind = "client_credentials"
	KindPassword          Kind = "password"
	KindRefreshToken      Kind = "refresh_token"
	// KindLogin is SpatiaFi's login, which is no OAuth grant.
	KindLogin Kind = "login"
	// KindProvision is SpatiaFi's creation of app credentials.
	KindProvision Kind = "provision"
	// KindResource is a use of an access token at ResourceURL.
	KindResource Kind = "resource"
	// KindOther is everything else.
	KindOther Kind = "other"
)

// Call is one request that arrived. It holds no secret.
type Call struct {
	// Time of arrival by the provider's clock.
	Time time.Time
	Kind Kind
	// Method and Path of the request; the query is left out.
	Method, Path string
	// UserAgent is the header of that name.
	UserAgent string
	// Form holds those of grant_type, scope, audience and resource that were in the body.
	Form url.Values
	// Status of the answer; 0 while there is none, and for ever if the
	// connection was cut.
	Status int
}

const (
	maxRequestBytes = 1 << 20
	sweepEvery      = 1024
	resourcePath    = "/resource"
)

// Host is what all simulated providers have in common: a TLS listener of its
// own, a record of calls, scripted misbehaviour, and the books of the access
// tokens that it handed out. All methods are safe for concurrent use.
type Host struct {
	name        string
	address     string
	listener    net.Listener
	certificate tls.Certificate
	clock       func() time.Time
	http1       bool
	clientAuth  tls.ClientAuthType  // what the handshake asks of clients
	answer      func(request) reply // judges a request; called with mu held
	kindOf      func(r *http.Request, form url.Values) Kind

	server   *http.Server
	serving  sync.WaitGroup // the accept loop
	conns    sync.WaitGroup // only the accept loop adds
	handlers sync.WaitGroup // added under mu while not stopped

	mu       sync.Mutex
	stopped  bool
	skew     time.Duration
	lifetime time.Duration
	calls    []Call
	counts   map[Kind]int
	next     []queued
	always   Script
	tokens   map[string]grant
	issued   int
}

type queued struct {
	kind   Kind // "" is any
	script Script
}

// grant is the books' entry for one access token.
type grant struct {
	expires time.Time
	login   bool                     // SpatiaFi: from the login, so good for provisioning
	alive   func(now time.Time) bool // nil: nothing but the expiry ends it
}

func (g grant) valid(now time.Time) bool {
	return now.Before(g.expires) && (g.alive == nil || g.alive(now))
}

// Name of the provider in the catalog.
func (h *Host) Name() string { return h.name }

// Address is host:port as in the URLs.
func (h *Host) Address() string { return h.address }

// ResourceURL answers GET with 200 to a Bearer token that Accepts, and with 401
// to everything else (RFC 6750 §3). Scripts do not apply to it.
func (h *Host) ResourceURL() string { return h.at(resourcePath) }

func (h *Host) at(path string) string { return "https://" + h.address + path }

// Calls lists the requests so far in order of arrival.
func (h *Host) Calls() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Count is the number of requests of a kind so far, whatever became of them.
func (h *Host) Count(kind Kind) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[kind]
}

// Issued is the number of access tokens handed out that the provider stands by.
func (h *Host) Issued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.issued
}

// Accepts tells whether the provider would accept this access token now.
func (h *Host) Accepts(token string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	g, ok := h.tokens[token]
	return ok && g.valid(h.now())
}

// RevokeAll makes the provider accept none of the access tokens it handed out.
func (h *Host) RevokeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.tokens)
}

// SetLifetime of the access tokens issued from now on: whole seconds.
func (h *Host) SetLifetime(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lifetime = d
}

// SetClockSkew lets the provider's clock run ahead of Options.Now (behind, when negative).
func (h *Host) SetClockSkew(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skew = d
}

// Next queues scripts: each is used up by one of the next requests, of any kind but KindResource.
func (h *Host) Next(scripts ...Script) { h.NextOf("", scripts...) }

// NextOf is Next for requests of one kind; those of other kinds pass by.
func (h *Host) NextOf(kind Kind, scripts ...Script) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range scripts {
		h.next = append(h.next, queued{kind: kind, script: s})
	}
}

// Always applies the script to every request for which none is queued.
func (h *Host) Always(s Script) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.always = s
}

// Clear forgets all scripts; requests under way keep theirs.
func (h *Host) Clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next, h.always = nil, nil
}

// now is the provider's clock; the caller holds mu.
func (h *Host) now() time.Time { return h.clock().Add(h.skew) }

func (h *Host) start(ctx context.Context) {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!h.http1)
	h.server = &http.Server{
		Handler:           http.HandlerFunc(h.serve),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         h.trackConn,
		ErrorLog:          log.New(io.Discard, "", 0), // refused handshakes are a test's purpose
		ReadHeaderTimeout: time.Minute,
		Protocols:         protocols,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{h.certificate},
			MinVersion:   tls.VersionTLS12,
			ClientAuth:   h.clientAuth,
		},
	}
	h.serving.Go(func() { _ = h.server.ServeTLS(h.listener, "", "") })
}

func (h *Host) trackConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		h.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		h.conns.Done()
	case http.StateActive, http.StateIdle:
	}
}

func (h *Host) stop() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	_ = h.listener.Close()
	if h.server != nil {
		_ = h.server.Close()
	}
	h.serving.Wait()
	h.conns.Wait()
	h.handlers.Wait()
}

// enter admits a request unless the host stops: HTTP/2 may start a handler while its connection closes.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return false
	}
	h.handlers.Add(1)
	return true
}

func (h *Host) serve(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		panic(http.ErrAbortHandler)
	}
	defer h.handlers.Done()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	call, script := h.arrive(r, body)
	tracked := &trackedWriter{ResponseWriter: w, host: h, call: call}
	defer func() {
		if p := recover(); p != nil {
			h.setStatus(call, 0)
			panic(p)
		}
	}()
	script(tracked, r, func(w http.ResponseWriter, r *http.Request) { h.judge(r, body).write(w) })
	if !tracked.wrote {
		tracked.WriteHeader(http.StatusOK)
	}
}

// arrive records a request and picks what becomes of it.
func (h *Host) arrive(r *http.Request, body []byte) (call int, script Script) {
	form, _ := url.ParseQuery(string(body)) // as far as it can be read
	kind := h.kindOf(r, form)
	if r.URL.Path == resourcePath {
		kind = KindResource
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, Call{
		Time: h.now(), Kind: kind, Method: r.Method, Path: r.URL.Path, UserAgent: r.UserAgent(), Form: harmless(form),
	})
	h.counts[kind]++
	return len(h.calls) - 1, h.pick(kind)
}

func harmless(form url.Values) url.Values {
	out := url.Values{}
	for _, name := range []string{"grant_type", "scope", "audience", "resource"} {
		if values, ok := form[name]; ok {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

func (h *Host) pick(kind Kind) Script {
	if kind == KindResource {
		return pass
	}
	i := slices.IndexFunc(h.next, func(q queued) bool { return q.kind == "" || q.kind == kind })
	if i >= 0 {
		script := h.next[i].script
		h.next = slices.Delete(h.next, i, i+1)
		return script
	}
	if h.always != nil {
		return h.always
	}
	return pass
}

// judge is the provider as it should be.
func (h *Host) judge(r *http.Request, body []byte) reply {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := request{Request: r, body: body, now: h.now(), unbooked: r.Context().Value(unbookedKey{}) != nil}
	if r.URL.Path == resourcePath {
		return h.resource(q)
	}
	return h.answer(q)
}

func (h *Host) resource(q request) reply {
	if q.Method != http.MethodGet {
		return refusal(http.StatusMethodNotAllowed, "")
	}
	scheme, token := q.authorization()
	g, ok := h.tokens[token]
	if !strings.EqualFold(scheme, "Bearer") || !ok || !g.valid(q.now) {
		return jsonReply(http.StatusUnauthorized, map[string]any{"error": "invalid_token"}).
			with("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	return jsonReply(http.StatusOK, map[string]any{"ok": true})
}

// book enters an access token that is about to be handed out. The caller holds mu.
func (h *Host) book(q request, token string, g grant) {
	if q.unbooked {
		return
	}
	h.issued++
	h.tokens[token] = g
	if h.issued%sweepEvery == 0 {
		maps.DeleteFunc(h.tokens, func(_ string, g grant) bool { return !g.valid(q.now) })
	}
}

func (h *Host) setStatus(call, status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[call].Status = status
}

func (h *Host) date() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now().UTC().Format(http.TimeFormat)
}

// trackedWriter records the status before the client can see it, so that a test
// which has its answer finds it in Calls, and dates answers by the provider's clock.
type trackedWriter struct {
	http.ResponseWriter
	host  *Host
	call  int
	wrote bool
}

func (w *trackedWriter) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.host.setStatus(w.call, status)
		if w.Header().Get("Date") == "" {
			w.Header().Set("Date", w.host.date())
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *trackedWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *trackedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
