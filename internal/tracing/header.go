package tracing

import (
	"context"
	"encoding/hex"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
)

// Places in a traceparent of version 00: version, trace id, span id and flags, in
// lower-case hex with a hyphen between each (W3C Trace Context, section 3.2).
const (
	version      = "00-"
	traceAt      = len(version)
	spanAt       = traceAt + 2*len(trace.TraceID{}) + 1
	flagsAt      = spanAt + 2*len(trace.SpanID{}) + 1
	headerLength = flagsAt + 2
)

// traceParent writes a traceparent, in one allocation.
func traceParent(id trace.TraceID, span trace.SpanID, flags trace.TraceFlags) string {
	var b [headerLength]byte
	copy(b[:], version)
	hex.Encode(b[traceAt:], id[:])
	b[spanAt-1] = '-'
	hex.Encode(b[spanAt:], span[:])
	b[flagsAt-1] = '-'
	hex.Encode(b[flagsAt:], []byte{byte(flags)})
	return string(b[:])
}

// Put gives an event the context of a span, or none where that is not valid.
func Put(sc trace.SpanContext, e *schema.Event) {
	if sc.IsValid() {
		e.TraceParent = traceParent(sc.TraceID(), sc.SpanID(), sc.TraceFlags())
		e.TraceState = sc.TraceState().String()
	}
}

// Sampled reports whether an event's trace has spans. It looks at the flags alone:
// most events' say no.
func Sampled(e *schema.Event) bool {
	if len(e.TraceParent) < headerLength {
		return false
	}
	switch e.TraceParent[headerLength-1] { // the lowest flag is set
	case '1', '3', '5', '7', '9', 'b', 'd', 'f':
		return true
	default:
		return false
	}
}

// Context returns ctx with the context that an event carries; ctx itself where the
// event has none, or a malformed one.
func Context(ctx context.Context, e *schema.Event) context.Context {
	if e.TraceParent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, carrier{e})
}

// carrier reads the context of an event.
type carrier struct{ event *schema.Event }

func (c carrier) Get(key string) string {
	switch key {
	case schema.HeaderTraceParent:
		return c.event.TraceParent
	case schema.HeaderTraceState:
		return c.event.TraceState
	default:
		return ""
	}
}

// Set does nothing: a context is given to an event once, by [Put].
func (c carrier) Set(string, string) {}

// Keys lists what there may be.
func (c carrier) Keys() []string { return []string{schema.HeaderTraceParent, schema.HeaderTraceState} }
