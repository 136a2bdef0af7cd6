package natssink_test

import (
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

func TestTheSinkKeepsTheContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		AttributePrefix: "ce-",
		EncodeValue:     percentEncode,
		OwnHeaders: func(r sink.Record) map[string]string {
			id := r.ID
			switch {
			case r.Replay != "":
				id += ".replay." + r.Replay
			case r.Overlap != "":
				id = "overlap." + r.Overlap
			}
			return map[string]string{
				"Nats-Msg-Id":          id,
				"Nats-Expected-Stream": streamOf(r.Type),
				// On NATS this attribute is one like the others.
				"ce-datacontenttype": "application/json",
			}
		},
		TooLarge: 1<<20 + 1, // the server's default
		Open: func(t *testing.T) sinktest.Broker {
			b := startBroker(t)
			return sinktest.Broker{
				Sink: openSink(t, b.config()),
				Stored: func(t *testing.T, typ schema.Type) []sinktest.Message {
					_, js := b.client(t)
					return stored(t, js, streamOf(typ))
				},
				Stop:  func(*testing.T) { b.stop() },
				Start: func(t *testing.T) { b.start(t) },
			}
		},
	})
}
