package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/bench"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/source"
)

// benchProcess is the command that bench starts this program with, for each of
// its processes.
const benchProcess = "bench-process"

// benchEnvironment marks those processes, for tests, whose program is another.
const benchEnvironment = "CONNECTOR_BENCH_PROCESS=1"

func benchProcessCommand(w *world) *cobra.Command {
	return &cobra.Command{
		Use: benchProcess, Short: "Be a process of bench", Hidden: true, Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.Serve(command.Context(), w.stdin, w.stdout, func(ctx context.Context, options json.RawMessage) (bench.Part, any, error) {
				return startBenched(ctx, w, options)
			})
		},
	}
}

// observer sees what passes from outside: nil functions see nothing.
type observer struct {
	emit func(source.Emit) source.Emit
	sink func(publisher) publisher
}

func (o observer) onEmit(e source.Emit) source.Emit {
	if o.emit == nil {
		return e
	}
	return o.emit(e)
}

func (o observer) onSink(p publisher) publisher {
	if o.sink == nil {
		return p
	}
	return o.sink(p)
}

// benched is the daemon as bench measures it.
type benched struct {
	daemon                *daemon
	stop                  chan struct{}
	ended                 chan error
	spooled, acknowledged *bench.Stamps
	profile               *os.File // nil without
}

// startBenched is the command run, whose events are observed.
func startBenched(ctx context.Context, w *world, options json.RawMessage) (bench.Part, any, error) {
	var o bench.ConnectorOptions
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, nil, err
	}
	c, err := config.Load(config.Input{File: o.Config})
	if err != nil {
		return nil, nil, err
	}
	b := &benched{stop: make(chan struct{}), ended: make(chan error, 1)}
	if b.spooled, err = bench.OpenStamps(o.Spooled, o.Count); err != nil {
		return nil, nil, err
	}
	if o.Profile != "" {
		if b.profile, err = startProfile(o.Profile); err != nil {
			return nil, nil, errors.Join(err, b.spooled.Close())
		}
	}
	if b.acknowledged, err = bench.OpenStamps(o.Acknowledged, o.Count); err != nil {
		return nil, nil, errors.Join(err, b.spooled.Close())
	}
	w.observer = observer{
		emit: func(emit source.Emit) source.Emit { return observedEmit(emit, b.spooled) },
		sink: func(p publisher) publisher { return observedSink{p, b.acknowledged} },
	}
	if b.daemon, err = newDaemon(ctx, w, c); err != nil {
		return nil, nil, errors.Join(err, b.spooled.Close(), b.acknowledged.Close())
	}
	ready := bench.ConnectorReady{Embedded: b.daemon.spool.Addr().String(), Before: bench.UsageNow(), Dialling: time.Now()}
	started := make(chan struct{})
	go func() {
		defer keepMemorySmall(ctx)()
		b.ended <- b.daemon.run(ctx, b.stop, func(*daemon) { close(started) })
	}()
	<-started
	return b, ready, nil
}

func startProfile(path string) (*os.File, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Ask answers state.
func (b *benched) Ask(_ context.Context, what string, _ json.RawMessage) (any, error) {
	if what != "state" {
		return nil, errors.New("asked for what a connector does not know")
	}
	state := bench.ConnectorState{Queued: int64(b.daemon.intake.Queued())}
	for _, s := range b.daemon.sources {
		state.Up += s.source.Status().Up
	}
	return state, nil
}

// Close drains.
func (b *benched) Close() error {
	close(b.stop)
	err := <-b.ended
	if b.profile != nil {
		pprof.StopCPUProfile()
		err = errors.Join(err, b.profile.Close())
	}
	return errors.Join(err, b.spooled.Close(), b.acknowledged.Close())
}

// observedEmit notes when a pop was stored.
func observedEmit(emit source.Emit, spooled *bench.Stamps) source.Emit {
	return func(ctx context.Context, e schema.Event) error {
		err := emit(ctx, e)
		if err == nil && e.Type == schema.TypeCallPop {
			spooled.Set(bench.NumberOf(e.Body), time.Now())
		}
		return err
	}
}

// observedSink notes when the call that published a pop returned.
type observedSink struct {
	publisher
	acknowledged *bench.Stamps
}

func (s observedSink) Publish(ctx context.Context, records []sink.Record) error {
	err := s.publisher.Publish(ctx, records)
	now := time.Now()
	var each sink.BatchError
	if err != nil && !errors.As(err, &each) {
		return err
	}
	for i := range records {
		if each == nil || each[i] == nil {
			s.acknowledged.Set(bench.NumberOf(records[i].Body), now)
		}
	}
	return err
}

// Duplicates passes on what the sink counts; see [sink.DuplicateCounter].
func (s observedSink) Duplicates(t schema.Type) uint64 {
	if counter, ok := s.publisher.(sink.DuplicateCounter); ok {
		return counter.Duplicates(t)
	}
	return 0
}
