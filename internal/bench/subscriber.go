package bench

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/segmentio/kafka-go"
)

// arrival is a pop as a subscriber got it.
type arrival struct {
	n, at int64 // number, and nanoseconds since 1970
	// read is the event's received_at.
	read int64
	// bytes is the length of the event's body.
	bytes int
}

// subscriber takes what a broker delivers, all of it and in its order, as a
// microservice behind the connector would.
type subscriber struct {
	mu       sync.Mutex // guards arrivals
	arrivals []arrival
	count    atomic.Int64
	end      func() error
}

// take notes one event.
func (s *subscriber) take(body []byte) {
	now := time.Now()
	n := NumberOf(body)
	if n == 0 {
		return // not of this run
	}
	a := arrival{n: int64(n), at: now.UnixNano(), read: receivedAt(body), bytes: len(body)}
	s.mu.Lock()
	s.arrivals = append(s.arrivals, a)
	s.mu.Unlock()
	s.count.Add(1)
}

// await waits until want events have arrived, or nothing comes any more.
func (s *subscriber) await(ctx context.Context, what string, want int) error {
	return await(ctx, 5*time.Millisecond, what, want, func() int { return int(s.count.Load()) })
}

// taken is what has arrived so far.
func (s *subscriber) taken() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrivals)
}

// receivedAt reads the end of a body; 0 where it is not there.
func receivedAt(body []byte) int64 {
	const name = `"received_at":"`
	i := bytes.LastIndex(body, []byte(name))
	if i < 0 {
		return 0
	}
	text, _, _ := bytes.Cut(body[i+len(name):], []byte(`"`))
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return 0
	}
	return at.UnixNano()
}

// subscribeNATS takes all of a stream's events.
func subscribeNATS(ctx context.Context, url, stream string) (_ *subscriber, err error) {
	conn, err := nats.Connect(url, nats.Name("callpop-bench-subscriber"))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	s := &subscriber{}
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("subscribe to stream %s: %w", stream, err)
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { s.take(m.Data()) }, jetstream.PullMaxMessages(2000))
	if err != nil {
		return nil, fmt.Errorf("subscribe to stream %s: %w", stream, err)
	}
	s.end = func() error {
		consuming.Stop()
		<-consuming.Closed()
		conn.Close()
		return nil
	}
	return s, nil
}

// kafkaReadTimeout is after how long a reader gives up a connection that says
// nothing: well within the time in which a run waits for its last pops.
const kafkaReadTimeout = 5 * time.Second

// subscribeKafka takes all of a topic's events.
func subscribeKafka(ctx context.Context, brokers []string, topic string, partitions int) *subscriber {
	s := &subscriber{}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	for p := range partitions {
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers: brokers, Topic: topic, Partition: p, MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 500 * time.Millisecond,
			ReadBatchTimeout: kafkaReadTimeout, QueueCapacity: 1000,
		})
		work.Go(func() {
			defer func() { _ = r.Close() }()
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					return // its end; what is missing shows
				}
				s.take(m.Value)
			}
		})
	}
	s.end = func() error {
		cancel()
		work.Wait()
		return nil
	}
	return s
}
