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
	mute  map[string][]question       // names that are not answered about, and who asked for them
}

// question is one that came from somewhere.
type question struct {
	query dnsmessage.Message
	from  net.Addr
}

// newNames serves names, and makes this process ask it.
func newNames() *names {
	GinkgoHelper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	n := &names{conn: conn, codes: map[string]dnsmessage.RCode{}, mute: map[string][]question{}}
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
	n.mute[host] = nil
}

// heal answers what was asked meanwhile, too: Go's resolver asks again only after five
// seconds of real time, in which the clock of this suite goes on for minutes, and whoever
// looks the name up meanwhile waits for the same answer.
func (n *names) heal(host string) {
	n.mu.Lock()
	asked := n.mute[host]
	delete(n.codes, host)
	delete(n.mute, host)
	n.mu.Unlock()
	for _, q := range asked {
		n.reply(q)
	}
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
		n.reply(question{query, from})
	}
}

func (n *names) reply(q question) {
	if answer := n.answer(q); answer != nil {
		_, _ = n.conn.WriteTo(answer, q.from)
	}
}

// answer is nil where there is none yet.
func (n *names) answer(q question) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := q.query.Questions[0]
	host := strings.TrimSuffix(strings.ToLower(asked.Name.String()), ".")
	if waiting, mute := n.mute[host]; mute {
		n.mute[host] = append(waiting, q)
		return nil
	}
	answer := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.query.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: n.codes[host]},
		Questions: q.query.Questions,
	}
	if !strings.HasSuffix(host, zone) {
		answer.RCode = dnsmessage.RCodeNameError
	}
	if answer.RCode == dnsmessage.RCodeSuccess && asked.Type == dnsmessage.TypeA {
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	packed, err := answer.Pack()
	if err != nil {
		return nil
	}
	return packed
}
