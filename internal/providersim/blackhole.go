package providersim

import (
	"context"
	"io"
	"net"
	"sync"
)

// blackHole accepts connections and never answers, which is worse for a client
// than a refused connection: only its own deadline ends the wait.
type blackHole struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil once stopped
}

func newBlackHole() (*blackHole, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &blackHole{listener: listener, conns: map[net.Conn]struct{}{}}
	b.wait.Go(b.accept)
	return b, nil
}

func (b *blackHole) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		if !b.add(conn) {
			_ = conn.Close()
			return
		}
		b.wait.Go(func() {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
			b.remove(conn)
		})
	}
}

func (b *blackHole) add(conn net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conns == nil {
		return false
	}
	b.conns[conn] = struct{}{}
	return true
}

func (b *blackHole) remove(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, conn)
}

func (b *blackHole) stop() {
	_ = b.listener.Close()
	b.mu.Lock()
	conns := b.conns
	b.conns = nil
	b.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
	b.wait.Wait()
}
