package providers_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/net/dns/dnsmessage"
)

// lifetime of every token of the suite.
const lifetime = 300 * time.Second

// said marks everything that a faulty provider says: none of it may be seen anywhere.
const said = "PROVIDER-SAYS"

// endpoint is one provider: a token endpoint that behaves, and while its fault is on does not.
type endpoint struct {
	fault        *fault
	name         string
	host         string // as in the token URL
	address      string // where it listens
	clientID     string
	clientSecret string
	clock        func() time.Time
	certificates *certificates
	names        *names
	thief        *thief

	on     atomic.Bool
	front  *front
	server *http.Server
	ends   []func() // of the fault that is on

	mu       sync.Mutex
	arrived  int // requests while the fault was on
	strange  []string
	tokens   map[string]time.Time // when they expire
	order    []string
	issuedAt []time.Time
	wire     strings.Builder // what came in the clear
}

// ports below those from which outgoing connections take theirs, so that a
// listener which is closed for a while finds its port free again.
var ports atomic.Int32

func listen() net.Listener {
	GinkgoHelper()
	for {
		port := 20000 + int(ports.Add(1))%12000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l
		}
	}
}

func newEndpoint(f *fault, name string, clock func() time.Time, c *certificates, n *names, t *thief) *endpoint {
	GinkgoHelper()
	e := &endpoint{
		fault: f, name: name, clock: clock, certificates: c, names: n, thief: t,
		clientID: "client-of-" + name, clientSecret: "CREDENTIAL-" + name + "-" + rand.Text(),
		tokens: map[string]time.Time{},
	}
	public := listen()
	e.address = public.Addr().String()
	e.host = e.address
	if f.lookup != nil || f.silent {
		_, port, err := net.SplitHostPort(e.address)
		Expect(err).NotTo(HaveOccurred())
		e.host = net.JoinHostPort(name+"."+zone, port)
	}
	if f.proxied() {
		// The proxy takes the public address; the provider is behind it.
		Expect(public.Close()).To(Succeed())
		public = listen()
	}
	e.front = &front{Listener: public, endpoint: e, live: map[net.Conn]struct{}{}}
	e.serve()
	if f.proxied() {
		e.ends = []func(){e.proxy("")}
	}
	return e
}

// serve answers over TLS what the front lets through.
func (e *endpoint) serve() {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!e.fault.http1)
	e.server = &http.Server{
		Handler: e, Protocols: protocols, ReadHeaderTimeout: time.Minute,
		ErrorLog:  log.New(io.Discard, "", 0), // broken handshakes are the purpose
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: e.certificate},
	}
	go func() { _ = e.server.ServeTLS(e.front, "", "") }()
	DeferCleanup(func() {
		e.heal()
		for _, end := range e.ends {
			end()
		}
		_ = e.server.Close()
		e.front.cut()
	})
}

func (e *endpoint) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c := e.certificates
	if e.on.Load() && e.fault.certificate != nil {
		return e.fault.certificate(c), nil
	}
	if e.host != e.address {
		return c.named, nil
	}
	return c.good, nil
}

// proxy puts a proxy with that toxic (none when empty) before the provider.
func (e *endpoint) proxy(toxic string) (stop func()) {
	logger := zerolog.Nop()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), logger)
	p := toxiproxy.NewProxy(server, e.name, e.address, e.front.Addr().String())
	if toxic != "" {
		_, err := p.Toxics.AddToxicJson(strings.NewReader(toxic))
		if err != nil {
			panic(err) // the table of faults is wrong
		}
	}
	if err := p.Start(); err != nil {
		panic(fmt.Sprintf("%s: %v", e.name, err))
	}
	return p.Stop
}

// fail turns the fault on. Connections from before do not survive it.
func (e *endpoint) fail() {
	if e.on.Swap(true) {
		return
	}
	for _, end := range e.ends {
		end()
	}
	e.ends = nil
	f := e.fault
	host, _, _ := net.SplitHostPort(e.host)
	switch {
	case f.toxic != "":
		e.ends = append(e.ends, e.proxy(f.toxic))
	case f.full:
		e.ends = append(e.ends, fill(e.address))
	case f.lookup != nil:
		e.names.fail(host, *f.lookup)
		e.ends = append(e.ends, func() { e.names.heal(host) })
	case f.silent:
		e.names.silence(host)
		e.ends = append(e.ends, func() { e.names.heal(host) })
	}
	e.front.cut()
}

// heal turns it off. What hangs ends with it; anything else under way may end as it
// will, or what the test does would look like a fault of another kind.
func (e *endpoint) heal() {
	if !e.on.Swap(false) {
		return
	}
	for _, end := range e.ends {
		end()
	}
	e.ends = nil
	if e.fault.hangs || e.fault.proxied() {
		e.front.cut()
	}
	if e.fault.proxied() {
		e.ends = append(e.ends, e.proxy(""))
	}
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	faulty := e.on.Load()
	e.mu.Lock()
	if faulty {
		e.arrived++
	}
	if r.Method != http.MethodPost || r.URL.Path != "/token" || id != e.clientID || secret != e.clientSecret || string(body) != "grant_type=client_credentials" {
		e.strange = append(e.strange, fmt.Sprintf("%s %s by %q", r.Method, r.URL.Path, id))
	}
	e.mu.Unlock()
	if faulty && e.fault.answer != nil {
		e.fault.answer(e, w, r)
		return
	}
	e.grant(w)
}

// grant is what a provider does that behaves.
func (e *endpoint) grant(w http.ResponseWriter) {
	w.Header().Set("Date", e.clock().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, e.issue())
}

// issue makes an answer with a new token. It is long, so that it can be cut off in the middle.
func (e *endpoint) issue() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock()
	token := fmt.Sprintf("TOKEN-%s-%d-%s", e.name, len(e.order), rand.Text())
	e.tokens[token] = now.Add(lifetime)
	e.order = append(e.order, token)
	e.issuedAt = append(e.issuedAt, now)
	return fmt.Sprintf(`{"padding":%q,"access_token":%q,"token_type":"Bearer","expires_in":%d}`,
		strings.Repeat("x", 20<<10), token, int(lifetime.Seconds()))
}

// accepts tells whether the provider would take a token at an instant.
func (e *endpoint) accepts(token string, at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	expires, known := e.tokens[token]
	return known && at.Before(expires)
}

func (e *endpoint) counts() (arrived int, strange []string, wire string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.arrived, e.strange, e.wire.String()
}

// front is the provider's listener: a fault may take connections over before TLS.
type front struct {
	net.Listener
	endpoint *endpoint

	mu   sync.Mutex
	live map[net.Conn]struct{}
}

func (f *front) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		f.mu.Lock()
		f.live[c] = struct{}{}
		f.mu.Unlock()
		if e := f.endpoint; e.on.Load() && e.fault.conn != nil {
			go e.fault.conn(e, c)
			continue
		}
		return c, nil
	}
}

// cut ends all connections.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.live {
		_ = c.Close()
	}
	clear(f.live)
}

// thief is where a redirect points: nothing must ever arrive there.
type thief struct {
	address string
	visits  atomic.Int32
}

func newThief(c *certificates) *thief {
	GinkgoHelper()
	t := &thief{}
	l := listen()
	t.address = l.Addr().String()
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*c.good}},
		Handler:   http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.visits.Add(1) }),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			t.visits.Add(1)
			return ctx
		},
	}
	go func() { _ = s.ServeTLS(l, "", "") }()
	DeferCleanup(s.Close)
	return t
}

var nameError, serverFailure = dnsmessage.RCodeNameError, dnsmessage.RCodeServerFailure
