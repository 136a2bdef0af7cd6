package kafkasink

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Options are the code's choices; the zero value is right.
type Options struct {
	// Dial replaces the dialling of brokers.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Sink publishes events to topics of one Kafka cluster.
type Sink struct {
	config  Config
	options Options
	topics  map[schema.Type]*topic

	shut   sync.Once
	closed chan struct{}
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Checker = (*Sink)(nil)
	_ sink.Located = (*Sink)(nil)
)

// topic is where events of one type go.
type topic struct {
	*link
	config      *Config
	acks        int16
	compression compress.Compression
	balancer    kafka.Balancer
	// maxBytes bounds a batch: batch_bytes, or less once the brokers have refused
	// a smaller one.
	maxBytes atomic.Int64
}

// New makes a sink. It reads the files that the configuration names and never
// waits for the network: whether the brokers are there shows in Publish and in
// Check.
func New(c Config, o Options) (*Sink, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("kafka sink: %w", err)
	}
	useSmallZstd()
	s := &Sink{config: c, options: o, topics: make(map[schema.Type]*topic), closed: make(chan struct{})}
	for _, t := range schema.Types {
		name := c.topic(t)
		if name == "" {
			continue
		}
		l, err := newLink(&s.config, &s.options, name)
		if err != nil {
			return nil, fmt.Errorf("kafka sink: %w", err)
		}
		s.topics[t] = newTopic(l, &s.config)
	}
	return s, nil
}

func newTopic(l *link, c *Config) *topic {
	t := &topic{link: l, config: c, acks: int16(kafka.RequireAll), compression: compressions[c.Compression], balancer: balancers[c.Balancer]()}
	if c.Acks == "1" {
		t.acks = int16(kafka.RequireOne)
	}
	t.maxBytes.Store(int64(c.BatchBytes))
	return t
}

// Types lists the types of event that have a topic, in the order of
// schema.Types. Publish refuses others for good.
func (s *Sink) Types() []schema.Type {
	var types []schema.Type
	for _, t := range schema.Types {
		if s.topics[t] != nil {
			types = append(types, t)
		}
	}
	return types
}

// Publish implements sink.Sink. The package's documentation says how.
func (s *Sink) Publish(ctx context.Context, records []sink.Record) error {
	if len(records) == 0 {
		return nil
	}
	select {
	case <-s.closed:
		return fmt.Errorf("kafka sink: %w", net.ErrClosed)
	default:
	}
	t := s.topics[records[0].Type]
	if t == nil {
		return sink.Permanent(fmt.Errorf("kafka sink: no topic is set for events of type %s", records[0].Type))
	}
	return t.publish(ctx, records)
}

// Close implements sink.Sink. It closes every connection at once and waits for
// nobody, so that it cannot hang.
func (s *Sink) Close(context.Context) error {
	s.shut.Do(func() {
		close(s.closed)
		for _, t := range s.topics {
			t.close()
		}
	})
	return nil
}
