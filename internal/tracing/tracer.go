package tracing

import (
	"context"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. A nil Tracer is tracing that is off.
type Tracer struct {
	tracer  trace.Tracer
	sampler sdktrace.Sampler
}

// New makes a Tracer. sampler decides on new traces; it is the one of tracer's
// provider, which also has [IDs].
func New(tracer trace.Tracer, sampler sdktrace.Sampler) *Tracer {
	return &Tracer{tracer: tracer, sampler: sampler}
}

// Root is a trace that begins.
type Root struct {
	id      trace.TraceID
	sampled bool
}

// Root begins a trace whose first span will have this name, and decides whether it
// is sampled. It allocates nothing. t is not nil.
func (t *Tracer) Root(name string) Root {
	id := newTraceID()
	result := t.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: context.Background(), TraceID: id, Name: name,
	})
	return Root{id: id, sampled: result.Decision == sdktrace.RecordAndSample}
}

// Sampled reports whether the trace has spans.
func (r Root) Sampled() bool { return r.sampled }

// Header is the traceparent of a trace without spans.
func (r Root) Header() string { return traceParent(r.id, newSpanID(), 0) }

// StartRoot starts the first span of a sampled trace.
func (t *Tracer) StartRoot(ctx context.Context, r Root, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.tracer.Start(context.WithValue(ctx, rootKey{}, r.id), name, append(options, trace.WithNewRoot())...)
}

// Start starts a span within the one of ctx.
func (t *Tracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, name, options...)
}
