package tracing

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/callpop/connector/schema"
)

// SchemaURL is that of the conventions by which attributes are named. Those for
// messaging are in development: they are pinned here, for spans and metrics alike.
const SchemaURL = semconv.SchemaURL

// Scope is the instrumentation scope of the connector's spans.
const Scope = "github.com/callpop/connector"

// Attributes of our own.
const (
	// Server, Source and SourceType say where bytes came from.
	Server     = attribute.Key("callpop.server")
	Source     = attribute.Key("callpop.source")
	SourceType = attribute.Key("callpop.source.type")
	// Format and Mode are the pop's.
	Format = attribute.Key("callpop.format")
	Mode   = attribute.Key("callpop.mode")
	// EventType is the event's, such as callpop.v1.
	EventType = attribute.Key("callpop.event.type")
	// Sink is the sink's name; Attempts is how often it was tried.
	Sink     = attribute.Key("callpop.sink")
	Attempts = attribute.Key("callpop.attempts")
)

// SubjectTemplate is the template of the subjects of events of a type under a
// prefix: a low-cardinality name for what would name an agent.
func SubjectTemplate(prefix string, t schema.Type) string {
	if t == schema.TypeDeadLetter {
		return prefix + ".{server}"
	}
	return prefix + ".{server}.{agent}"
}

// Message describes an event as the conventions describe a message.
func Message(e *schema.Event) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingMessageID(e.ID),
		semconv.MessagingMessageConversationID(e.Key),
		semconv.MessagingMessageBodySize(len(e.Body)),
		EventType.String(string(e.Type)),
	}
}
