package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/providertoken/operator/internal/provider"
)

const (
	// DefaultTimeout is the deadline of an exchange when Options leaves it out.
	DefaultTimeout = 30 * time.Second
	// MaxBody is the largest answer that is read, in bytes after decompression.
	MaxBody = 64 << 10
	// defaultUserAgent is sent when Options leaves it out.
	defaultUserAgent = "providertoken-operator"
)

// Options of a Client. The zero value is usable.
type Options struct {
	// UserAgent is sent unless the request has its own.
	UserAgent string
	// EgressProxy, an http or https URL, is asked to CONNECT to each provider. The
	// environment's proxy variables are never read.
	//
	// A dial guard cannot see behind a proxy, which resolves the names itself: then
	// only a literal IP address in a URL is judged here, and keeping names away from
	// internal addresses is the proxy's job. The proxy's own address is not judged.
	EgressProxy *url.URL
	// AllowNetworks may be reached although the address guard would refuse them.
	AllowNetworks []netip.Prefix
	// Internal are addresses of the cluster, such as the API server's, which may look
	// public: as private ones they are refused to definitions that nobody vouches for.
	Internal []netip.Addr
	// Timeout bounds a whole exchange, from name resolution to the last byte of the
	// answer; DefaultTimeout when zero. It runs on the machine's clock.
	Timeout time.Duration
	// Clock dates what is sent and received; the machine's clock when nil.
	Clock Clock
	// MaySend is asked when a connection stands and a request's body is about to go out; false
	// withholds it. A process can be suspended for long just before. nil permits everything.
	MaySend func() bool
}

// Client makes exchanges. It is safe for concurrent use.
type Client struct {
	userAgent  string
	timeout    time.Duration
	clock      Clock
	proxied    bool
	maySend    func() bool
	transports *transports
}

// New checks the options and returns a Client.
func New(o Options) (*Client, error) {
	if err := checkProxy(o.EgressProxy); err != nil {
		return nil, err
	}
	allowed := make([]netip.Prefix, 0, len(o.AllowNetworks))
	for _, prefix := range o.AllowNetworks {
		if !prefix.IsValid() || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("exchange: allowed network %v is not a valid IPv4 or IPv6 network", prefix)
		}
		allowed = append(allowed, prefix.Masked())
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("exchange: timeout %v is negative", o.Timeout)
	}
	c := &Client{
		userAgent:  o.UserAgent,
		timeout:    o.Timeout,
		clock:      o.Clock,
		proxied:    o.EgressProxy != nil,
		maySend:    o.MaySend,
		transports: newTransports(allowed, o.internal(), o.EgressProxy),
	}
	if c.userAgent == "" {
		c.userAgent = defaultUserAgent
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.clock == nil {
		c.clock = machineClock{}
	}
	return c, nil
}

func (o Options) internal() []netip.Addr {
	plain := make([]netip.Addr, 0, len(o.Internal))
	for _, a := range o.Internal {
		plain = append(plain, a.WithZone("").Unmap())
	}
	return plain
}

func checkProxy(proxy *url.URL) error {
	if proxy == nil {
		return nil
	}
	if proxy.Scheme != "http" && proxy.Scheme != "https" {
		return errors.New("exchange: the egress proxy must be an http or https URL")
	}
	if proxy.Hostname() == "" {
		return errors.New("exchange: the egress proxy's URL has no host")
	}
	return nil
}

// Do sends req once and returns the answer, whatever its status: a redirect is an
// answer too and is not followed. The error is always a *provider.Error:
// Misconfigured (TLS verification, a forbidden address, a proxy that forbids it),
// Input (a URL that is not https, a CA bundle or a client certificate that cannot be
// read) or Unavailable
// (everything else, a cancelled ctx included). Its SentMaybe tells whether the
// provider may have seen the request.
//
// The answer's SentAt is taken before dialling, since a token's life may have begun
// at any time after that: counted from there, it is never believed to last longer
// than it does. ReceivedAt is when the answer's header was complete, to compare
// with the header's Date.
//
// A request with a Certificate has connections of its own: they are shared with requests
// that show the same certificate only.
func (c *Client) Do(ctx context.Context, req provider.Request, trust Trust) (provider.Answer, error) {
	target, err := c.target(req, trust)
	if err != nil {
		return provider.Answer{}, err
	}
	transport, err := c.transports.get(trust, req)
	if err != nil {
		return provider.Answer{}, err
	}
	attempt := &attempt{host: target.Host, caller: ctx, certificate: req.Certificate != nil}
	ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(ctx, attempt.trace()), c.timeout)
	defer cancel()
	outgoing, err := c.outgoing(ctx, req)
	if err != nil {
		return provider.Answer{}, err
	}

	sentAt := c.clock.Now()
	response, err := transport.RoundTrip(outgoing)
	if err != nil {
		return provider.Answer{}, attempt.failure(err)
	}
	defer func() { _ = response.Body.Close() }()
	receivedAt := c.clock.Now()
	body, err := attempt.read(response)
	if err != nil {
		return provider.Answer{}, err
	}
	return provider.Answer{
		Status:     response.StatusCode,
		Header:     response.Header,
		Body:       body,
		SentAt:     sentAt,
		ReceivedAt: receivedAt,
	}, nil
}

