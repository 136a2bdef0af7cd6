// Package sinktest is the contract suite that every sink passes, and the doubles
// with which the forwarder is tested.
//
// A sink's own test makes a [Harness] and calls [Run]. The harness opens a fresh
// broker, or a fresh corner of one, for each test of the suite, so that no test
// sees another's events.
package sinktest

import (
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Harness joins the suite to one kind of sink.
type Harness struct {
	// Open returns a new sink and its broker, which holds no event yet. What it
	// opens it closes with t.Cleanup; a sink may have been closed by then.
	Open func(t *testing.T) Broker
	// AttributePrefix stands before each CloudEvents attribute in a header's
	// name: schema.NATSPrefix or schema.KafkaPrefix.
	AttributePrefix string
	// EncodeValue is how the broker's binding writes an attribute's value in a
	// header; nil: as it is.
	EncodeValue func(value string) string
	// OwnHeaders returns the headers that this kind of sink adds to CloudEvents'
	// and the trace context; nil: none.
	OwnHeaders func(record sink.Record) map[string]string
	// TooLarge is a size of body, in bytes, that the broker refuses for good; 0:
	// it has no limit, and those tests are skipped.
	TooLarge int
	// Large is a size of body, in bytes, that the broker surely takes. 0: 256 KiB.
	Large int
}

// Broker is one opened sink and what is behind it.
type Broker struct {
	Sink sink.Sink
	// Stored returns all messages that the broker holds of an event type,
	// duplicates included; those of one key are in the broker's order.
	Stored func(t *testing.T, typ schema.Type) []Message
	// Stop takes the broker away, and Start brings it back at the same address
	// with all that it held. nil: the tests that need them are skipped.
	Stop, Start func(t *testing.T)
}

// Message is what a broker holds.
type Message struct {
	// ID is the event's id as a consumer reads it.
	ID string
	// Key is the partition key: Kafka's record key, else the partitionkey
	// attribute.
	Key string
	// Headers holds every header under its exact name.
	Headers map[string]string
	Body    []byte
}
