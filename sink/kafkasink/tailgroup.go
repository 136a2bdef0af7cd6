package kafkasink

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

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
