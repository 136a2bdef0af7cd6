package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// BenchmarkWaysToProduce compares the ways that kafka-go offers: this sink, which
// sends one request to each leader; the client's Produce, one request for each
// partition; and the Writer.
func BenchmarkWaysToProduce(b *testing.B) {
	for _, partitions := range []int{1, 8} {
		for _, size := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("partitions=%d/batch=%d", partitions, size), func(b *testing.B) {
				c := benchConfig(b, partitions)
				batch := benchRecords(size)
				compare(b, size, []way{
					sinkWay(b, "sink", c, batch),
					clientWay(b, "client", c, batch),
					writerWay("writer-1ms", c, batch, time.Millisecond),
					writerWay("writer-5ms", c, batch, 5*time.Millisecond),
				})
			})
		}
	}
}

// BenchmarkForwarder compares the whole path from a spool in memory through the
// forwarder and this sink, until every event is settled, with a bare Writer that
// is handed the same records and waits for its answers.
func BenchmarkForwarder(b *testing.B) {
	for _, partitions := range []int{1, 8} {
		for _, size := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("partitions=%d/batch=%d", partitions, size), func(b *testing.B) {
				c := benchConfig(b, partitions)
				batch := benchRecords(size)
				compare(b, size, []way{
					forwarderWay(b, "forwarder", c, batch),
					writerWay("writer", c, batch, time.Millisecond),
				})
			})
		}
	}
}

// way is one way to publish a batch.
type way struct {
	name    string
	publish func(context.Context) error
	end     func()
}

