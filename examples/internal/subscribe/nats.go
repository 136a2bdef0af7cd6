package subscribe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

// startTimeout is how long the broker may take to answer at the start.
const startTimeout = 10 * time.Second

// stopTimeout is how long it may take at the end to give back what is under way.
const stopTimeout = 2 * time.Second

// runNATS reads each type's stream by a durable pull consumer.
func runNATS(ctx context.Context, o *Options, t *taker) error {
	conn, err := nats.Connect(o.NATS, nats.Name(o.Name), nats.MaxReconnects(-1), nats.Timeout(startTimeout))
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", o.NATS, err)
	}
	// What is given back must leave before the connection ends.
	defer func() { _ = conn.FlushTimeout(stopTimeout); conn.Close() }()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", o.NATS, err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, kind := range o.Types {
		consumer, err := durable(ctx, js, o.Name, kind)
		if err != nil {
			return ended(ctx, "subscribe to "+string(kind), err)
		}
		group.Go(func() error { return read(groupCtx, consumer, t) })
	}
	return ended(ctx, "read from NATS", group.Wait())
}

// durable finds the stream of a type's events and makes the consumer, or takes
// the one that is there.
func durable(ctx context.Context, js jetstream.JetStream, name string, kind schema.Type) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	subject := string(kind) + ".>"
	stream, err := js.StreamNameBySubject(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("find the stream of %s: %w", subject, err)
	}
	return js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable:       name + "-" + strings.ReplaceAll(string(kind), ".", "-"),
		FilterSubject: subject,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       30 * time.Second,
	})
}

func read(ctx context.Context, consumer jetstream.Consumer, t *taker) error {
	messages, err := consumer.Messages(jetstream.PullMaxMessages(MaxBatch))
	if err != nil {
		return err
	}
	defer giveBack(messages)
	for {
		batch, err := next(ctx, messages, t.size)
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			t.log.Warn("the NATS server is silent")
			continue // the client connects again by itself
		}
		if err != nil {
			return err
		}
		var events []*consume.Delivery
		for _, m := range batch {
			d, err := consume.FromNATS(m.Headers(), m.Data())
			events = t.add(events, d, err)
		}
		settle := jetstream.Msg.Ack
		err = t.take(ctx, events, func() {
			for _, m := range batch {
				_ = m.InProgress()
			}
		})
		if err != nil {
			settle = jetstream.Msg.Nak
		}
		for _, m := range batch {
			_ = settle(m) // what does not arrive means that the event comes again
		}
		if err != nil {
			return err
		}
	}
}

// next waits for a message, and takes those that are there behind it.
func next(ctx context.Context, messages jetstream.MessagesContext, size int) ([]jetstream.Msg, error) {
	first, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return nil, err
	}
	batch := []jetstream.Msg{first}
	for len(batch) < size {
		m, err := messages.Next(jetstream.NextMaxWait(another))
		if err != nil {
			break // whatever it is, it comes again at the next message
		}
		batch = append(batch, m)
	}
	return batch, nil
}

// giveBack has the server deliver again at once, to the next run, what it would
// else keep back until this run's time to acknowledge is over.
func giveBack(messages jetstream.MessagesContext) {
	messages.Drain()
	for end := time.Now().Add(stopTimeout); time.Now().Before(end); {
		m, err := messages.Next(jetstream.NextMaxWait(stopTimeout))
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return
		}
		if err == nil {
			_ = m.Nak()
		}
	}
	messages.Stop()
}
