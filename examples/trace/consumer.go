package main

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema/consume"
)

// template stands for the subjects of pops: a span's name holds no agent.
const template = "callpop.v1.{server}.{agent}"

// traced has handle work within a span that is the child of the one whose context
// the event carries: the connector's spool span. One event is one piece of work
// here, so that its trace can go on. Who takes many at once begins a trace and only
// links to theirs, which is what the conventions have consumers do by default; the
// link is there in either case.
//
// Where the connector traces nothing, an event carries no context and the span
// begins a trace.
func traced(provider trace.TracerProvider, system string, handle subscribe.Handle) subscribe.Handle {
	tracer := provider.Tracer("github.com/callpop/connector/examples/trace", trace.WithSchemaURL(semconv.SchemaURL))
	name := "process " + template
	destination := []attribute.KeyValue{semconv.MessagingDestinationTemplate(template)}
	if system == "kafka" {
		name = "process callpop.v1"
		destination = []attribute.KeyValue{semconv.MessagingDestinationName("callpop.v1")}
	}
	return func(ctx context.Context, d *consume.Delivery) error {
		ctx, span := tracer.Start(d.Context(ctx), name,
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(d.Link()),
			trace.WithAttributes(destination...),
			trace.WithAttributes(
				semconv.MessagingSystemKey.String(system),
				semconv.MessagingOperationName("process"),
				semconv.MessagingOperationTypeProcess,
				semconv.MessagingMessageID(d.Event.ID),
				semconv.MessagingMessageConversationID(d.Event.Key),
				semconv.MessagingMessageBodySize(len(d.Event.Body)),
			))
		defer span.End()
		err := handle(ctx, d)
		if err != nil { // its text may hold a number, and stays out
			span.SetAttributes(semconv.ErrorTypeOther)
			span.SetStatus(codes.Error, "the pop could not be handled")
		}
		return err
	}
}
