package world

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/providertoken/operator/internal/audit"
)

// AuditTrail holds the audit log of a world's operators.
type AuditTrail struct {
	leaks *Leaks

	mu    sync.Mutex
	lines bytes.Buffer
}

// Write implements io.Writer.
func (a *AuditTrail) Write(p []byte) (int, error) {
	a.leaks.Text("the audit log", p)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lines.Write(p)
}

// Entries are the lines that were written so far.
func (a *AuditTrail) Entries() []audit.Entry {
	GinkgoHelper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var entries []audit.Entry
	for scanner := bufio.NewScanner(bytes.NewReader(a.lines.Bytes())); scanner.Scan(); {
		var e audit.Entry
		dec := json.NewDecoder(bytes.NewReader(scanner.Bytes()))
		Expect(dec.Decode(&e)).To(Succeed())
		entries = append(entries, e)
	}
	return entries
}

// Collector is an OpenTelemetry collector that keeps what it gets.
type Collector struct {
	collector.UnimplementedTraceServiceServer
	// URL of it.
	URL   string
	leaks *Leaks

	mu    sync.Mutex
	spans []*tracepb.Span
}

// newCollector starts one on a loopback address, until the spec ends.
func newCollector(leaks *Leaks) *Collector {
	GinkgoHelper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	c := &Collector{URL: "http://" + listener.Addr().String(), leaks: leaks}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(listener) }()
	DeferCleanup(server.Stop)
	return c
}

// Export implements the OTLP service.
func (c *Collector) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.leaks.Text("the traces", []byte(in.String()))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range in.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// Spans are those that came so far. What an operator has made is there at the latest
// when it has stopped.
func (c *Collector) Spans() []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*tracepb.Span{}, c.spans...)
}
