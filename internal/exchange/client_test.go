package exchange

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

const (
	formBody    = "grant_type=client_credentials&client_secret=s3cr3t"
	secretQuery = "?key=s3cr3t"
)

// endpoint is a token endpoint over real TLS on the loopback interface.
type endpoint struct {
	*httptest.Server
	requests    atomic.Int32
	connections atomic.Int32
	closed      chan struct{} // one for each connection that ended
}

func serve(t *testing.T, http2 bool, handler http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{closed: make(chan struct{}, 1000)}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.requests.Add(1)
		handler(w, r)
	}))
	e.EnableHTTP2 = http2
	e.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			e.connections.Add(1)
		case http.StateClosed:
			e.closed <- struct{}{}
		}
	}
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) trust() Trust { return Trust{CABundle: pemOf(e.Certificate().Raw)} }

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func post(base string) provider.Request {
	return provider.Request{
		Method: http.MethodPost,
		URL:    base + "/token" + secretQuery,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic s3cr3t"}},
		Body:   token.NewSecret(formBody),
	}
}

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func client(t *testing.T, o Options) *Client {
	t.Helper()
	if o.AllowNetworks == nil {
		o.AllowNetworks = loopback()
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// wantFailure checks an error's kind, that it says what it should, and that it
// holds nothing of the request but its host.
func wantFailure(t *testing.T, err error, kind provider.Kind, sent bool, words string) {
	t.Helper()
	var failure *provider.Error
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a *provider.Error", err)
	}
	if failure.Kind != kind || failure.SentMaybe != sent || !strings.Contains(failure.Problem, words) {
		t.Errorf("got %s, sent maybe %v: %q; want %s, %v, with %q", failure.Kind, failure.SentMaybe, failure.Problem, kind, sent, words)
	}
	if failure.Status != 0 || failure.Code != "" {
		t.Errorf("status %d and code %q without an answer", failure.Status, failure.Code)
	}
	if failure.Kind != provider.Unavailable && failure.Fix == "" {
		t.Error("it does not say what to do")
	}
	for _, private := range []string{"s3cr3t", "/token", "http:", "tls:", "x509:", "dial"} {
		if strings.Contains(failure.Error(), private) {
			t.Errorf("%q holds %q", failure.Error(), private)
		}
	}
}

// tickingClock goes on by a second whenever it is read.
type tickingClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *tickingClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func TestARequestArrivesAsItIsAndItsAnswerComesBack(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			noon := time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)
			clock := &tickingClock{now: noon}
			e := serve(t, http2, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				want := map[string]string{
					"protocol":     map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2],
					"method":       "POST",
					"uri":          "/token" + secretQuery,
					"body":         formBody,
					"agent":        "operator/1.2",
					"type":         "application/x-www-form-urlencoded",
					"length":       fmt.Sprint(len(formBody)),
					"dates so far": "1",
				}
				got := map[string]string{
					"protocol":     r.Proto,
					"method":       r.Method,
					"uri":          r.RequestURI,
					"body":         string(body),
					"agent":        r.UserAgent(),
					"type":         r.Header.Get("Content-Type"),
					"length":       fmt.Sprint(r.ContentLength),
					"dates so far": fmt.Sprint(int(clock.Now().Sub(noon).Seconds()) - 1),
				}
				for name := range want {
					if got[name] != want[name] {
						t.Errorf("%s is %q, want %q", name, got[name], want[name])
					}
				}
				w.Header().Set("X-Test", "yes")
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, "answer")
			})
			c := client(t, Options{UserAgent: "operator/1.2", Clock: clock})
			answer, err := c.Do(t.Context(), post(e.URL), e.trust())
			if err != nil {
				t.Fatal(err)
			}
			if answer.Status != http.StatusTeapot || string(answer.Body) != "answer" || answer.Header.Get("X-Test") != "yes" {
				t.Errorf("got %d, %q, %v", answer.Status, answer.Body, answer.Header)
			}
			if want := noon.Add(time.Second); !answer.SentAt.Equal(want) {
				t.Errorf("sent at %v, want %v: before anything else", answer.SentAt, want)
			}
			if want := noon.Add(3 * time.Second); !answer.ReceivedAt.Equal(want) {
				t.Errorf("received at %v, want %v: after the endpoint answered", answer.ReceivedAt, want)
			}
		})
	}
}

