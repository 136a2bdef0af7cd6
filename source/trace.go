package source

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
)

// The spans of what is received. A change of a session begins with spool.
const (
	receiveSpan = "receive"
	decodeSpan  = "decode"
	spoolSpan   = "spool"
)

// journey is the trace of one item on its way to the log; its zero value is one
// without spans. The spans are
//
//   - receive, from the instant at which the bytes were read until the log has the
//     event: what a pop costs us;
//   - decode, below it: bytes to event. Before it the pop waited for those before it;
//   - spool, below receive: the storing, which is where the event is created as a
//     message. Its context is what the event carries.
type journey struct {
	tracer *tracing.Tracer // nil where there are no spans
	root   tracing.Root
	// header is the traceparent of a trace that is not sampled.
	header                 string
	ctx                    context.Context //nolint:containedctx // of one item, as long as its call of work
	receive, decode, spool trace.Span
}

// begin starts the trace of an item that is about to be decoded.
func begin(ctx context.Context, t *tracing.Tracer, it *item) journey {
	j := journey{ctx: ctx}
	if t == nil {
		return j
	}
	first := receiveSpan
	if it.kind == sessionItem {
		first = spoolSpan
	}
	root := t.Root(first)
	if !root.Sampled() {
		j.header = root.Header()
		return j
	}
	j.tracer, j.root = t, root
	if it.kind != sessionItem {
		j.ctx, j.receive = t.StartRoot(ctx, root, receiveSpan,
			trace.WithTimestamp(it.at), trace.WithSpanKind(trace.SpanKindClient), it.origin.attributes())
		_, j.decode = t.Start(j.ctx, decodeSpan)
	}
	return j
}

// attributes say where an item came from.
func (o *Origin) attributes() trace.SpanStartEventOption {
	return trace.WithAttributes(tracing.Server.String(o.Server), tracing.Source.String(o.Name), tracing.SourceType.String(o.Type))
}

// decoded ends decode, starts spool, and gives the event the context that it
// carries from here on.
func (j *journey) decoded(it *item, e *schema.Event, labels Labels) {
	if j.tracer == nil {
		e.TraceParent = j.header
		return
	}
	message := trace.WithAttributes(append(tracing.Message(e),
		semconv.MessagingSystemKey.String("nats"), // the log is an embedded JetStream
		semconv.MessagingOperationName(spoolSpan),
		semconv.MessagingOperationTypeCreate,
		semconv.MessagingDestinationName(e.Subject()),
		semconv.MessagingDestinationTemplate(tracing.SubjectTemplate(string(e.Type), e.Type)),
	)...)
	kind := trace.WithSpanKind(trace.SpanKindProducer)
	if it.kind == sessionItem {
		j.ctx, j.spool = j.tracer.StartRoot(j.ctx, j.root, spoolSpan, trace.WithTimestamp(it.at), kind, message, it.origin.attributes())
	} else {
		j.decode.SetAttributes(labels.attributes()...)
		if labels.Reason != "" {
			// The error itself quotes what was received.
			j.decode.SetStatus(codes.Error, labels.Reason)
		}
		j.decode.End()
		j.ctx, j.spool = j.tracer.Start(j.ctx, spoolSpan, kind, message)
	}
	tracing.Put(j.spool.SpanContext(), e)
}

func (l Labels) attributes() []attribute.KeyValue {
	if l.Reason != "" {
		return []attribute.KeyValue{semconv.ErrorTypeKey.String(l.Reason)}
	}
	known := []attribute.KeyValue{tracing.Format.String(string(l.Format))}
	if l.Mode != "" {
		known = append(known, tracing.Mode.String(string(l.Mode)))
	}
	return known
}

// end ends what is open; stored says that the log has the event.
func (j *journey) end(stored bool) {
	for _, span := range []trace.Span{j.spool, j.receive} {
		if span == nil {
			continue
		}
		if !stored {
			span.SetAttributes(semconv.ErrorTypeKey.String("canceled"))
			span.SetStatus(codes.Error, "stopped before the log took the event")
		}
		span.End()
	}
}
