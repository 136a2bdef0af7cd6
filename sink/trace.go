package sink

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
)

// Destination is where a sink sends the events of one type, in the words of
// OpenTelemetry's conventions for messaging.
type Destination struct {
	// System is messaging.system: nats or kafka.
	System string
	// Name is the topic; with Subjects, what the subjects begin with.
	Name string
	// Subjects is set where each agent has a subject of its own.
	Subjects bool
	// Address and Port are the broker's, as they are configured.
	Address string
	Port    int
}

// Located is a [Sink] that says where events go; traces show it.
type Located interface {
	Destination(t schema.Type) Destination
}

// publishOperation is messaging.operation.name.
const publishOperation = "publish"

// failedAttempt is the event on a publish span of an attempt that failed.
const failedAttempt = "publish.failed"

// publishing makes the publish spans of a line: one for each record whose trace is
// sampled, from the first attempt until the record is settled, however many
// attempts that takes. It is nil where tracing is off.
type publishing struct {
	tracer      *tracing.Tracer
	destination Destination
	name        string
	// common are the attributes of every span.
	common trace.SpanStartEventOption
}

func newPublishing(t *tracing.Tracer, sinkName string, typ schema.Type, s Sink) *publishing {
	if t == nil {
		return nil
	}
	p := &publishing{tracer: t}
	if located, ok := s.(Located); ok {
		p.destination = located.Destination(typ)
	}
	d := &p.destination
	p.name = publishOperation + " " + d.Name
	common := []attribute.KeyValue{
		tracing.Sink.String(sinkName),
		semconv.MessagingSystemKey.String(d.System),
		semconv.MessagingOperationName(publishOperation),
		semconv.MessagingOperationTypeSend,
	}
	if d.Subjects {
		template := tracing.SubjectTemplate(d.Name, typ)
		p.name = publishOperation + " " + template
		common = append(common, semconv.MessagingDestinationTemplate(template))
	}
	if d.Address != "" {
		common = append(common, semconv.ServerAddress(d.Address))
	}
	if d.Port != 0 {
		common = append(common, semconv.ServerPort(d.Port))
	}
	p.common = trace.WithAttributes(common...)
	return p
}

// begin starts the spans of the records of a call that have none yet, and keeps
// them in the window. The context that a record carries is the span's parent, so
// that a pop has one trace, and its link, which says that the message was created
// there and not by this call, which may be that of another process, days later.
func (p *publishing) begin(w *window, c *call) {
	if p == nil {
		return
	}
	for i := range c.records {
		r, e := &c.records[i], &w.entries[c.places[i]]
		if !tracing.Sampled(&r.Event) {
			continue
		}
		e.attempts++
		if r.Span == nil {
			ctx := tracing.Context(context.Background(), &r.Event)
			name := p.destination.Name
			if p.destination.Subjects {
				name = r.SubjectUnder(name)
			}
			_, r.Span = p.tracer.Start(ctx, p.name, trace.WithSpanKind(trace.SpanKindClient),
				p.common, trace.WithAttributes(append(tracing.Message(&r.Event), semconv.MessagingDestinationName(name))...),
				trace.WithLinks(trace.LinkFromContext(ctx)))
			e.record.Span = r.Span
		}
		if len(c.records) > 1 {
			r.Span.SetAttributes(semconv.MessagingBatchMessageCount(len(c.records)))
		}
	}
}

// settle ends the span of an entry that is settled; cause is why a sink refused its
// record.
func (e *entry) settle(cause error, at time.Time) {
	e.settled = true
	e.end(cause, at)
}

// fail notes the first failure of an entry's record, and each of another kind than
// the one before: an outage of hours is one event.
func (e *entry) fail(cause error, at time.Time) {
	if e.record.Span == nil {
		return
	}
	if kind := errorType(cause); kind != e.failure {
		e.failure = kind
		e.record.Span.AddEvent(failedAttempt, trace.WithTimestamp(at), trace.WithAttributes(
			semconv.ErrorTypeKey.String(kind), tracing.Attempts.Int(e.attempts)))
	}
}

// end ends the entry's span, where it has one. An error's text is the broker's, and
// stays out of it.
func (e *entry) end(cause error, at time.Time) {
	span := e.record.Span
	if span == nil {
		return
	}
	span.SetAttributes(tracing.Attempts.Int(e.attempts))
	if cause != nil {
		kind := errorType(cause)
		span.SetAttributes(semconv.ErrorTypeKey.String(kind))
		span.SetStatus(codes.Error, kind)
	}
	span.End(trace.WithTimestamp(at))
	e.record.Span = nil
}

// abandon ends the spans of what is not settled when a line ends.
func (w *window) abandon() {
	for i := range w.entries {
		w.entries[i].end(errAbandoned, time.Now())
	}
}

// errAbandoned is why a span ends before its record is settled.
var errAbandoned = abandonedError{}

type abandonedError struct{}

func (abandonedError) Error() string     { return "the connector stops: the event stays in the spool" }
func (abandonedError) ErrorType() string { return "canceled" }