func TestARequestsOwnUserAgentWins(t *testing.T) {
	var agents []string
	e := serve(t, false, func(_ http.ResponseWriter, r *http.Request) { agents = append(agents, r.UserAgent()) })
	c := client(t, Options{})
	req := post(e.URL)
	for range 2 {
		if _, err := c.Do(t.Context(), req, e.trust()); err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"User-Agent": {"demanded"}}
	}
	if agents[0] != defaultUserAgent || agents[1] != "demanded" {
		t.Errorf("got %q", agents)
	}
}

func TestARequestIsNotChanged(t *testing.T) {
	e := serve(t, false, func(http.ResponseWriter, *http.Request) {})
	req := post(e.URL)
	req.Header.Set("Accept-Encoding", "br")
	if _, err := client(t, Options{}).Do(t.Context(), req, e.trust()); err != nil {
		t.Fatal(err)
	}
	if len(req.Header) != 3 || req.Header.Get("Accept-Encoding") != "br" {
		t.Errorf("the header is %v now", req.Header)
	}
}

func TestARequestWithoutHeaderAndBodyIsSent(t *testing.T) {
	e := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Method, r.ContentLength)
	})
	answer, err := client(t, Options{}).Do(t.Context(), provider.Request{Method: http.MethodGet, URL: e.URL}, e.trust())
	if err != nil || string(answer.Body) != "GET0" {
		t.Errorf("got %q, %v", answer.Body, err)
	}
}

func TestARedirectIsAnAnswerAndIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		e := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", status)
		})
		answer, err := client(t, Options{}).Do(t.Context(), post(e.URL), e.trust())
		if err != nil || answer.Status != status {
			t.Errorf("got %d, %v", answer.Status, err)
		}
		if got := e.requests.Load(); got != 1 {
			t.Errorf("%d requests", got)
		}
	}
}

func TestConnectionsAreSharedByRequestsOfTheSameTrustOnly(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			e := serve(t, http2, func(http.ResponseWriter, *http.Request) {})
			c := client(t, Options{})
			public := e.trust()
			public.PublicOnly = true
			for _, step := range []struct {
				trust Trust
				want  int32
			}{{e.trust(), 1}, {e.trust(), 1}, {public, 2}, {public, 2}, {e.trust(), 2}} {
				if _, err := c.Do(t.Context(), post(e.URL), step.trust); err != nil {
					t.Fatal(err)
				}
				if got := e.connections.Load(); got != step.want {
					t.Errorf("%d connections, want %d", got, step.want)
				}
			}
			c.Close()
			if _, err := c.Do(t.Context(), post(e.URL), e.trust()); err != nil {
				t.Fatal(err)
			}
			if got := e.connections.Load(); got != 3 {
				t.Errorf("%d connections after Close, want a new one", got)
			}
		})
	}
}

func TestNoRequestIsSentTwice(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", method, http2), func(t *testing.T) {
				var e *endpoint
				e = serve(t, http2, func(http.ResponseWriter, *http.Request) {
					if e.requests.Load() > 1 {
						panic(http.ErrAbortHandler)
					}
				})
				c := client(t, Options{})
				req := post(e.URL)
				req.Method = method
				if method == http.MethodGet {
					req.Body = token.Secret{}
				}
				if _, err := c.Do(t.Context(), req, e.trust()); err != nil {
					t.Fatal(err)
				}
				_, err := c.Do(t.Context(), req, e.trust())
				wantFailure(t, err, provider.Unavailable, true, "")
				if got := e.requests.Load(); got != 2 {
					t.Errorf("%d requests were sent, want 2", got)
				}
			})
		}
	}
}

