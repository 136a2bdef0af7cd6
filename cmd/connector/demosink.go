package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/kafkasink"
	"github.com/callpop/connector/sink/natssink"
)

// demoServer is the name of the simulated LQ server in events.
const demoServer = "demo"

// useSink makes the demonstration's sink the one that --config and --sink name.
func (o *demonstration) useSink(w *world) error {
	if o.file == "" {
		return nil
	}
	loaded, err := loadConfig(w, o.file)
	if err != nil {
		return err
	}
	for _, s := range loaded.Sinks {
		if s.Name == o.sinkName {
			s.Start = sink.StartNew
			o.sink = &s
			return nil
		}
	}
	return usageError{fmt.Errorf("--sink is %q: %s has no sink of that name", o.sinkName, o.file)}
}

// read hands on every pop of the demonstration as a broker delivers it: the sink's,
// or the embedded one. Ready is called as soon as every later pop will be read.
func (o *demonstration) read(ctx context.Context, d *daemon, ready func(), handle func(body []byte) error) error {
	ours := func(t schema.Type, body []byte) error {
		var event struct{ Server string }
		if err := json.Unmarshal(body, &event); err != nil || t != schema.TypeCallPop || event.Server != demoServer {
			return nil //nolint:nilerr // a broker may carry what others publish
		}
		return handle(body)
	}
	if o.sink == nil {
		return readEmbedded(ctx, d, ready, handle)
	}
	switch c := o.sink.Config.(type) {
	case *natssink.Config:
		return natssink.Tail(ctx, *c, ready, ours)
	case *kafkasink.Config:
		return kafkasink.Tail(ctx, *c, kafkasink.TailOptions{
			Types: []schema.Type{schema.TypeCallPop}, Ready: ready,
			Failed: func(err error) { d.log.Warn("reading from Kafka; trying again", "error", err) },
		}, func(m kafkasink.Message) error {
			event, err := schema.FromKafkaHeaders(func(name string) string { return m.Headers[name] }, m.Value)
			if err != nil {
				return nil //nolint:nilerr // no event of ours
			}
			return ours(event.Type, event.Body)
		})
	default:
		return usageError{fmt.Errorf("--sink is %q: a sink of type %s cannot be read", o.sinkName, o.sink.Type)}
	}
}

func readEmbedded(ctx context.Context, d *daemon, ready func(), handle func(body []byte) error) error {
	nc, err := d.spool.Connect("demo")
	if err != nil {
		return err
	}
	defer nc.Close()
	events := make(chan *nats.Msg, 4096)
	if _, err := nc.ChanSubscribe(string(schema.TypeCallPop)+".>", events); err != nil {
		return err
	}
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		return err
	}
	ready()
	for {
		select {
		case m := <-events:
			if err := handle(m.Data); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// sinks are the demonstration's, as a configuration has them.
func (o *demonstration) sinks() []config.Sink {
	switch {
	case o.sink != nil:
		return []config.Sink{*o.sink}
	case len(o.kafka) > 0:
		lake := kafkasink.DefaultConfig()
		lake.Brokers, lake.CreateTopics.Enabled = o.kafka, true
		return []config.Sink{{Name: "kafka", Type: "kafka", Start: sink.StartNew, Config: &lake}}
	default:
		return nil
	}
}
