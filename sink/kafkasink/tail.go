package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/callpop/connector/schema"
)

// Message is a record as Kafka holds it.
type Message struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time
	Key       []byte
	Value     []byte
	// Headers by their names; of one that is there twice, the last.
	Headers map[string]string
}

// TailOptions say what to read.
type TailOptions struct {
	// Types are the events to read; nil: those that have a topic.
	Types []schema.Type
	// Group is a consumer group, which keeps its place; empty: everything that
	// comes after the start, from every partition, and no place is kept.
	Group string
	// Ready, where set, is called once without a group, as soon as every later
	// event will be read.
	Ready func()
	// Failed, where set, hears of failures that Tail will get over.
	Failed func(error)
	// Options are the connections'.
	Options Options
}

// Limits of one fetch, and the pause after a failed one.
const (
	fetchBytes          = 8 << 20
	fetchPartitionBytes = 1 << 20
	fetchWait           = 500 * time.Millisecond
	tailPause           = time.Second
)

// Tail reads the topics of c and hands each message to handle, one at a time, in
// the order of each partition, until ctx is done (and returns nil) or handle
// returns an error (and returns that). It begins with what is published after
// the call, or where the group was. A message is the group's once handle has
// returned nil. Failures at the start are returned; later ones are reported to
// Failed and got over.
func Tail(ctx context.Context, c Config, o TailOptions, handle func(Message) error) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("tail kafka: %w", err)
	}
	types := o.Types
	if types == nil {
		types = schema.Types[:]
	}
	var topics []string
	for _, t := range types {
		if name := c.topic(t); name != "" {
			topics = append(topics, name)
		}
	}
	if len(topics) == 0 {
		return errors.New("tail kafka: no topic is set for what is to be read")
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := &tail{config: &c, options: &o, handle: handle}
	var err error
	if o.Group != "" {
		err = t.group(ctx, topics)
	} else {
		err = t.all(ctx, topics, stop)
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	return err
}

// tail is one call of Tail.
type tail struct {
	config  *Config
	options *TailOptions

	mu     sync.Mutex // makes calls of handle and Failed one after the other
	handle func(Message) error
}

func (t *tail) failed(err error) {
	if t.options.Failed != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.options.Failed(err)
	}
}

// errHandler marks an error of the handler: the end.
type errHandler struct{ error }

// all reads every partition of the topics from its end, each topic in a
// goroutine of its own.
func (t *tail) all(ctx context.Context, topics []string, stop context.CancelCauseFunc) error {
	var tails []*topicTail
	defer func() {
		for _, tt := range tails {
			tt.link.close()
		}
	}()
	for _, topic := range topics {
		l, err := newLink(t.config, &t.options.Options, topic)
		if err != nil {
			return fmt.Errorf("tail kafka: %w", err)
		}
		tt := &topicTail{tail: t, link: l, next: make(map[int]int64)}
		tails = append(tails, tt)
		if err := tt.seekEnd(ctx); err != nil {
			return topicError(topic, err)
		}
	}
	if t.options.Ready != nil {
		t.options.Ready()
	}
	var wg sync.WaitGroup
	for _, tt := range tails {
		wg.Go(func() {
			if err := tt.run(ctx); err != nil {
				stop(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// topicTail reads one topic.
type topicTail struct {
	tail *tail
	link *link
	next map[int]int64 // by partition
}

// seekEnd sets every partition's next offset to its end.
func (tt *topicTail) seekEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tt.tail.config.PublishTimeout)
	defer cancel()
	found, err := tt.link.layout(ctx)
	if err != nil {
		return err
	}
	topic := tt.link.topic
	want := make([]kafka.OffsetRequest, len(found.numbers))
	for i := range want {
		want[i] = kafka.LastOffsetOf(i)
	}
	res, err := tt.link.client().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: want}})
	if err != nil {
		return err
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("find the end of partition %d: %w", p.Partition, p.Error)
		}
		tt.next[p.Partition] = p.LastOffset
	}
	return nil
}

// run fetches until ctx is done or the handler fails.
func (tt *topicTail) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := tt.fetch(ctx)
		var handler errHandler
		switch {
		case err == nil:
			continue
		case errors.As(err, &handler):
			return handler.error
		case ctx.Err() != nil:
			return nil
		}
		tt.link.drop()
		tt.tail.failed(topicError(tt.link.topic, err))
		select {
		case <-ctx.Done():
		case <-time.After(tailPause):
		}
	}
	return nil
}

