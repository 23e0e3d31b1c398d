package providers_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"

	"github.com/providertoken/operator/api/v1alpha1"
)

// asked is the pause that throttling providers of this suite ask for.
const asked = 20 * time.Second

// fault is one way in which a provider fails, and what is to be seen of it.
type fault struct {
	// name as in the page.
	name string
	// id is short, for names of objects.
	id string

	// One of these makes it.
	refused     bool                                                      // nobody listens
	toxic       string                                                    // of a proxy before the provider
	full        bool                                                      // no connection is ever accepted
	lookup      *dnsmessage.RCode                                         // what the DNS says
	silent      bool                                                      // the DNS says nothing
	conn        func(e *endpoint, c net.Conn)                             // what happens to connections
	certificate func(*certificates) *tls.Certificate                      // what the provider shows
	answer      func(e *endpoint, w http.ResponseWriter, _ *http.Request) // what it answers

	// http1 keeps HTTP/2 away.
	http1 bool
	// hangs tells that an exchange ends by the operator's patience only.
	hangs bool
	// unseen tells that no request may reach the provider.
	unseen bool

	// pause that the provider asks for.
	pause time.Duration

	// reason, problem and do are what the condition says: reason, what happened, what to do.
	reason, problem, do string
	// outcome is the label of the metric.
	outcome string
}

// proxied tells whether a proxy stands before the provider.
func (f *fault) proxied() bool { return f.toxic != "" || f.refused || f.full }

// HOST and NAME stand for those of an endpoint.
const hostHere = "HOST"

// message is what the condition TokenIssued says, but for the token at hand.
func (f *fault) message(e *endpoint) string {
	return strings.ReplaceAll(fmt.Sprintf("%s; %s", f.problem, f.do), hostHere, e.host)
}

