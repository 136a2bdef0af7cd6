package spool

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
)

// Record is an event as the spool holds it.
type Record struct {
	schema.Event
	// Sequence is the event's position in the spool's stream of its type; rising,
	// with holes.
	Sequence uint64
	// SpoolSequence is the CloudEvents extension spoolsequence:
	// "<spool id>-<number, zero-padded to 20 digits>". It sorts as text.
	SpoolSequence string
	// Replay names the replay that carries the record to a sink once more; empty
	// for its first way there. The spool does not hold it.
	Replay string
	// Span is the span of publishing the record, for a sink to add what it learns of
	// the way; nil where there is none, as for most records. The spool does not hold
	// it.
	Span trace.Span
}