func TestARequestThatMayNoLongerBeSentIsWithheldAtTheLastMoment(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			bodies := make(chan string, 10)
			e := serve(t, http2, func(_ http.ResponseWriter, r *http.Request) {
				if got, err := io.ReadAll(r.Body); err == nil {
					bodies <- string(got)
				}
			})
			var connected, withdrawn atomic.Bool
			c := client(t, Options{MaySend: func() bool { return !connected.Load() || !withdrawn.Load() }})
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
			if _, err := c.Do(ctx, post(e.URL), e.trust()); err != nil {
				t.Fatal(err)
			}
			if got := <-bodies; got != formBody {
				t.Errorf("got the body %q", got)
			}
			connected.Store(false)
			withdrawn.Store(true)
			_, err := c.Do(ctx, post(e.URL), e.trust())
			wantFailure(t, err, provider.Unavailable, false, "leads no more")
			if !connected.Load() {
				t.Error("there was no connection to withhold it from")
			}
			c.Close()
			e.Close()
			if len(bodies) != 0 {
				t.Errorf("the endpoint got %q", <-bodies)
			}
		})
	}
}

func TestTransportsAreBounded(t *testing.T) {
	e := serve(t, false, func(http.ResponseWriter, *http.Request) {})
	c := client(t, Options{})
	trust := func(i int) Trust {
		return Trust{CABundle: fmt.Sprintf("bundle %d\n%s", i, e.trust().CABundle)}
	}
	for i := range maxTransports + 10 {
		if _, err := c.Do(t.Context(), post(e.URL), trust(i)); err != nil {
			t.Fatal(err)
		}
		// The first is used all the time, so it stays.
		if _, err := c.Do(t.Context(), post(e.URL), trust(0)); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.connections.Load(); got != maxTransports+10 {
		t.Errorf("%d connections, want one for each trust", got)
	}
	for range 10 {
		<-e.closed // those of the transports that were given up
	}
	if a, b := c.transports.recent.Len(), len(c.transports.byKey); a != maxTransports || b != maxTransports {
		t.Errorf("%d and %d transports are kept", a, b)
	}
}

func TestAnAnswerOfUpTo64KiBIsRead(t *testing.T) {
	zip := func(body string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, body)
		_ = w.Close()
		return b.String()
	}
	full := strings.Repeat("x", MaxBody)
	for _, tc := range []struct {
		name     string
		encoding string
		sent     string
		want     string
		problem  string
	}{
		{"exactly 64 KiB", "", full, full, ""},
		{"one byte more", "", full + "x", "", "larger than 64 KiB"},
		{"empty", "", "", "", ""},
		{"compressed", "gzip", zip("hello"), "hello", ""},
		{"exactly 64 KiB, compressed", "gzip", zip(full), full, ""},
		{"a bomb", "gzip", zip(strings.Repeat("x", 64<<20)), "", "larger than 64 KiB"},
		{"not compressed as it says", "gzip", "no gzip at all", "", "gzip encoding is broken"},
		{"compressed data that is corrupt", "gzip", zip("hello")[:10] + "\xff\xff\xff\xff", "", "gzip encoding is broken"},
		{"a wrong checksum", "gzip", zip("hello")[:len(zip("hello"))-8] + "12345678", "", "gzip encoding is broken"},
		{"compressed data that is cut off", "gzip", zip("hello")[:14], "", "closed the connection"},
		{"identity", "identity", "hello", "hello", ""},
		{"another encoding", "br", "hello", "", "content encoding that was not asked for"},
		{"two encodings", "gzip, gzip", "hello", "", "content encoding that was not asked for"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Accept-Encoding"); got != "gzip" {
					t.Errorf("asked for %q", got)
				}
				if tc.encoding != "" {
					w.Header().Set("Content-Encoding", tc.encoding)
				}
				_, _ = io.WriteString(w, tc.sent)
			})
			req := post(e.URL)
			req.Header.Set("Accept-Encoding", "br")
			answer, err := client(t, Options{}).Do(t.Context(), req, e.trust())
			if tc.problem != "" {
				wantFailure(t, err, provider.Unavailable, true, tc.problem)
				return
			}
			if err != nil || string(answer.Body) != tc.want {
				t.Errorf("got %d bytes, %v", len(answer.Body), err)
			}
		})
	}
}

