package natssink_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/sink/sinktest"
)

// BenchmarkPublish publishes batches to a server in this process over loopback,
// every other batch with a bare nats.go publisher that sends the same messages
// asynchronously and waits for all of them. "of-bare" is the sink's rate as a part
// of the bare one's, in the same run: 1 is as fast.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			br := startBroker(b)
			s := openSink(b, br.config(func(c *natssink.Config) { c.MaxInFlight = 1024 }))
			_, js := br.client(b)
			n := 0
			batch := func() []sink.Record {
				records := make([]sink.Record, size)
				for i := range records {
					n++
					e := sinktest.Event(schema.TypeCallPop, n, fmt.Sprintf("hq/%d", n), "801")
					e.Body = append(e.Body, make([]byte, 300-len(e.Body))...)
					records[i] = sinktest.NewRecord(e, uint64(n))
				}
				return records
			}
			publish := func(records []sink.Record) {
				if err := s.Publish(context.Background(), records); err != nil {
					b.Fatal(err)
				}
			}
			publish(batch())
			var ours, bare time.Duration
			for b.Loop() {
				records := batch()
				begun := time.Now()
				publish(records)
				ours += time.Since(begun)

				records = batch()
				begun = time.Now()
				publishBare(b, js, records)
				bare += time.Since(begun)
			}
			events := float64(b.N * size)
			b.ReportMetric(events/ours.Seconds(), "events/s")
			b.ReportMetric(events/bare.Seconds(), "bare-events/s")
			b.ReportMetric(bare.Seconds()/ours.Seconds(), "of-bare")
			b.ReportMetric(0, "ns/op") // it is of both
		})
	}
}

// publishBare publishes as a program would that knows no keys.
func publishBare(b *testing.B, js jetstream.JetStream, records []sink.Record) {
	for i := range records {
		r := &records[i]
		msg := &nats.Msg{Subject: r.Subject(), Data: r.Body, Header: make(nats.Header, 16)}
		for name, value := range r.NATSHeaders() {
			msg.Header.Set(name, value)
		}
		msg.Header.Set(schema.NATSSpoolSequence, r.SpoolSequence)
		if _, err := js.PublishMsgAsync(msg, jetstream.WithMsgID(r.ID), jetstream.WithExpectStream("CALLPOP")); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}
