package exchange

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/providertoken/operator/internal/provider"
)

const (
	// maxTransports bounds the memory that many different CA bundles and client
	// certificates can take.
	maxTransports = 64
	// maxHeaderBytes bounds the header of an answer.
	maxHeaderBytes = 64 << 10
	idleTimeout    = 90 * time.Second
	dialTimeout    = 10 * time.Second
)

// transportKey is what must be equal for two requests to share connections.
type transportKey struct {
	Trust
	// single is for requests that net/http would send a second time by itself.
	single bool
	// certificate is what the client shows: a connection belongs to who opened it.
	certificate certificateID
}

// transports keeps one http.Transport per transportKey, the most recently used ones.
type transports struct {
	allowed  []netip.Prefix
	internal []netip.Addr
	proxy    *url.URL

	mu     sync.Mutex
	byKey  map[transportKey]*list.Element
	recent *list.List // of transportEntry; front is the most recently used
}

type transportEntry struct {
	key       transportKey
	transport *http.Transport
}

func newTransports(allowed []netip.Prefix, internal []netip.Addr, proxy *url.URL) *transports {
	return &transports{
		allowed:  allowed,
		internal: internal,
		proxy:    proxy,
		byKey:    map[transportKey]*list.Element{},
		recent:   list.New(),
	}
}

// get returns the transport for requests of this trust that are sent with that method
// and show that certificate. The error is a *provider.Error about the CA bundle or the
// certificate.
func (t *transports) get(trust Trust, req provider.Request) (*http.Transport, error) {
	key := transportKey{Trust: trust, single: replayable(req.Method), certificate: identify(req.Certificate)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if element, found := t.byKey[key]; found {
		t.recent.MoveToFront(element)
		return element.Value.(transportEntry).transport, nil
	}
	created, err := t.build(key, req.Certificate)
	if err != nil {
		return nil, err
	}
	t.byKey[key] = t.recent.PushFront(transportEntry{key, created})
	if t.recent.Len() > maxTransports {
		t.evict(t.recent.Back())
	}
	return created, nil
}

// evict forgets a transport. Exchanges that are under way on it end as usual;
// their connections are closed when they become idle.
func (t *transports) evict(element *list.Element) {
	entry := t.recent.Remove(element).(transportEntry)
	delete(t.byKey, entry.key)
	entry.transport.CloseIdleConnections()
}

func (t *transports) closeIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.recent.Len() > 0 {
		t.evict(t.recent.Back())
	}
}

// guard for requests of this trust.
func (t *transports) guard(trust Trust) guard {
	return guard{allowed: t.allowed, internal: t.internal, publicOnly: trust.PublicOnly}
}

func (t *transports) build(key transportKey, certificate *provider.Certificate) (*http.Transport, error) {
	roots, err := key.roots()
	if err != nil {
		return nil, err
	}
	show, err := shown(certificate)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, ControlContext: t.guard(key.Trust).control}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, GetClientCertificate: show},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    defaultConcurrency,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// A connection that a firewall forgot answers nothing, and HTTP/2 would put
		// every later request on it too. A ping finds out.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
	if key.single {
		transport.MaxIdleConnsPerHost = -1
	}
	if t.proxy != nil {
		transport.Proxy = http.ProxyURL(connectURL(t.proxy))
		transport.DialContext = proxyDialer(t.proxy)
		transport.OnProxyConnectResponse = checkProxyAnswer
	}
	return transport, nil
}

// connectURL is the proxy as net/http is told of it: always plain http, because
// net/http would verify an https proxy with the provider's CA bundle.
// proxyDialer does the TLS instead.
func connectURL(proxy *url.URL) *url.URL {
	return &url.URL{Scheme: "http", User: proxy.User, Host: hostPort(proxy)}
}

// proxyDialer connects to the proxy, whose address the administrator chose: it is
// not guarded, and the system's roots verify it.
func proxyDialer(proxy *url.URL) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if proxy.Scheme == "https" {
		return (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext
	}
	return dialer.DialContext
}

// proxyRefusedError is a CONNECT that the egress proxy did not grant.
type proxyRefusedError struct{ status int }

func (*proxyRefusedError) Error() string { return "the egress proxy refused to connect" }

// checkProxyAnswer keeps the proxy's own words out of our errors.
func checkProxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyRefusedError{status: answer.StatusCode}
}

// hostPort returns the host and always a port of an http or https URL.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return net.JoinHostPort(u.Hostname(), u.Port())
	}
	if u.Scheme == "http" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return net.JoinHostPort(u.Hostname(), "443")
}
