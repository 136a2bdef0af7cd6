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

// HandleAll takes the events that are there now, 1 to [MaxBatch] of one type, all or
// none. Calls never overlap.
type HandleAll func(context.Context, []*consume.Delivery) error

// MaxBatch is how many events [HandleAll] gets at most.
const MaxBatch = 256

// Run hands every event to handle, from the oldest that the broker has and this
// consumer has not handled, until ctx is done; then it returns nil. An event whose
// handling fails is tried again until it succeeds, and those behind it wait.
//
// Events of one type come in the order of their stream or partition, but for those
// that were under way when the last run ended: they come again when the broker
// sees fit, behind later ones.
func (o *Options) Run(ctx context.Context, handle Handle) error {
	return o.run(ctx, 1, func(ctx context.Context, all []*consume.Delivery) error { return handle(ctx, all[0]) })
}

// RunAll is as Run, for a consumer that writes to a disk: syncing it once for all
// the events that are there costs as much as once for each. A lone event does not
// wait for a second one.
func (o *Options) RunAll(ctx context.Context, handle HandleAll) error {
	return o.run(ctx, MaxBatch, handle)
}

func (o *Options) run(ctx context.Context, size int, handle HandleAll) error {
	t := &taker{size: size, handle: handle, log: o.Log}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if o.Kafka != "" {
		return runKafka(ctx, strings.Split(o.Kafka, ","), o, t)
	}
	return runNATS(ctx, o, t)
}

// taker hands events over one batch at a time, however many streams they come from.
type taker struct {
	size   int
	handle HandleAll
	log    *slog.Logger

	mu sync.Mutex // held while handle runs
}

// The pause before events are tried again doubles between these.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// another is how long a further event of a batch may take to come: about what
// taking it over from the client's buffer does.
const another = time.Millisecond

// add appends an event that was decoded; one that was not is passed over.
func (t *taker) add(to []*consume.Delivery, d consume.Delivery, err error) []*consume.Delivery {
	switch {
	case errors.Is(err, consume.ErrUnknownType): // a later version's
		return to
	case err != nil:
		t.log.Warn("a message is passed over", "error", err)
		return to
	}
	return append(to, &d)
}

// take handles events, and returns nil once nothing is left to be done with them,
// else ctx is done. waiting is called before each further attempt.
func (t *taker) take(ctx context.Context, events []*consume.Delivery, waiting func()) error {
	if len(events) == 0 {
		return ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := t.handle(ctx, events)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		t.log.Warn("events will be tried again", "events", len(events), "first", events[0].Event.ID, "in", pause, "error", err)
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