func TestAHeaderThatIsTooLargeIsNotRead(t *testing.T) {
	e := serve(t, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("x", 2*maxHeaderBytes))
	})
	_, err := client(t, Options{}).Do(t.Context(), post(e.URL), e.trust())
	wantFailure(t, err, provider.Unavailable, true, "failed")
}

// hang waits until the client has gone, which a server notices when it has read
// the request. It breaks off then: returning would end the answer as if it were
// complete, and that can still reach a client that is about to go.
func hang(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func TestAnExchangeHasOneDeadline(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"without an answer", func(_ http.ResponseWriter, r *http.Request) { hang(r) }},
		{"without the end of an answer", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			hang(r)
		}},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", tc.name, http2), func(t *testing.T) {
				var e *endpoint
				e = serve(t, http2, func(w http.ResponseWriter, r *http.Request) {
					if e.requests.Load() > 1 {
						tc.handler(w, r)
					}
				})
				c := client(t, Options{})
				if _, err := c.Do(t.Context(), post(e.URL), e.trust()); err != nil {
					t.Fatal(err)
				}
				// Now that there is a connection, a short deadline does not depend on how
				// long a handshake takes on a busy machine.
				c.timeout = 300 * time.Millisecond
				_, err := c.Do(t.Context(), post(e.URL), e.trust())
				wantFailure(t, err, provider.Unavailable, true, "did not answer in time")
			})
		}
	}
}

func TestATimeoutWhileTheHandshakeHangsSentNothing(t *testing.T) {
	listener := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	_, err := client(t, Options{Timeout: 200 * time.Millisecond}).Do(t.Context(), post("https://"+listener), Trust{})
	wantFailure(t, err, provider.Unavailable, false, "did not answer in time")
}

// The operator has less patience with a provider when a token is about to expire.
func TestTheCallersDeadlineIsSaidToBeOne(t *testing.T) {
	hole := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	mute := serve(t, true, func(_ http.ResponseWriter, r *http.Request) { hang(r) })
	halting := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		hang(r)
	})
	for _, tc := range []struct {
		name, url string
		trust     Trust
		sent      bool
	}{
		{"in the handshake", "https://" + hole, Trust{}, false},
		{"before the answer", mute.URL, mute.trust(), true},
		{"in the answer", halting.URL, halting.trust(), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := client(t, Options{}).Do(ctx, post(tc.url), tc.trust)
			wantFailure(t, err, provider.Unavailable, tc.sent, "did not answer in time")
		})
	}
}

func TestADeadlineThatPassesWhileTheNameIsLookedUpIsTheDNSs(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	a := &attempt{host: "sso.example.com", caller: ctx}
	hooks := a.trace()
	hooks.DNSStart(httptrace.DNSStartInfo{})
	wantFailure(t, a.failure(context.DeadlineExceeded), provider.Unavailable, false, "the DNS gave no answer for the name of sso.example.com")
	hooks.DNSDone(httptrace.DNSDoneInfo{})
	wantFailure(t, a.failure(context.DeadlineExceeded), provider.Unavailable, false, "sso.example.com did not answer in time")
}

func TestACancelledExchangeSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := serve(t, true, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		hang(r)
	})
	_, err := client(t, Options{}).Do(ctx, post(e.URL), e.trust())
	wantFailure(t, err, provider.Unavailable, true, "cancelled")
	_, err = client(t, Options{}).Do(ctx, post(e.URL), e.trust())
	wantFailure(t, err, provider.Unavailable, false, "cancelled")
}

// listen accepts raw connections on the loopback interface and returns its address.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestAClosedPortRefuses(t *testing.T) {
	e := serve(t, false, func(http.ResponseWriter, *http.Request) {})
	e.Close()
	_, err := client(t, Options{}).Do(t.Context(), post(e.URL), e.trust())
	wantFailure(t, err, provider.Unavailable, false, "refused the connection")
}

