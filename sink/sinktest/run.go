package sinktest

import (
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Run runs the contract suite against the sinks that h opens.
func Run(t *testing.T, h Harness) {
	t.Helper()
	t.Run("stores every record of every event type", h.storesEverything)
	t.Run("stores the records of a key in their order", h.keepsOrder)
	t.Run("stores many keys in one call", h.manyKeys)
	t.Run("stores large bodies unchanged", h.largeBodies)
	t.Run("takes a call without records", h.noRecords)
	t.Run("writes every header exactly", h.exactHeaders)
	t.Run("takes any name", h.weirdNames)
	t.Run("stores a record again when it is published again", h.republish)
	t.Run("stores a replay beside the first delivery", h.replay)
	t.Run("serves calls for different event types at once", h.overlap)
	t.Run("returns when the context is done", h.cancelled)
	t.Run("calls a broker that is away a passing failure", h.away)
	t.Run("refuses what is too large for good and nothing else", h.tooLarge)
	t.Run("closes twice", h.closeTwice)
	t.Run("closes before use", h.closeUnused)
	t.Run("closes in time while the broker is away", h.closeAway)
	t.Run("answers after closing with an error", h.publishClosed)
	t.Run("with the forwarder", func(t *testing.T) {
		t.Run("delivers what could not be delivered for a while", h.forwardOutage)
		t.Run("turns what is refused for good into dead letters", h.forwardRefused)
		t.Run("accounts for every event of a mixture", h.forwardMixed)
	})
}

// header returns the name of an attribute's header.
func (h Harness) header(attribute string) string { return h.AttributePrefix + attribute }

func (h Harness) encode(value string) string {
	if h.EncodeValue == nil {
		return value
	}
	return h.EncodeValue(value)
}

func (h Harness) large() int {
	if h.Large == 0 {
		return 256 << 10
	}
	return h.Large
}

// records gives events consecutive places in a spool, from 1.
func records(events []schema.Event) []sink.Record {
	out := make([]sink.Record, len(events))
	for i, e := range events {
		out[i] = NewRecord(e, uint64(i)+1)
	}
	return out
}
