package spool

import "github.com/callpop/connector/schema"

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
}