func TestAConnectionThatBreaks(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		words   string
	}{
		{"before the answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "closed the connection"},
		{"within the answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}, "closed the connection"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := serve(t, false, tc.handler)
			_, err := client(t, Options{}).Do(t.Context(), post(e.URL), e.trust())
			wantFailure(t, err, provider.Unavailable, true, tc.words)
		})
	}
	t.Run("within the handshake", func(t *testing.T) {
		address := listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) })
		_, err := client(t, Options{}).Do(t.Context(), post("https://"+address), Trust{})
		wantFailure(t, err, provider.Unavailable, false, "closed the connection")
	})
}

// issue makes a certificate, signed by itself, for a name or address and a time.
func issue(t *testing.T, name string, from, to time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestACertificateThatCannotBeVerifiedIsAMisconfiguration(t *testing.T) {
	long := time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	later := time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name        string
		certificate tls.Certificate
		trusted     bool
		words       string
	}{
		{"of an unknown authority", issue(t, "127.0.0.1", long, later), false, "authority that is not trusted"},
		{"expired", issue(t, "127.0.0.1", long, long.AddDate(1, 0, 0)), true, "has expired"},
		{"not valid yet", issue(t, "127.0.0.1", later.AddDate(-1, 0, 0), later), true, "is not valid yet"},
		{"for another name", issue(t, "other.example.com", long, later), true, "another host name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := &endpoint{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
			e.TLS = &tls.Config{Certificates: []tls.Certificate{tc.certificate}}
			e.Config.ErrorLog = log.New(io.Discard, "", 0)
			e.StartTLS()
			defer e.Close()
			trust := Trust{}
			if tc.trusted {
				trust.CABundle = pemOf(tc.certificate.Certificate[0])
			}
			_, err := client(t, Options{}).Do(t.Context(), post(e.URL), trust)
			wantFailure(t, err, provider.Misconfigured, false, tc.words)
		})
	}
}