func status(code int, contentType, body string, headers ...string) func(*endpoint, http.ResponseWriter, *http.Request) {
	return func(_ *endpoint, w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// oversized is a good answer behind more than anybody wants to read.
func oversized(e *endpoint, size int) string {
	return fmt.Sprintf(`{%q:%q,%s`, said, strings.Repeat("x", size), strings.TrimPrefix(e.issue(), "{"))
}

const page = "<!DOCTYPE html><html><head><title>" + said + "</title></head><body><h1>" + said + "</h1></body></html>"

const (
	unavailable   = "Unavailable"
	misconfigured = "Misconfigured"
	throttled     = "Throttled"
	denied        = "Denied"
)

// faults is all of them, or those that -fault asks for.
func faults() []*fault {
	all := slices.Concat(network(), encryption(), answers(), refusals())
	wanted := regexp.MustCompile(*only)
	return slices.DeleteFunc(all, func(f *fault) bool { return !wanted.MatchString(f.name) })
}

func network() []*fault {
	const (
		late    = hostHere + " did not answer in time"
		lateDo  = "check whether the provider has an outage, and that egress rules let the operator reach it"
		closed  = hostHere + " closed the connection"
		closeDo = "check whether the provider has an outage, and whether a proxy or firewall on the way closes connections"
		failed  = "the exchange with " + hostHere + " failed"
	)
	return []*fault{
		{
			name: "connection refused", id: "refused", refused: true, unseen: true,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable,
			problem: hostHere + " refused the connection", do: "check host and port of the token URL, and whether the provider has an outage",
		},
		{
			name: "packets vanish: no connection is ever accepted", id: "syn", full: true, hangs: true, unseen: true,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: late, do: lateDo,
		},
		{
			name: "black hole: connections are accepted, no byte comes back", id: "hole", hangs: true, unseen: true,
			toxic:  `{"name":"t","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: late, do: lateDo,
		},
		{
			name: "request taken, never answered", id: "mute", hangs: true,
			answer: mute,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: late, do: lateDo,
		},
		{
			name: "latency of a minute", id: "slow", hangs: true, unseen: true,
			toxic:  `{"name":"t","type":"latency","stream":"downstream","attributes":{"latency":60000}}`,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: late, do: lateDo,
		},
		{
			name: "one byte a second", id: "drip", hangs: true,
			toxic:  `{"name":"t","type":"slicer","stream":"downstream","attributes":{"average_size":1,"size_variation":0,"delay":1000000}}`,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: late, do: lateDo,
		},
		{
			name: "connection reset at once", id: "reset", unseen: true,
			toxic:  `{"name":"t","type":"reset_peer","stream":"downstream","attributes":{"timeout":0}}`,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: closed, do: closeDo,
		},
		{
			name: "connection reset in mid-answer", id: "midreset", http1: true, answer: resetMidAnswer,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: closed, do: closeDo,
		},
		{
			name: "answer cut off in mid-body", id: "cutoff", http1: true,
			toxic:  `{"name":"t","type":"limit_data","stream":"downstream","attributes":{"bytes":6000}}`,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: closed, do: closeDo,
		},
		{
			name: "HTTP/2 stream reset", id: "rst",
			answer: func(*endpoint, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: failed, do: closeDo,
		},
		{
			name: "HTTP/2 GOAWAY instead of an answer", id: "goaway", conn: goAway,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: failed, do: closeDo,
		},
		{
			name: "200 with a header without end", id: "header", http1: true, conn: endlessHeader,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: failed, do: closeDo,
		},
		{
			name: "name not in the DNS", id: "nxdomain", lookup: &nameError, unseen: true,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable,
			problem: "the name of " + hostHere + " was not found in the DNS", do: "check the host in the token URL, and that the operator's pods can resolve public names",
		},
		{
			name: "DNS fails", id: "servfail", lookup: &serverFailure, unseen: true,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable,
			problem: "the DNS gave no answer for the name of " + hostHere, do: "check the cluster's DNS, and that egress rules let the operator reach it",
		},
		{
			name: "DNS does not answer", id: "dnsmute", silent: true, hangs: true, unseen: true,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable,
			problem: "the DNS gave no answer for the name of " + hostHere, do: "check the cluster's DNS, and that egress rules let the operator reach it",
		},
	}
}

func encryption() []*fault {
	return []*fault{
		{
			name: "hung TLS handshake", id: "handshake", conn: swallow, hangs: true, unseen: true,
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable,
			problem: hostHere + " did not answer in time", do: "check whether the provider has an outage, and that egress rules let the operator reach it",
		},
		{
			name: "plain HTTP at the port", id: "plain", conn: plainHTTP, unseen: true,
			reason: v1alpha1.ReasonProviderMisconfigured, outcome: misconfigured,
			problem: hostHere + " does not speak TLS", do: "correct the host and port in the token URL",
		},
		{
			name: "certificate for another host", id: "wronghost", certificate: func(c *certificates) *tls.Certificate { return c.wrongHost }, unseen: true,
			reason: v1alpha1.ReasonProviderMisconfigured, outcome: misconfigured,
			problem: "the certificate of " + hostHere + " is for another host name", do: "correct the host in the token URL, or the provider's certificate",
		},
		{
			name: "certificate of an unknown authority", id: "unknownca", certificate: func(c *certificates) *tls.Certificate { return c.unknownCA }, unseen: true,
			reason: v1alpha1.ReasonProviderMisconfigured, outcome: misconfigured,
			problem: "the certificate of " + hostHere + " is signed by an authority that is not trusted", do: "set caBundle to the authority's certificate",
		},
		{
			name: "expired certificate", id: "outdated", certificate: func(c *certificates) *tls.Certificate { return c.outdated }, unseen: true,
			reason: v1alpha1.ReasonProviderMisconfigured, outcome: misconfigured,
			problem: "the certificate of " + hostHere + " has expired or is not valid yet", do: "renew the provider's certificate, or correct the clock of the node",
		},
	}
}

func answers() []*fault {
	const (
		neither   = "the answer is neither a JSON object nor a form"
		betweenDo = "check that tokenURL is the token endpoint and that nothing between answers in its place"
	)
	return []*fault{
		{
			name: "200 with HTML", id: "html", answer: status(200, "text/html; charset=utf-8", page),
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: neither, do: betweenDo,
		},
		{
			name: "200 with nothing", id: "empty", answer: status(200, "", ""),
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: neither, do: betweenDo,
		},
		{
			name: "200 with garbage", id: "garbage", answer: status(200, "application/json", `{"access_token":"`+said+"\x00\xff,,]"),
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: neither, do: betweenDo,
		},
		{
			name: "200 with more than 64 KiB", id: "huge",
			answer: func(e *endpoint, w http.ResponseWriter, r *http.Request) {
				status(200, "application/json", oversized(e, 200<<10))(e, w, r)
			},
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: hostHere + " sent an answer larger than 64 KiB", do: betweenDo,
		},
		{
			name: "200 with a gzip bomb", id: "bomb",
			answer: func(e *endpoint, w http.ResponseWriter, r *http.Request) {
				var packed bytes.Buffer
				z := gzip.NewWriter(&packed)
				_, _ = io.WriteString(z, oversized(e, 8<<20))
				_ = z.Close()
				status(200, "application/json", packed.String(), "Content-Encoding", "gzip")(e, w, r)
			},
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: hostHere + " sent an answer larger than 64 KiB", do: betweenDo,
		},
	}
}

func refusals() []*fault {
	const (
		failed   = "the token endpoint failed"
		failedDo = "check whether the provider has an outage"
		paused   = "the provider asks for a pause"
		pausedDo = "if this lasts, ask the provider for a higher limit, or need fewer tokens of it"
	)
	seconds := fmt.Sprint(int(asked.Seconds()))
	return []*fault{
		{
			name: "500", id: "s500", answer: status(500, "text/plain", said),
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: failed + " (HTTP 500)", do: failedDo,
		},
		{
			name: "502 with HTML", id: "s502", answer: status(502, "text/html", page),
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: failed + " (HTTP 502)", do: failedDo,
		},
		{
			name: "503", id: "s503", answer: status(503, "text/html", page),
			reason: v1alpha1.ReasonProviderUnavailable, outcome: unavailable, problem: failed + " (HTTP 503)", do: failedDo,
		},
		{
			name: "503 with Retry-After", id: "s503ra", answer: status(503, "", said, "Retry-After", seconds),
			reason: v1alpha1.ReasonThrottled, outcome: throttled, problem: paused + " (HTTP 503)", do: pausedDo, pause: asked,
		},
		{
			name: "429 with Retry-After in seconds", id: "s429ra", answer: status(429, "", said, "Retry-After", seconds),
			reason: v1alpha1.ReasonThrottled, outcome: throttled, problem: paused + " (HTTP 429)", do: pausedDo, pause: asked,
		},
		{
			name: "429 with Retry-After as a date", id: "s429date",
			answer: func(e *endpoint, w http.ResponseWriter, r *http.Request) {
				now := e.clock().UTC()
				status(429, "", said, "Date", now.Format(http.TimeFormat), "Retry-After", now.Add(asked).Format(http.TimeFormat))(e, w, r)
			},
			reason: v1alpha1.ReasonThrottled, outcome: throttled, problem: paused + " (HTTP 429)", do: pausedDo, pause: asked,
		},
		{
			name: "429 without Retry-After", id: "s429", answer: status(429, "application/json", `{"error":"`+said+`"}`),
			reason: v1alpha1.ReasonThrottled, outcome: throttled, problem: paused + " (HTTP 429)", do: pausedDo,
		},
		{
			name: "redirect", id: "redirect",
			answer: func(e *endpoint, w http.ResponseWriter, r *http.Request) {
				status(307, "", said, "Location", "https://"+e.thief.address+"/token")(e, w, r)
			},
			reason: v1alpha1.ReasonProviderMisconfigured, outcome: misconfigured,
			problem: "the token endpoint redirects, which is never followed (HTTP 307)", do: "set tokenURL to where it redirects, if that is to be trusted",
		},
		{
			name: "404", id: "s404", answer: status(404, "text/html", page),
			reason: v1alpha1.ReasonProviderMisconfigured, outcome: misconfigured,
			problem: "the token endpoint does not exist (HTTP 404)", do: "correct tokenURL, or the parameters that are part of it",
		},
		{
			name: "400 with a code that is on no list", id: "s400", answer: status(400, "application/json", `{"error":"`+said+`","error_description":"`+said+`"}`),
			reason: v1alpha1.ReasonRequestDenied, outcome: denied,
			problem: "the token endpoint refused the client's credentials (HTTP 400)", do: "correct client_id and client_secret in the credential Secret",
		},
	}
}

// mute takes a request and never answers.
func mute(_ *endpoint, _ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// swallow accepts whatever comes and says nothing.
func swallow(_ *endpoint, c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// plainHTTP answers whatever comes in the clear, and keeps what came.
func plainHTTP(e *endpoint, c net.Conn) {
	defer func() { _ = c.Close() }()
	buffer := make([]byte, 4096)
	n, _ := c.Read(buffer)
	e.mu.Lock()
	e.wire.Write(buffer[:n])
	e.mu.Unlock()
	_, _ = fmt.Fprintf(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(said), said)
}

// resetMidAnswer sends half of an answer and then a RST.
func resetMidAnswer(e *endpoint, w http.ResponseWriter, _ *http.Request) {
	answer := e.issue()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
	_, _ = io.WriteString(w, answer[:len(answer)/2])
	control := http.NewResponseController(w)
	_ = control.Flush()
	c, _, err := control.Hijack()
	if err != nil {
		panic(err)
	}
	if over, is := c.(*tls.Conn); is {
		if raw, is := over.NetConn().(*net.TCPConn); is {
			_ = raw.SetLinger(0)
			_ = raw.Close()
		}
	}
}

// encrypted makes the handshake as the provider does, with that protocol.
func encrypted(e *endpoint, c net.Conn, protocol string) (*tls.Conn, error) {
	over := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: e.certificate, NextProtos: []string{protocol}})
	err := over.Handshake()
	return over, err
}

// goAway takes a request over HTTP/2 and answers that the connection is over
// (RFC 9113 section 6.8), for this request too.
func goAway(e *endpoint, c net.Conn) {
	defer func() { _ = c.Close() }()
	over, err := encrypted(e, c, "h2")
	if err != nil {
		return
	}
	if _, err := io.ReadFull(over, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(over, over)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		data, is := frame.(*http2.DataFrame)
		if is && data.StreamEnded() {
			e.mu.Lock()
			e.arrived++
			e.mu.Unlock()
			_ = framer.WriteGoAway(data.StreamID, http2.ErrCodeInternal, []byte(said))
			return
		}
	}
}

// endlessHeader answers with a header that does not end.
func endlessHeader(e *endpoint, c net.Conn) {
	defer func() { _ = c.Close() }()
	over, err := encrypted(e, c, "http/1.1")
	if err != nil {
		return
	}
	if _, err := over.Read(make([]byte, 4096)); err != nil {
		return
	}
	e.mu.Lock()
	e.arrived++
	e.mu.Unlock()
	_, _ = io.WriteString(over, "HTTP/1.1 200 OK\r\n")
	for i := range 1000 {
		if _, err := fmt.Fprintf(over, "X-%d: %s%s\r\n", i, said, strings.Repeat("x", 1000)); err != nil {
			return
		}
	}
}

// fill takes the place of a listener and fills its queue, so that the kernel drops
// every further SYN: what a firewall looks like that drops packets.
func fill(address string) (stop func()) {
	host, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	_ = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	place := &syscall.SockaddrInet4{Port: host.Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := syscall.Bind(socket, place); err != nil {
		panic(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		panic(err)
	}
	var fillers []net.Conn
	for {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			break
		}
		fillers = append(fillers, c)
	}
	return func() {
		_ = syscall.Close(socket)
		for _, c := range fillers {
			_ = c.Close()
		}
	}
}
