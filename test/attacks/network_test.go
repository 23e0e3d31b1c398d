package attacks_test

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// nameServer is a DNS server on loopback (RFC 1035) that answers each question for an
// address with the next of the answers that a spec wrote down, the last one for ever.
type nameServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	answers map[string][][]netip.Addr // by name without the last dot
	asked   map[string]int
}

func startNameServer() *nameServer {
	GinkgoHelper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(conn.Close)
	s := &nameServer{conn: conn, answers: map[string][][]netip.Addr{}, asked: map[string]int{}}
	go s.serve()
	return s
}

// resolver asks this server, whatever the machine's configuration says.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", s.conn.LocalAddr().String())
	}}
}

// answer says what the questions for a name get, one after the other.
func (s *nameServer) answer(name string, answers ...[]netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[name] = answers
}

func (s *nameServer) serve() {
	packet := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if reply := s.reply(packet[:n]); reply != nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

// reply answers a query of one question.
func (s *nameServer) reply(query []byte) []byte {
	const header = 12
	if len(query) < header+5 {
		return nil
	}
	var labels []string
	at := header
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		if end >= len(query) {
			return nil
		}
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	at += 5 // the root label, type and class
	if at > len(query) {
		return nil
	}
	v6 := binary.BigEndian.Uint16(query[at-4:]) == 28
	found, known := s.next(strings.ToLower(strings.Join(labels, ".")), v6)
	reply := append([]byte{}, query[:at]...)
	reply[2], reply[3] = 0x84, 0 // an answer with authority
	if !known {
		reply[3] = 3 // no such name
	}
	binary.BigEndian.PutUint16(reply[6:], uint16(len(found))) //nolint:gosec // a few
	copy(reply[8:header], []byte{0, 0, 0, 0})
	for _, a := range found {
		raw := a.AsSlice()
		reply = append(reply, 0xc0, header, 0, query[at-3], 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
		reply = append(reply, raw...)
	}
	return reply
}

func (s *nameServer) next(name string, v6 bool) (found []netip.Addr, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rounds := s.answers[name]
	if rounds == nil {
		return nil, false
	}
	round := rounds[min(s.asked[name], len(rounds)-1)]
	if !v6 {
		s.asked[name]++ // a resolver asks for both kinds; the one for IPv4 counts
	}
	for _, a := range round {
		if a.Is6() == v6 {
			found = append(found, a)
		}
	}
	return found, true
}

// trap is a TLS server of whoever attacks, or one that an attacker wants to reach.
type trap struct {
	*httptest.Server
	mu          sync.Mutex
	connections int
	bodies      []string
}

// setTrap listens on address ("127.0.0.1:0") and answers with handler, 204 when nil.
func setTrap(address string, handler http.HandlerFunc) *trap {
	GinkgoHelper()
	t := &trap{}
	listener, err := net.Listen("tcp", address)
	Expect(err).NotTo(HaveOccurred())
	if handler == nil {
		handler = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	}
	t.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 64<<10)
		n, _ := r.Body.Read(body)
		t.mu.Lock()
		t.bodies = append(t.bodies, r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(body[:n]))
		t.mu.Unlock()
		handler(w, r)
	}))
	t.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			t.mu.Lock()
			t.connections++
			t.mu.Unlock()
		}
	}
	_ = t.Listener.Close()
	t.Listener = listener
	t.StartTLS()
	DeferCleanup(t.Close)
	return t
}

// sprung is how often somebody connected.
func (t *trap) sprung() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.connections
}

func (t *trap) port() string {
	_, port, err := net.SplitHostPort(t.Listener.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	return port
}

// bundle vouches for a trap. Its certificate is for example.com and for the loopback addresses.
func (t *trap) bundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: t.Certificate().Raw}))
}
