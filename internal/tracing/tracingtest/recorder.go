// Package tracingtest records the spans of tests.
package tracingtest

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/callpop/connector/internal/tracing"
)

// Recorder holds the spans that have ended.
type Recorder struct {
	*tracing.Tracer
	recorder *tracetest.SpanRecorder
}

// New makes a tracer whose spans are recorded. share is the share of the traces
// that are sampled.
func New(t testing.TB, share float64) *Recorder {
	t.Helper()
	sampler := sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sampler), sdktrace.WithIDGenerator(tracing.IDs{}))
	return &Recorder{tracing.New(provider.Tracer(tracing.Scope), sampler), recorder}
}

// Spans are those that have ended, in that order.
func (r *Recorder) Spans() []sdktrace.ReadOnlySpan { return r.recorder.Ended() }

// Open counts those that were started and have not ended.
func (r *Recorder) Open() int { return len(r.recorder.Started()) - len(r.recorder.Ended()) }

// Named are the spans of a name.
func (r *Recorder) Named(name string) (spans []sdktrace.ReadOnlySpan) {
	for _, s := range r.Spans() {
		if s.Name() == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// Attributes are a span's, by their names.
func Attributes(s sdktrace.ReadOnlySpan) map[string]any { return Values(s.Attributes()) }

// Values are attributes by their names.
func Values(attributes []attribute.KeyValue) map[string]any {
	values := map[string]any{}
	for _, a := range attributes {
		values[string(a.Key)] = a.Value.AsInterface()
	}
	return values
}
