// Package subscribe reads the connector's events from NATS or Kafka for the
// examples: each event is acknowledged once it was handled, so that a restart
// repeats some and misses none.
package subscribe

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

// Options say where events come from.
type Options struct {
	// Name is the consumer's: its place in the stream is kept by it.
	Name string
	// NATS is a server's URL; Kafka is a list of brokers with commas between, and
	// goes first where it is set.
	NATS, Kafka string
	// Types are the events to read.
	Types []schema.Type
	Log   *slog.Logger
}

// Flags lets the command line say which broker.
func (o *Options) Flags(flags *flag.FlagSet) {
	flags.StringVar(&o.NATS, "nats", "nats://127.0.0.1:4222", "the NATS server's URL: a JetStream server, or the connector's embedded broker")
	flags.StringVar(&o.Kafka, "kafka", "", "Kafka brokers, host:port with commas between, instead of NATS")
	flags.StringVar(&o.Name, "name", o.Name, "the consumer's name: its place in the stream is kept by it")
}

// Handle takes one event. Calls never overlap.
type Handle func(context.Context, *consume.Delivery) error

// Run hands every event to handle, from the oldest that the broker has and this
// consumer has not handled, until ctx is done; then it returns nil. An event whose
// handling fails is tried again until it succeeds, and those behind it wait.
//
// Events of one type come in the order of their stream or partition, but for those
// that were under way when the last run ended: they come again when the broker
// sees fit, behind later ones.
func (o *Options) Run(ctx context.Context, handle Handle) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	one := &oneByOne{handle: handle, log: o.Log}
	if o.Kafka != "" {
		return runKafka(ctx, strings.Split(o.Kafka, ","), o, one)
	}
	return runNATS(ctx, o, one)
}

// oneByOne hands events over one at a time, however many streams they come from.
type oneByOne struct {
	mu     sync.Mutex
	handle Handle
	log    *slog.Logger
}

// The pause before an event is tried again doubles between these.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// take handles one message, and returns once nothing is left to be done with it,
// or ctx is done. waiting is called before each further attempt.
func (one *oneByOne) take(ctx context.Context, d consume.Delivery, err error, waiting func()) error {
	if errors.Is(err, consume.ErrUnknownType) {
		return nil // a later version's
	}
	if err != nil {
		one.log.Warn("a message is set aside", "error", err)
		return nil
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := one.handle(ctx, &d)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		one.log.Warn("an event will be tried again", "id", d.Event.ID, "error", err)
		waiting()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended is nil where a run ended because it should.
func ended(ctx context.Context, what string, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