func TestABundleReplacesTheSystemsRootsAndEachHasItsOwn(t *testing.T) {
	e := serve(t, true, func(http.ResponseWriter, *http.Request) {})
	c := client(t, Options{})
	if _, err := c.Do(t.Context(), post(e.URL), e.trust()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Do(t.Context(), post(e.URL), Trust{})
	wantFailure(t, err, provider.Misconfigured, false, "authority that is not trusted")
}

func TestAnEndpointWithoutUsableTLSIsAMisconfiguration(t *testing.T) {
	t.Run("plain HTTP", func(t *testing.T) {
		e := httptest.NewServer(http.NotFoundHandler())
		defer e.Close()
		_, err := client(t, Options{}).Do(t.Context(), post(strings.Replace(e.URL, "http:", "https:", 1)), Trust{})
		wantFailure(t, err, provider.Misconfigured, false, "does not speak TLS")
	})
	t.Run("TLS 1.1 only", func(t *testing.T) {
		e := &endpoint{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
		e.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		e.Config.ErrorLog = log.New(io.Discard, "", 0)
		e.StartTLS()
		defer e.Close()
		_, err := client(t, Options{}).Do(t.Context(), post(e.URL), e.trust())
		wantFailure(t, err, provider.Misconfigured, false, "TLS handshake")
	})
	t.Run("a server that chooses TLS 1.1", func(t *testing.T) {
		// A ServerHello of TLS 1.1 with the first cipher suite that comes to mind.
		hello := append([]byte{22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2}, make([]byte, 32)...)
		hello = append(hello, 0, 0xc0, 0x13, 0)
		address := listen(t, func(conn net.Conn) {
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write(hello)
			_, _ = io.Copy(io.Discard, conn)
		})
		_, err := client(t, Options{}).Do(t.Context(), post("https://"+address), Trust{})
		wantFailure(t, err, provider.Misconfigured, false, "TLS handshake")
	})
	t.Run("a client certificate is demanded", func(t *testing.T) {
		e := &endpoint{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
		e.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
		e.Config.ErrorLog = log.New(io.Discard, "", 0)
		e.StartTLS()
		defer e.Close()
		_, err := client(t, Options{}).Do(t.Context(), post(e.URL), e.trust())
		wantFailure(t, err, provider.Misconfigured, false, "TLS handshake")
	})
}

func TestARefusedAddressIsNotConnectedTo(t *testing.T) {
	e := serve(t, true, func(http.ResponseWriter, *http.Request) {})
	_, port, _ := net.SplitHostPort(e.Listener.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		c := client(t, Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		_, err := c.Do(t.Context(), post("https://"+host+":"+port), e.trust())
		wantFailure(t, err, provider.Misconfigured, false, "loopback")
		if !strings.Contains(err.Error(), "--allow-networks") {
			t.Errorf("%q does not say how to allow it", err)
		}
	}
	if got := e.connections.Load(); got != 0 {
		t.Errorf("%d connections", got)
	}
}

func TestAnUntrustedDefinitionIsToldThatOnlyPublicAddressesAreReached(t *testing.T) {
	c := client(t, Options{AllowNetworks: []netip.Prefix{}})
	_, err := c.Do(t.Context(), post("https://10.255.255.1"), Trust{PublicOnly: true})
	wantFailure(t, err, provider.Misconfigured, false, "private address")
	for _, words := range []string{"--allow-networks", "not trusted", "public addresses"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q does not mention %q", err, words)
		}
	}
}

func TestARequestThatCannotBeMadeIsAnInputError(t *testing.T) {
	for _, target := range []string{
		"http://example.com/token?key=s3cr3t", "https:///token", "https://user:s3cr3t@example.com/", "//example.com", "https://exa mple.com/s3cr3t", "",
	} {
		_, err := client(t, Options{}).Do(t.Context(), provider.Request{Method: http.MethodPost, URL: target}, Trust{})
		wantFailure(t, err, provider.Input, false, "https URL")
	}
	_, err := client(t, Options{}).Do(t.Context(), provider.Request{Method: "s3cr3t method", URL: "https://example.com"}, Trust{})
	wantFailure(t, err, provider.Input, false, "HTTP method")
}

func TestABundleThatIsNotOneIsAnInputError(t *testing.T) {
	good := pemOf(issue(t, "a", time.Unix(0, 0), time.Unix(1, 0)).Certificate[0])
	for _, tc := range []struct{ name, bundle, words string }{
		{"no PEM", "s3cr3t", "holds no PEM certificate"},
		{"white space", "\n", "holds no PEM certificate"},
		{"not a certificate inside", pemOf([]byte("s3cr3t")), "certificate 1 of the CA bundle cannot be parsed"},
		{"a good one first", good + pemOf([]byte("s3cr3t")), "certificate 2 of the CA bundle cannot be parsed"},
		{"a private key", good + strings.ReplaceAll(good, "CERTIFICATE", "PRIVATE KEY"), "block 2 of the CA bundle is not a CERTIFICATE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := client(t, Options{}).Do(t.Context(), post("https://example.com"), Trust{CABundle: tc.bundle})
			wantFailure(t, err, provider.Input, false, tc.words)
		})
	}
}

func FuzzABundleIsParsedOrRefused(f *testing.F) {
	f.Add("")
	f.Add("# comment\n" + pemOf([]byte("x")))
	f.Add("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, bundle string) {
		pool, err := Trust{CABundle: bundle}.roots()
		var failure *provider.Error
		if err != nil && (!errors.As(err, &failure) || failure.Kind != provider.Input) {
			t.Errorf("got %v", err)
		}
		if (err == nil) != (pool != nil || bundle == "") {
			t.Errorf("got %v and %v", pool, err)
		}
	})
}

func TestTheEnvironmentsProxyIsNotUsed(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	transport, err := client(t, Options{}).transports.get(Trust{}, provider.Request{})
	if err != nil || transport.Proxy != nil {
		t.Errorf("a proxy function is set, %v", err)
	}
}

// connectProxy is an egress proxy. It connects every host name to the endpoint.
type connectProxy struct {
	status  int
	to      string
	asked   []string
	account string
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.account, _, _ = strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
	if p.status != http.StatusOK {
		http.Error(w, "s3cr3t words of the proxy", p.status)
		return
	}
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		panic(err)
	}
	down, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(up, down); _ = up.Close() }()
	go func() { _, _ = io.Copy(down, up); _ = down.Close() }()
}

