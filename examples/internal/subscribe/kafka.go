package subscribe

import (
	"context"
	"iter"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/callpop/connector/schema/consume"
)

// runKafka reads the types' topics as a consumer group.
func runKafka(ctx context.Context, brokers []string, o *Options, t *taker) error {
	topics := make([]string, len(o.Types))
	for i, kind := range o.Types {
		topics[i] = string(kind)
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: brokers, GroupID: o.Name, GroupTopics: topics, StartOffset: kafka.FirstOffset,
		// What was handled since the last commit comes again after a crash.
		CommitInterval: time.Second,
		MaxWait:        250 * time.Millisecond,
		// The client's own are seconds to wait for a group that is being made.
		JoinGroupBackoff: 500 * time.Millisecond,
		// A new topic has no partitions for a moment.
		WatchPartitionChanges: true,
		ErrorLogger:           kafka.LoggerFunc(func(format string, args ...any) { t.log.Debug("kafka", "format", format, "args", len(args)) }),
	})
	err := func() error {
		for {
			messages, err := fetch(ctx, reader, t.size)
			if err != nil {
				return err
			}
			var events []*consume.Delivery
			for _, m := range messages {
				d, err := consume.FromKafka(headers(m.Headers), m.Value)
				events = t.add(events, d, err)
			}
			if err := t.take(ctx, events, func() {}); err != nil {
				return err
			}
			if err := reader.CommitMessages(ctx, messages...); err != nil {
				return err
			}
		}
	}()
	// Closing commits what was handled.
	if closing := reader.Close(); err == nil {
		err = closing
	}
	return ended(ctx, "read from Kafka", err)
}

// fetch waits for a record, and takes those that are there behind it.
func fetch(ctx context.Context, reader *kafka.Reader, size int) ([]kafka.Message, error) {
	first, err := reader.FetchMessage(ctx)
	if err != nil {
		return nil, err
	}
	messages := []kafka.Message{first}
	for len(messages) < size {
		soon, cancel := context.WithTimeout(ctx, another)
		next, err := reader.FetchMessage(soon)
		cancel()
		if err != nil {
			break // whatever it is, it comes again at the next record
		}
		messages = append(messages, next)
	}
	return messages, nil
}

func headers(of []kafka.Header) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, h := range of {
			if !yield(h.Key, h.Value) {
				return
			}
		}
	}
}
