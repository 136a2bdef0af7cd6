package main

import (
	"context"
	"fmt"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink/kafkasink"
)

// kafkaConfig is what the flags say of Kafka; nil where they say nothing.
func (o *tailOptions) kafkaConfig(w *world) (*kafkasink.Config, error) {
	switch {
	case o.config != "":
		loaded, err := loadConfig(w, o.config)
		if err != nil {
			return nil, err
		}
		for _, s := range loaded.Sinks {
			if c, ok := s.Config.(*kafkasink.Config); ok && s.Name == o.sink {
				return c, nil
			}
		}
		return nil, usageError{fmt.Errorf("--sink is %q: %s has no Kafka sink of that name", o.sink, o.config)}
	case len(o.kafka) > 0:
		c := kafkasink.DefaultConfig()
		c.Brokers = o.kafka
		if err := c.Validate(); err != nil {
			return nil, usageError{fmt.Errorf("--kafka: %w", err)}
		}
		return &c, nil
	default:
		if o.group != "" {
			return nil, usageError{fmt.Errorf("--group is %q: expected --kafka or --config beside it", o.group)}
		}
		return nil, nil
	}
}

// tailKafka shows events until ctx is done or the count is reached.
func tailKafka(ctx context.Context, w *world, o tailOptions, c kafkasink.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	types := schema.Types[:1]
	if o.all {
		types = schema.Types[:]
	}
	v := newView(w, o.output)
	shown := 0
	return kafkasink.Tail(ctx, c, kafkasink.TailOptions{
		Types: types, Group: o.group,
		Ready:  func() { w.tell("waiting for events from %v; interrupt to end\n", c.Brokers) },
		Failed: func(err error) { w.tell("connector: %v; trying again\n", err) },
	}, func(m kafkasink.Message) error {
		if o.count > 0 && shown == o.count {
			return nil
		}
		event, err := schema.FromKafkaHeaders(func(name string) string { return m.Headers[name] }, m.Value)
		if err != nil {
			w.tell("connector: topic %s partition %d offset %d is no event of ours: %v\n", m.Topic, m.Partition, m.Offset, err)
			return nil
		}
		if o.server != "" && event.Server != o.server || o.agent != "" && event.Agent != o.agent {
			return nil
		}
		if shown++; shown == o.count {
			cancel()
		}
		return v.show(event.Type, event.Body)
	})
}
