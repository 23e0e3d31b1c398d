package traces

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// receiver is an OpenTelemetry collector.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	got []*tracepb.ResourceSpans
}

func (r *receiver) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.got = append(r.got, in.GetResourceSpans()...)
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestSpansReachACollectorWithTheKindOfAFailureAndNothingElse(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, r := grpc.NewServer(), &receiver{}
	collector.RegisterTraceServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	now := time.Unix(1_800_000_000, 0)
	tracer, err := New(t.Context(), "http://"+listener.Addr().String(), "v1", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	_, first := tracer.Begin(t.Context(), "uid", "exchange", map[string]string{"grant": "Password"})
	now = now.Add(time.Second)
	first.End("Unavailable")
	_, second := tracer.Continue(t.Context(), "uid", "status", nil)
	second.End("")
	tracer.Finish("uid")
	if _, none := tracer.Continue(t.Context(), "uid", "status", nil); none != nil {
		t.Error("a trace goes on that was finished")
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.got) != 1 {
		t.Fatalf("%d batches", len(r.got))
	}
	spans := r.got[0].GetScopeSpans()[0].GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	s := spans[0]
	values := map[string]string{}
	for _, a := range s.GetAttributes() {
		values[a.GetKey()] = a.GetValue().GetStringValue()
	}
	if len(values) != 2 || values["grant"] != "Password" || values["error.type"] != "Unavailable" ||
		s.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || s.GetStatus().GetMessage() != "" {
		t.Errorf("got %v", s)
	}
	if took := s.GetEndTimeUnixNano() - s.GetStartTimeUnixNano(); took != uint64(time.Second) {
		t.Errorf("it took %d ns by the clock", took)
	}
	if !bytes.Equal(spans[1].GetTraceId(), s.GetTraceId()) || !bytes.Equal(spans[1].GetParentSpanId(), s.GetSpanId()) {
		t.Error("they are not one trace")
	}
}

func TestWithoutATracerNothingIsTraced(t *testing.T) {
	var tracer *Tracer
	ctx, span := tracer.Begin(t.Context(), "uid", "exchange", nil)
	_, again := tracer.Continue(ctx, "uid", "publish", nil)
	span.End("Unavailable")
	again.End("")
	tracer.Finish("uid")
	if err := tracer.Close(ctx); err != nil || span != nil || again != nil {
		t.Error(span, again, err)
	}
}