func parse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAnEgressProxyIsAskedToConnect(t *testing.T) {
	e := serve(t, true, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	p := &connectProxy{status: http.StatusOK, to: e.Listener.Addr().String()}
	server := httptest.NewServer(p)
	defer server.Close()
	proxy := parse(t, server.URL)
	proxy.User = url.UserPassword("me", "s3cr3t")
	// The proxy is on the loopback interface, and no network is allowed: it is not guarded.
	c := client(t, Options{EgressProxy: proxy, AllowNetworks: []netip.Prefix{}})
	answer, err := c.Do(t.Context(), post("https://example.com"), e.trust())
	if err != nil || string(answer.Body) != "HTTP/2.0" {
		t.Fatalf("got %q, %v", answer.Body, err)
	}
	if len(p.asked) != 1 || p.asked[0] != "CONNECT example.com:443" || p.account != "Basic" {
		t.Errorf("the proxy was asked %q with %q", p.asked, p.account)
	}
}

func TestALiteralAddressIsJudgedBeforeAnEgressProxyIsAsked(t *testing.T) {
	p := &connectProxy{status: http.StatusForbidden}
	server := httptest.NewServer(p)
	defer server.Close()
	c := client(t, Options{EgressProxy: parse(t, server.URL), AllowNetworks: []netip.Prefix{}})
	for _, host := range []string{"127.0.0.1", "[::1]:8443", "169.254.169.254"} {
		_, err := c.Do(t.Context(), post("https://"+host), Trust{})
		wantFailure(t, err, provider.Misconfigured, false, "which is refused")
	}
	_, err := c.Do(t.Context(), post("https://10.0.0.1"), Trust{PublicOnly: true})
	wantFailure(t, err, provider.Misconfigured, false, "a private address, which is refused")
	if len(p.asked) != 0 {
		t.Errorf("the proxy was asked %q", p.asked)
	}
	_, err = c.Do(t.Context(), post("https://10.0.0.1"), Trust{})
	wantFailure(t, err, provider.Misconfigured, false, "the egress proxy forbids connections to 10.0.0.1")
}

func TestAnEgressProxyThatDoesNotConnect(t *testing.T) {
	for _, tc := range []struct {
		status int
		kind   provider.Kind
		words  string
	}{
		{http.StatusProxyAuthRequired, provider.Misconfigured, "the egress proxy wants other credentials"},
		{http.StatusForbidden, provider.Misconfigured, "the egress proxy forbids connections to example.com"},
		{http.StatusMethodNotAllowed, provider.Misconfigured, "the egress proxy forbids connections to example.com"},
		{http.StatusBadGateway, provider.Unavailable, "the egress proxy could not connect to example.com"},
		{http.StatusServiceUnavailable, provider.Unavailable, "the egress proxy could not connect to example.com"},
	} {
		server := httptest.NewServer(&connectProxy{status: tc.status})
		_, err := client(t, Options{EgressProxy: parse(t, server.URL)}).Do(t.Context(), post("https://example.com"), Trust{})
		wantFailure(t, err, tc.kind, false, tc.words)
		server.Close()
	}
	gone := httptest.NewServer(&connectProxy{})
	gone.Close()
	_, err := client(t, Options{EgressProxy: parse(t, gone.URL)}).Do(t.Context(), post("https://example.com"), Trust{})
	wantFailure(t, err, provider.Unavailable, false, "the egress proxy refused the connection")
}

func TestAnHTTPSProxyIsVerifiedByTheSystemsRootsNotByTheBundle(t *testing.T) {
	p := &connectProxy{status: http.StatusOK}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	c := client(t, Options{EgressProxy: parse(t, server.URL)})
	_, err := c.Do(t.Context(), post("https://example.com"), Trust{CABundle: pemOf(server.Certificate().Raw)})
	wantFailure(t, err, provider.Misconfigured, false, "the certificate of the egress proxy is signed by an authority that is not trusted")
	if len(p.asked) != 0 {
		t.Errorf("the proxy was asked %q", p.asked)
	}
}

func TestBehindAnHTTPSProxyTheBundleVerifiesTheEndpoint(t *testing.T) {
	e := serve(t, true, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	p := &connectProxy{status: http.StatusOK, to: e.Listener.Addr().String()}
	server := httptest.NewUnstartedServer(p)
	// Not the certificate that all servers of httptest share.
	certificate := issue(t, "127.0.0.1", time.Unix(0, 0), time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	defer server.Close()
	c := client(t, Options{EgressProxy: parse(t, server.URL)})
	transport, err := c.transports.get(e.trust(), provider.Request{Method: http.MethodPost})
	if err != nil {
		t.Fatal(err)
	}
	// In place of the system's roots, which a test cannot change.
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	transport.DialContext = (&tls.Dialer{Config: &tls.Config{RootCAs: roots}}).DialContext
	answer, err := c.Do(t.Context(), post("https://example.com"), e.trust())
	if err != nil || string(answer.Body) != "HTTP/2.0" {
		t.Errorf("got %q, %v", answer.Body, err)
	}
}

func TestTheProxysPortIsThatOfItsScheme(t *testing.T) {
	for raw, want := range map[string]string{
		"http://proxy":       "http://proxy:80",
		"https://proxy":      "http://proxy:443",
		"https://me@proxy:1": "http://me@proxy:1",
		"http://[::1]":       "http://[::1]:80",
	} {
		if got := connectURL(parse(t, raw)).String(); got != want {
			t.Errorf("%s becomes %s, want %s", raw, got, want)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"a proxy of another scheme": {EgressProxy: parse(t, "socks5://proxy")},
		"a proxy without a host":    {EgressProxy: parse(t, "http:///")},
		"an invalid network":        {AllowNetworks: []netip.Prefix{{}}},
		"a mapped network":          {AllowNetworks: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}},
		"a negative timeout":        {Timeout: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestNetworkFailuresAreUnavailable(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	for _, tc := range []struct {
		err   error
		words string
	}{
		{dial(&net.DNSError{Err: "no such host", IsNotFound: true}), "the name of sso.example.com was not found in the DNS"},
		{dial(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), "the DNS gave no answer for the name of sso.example.com"},
		{dial(&net.DNSError{Err: "timeout", IsTimeout: true}), "the DNS gave no answer"},
		{dial(syscall.EHOSTUNREACH), "there is no route to sso.example.com"},
		{dial(syscall.ENETUNREACH), "there is no route"},
		{dial(syscall.ETIMEDOUT), "sso.example.com did not answer in time"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "sso.example.com closed the connection"},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, "closed the connection"},
		{&net.OpError{Op: "proxyconnect", Err: &net.DNSError{IsNotFound: true}}, "the name of the egress proxy was not found"},
		{errors.New("s3cr3t"), "the exchange with sso.example.com failed"},
	} {
		a := &attempt{host: "sso.example.com", caller: t.Context()}
		failure := a.failure(tc.err)
		wantFailure(t, failure, provider.Unavailable, false, tc.words)
		if failure.Fix == "" {
			t.Errorf("%q does not say what to do", failure)
		}
	}
}

func TestAnInvalidCertificateOfAnotherSortCannotBeVerified(t *testing.T) {
	a := &attempt{host: "sso.example.com", caller: t.Context()}
	err := a.failure(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.TooManyIntermediates}})
	wantFailure(t, err, provider.Misconfigured, false, "the certificate of sso.example.com cannot be verified")
}
