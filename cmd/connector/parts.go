package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/kafkasink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// publisher is a sink as the daemon needs it: with the event types that it takes.
type publisher interface {
	sink.Sink
	Types() []schema.Type
}

// makeSink makes a configured sink. ownServer gives the id of the embedded server,
// which a sink must not lead to; it may be nil.
func makeSink(c config.Sink, ownServer func() string, log *slog.Logger) (publisher, error) {
	switch kind := c.Config.(type) {
	case *natssink.Config:
		return natssink.New(*kind, natssink.Options{Name: c.Name, OwnServerID: ownServer, Logger: log})
	case *kafkasink.Config:
		return kafkasink.New(*kind, kafkasink.Options{})
	default:
		return nil, fmt.Errorf("sink %s: type %s cannot be made", c.Name, c.Type)
	}
}

// makeSinks makes the configured sinks and their forwarders, and a cursor for
// each sink that is new: what enters the spool from now on is for it.
func (d *daemon) makeSinks(ctx context.Context) error {
	log := d.log.With("part", "sink")
	for _, c := range d.config.Sinks {
		s, err := d.openSink(ctx, c, log)
		if s != nil {
			d.sinks = append(d.sinks, s) // from here on release closes it
		}
		if err != nil {
			return err
		}
		if err := s.forwarder.Prepare(ctx); err != nil {
			return err
		}
	}
	return d.warnOfCursors(ctx)
}

// openSink makes a configured sink and its forwarder. What is not nil has to be
// closed, also beside an error.
func (d *daemon) openSink(ctx context.Context, c config.Sink, log *slog.Logger) (*delivery, error) {
	made, err := makeSink(c, d.spool.ServerID, log)
	if err != nil {
		return nil, err
	}
	s := &delivery{name: c.Name, kind: c.Type, sink: sink.NewShared(d.observer.onSink(made)), types: made.Types()}
	if err := d.refuseOwnServer(ctx, made); err != nil {
		return s, fmt.Errorf("sink %s: %w", c.Name, err)
	}
	s.forwarder, err = sink.New(sink.Options{
		Name: c.Name, Sink: s.sink, Types: s.types, Start: c.Start, Spool: sink.FromSpool(d.spool),
		System: c.Type, Logger: log, Meter: d.telemetry.Meter("sink"), Tracer: d.telemetry.Tracer(),
	})
	return s, err
}

// ownServerTimeout is how long the start waits for a broker's word on who it is,
// and only where the embedded server listens, so that it could be meant.
const ownServerTimeout = time.Second

// refuseOwnServer returns an error where a sink leads back to the spool: its
// events would come round for ever.
func (d *daemon) refuseOwnServer(ctx context.Context, made publisher) error {
	s, ok := made.(*natssink.Sink)
	if !ok || d.spool.Addr() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ownServerTimeout)
	defer cancel()
	s.Check(ctx)
	return s.Refused()
}

// warnOfCursors lists the cursors that no configured sink owns: a sink that was
// renamed starts anew, and whoever did that should know.
func (d *daemon) warnOfCursors(ctx context.Context) error {
	cursors, err := d.spool.Cursors(ctx)
	if err != nil {
		return err
	}
	for _, c := range cursors {
		if !slices.ContainsFunc(d.sinks, func(s *delivery) bool { return s.name == c.Sink }) {
			d.log.Warn("the spool has a cursor of a sink that is not configured", "sink", c.Sink, "type", c.Type, "sequence", c.Sequence)
		}
	}
	return nil
}

// makeSources makes the intake and the configured sources.
func (d *daemon) makeSources() error {
	var err error
	d.outlet = newOutlet(d.observer.onEmit(d.spool.Emit))
	d.intake, err = source.NewIntake(source.IntakeOptions{
		Emit: d.outlet.Emit, BufferBytes: d.config.Intake.BufferBytes,
		Logger: d.log.With("part", "intake"), Meter: d.telemetry.Meter("source"), Tracer: d.telemetry.Tracer(),
	})
	if err != nil {
		return err
	}
	d.sharing = sharing{rates: map[string]*rate.Limiter{}, servers: callback.NewServers()}
	for _, c := range d.config.Sources {
		s, err := d.makeSource(c, d.presence.absences)
		if err != nil {
			return err
		}
		d.sources = append(d.sources, &supply{name: c.Name, source: s})
		d.intake.Introduce(s.Status())
	}
	return source.ObserveSessions(d.telemetry.Meter("source"), d.sourceStatuses)
}

// sourceStatuses are what both /readyz and /metrics show of the sources.
func (d *daemon) sourceStatuses() []source.Status {
	sources := d.openSources()
	statuses := make([]source.Status, len(sources))
	for i, s := range sources {
		statuses[i] = s.source.Status()
	}
	return statuses
}

// sharing is what sources have together.
type sharing struct {
	// rates pace the dials to each address.
	rates map[string]*rate.Limiter
	// servers are the listeners of callback sources.
	servers *callback.Servers
}

// closer is a source that listens from when it is made.
type closer interface{ Close() error }

// makeSource makes a configured source. absences say since when its agents have had
// no session.
func (d *daemon) makeSource(c config.Source, absences *source.Absences) (source.Source, error) {
	made, err := d.makeSourceOf(c, absences)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", c.Name, err)
	}
	return made, nil
}

func (d *daemon) makeSourceOf(c config.Source, absences *source.Absences) (source.Source, error) {
	log, shared := d.log.With("part", c.Type), d.sharing
	switch kind := c.Config.(type) {
	case *session.Config:
		if shared.rates[kind.Address] == nil {
			shared.rates[kind.Address] = source.NewDialRate(kind.DialRate)
		}
		return session.New(*kind, session.Options{
			Intake: d.intake, DialRate: shared.rates[kind.Address], Absences: absences,
			Logger: log, Meter: d.telemetry.Meter("session"),
		})
	case *relay.Config:
		return relay.New(*kind, relay.Options{
			Intake: d.intake, Absences: absences, Listener: given(d.takeover.listener(sourcePart(c.Name), kind.Listen)),
			Logger: log, Meter: d.telemetry.Meter("relay"),
		})
	case *callback.Config:
		return callback.New(*kind, callback.Options{
			Intake: d.intake, Servers: shared.servers, Listener: d.takeover.listener(sourcePart(c.Name), kind.Listen),
			Logger: log, Meter: d.telemetry.Meter("callback"),
		})
	default:
		return nil, fmt.Errorf("type %s cannot be made", c.Type)
	}
}
