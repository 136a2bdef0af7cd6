package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"

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

// Limits of one fetch, and the pauses after a failed one and for a new leader.
const (
	fetchBytes          = 8 << 20
	fetchPartitionBytes = 1 << 20
	fetchWait           = 500 * time.Millisecond
	tailPause           = time.Second
	leaderPause         = 200 * time.Millisecond
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
