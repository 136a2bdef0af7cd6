package sinktest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// closable is the sink in memory with what the suite asks beside the contract of
// one call: an end, and a broker that can go away.
type closable struct {
	sinktest.Memory
	closed atomic.Bool
}

func (c *closable) Close(context.Context) error {
	c.closed.Store(true)
	return nil
}

// The suite passes a sink that keeps the contract.
func TestTheSuitePassesTheSinkInMemory(t *testing.T) {
	const limit = 1 << 20
	sinktest.Run(t, sinktest.Harness{
		AttributePrefix: schema.KafkaPrefix,
		TooLarge:        limit + 1,
		Open: func(*testing.T) sinktest.Broker {
			var away atomic.Bool
			s := new(closable)
			s.Before = func(context.Context, []sink.Record) error {
				if away.Load() || s.closed.Load() {
					return errors.New("away")
				}
				return nil
			}
			s.Outcome = func(r sink.Record) sinktest.Outcome {
				if len(r.Body) > limit {
					return sinktest.Outcome{Err: sink.Permanent(errors.New("too large"))}
				}
				return sinktest.Outcome{Stored: true}
			}
			return sinktest.Broker{
				Sink:  s,
				Stop:  func(*testing.T) { away.Store(true) },
				Start: func(*testing.T) { away.Store(false) },
				Stored: func(_ *testing.T, typ schema.Type) []sinktest.Message {
					stored := s.Stored(typ)
					messages := sinktest.Messages(stored)
					for i, r := range stored {
						messages[i].Headers = maps.Collect(r.KafkaHeaders())
						messages[i].Headers[schema.KafkaSpoolSequence] = r.SpoolSequence
						if r.Replay != "" {
							messages[i].Headers[schema.HeaderReplay] = r.Replay
						}
						messages[i].Body = bytes.Clone(r.Body)
					}
					return messages
				},
			}
		},
	})
}