// compare runs the ways in turn, call by call, so that all meet the same load,
// and reports the records a second of each, and the first's share of the others'.
func compare(b *testing.B, size int, ways []way) {
	b.Helper()
	for _, w := range ways {
		defer w.end()
		warmUp(b, w)
	}
	spent := make([]time.Duration, len(ways))
	n := 0
	for b.Loop() {
		for i, w := range ways {
			start := time.Now()
			if err := w.publish(b.Context()); err != nil {
				b.Fatal(err)
			}
			spent[i] += time.Since(start)
		}
		n++
	}
	for i, w := range ways {
		b.ReportMetric(float64(n*size)/spent[i].Seconds(), w.name+"/s")
		if i > 0 {
			b.ReportMetric(spent[i].Seconds()/spent[0].Seconds(), ways[0].name+"/"+w.name)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// warmUp connects. A topic that is new may have no leaders yet.
func warmUp(b *testing.B, w way) {
	b.Helper()
	good := 0
	for deadline := time.Now().Add(time.Minute); good < 3; {
		err := w.publish(b.Context())
		switch {
		case err == nil:
			good++
		case time.Now().After(deadline):
			b.Fatal(err)
		default:
			time.Sleep(50 * time.Millisecond) // polling, up to the deadline
		}
	}
}

// benchConfig is for the brokers of KAFKA_BROKERS, or else a fake that takes
// everything and keeps nothing.
func benchConfig(b *testing.B, partitions int) Config {
	b.Helper()
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		c := testConfig(strings.Split(brokers, ",")...)
		c.Topic = fmt.Sprintf("bench-%d-%d", partitions, time.Now().UnixNano())
		shared.Cluster(b).CreateTopic(b, c.Topic, partitions, 1, nil)
		return c
	}
	fake := newFake(b, partitions, kfake.NumBrokers(1), kfake.BlackholeProduce())
	return testConfig(fake.ListenAddrs()...)
}

// benchRecords makes records of about 300 bytes, each of its own key.
func benchRecords(n int) []sink.Record {
	all := records(n, n)
	for i := range all {
		all[i].Body = append(all[i].Body, strings.Repeat(" ", max(0, 300-len(all[i].Body)))...)
	}
	return all
}

func sinkWay(b *testing.B, name string, c Config, batch []sink.Record) way {
	s := open(b, c)
	return way{name, func(ctx context.Context) error { return s.Publish(ctx, batch) }, func() {}}
}

// kafkaMessages are the records as the Writer takes them, made anew for each
// call as a sink would have to.
func kafkaMessages(batch []sink.Record) []kafka.Message {
	all := make([]kafka.Message, len(batch))
	for i := range batch {
		r := &batch[i]
		headers := make([]kafka.Header, 0, 12)
		for name, value := range r.KafkaHeaders() {
			headers = append(headers, kafka.Header{Key: name, Value: []byte(value)})
		}
		all[i] = kafka.Message{Key: []byte(r.Key), Value: r.Body, Time: r.Time, Headers: headers}
	}
	return all
}

func newWriter(c Config, timeout time.Duration, size int) (*kafka.Writer, *kafka.Transport) {
	transport := &kafka.Transport{MetadataTopics: []string{c.Topic}}
	return &kafka.Writer{
		Addr: kafka.TCP(c.Brokers...), Topic: c.Topic, Balancer: kafka.Murmur2Balancer{Consistent: true}, MaxAttempts: 1,
		BatchSize: size, BatchBytes: int64(c.BatchBytes), BatchTimeout: timeout, RequiredAcks: kafka.RequireAll,
		Compression: kafka.Zstd, Transport: transport,
	}, transport
}

func writerWay(name string, c Config, batch []sink.Record, timeout time.Duration) way {
	w, transport := newWriter(c, timeout, len(batch))
	return way{
		name,
		func(ctx context.Context) error { return w.WriteMessages(ctx, kafkaMessages(batch)...) },
		func() { _ = w.Close(); transport.CloseIdleConnections() },
	}
}

func clientWay(b *testing.B, name string, c Config, batch []sink.Record) way {
	transport := &kafka.Transport{MetadataTopics: []string{c.Topic}}
	client := &kafka.Client{Addr: kafka.TCP(c.Brokers...), Transport: transport, Timeout: c.PublishTimeout}
	meta, err := client.Metadata(b.Context(), &kafka.MetadataRequest{Topics: []string{c.Topic}})
	if err != nil {
		b.Fatal(err)
	}
	numbers := make([]int, len(meta.Topics[0].Partitions))
	for i := range numbers {
		numbers[i] = i
	}
	return way{name, func(ctx context.Context) error {
		messages := make([]message, len(batch))
		var e encoder
		for i := range batch {
			messages[i] = e.encode(&batch[i])
		}
		queues := assign(messages, kafka.Murmur2Balancer{Consistent: true}, numbers, len(batch))
		errs := make([]error, len(queues))
		var wg sync.WaitGroup
		for i, q := range queues {
			wg.Go(func() {
				res, err := client.Produce(ctx, &kafka.ProduceRequest{
					Topic: c.Topic, Partition: q.partition, RequiredAcks: kafka.RequireAll, Compression: kafka.Zstd,
					Records: &reader{messages: messages, batch: q.left},
				})
				if err == nil {
					err = res.Error
				}
				errs[i] = err
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	}, transport.CloseIdleConnections}
}

// forwarderWay puts a batch into a spool and waits until the forwarder has
// settled it.
func forwarderWay(b *testing.B, name string, c Config, batch []sink.Record) way {
	s := open(b, c)
	spool := &benchSpool{batches: make(chan []sink.Record)}
	f, err := sink.New(sink.Options{Name: "bench", Sink: s, Types: []schema.Type{schema.TypeCallPop}, Spool: spool, Start: sink.StartAll})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return way{
		name,
		func(ctx context.Context) error { spool.put(batch); return f.WaitDrained(ctx) },
		func() {
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		},
	}
}

// benchSpool hands batches to one reader and keeps nothing.
type benchSpool struct {
	batches chan []sink.Record
	last    atomic.Uint64
}

// put numbers the records and hands them over.
func (s *benchSpool) put(batch []sink.Record) {
	numbered := slices.Clone(batch)
	last := s.last.Load()
	for i := range numbered {
		last++
		numbered[i].Sequence = last
	}
	s.last.Store(last)
	s.batches <- numbered
}

func (s *benchSpool) Read(context.Context, schema.Type, uint64) (sink.Reader, error) {
	return &benchReader{spool: s}, nil
}

func (s *benchSpool) Bounds(context.Context, schema.Type) (first, last uint64, err error) {
	return 1, s.last.Load(), nil
}

func (s *benchSpool) Backlog(_ context.Context, _ schema.Type, after uint64) (uint64, error) {
	last := s.last.Load()
	return last - min(last, after), nil
}

func (s *benchSpool) Cursor(context.Context, string, schema.Type) (uint64, bool, error) {
	return 0, true, nil
}

func (s *benchSpool) SetCursor(context.Context, string, schema.Type, uint64) error { return nil }

func (s *benchSpool) Emit(context.Context, schema.Event) error {
	return errors.New("an event was refused")
}

type benchReader struct {
	spool *benchSpool
	rest  []sink.Record
}

func (r *benchReader) Next(ctx context.Context, limit int) ([]sink.Record, error) {
	if len(r.rest) == 0 {
		select {
		case r.rest = <-r.spool.batches:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	next := r.rest[:min(limit, len(r.rest))]
	r.rest = r.rest[len(next):]
	return next, nil
}

func (r *benchReader) Lost() uint64    { return 0 }
func (r *benchReader) Damaged() uint64 { return 0 }

func (r *benchReader) Close() error { return nil }
