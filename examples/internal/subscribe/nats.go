package subscribe

import (
	"context"
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

// batch is how many messages are under way to the consumer.
const batch = 256

// runNATS reads each type's stream by a durable pull consumer.
func runNATS(ctx context.Context, o *Options, one *oneByOne) error {
	conn, err := nats.Connect(o.NATS, nats.Name(o.Name), nats.MaxReconnects(-1), nats.Timeout(startTimeout))
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", o.NATS, err)
	}
	defer conn.Close()
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
		group.Go(func() error { return read(groupCtx, consumer, one) })
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

func read(ctx context.Context, consumer jetstream.Consumer, one *oneByOne) error {
	messages, err := consumer.Messages(jetstream.PullMaxMessages(batch))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	for {
		message, err := messages.Next()
		if err != nil {
			return err
		}
		d, err := consume.FromNATS(message.Headers(), message.Data())
		if err := one.take(ctx, d, err, func() { _ = message.InProgress() }); err != nil {
			return err
		}
		// An acknowledgement that does not arrive means that the event comes again.
		_ = message.Ack()
	}
}