// Close closes the connections that no exchange uses. The Client stays usable.
func (c *Client) Close() { c.transports.closeIdle() }

// target checks where a request would go, as far as that can be known before
// its name is resolved.
func (c *Client) target(req provider.Request, trust Trust) (*url.URL, error) {
	target, err := url.Parse(req.URL)
	if err != nil || target.Scheme != "https" || target.Hostname() == "" || target.User != nil {
		return nil, &provider.Error{
			Kind:    provider.Input,
			Problem: "the token endpoint is not an https URL with a host and without a user",
			Fix:     "correct the definition's token URL",
		}
	}
	if !c.proxied {
		return target, nil
	}
	literal, err := netip.ParseAddr(target.Hostname())
	if err != nil {
		return target, nil //nolint:nilerr // a name, not an address: nothing to judge here
	}
	if refused := c.transports.guard(trust).check(literal); refused != nil {
		return nil, (&attempt{host: target.Host, caller: context.Background()}).failure(refused)
	}
	return target, nil
}

// outgoing is req as net/http wants it.
func (c *Client) outgoing(ctx context.Context, req provider.Request) (*http.Request, error) {
	outgoing, err := http.NewRequestWithContext(ctx, req.Method, req.URL, http.NoBody)
	if err != nil {
		return nil, &provider.Error{
			Kind:    provider.Input,
			Problem: "the request's method is not an HTTP method",
			Fix:     "correct the definition's request method",
		}
	}
	if !req.Body.IsZero() {
		body := req.Body.Reveal()
		outgoing.ContentLength = int64(len(body))
		outgoing.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(&heldBody{body: strings.NewReader(body), may: c.maySend}), nil
		}
		outgoing.Body, _ = outgoing.GetBody()
	}
	if req.Header != nil {
		outgoing.Header = req.Header.Clone()
	}
	// net/http decompresses only what it asked for itself.
	outgoing.Header.Del("Accept-Encoding")
	if outgoing.Header.Get("User-Agent") == "" {
		outgoing.Header.Set("User-Agent", c.userAgent)
	}
	return outgoing, nil
}

// heldBody is a body that goes out only if that is still permitted.
type heldBody struct {
	body *strings.Reader
	may  func() bool
}

var errWithheld = errors.New("the request is withheld")

func (b *heldBody) Read(p []byte) (int, error) {
	if b.may != nil && !b.may() {
		return 0, errWithheld
	}
	return b.body.Read(p)
}

// replayable tells whether net/http repeats a request by itself when a reused
// connection breaks before the answer. A login that is sent twice is two logins,
// so such requests get connections of their own.
func replayable(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// attempt is what is known of one exchange while it lasts.
type attempt struct {
	host   string // with the port if the URL has one; safe to show
	caller context.Context
	// certificate tells that the client shows one.
	certificate bool
	sent        atomic.Bool // perhaps
	handshake   atomic.Bool // the TLS handshake failed
	lookup      atomic.Bool // the name is being looked up
}

// trace notes how far the exchange comes. The hooks may run in other goroutines,
// and later than the exchange.
func (a *attempt) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:         func(httptrace.DNSStartInfo) { a.lookup.Store(true) },
		DNSDone:          func(httptrace.DNSDoneInfo) { a.lookup.Store(false) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { a.handshake.Store(err != nil) },
		// The first of these comes before anything is written, so that a write that
		// fails half-way counts as sent.
		WroteHeaderField: func(string, []string) { a.sent.Store(true) },
		WroteHeaders:     func() { a.sent.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				a.sent.Store(true)
			}
		},
	}
}
