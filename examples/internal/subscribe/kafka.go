package subscribe

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/callpop/connector/schema/consume"
)

// runKafka reads the types' topics as a consumer group.
func runKafka(ctx context.Context, brokers []string, o *Options, one *oneByOne) error {
	topics := make([]string, len(o.Types))
	for i, kind := range o.Types {
		topics[i] = string(kind)
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: brokers, GroupID: o.Name, GroupTopics: topics, StartOffset: kafka.FirstOffset,
		// What was handled since the last commit comes again after a crash.
		CommitInterval: time.Second,
		MaxWait:        250 * time.Millisecond,
		ErrorLogger:    kafka.LoggerFunc(func(format string, args ...any) { o.Log.Debug("kafka", "format", format, "args", len(args)) }),
	})
	err := func() error {
		for {
			message, err := reader.FetchMessage(ctx)
			if err != nil {
				return err
			}
			d, err := consume.FromKafka(func(yield func(string, []byte) bool) {
				for _, h := range message.Headers {
					if !yield(h.Key, h.Value) {
						return
					}
				}
			}, message.Value)
			if err := one.take(ctx, d, err, func() {}); err != nil {
				return err
			}
			if err := reader.CommitMessages(ctx, message); err != nil {
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