// fetch asks each leader once for what its partitions have.
func (tt *topicTail) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWait+tt.tail.config.PublishTimeout)
	defer cancel()
	found, err := tt.link.layout(ctx)
	if err != nil {
		return err
	}
	byLeader := make(map[int32][]fetch.RequestPartition)
	for i, leader := range found.leaders {
		if leader >= 0 {
			// A partition that was added since begins at 0, as in next.
			byLeader[leader] = append(byLeader[leader], fetch.RequestPartition{
				Partition: int32(i), CurrentLeaderEpoch: -1, FetchOffset: tt.next[i], LogStartOffset: -1, PartitionMaxBytes: fetchPartitionBytes,
			})
		}
	}
	if len(byLeader) == 0 {
		return kafka.LeaderNotAvailable
	}
	var mu sync.Mutex // guards errs and next
	var errs []error
	var wg sync.WaitGroup
	for _, partitions := range byLeader {
		wg.Go(func() {
			res, err := tt.link.send(ctx, &fetch.Request{
				ReplicaID: -1, MaxWaitTime: int32(fetchWait / time.Millisecond), MinBytes: 1, MaxBytes: fetchBytes,
				SessionID: 0, SessionEpoch: -1, // no session
				Topics: []fetch.RequestTopic{{Topic: tt.link.topic, Partitions: partitions}},
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = tt.take(res)
			}
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// take hands out the records of an answer.
func (tt *topicTail) take(res protocol.Message) error {
	answer, ok := res.(*fetch.Response)
	if !ok || len(answer.Topics) > 1 {
		return errors.New("fetch: the broker's answer is malformed")
	}
	if answer.ErrorCode != 0 {
		return fmt.Errorf("fetch: %w", kafka.Error(answer.ErrorCode))
	}
	for _, topic := range answer.Topics {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			switch kafka.Error(p.ErrorCode) {
			case 0:
			case kafka.OffsetOutOfRange:
				// Retention took what was next, or the topic was made anew.
				tt.next[int(p.Partition)] = max(p.LogStartOffset, 0)
				fallthrough
			default:
				return fmt.Errorf("fetch partition %d: %w", p.Partition, kafka.Error(p.ErrorCode))
			}
			if err := tt.takeSet(int(p.Partition), &p.RecordSet); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tt *topicTail) takeSet(partition int, set *protocol.RecordSet) error {
	stream, ok := set.Records.(*protocol.RecordStream)
	if !ok {
		return nil // empty
	}
	for _, batch := range stream.Records {
		_, control := batch.(*protocol.ControlBatch)
		for {
			r, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("read partition %d: %w", partition, err)
			}
			m, err := newMessage(tt.link.topic, partition, r)
			if err != nil {
				return fmt.Errorf("read partition %d: %w", partition, err)
			}
			// A batch may begin before what was asked for.
			if !control && m.Offset >= tt.next[partition] {
				if err := tt.tail.hand(m); err != nil {
					return err
				}
			}
			tt.next[partition] = max(tt.next[partition], m.Offset+1)
		}
	}
	return nil
}

func (t *tail) hand(m Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.handle(m); err != nil {
		return errHandler{err}
	}
	return nil
}

// newMessage copies a record out of the answer's buffer.
func newMessage(topic string, partition int, r *protocol.Record) (Message, error) {
	m := Message{Topic: topic, Partition: partition, Offset: r.Offset, Time: r.Time, Headers: make(map[string]string, len(r.Headers))}
	var err error
	if r.Key != nil {
		defer func() { _ = r.Key.Close() }()
		if m.Key, err = protocol.ReadAll(r.Key); err != nil {
			return Message{}, err
		}
	}
	if r.Value != nil {
		defer func() { _ = r.Value.Close() }()
		if m.Value, err = protocol.ReadAll(r.Value); err != nil {
			return Message{}, err
		}
	}
	for _, h := range r.Headers {
		m.Headers[h.Key] = string(h.Value)
	}
	return m, nil
}

// group reads as a member of the consumer group.
func (t *tail) group(ctx context.Context, topics []string) error {
	tls, err := t.config.TLS.config()
	if err != nil {
		return fmt.Errorf("tail kafka: %w", err)
	}
	mechanism, err := t.config.mechanism()
	if err != nil {
		return fmt.Errorf("tail kafka: %w", err)
	}
	// The reader retries for ever and says why only in its log: what is wrong
	// with the address or the login is found out before.
	for _, topic := range topics {
		if err := t.probe(ctx, topic); err != nil {
			return err
		}
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:     t.config.Brokers,
		GroupID:     t.options.Group,
		GroupTopics: topics,
		Dialer: &kafka.Dialer{
			ClientID: t.config.ClientID, Timeout: t.config.PublishTimeout, DialFunc: t.options.Options.Dial,
			TLS: tls, SASLMechanism: mechanism,
		},
		StartOffset: kafka.LastOffset, // of a group that has no place yet
		MinBytes:    1,
		MaxBytes:    fetchPartitionBytes,
		MaxWait:     fetchWait,
		ErrorLogger: kafka.LoggerFunc(func(format string, args ...any) {
			t.failed(fmt.Errorf("tail kafka: %s", excerpt(fmt.Sprintf(format, args...))))
		}),
	})
	defer func() { _ = reader.Close() }()
	for {
		m, err := reader.FetchMessage(ctx)
		if err != nil {
			return fmt.Errorf("tail kafka: %w", err)
		}
		message := Message{
			Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: m.Time,
			Key: m.Key, Value: m.Value, Headers: make(map[string]string, len(m.Headers)),
		}
		for _, h := range m.Headers {
			message.Headers[h.Key] = string(h.Value)
		}
		if err := t.hand(message); err != nil {
			var handler errHandler
			errors.As(err, &handler)
			return handler.error
		}
		if err := reader.CommitMessages(ctx, m); err != nil && ctx.Err() == nil {
			t.failed(fmt.Errorf("tail kafka: keep the group's place: %w", err))
		}
	}
}

// probe looks at a topic once.
func (t *tail) probe(ctx context.Context, topic string) error {
	l, err := newLink(t.config, &t.options.Options, topic)
	if err != nil {
		return fmt.Errorf("tail kafka: %w", err)
	}
	defer l.close()
	ctx, cancel := context.WithTimeout(ctx, t.config.PublishTimeout)
	defer cancel()
	if _, err := l.metadata(ctx); err != nil {
		return topicError(topic, err)
	}
	return nil
}
