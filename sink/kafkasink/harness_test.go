package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// shared is the real Kafka of this package's tests.
var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

// newFake starts a fake cluster with the three topics.
func newFake(t testing.TB, partitions int, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	options = append([]kfake.Opt{
		kfake.NumBrokers(3),
		kfake.SeedTopics(int32(partitions), string(schema.TypeCallPop), string(schema.TypeSessionChanged), string(schema.TypeDeadLetter)),
	}, options...)
	c, err := kfake.NewCluster(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// testConfig is the default configuration for brokers, with a time-out fit for
// tests that meet it.
func testConfig(brokers ...string) Config {
	c := DefaultConfig()
	c.Brokers = brokers
	c.PublishTimeout = 20 * time.Second
	return c
}

// open makes a sink that is closed with the test.
func open(t testing.TB, c Config) *Sink {
	t.Helper()
	s, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// record makes the n-th record of a test, of the key's n-th call.
func record(n int, key string) sink.Record {
	at := time.Date(2026, 11, 22, 9, 30, 0, n*int(time.Millisecond), time.UTC)
	id := schema.NewID(at)
	return sink.Record{
		Event: schema.Event{
			Type: schema.TypeCallPop, ID: id, Key: key, Server: "hq", Agent: "801", Time: at,
			Body: fmt.Appendf(nil, `{"id":%q,"version":1,"key":%q,"n":%d}`, id, key, n),
		},
		Sequence:      uint64(n + 1),
		SpoolSequence: fmt.Sprintf("spool-%020d", n+1),
	}
}

// records makes n records over a number of keys, in turn.
func records(n, keys int) []sink.Record {
	all := make([]sink.Record, n)
	for i := range all {
		all[i] = record(i, fmt.Sprintf("hq/%d", i%keys))
	}
	return all
}

// stored reads all that a topic holds, partition by partition. A broker that has
// just come back may need a moment.
func stored(t testing.TB, c Config, topic string) []Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		all, err := readTopic(ctx, c, topic)
		if err == nil {
			return all
		}
		select {
		case <-ctx.Done():
			t.Fatalf("read topic %s: %v", topic, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func readTopic(ctx context.Context, c Config, topic string) ([]Message, error) {
	l, err := newLink(&c, &Options{}, topic)
	if err != nil {
		return nil, err
	}
	defer l.close()
	found, err := l.layout(ctx)
	if err != nil {
		return nil, err
	}
	want := make([]kafka.OffsetRequest, 0, 2*len(found.numbers))
	for _, p := range found.numbers {
		want = append(want, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	res, err := l.client().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: want}})
	if err != nil {
		return nil, err
	}
	ends := res.Topics[topic]
	slices.SortFunc(ends, func(a, b kafka.PartitionOffsets) int { return a.Partition - b.Partition })
	var all []Message
	for _, end := range ends {
		if end.Error != nil {
			return nil, end.Error
		}
		for at := end.FirstOffset; at < end.LastOffset; {
			read, err := readPartition(ctx, l, end.Partition, at)
			if err != nil {
				return nil, fmt.Errorf("partition %d at %d: %w", end.Partition, at, err)
			}
			for _, m := range read {
				all = append(all, m)
				at = m.Offset + 1
			}
		}
	}
	return all, nil
}

func readPartition(ctx context.Context, l *link, partition int, at int64) ([]Message, error) {
	fetched, err := l.client().Fetch(ctx, &kafka.FetchRequest{
		Topic: l.name, Partition: partition, Offset: at, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: time.Second,
	})
	if err == nil {
		err = fetched.Error
	}
	if err != nil {
		return nil, err
	}
	var all []Message
	for {
		r, err := fetched.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		m, err := newMessage(l.name, partition, r)
		if err != nil {
			return nil, err
		}
		if m.Offset >= at {
			all = append(all, m)
		}
	}
}

// suiteMessages makes messages for sinktest.CheckDelivered.
func suiteMessages(all []Message) []sinktest.Message {
	out := make([]sinktest.Message, len(all))
	for i, m := range all {
		out[i] = sinktest.Message{ID: m.Headers["ce_id"], Key: string(m.Key), Headers: m.Headers, Body: m.Value}
	}
	return out
}

func eventsOf(all []sink.Record) []schema.Event {
	events := make([]schema.Event, len(all))
	for i := range all {
		events[i] = all[i].Event
	}
	return events
}

// errorOf finds this package's error in what became of one record.
func errorOf(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an error of kafkasink", err, err)
	}
	return e
}

// publishRest publishes what has not been stored, as the forwarder does, until
// all is, and returns how many calls that took.
func publishRest(t testing.TB, s *Sink, all []sink.Record) (calls int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(all) > 0 {
		calls++
		err := s.Publish(ctx, all)
		if err == nil {
			return calls
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		var batch sink.BatchError
		if errors.As(err, &batch) {
			var rest []sink.Record
			for i, e := range batch {
				if e != nil && !sink.IsPermanent(e) {
					rest = append(rest, all[i])
				}
			}
			all = rest
		}
		time.Sleep(5 * time.Millisecond) // the forwarder's back-off
	}
	return calls
}
