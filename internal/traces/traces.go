// Package traces makes OpenTelemetry spans of what a refresh takes: the exchange, the
// write of the target, and the write of status, in one trace.
//
// A span has attributes that its caller chose one by one, and the kind of a failure: no
// text of an error, which others wrote, and no context of a request. The package must
// not import Kubernetes nor other packages of the operator.
package traces

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxThreads bounds the refreshes whose trace is remembered between two of its spans.
const maxThreads = 10_000

// Tracer makes spans and sends them. A nil Tracer makes none. Its methods may be called
// from any goroutine.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	now      func() time.Time

	mu      sync.Mutex
	threads map[string]trace.SpanContext
}

// New makes a Tracer that sends to endpoint, a URL whose scheme says whether there is
// TLS (https), by OTLP over gRPC. It does not wait for the collector, and spans that
// cannot be sent are dropped.
func New(ctx context.Context, endpoint, version string, now func() time.Time) (*Tracer, error) {
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("setting up traces: %w", err)
	}
	about := resource.NewSchemaless(
		attribute.String("service.name", "providertoken-operator"),
		attribute.String("service.version", version),
	)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Tracer{
		provider: provider, tracer: provider.Tracer("github.com/providertoken/operator"),
		now: now, threads: map[string]trace.SpanContext{},
	}, nil
}

// Close sends what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is a piece of work. A nil Span is not recorded.
type Span struct {
	tracer *Tracer
	span   trace.Span
}

// Begin starts a trace for thread, which is whatever the work is about, with its first span.
func (t *Tracer) Begin(ctx context.Context, thread, name string, attributes map[string]string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	ctx, s := t.start(ctx, name, attributes, trace.WithNewRoot())
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.threads) >= maxThreads {
		clear(t.threads)
	}
	t.threads[thread] = s.span.SpanContext()
	return ctx, s
}

// Continue adds a span to the trace that was begun for thread last; none when there was none.
func (t *Tracer) Continue(ctx context.Context, thread, name string, attributes map[string]string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	t.mu.Lock()
	parent, begun := t.threads[thread]
	t.mu.Unlock()
	if !begun {
		return ctx, nil
	}
	_, s := t.start(trace.ContextWithSpanContext(ctx, parent), name, attributes)
	return ctx, s
}

// Finish lets the trace of thread have no further spans.
func (t *Tracer) Finish(thread string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.threads, thread)
}

func (t *Tracer) start(ctx context.Context, name string, attributes map[string]string, o ...trace.SpanStartOption) (context.Context, *Span) {
	pairs := make([]attribute.KeyValue, 0, len(attributes))
	for k, v := range attributes {
		pairs = append(pairs, attribute.String(k, v))
	}
	// The span itself stays out of the context: no client further down shall add to it,
	// nor send its identity to a provider.
	_, span := t.tracer.Start(ctx, name, append(o, trace.WithAttributes(pairs...), trace.WithTimestamp(t.now()))...)
	return ctx, &Span{tracer: t, span: span}
}

// End ends the span. failure is the kind of what went wrong; empty when nothing did.
func (s *Span) End(failure string) {
	if s == nil {
		return
	}
	if failure != "" {
		s.span.SetAttributes(attribute.String("error.type", failure))
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End(trace.WithTimestamp(s.tracer.now()))
}
