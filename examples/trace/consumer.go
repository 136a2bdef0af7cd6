package main

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
)

// consumer makes a span of each pop that it handles.
type consumer struct {
	tracer trace.Tracer
	use    func(context.Context, schema.Event) error
}

func newConsumer(provider trace.TracerProvider, use func(context.Context, schema.Event) error) *consumer {
	return &consumer{
		tracer: provider.Tracer("github.com/callpop/connector/examples/trace", trace.WithSchemaURL(semconv.SchemaURL)),
		use:    use,
	}
}

// template stands for the subjects of pops: a span's name holds no agent.
const template = "callpop.v1.{server}.{agent}"

// handle reads a message and uses its event, within a span that is the child of the
// one whose context the message carries: the connector's spool span. One message is
// one piece of work here, so that the trace can go on; who takes many at once links
// to them and begins a trace, which is what the conventions have consumers do by
// default. The link is there in either case.
//
// Where the connector traces nothing, the message carries no context and the span
// begins a trace.
func (c *consumer) handle(ctx context.Context, m *nats.Msg) error {
	e, err := schema.FromNATSHeaders(carrier(m.Header).Get, m.Data)
	if err != nil {
		return err
	}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier(m.Header))
	ctx, span := c.tracer.Start(ctx, "process "+template,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithLinks(trace.LinkFromContext(ctx)),
		trace.WithAttributes(
			semconv.MessagingSystemKey.String("nats"),
			semconv.MessagingOperationName("process"),
			semconv.MessagingOperationTypeProcess,
			semconv.MessagingDestinationName(m.Subject),
			semconv.MessagingDestinationTemplate(template),
			semconv.MessagingMessageID(e.ID),
			semconv.MessagingMessageConversationID(e.Key),
			semconv.MessagingMessageBodySize(len(m.Data)),
		))
	defer span.End()
	if err := c.use(ctx, e); err != nil {
		span.SetAttributes(semconv.ErrorTypeOther)
		span.SetStatus(codes.Error, "the pop could not be used") // no number may be in it
		return err
	}
	return nil
}

// carrier reads and writes a trace's context in the headers of a NATS message,
// whose names distinguish upper and lower case: it reads any and writes lower.
type carrier nats.Header

var _ propagation.TextMapCarrier = carrier(nil)

// Get returns the value of a name in any case.
func (c carrier) Get(name string) string {
	if values := c[name]; len(values) > 0 {
		return values[0]
	}
	for key, values := range c {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// Set replaces the value of a name in any case.
func (c carrier) Set(name, value string) {
	for key := range c {
		if strings.EqualFold(key, name) {
			delete(c, key)
		}
	}
	c[strings.ToLower(name)] = []string{value}
}

// Keys lists the names.
func (c carrier) Keys() (keys []string) {
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
