package providers_test

import (
	"context"
	"net"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/net/dns/dnsmessage"
)

// zone holds the names of this suite; it is nobody's (RFC 6761 section 6.2).
const zone = "providers.test"

// names is the DNS server that the operator of this suite asks.
type names struct {
	conn net.PacketConn

	mu    sync.Mutex
	codes map[string]dnsmessage.RCode // of names that are not to be found
	mute  map[string]bool             // names that are not answered about
}

// newNames serves names, and makes this process ask it.
func newNames() *names {
	GinkgoHelper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	n := &names{conn: conn, codes: map[string]dnsmessage.RCode{}, mute: map[string]bool{}}
	go n.serve()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	DeferCleanup(func() {
		net.DefaultResolver = before
		Expect(conn.Close()).To(Succeed())
	})
	return n
}

func (n *names) fail(host string, code dnsmessage.RCode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.codes[host] = code
}

func (n *names) silence(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute[host] = true
}

func (n *names) heal(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.codes, host)
	delete(n.mute, host)
}

func (n *names) serve() {
	buffer := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(buffer[:size]) != nil || len(query.Questions) == 0 {
			continue
		}
		if answer := n.answer(query); answer != nil {
			_, _ = n.conn.WriteTo(answer, from)
		}
	}
}

func (n *names) answer(query dnsmessage.Message) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	question := query.Questions[0]
	host := strings.TrimSuffix(strings.ToLower(question.Name.String()), ".")
	if n.mute[host] {
		return nil
	}
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: n.codes[host]},
		Questions: query.Questions,
	}
	if !strings.HasSuffix(host, zone) {
		answer.RCode = dnsmessage.RCodeNameError
	}
	if answer.RCode == dnsmessage.RCodeSuccess && question.Type == dnsmessage.TypeA {
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	packed, err := answer.Pack()
	if err != nil {
		return nil
	}
	return packed
}
