package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/console"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/source"
)

// daemon is the connector at work: sources feed the intake, the intake feeds the
// spool, and each sink's forwarder reads the spool.
type daemon struct {
	config    *config.Config
	observer  observer
	log       *slog.Logger
	telemetry *telemetry.Telemetry
	spool     *spool.Spool
	sinks     []*delivery
	intake    *source.Intake
	sources   []source.Source
	// feed is what the public listener serves; nil where it is switched off.
	feed *feed.Feed
	// console is the operators' page; nil where the admin listener is switched off.
	console *console.Console
	// health, public and admin are the HTTP listeners.
	health, public, admin *web.Listener
	// control lets commands such as spool work on a running connector; nil where
	// there can be none.
	control *control.Server
	started time.Time
	// downSince is when the connector last ran, before it started.
	downSince time.Time
	// stopping is set once the daemon drains.
	stopping atomic.Bool
}

// delivery is one sink and what carries events to it.
type delivery struct {
	name, kind string
	// sink is shared by the forwarder and replays.
	sink      *sink.Shared
	types     []schema.Type
	forwarder *sink.Forwarder
}

// newDaemon makes everything and starts nothing but the spool: what is wrong with
// this machine (a directory, a port) shows here, at once; what is wrong with
// others (brokers, LQ servers) does not.
func newDaemon(ctx context.Context, w *world, c *config.Config) (*daemon, error) {
	d := &daemon{config: c, observer: w.observer, started: time.Now()}
	if err := d.make(ctx, w); err != nil {
		d.release(context.WithoutCancel(ctx))
		return nil, err
	}
	return d, nil
}

// make makes the parts in the order in which they need each other.
func (d *daemon) make(ctx context.Context, w *world) (err error) {
	c := d.config
	d.log, _ = telemetry.NewLogger(w.stderr, c.Log, isTerminal(w.stderr))
	b := thisBuild()
	if d.telemetry, err = telemetry.Setup(ctx, telemetry.Options{
		Version: b.Version, Commit: b.Commit, Logger: d.log,
		Getenv: func(name string) string { value, _ := w.env(name); return value },
	}); err != nil {
		return err
	}
	if d.spool, err = spool.Open(ctx, spool.Options{
		Config: c.Spool, Embedded: c.Embedded, Logger: d.log.With("part", "spool"), Meter: d.telemetry.Meter("spool"),
	}); err != nil {
		return err
	}
	d.downSince = lastAlive(c.Spool.Dir)
	if err = d.makeSinks(ctx); err != nil {
		return err
	}
	if err = d.makeSources(); err != nil {
		return err
	}
	if d.health, err = web.ListenHealth(ctx, c.HTTP, web.Options{
		Readiness: d.readiness, Metrics: d.telemetry.Handler(), Logger: d.log,
	}); err != nil {
		return err
	}
	if err = d.listenPublic(ctx); err != nil {
		return err
	}
	if err = d.listenAdmin(ctx); err != nil {
		return err
	}
	d.listenControl(ctx)
	return nil
}

// closeTime is what closing gets at least: a log that is closed in order opens
// faster.
const closeTime = 3 * time.Second

// run works until stop is closed, then drains; ctx cuts everything short. ready
// is called once all has been started.
func (d *daemon) run(ctx context.Context, stop <-chan struct{}, ready func(*daemon)) error {
	sourcesCtx, stopSources := context.WithCancel(ctx)
	defer stopSources()
	storing, stopStoring := context.WithCancelCause(ctx)
	defer stopStoring(nil)
	sinksCtx, stopSinks := context.WithCancel(ctx)
	defer stopSinks()
	failed := make(chan error, len(d.sources)+len(d.sinks)+3)
	fail := func(err error) {
		if err != nil {
			failed <- err
		}
	}

	var sources, intake, sinks, listeners sync.WaitGroup
	if d.feed != nil {
		listeners.Go(func() { d.feed.Run(context.WithoutCancel(ctx)) })
	}
	if d.console != nil {
		listeners.Go(func() { d.console.Run(context.WithoutCancel(ctx)) })
	}
	for _, l := range []*web.Listener{d.health, d.public, d.admin} {
		listeners.Go(func() { fail(l.Serve(context.WithoutCancel(ctx))) })
	}
	for _, s := range d.sinks {
		sinks.Go(func() { fail(s.forwarder.Run(sinksCtx)) })
	}
	intake.Go(func() {
		if err := d.intake.Run(storing); err != nil {
			d.log.Error("events were lost", "error", err)
		}
	})
	for _, s := range d.sources {
		sources.Go(func() { fail(s.Run(sourcesCtx)) })
	}
	if d.control != nil {
		sources.Go(func() {
			if err := d.control.Serve(sourcesCtx); err != nil {
				d.log.Warn("commands cannot reach this connector any more", "error", err)
			}
		})
	}
	sources.Go(func() { stayAlive(sourcesCtx, d.config.Spool.Dir) })
	d.log.Info("connector runs", "version", thisBuild().Version, "sources", len(d.sources), "sinks", len(d.sinks), "spool", d.config.Spool.Dir)
	ready(d)

	var err error
	select {
	case <-stop:
		d.log.Info("stopping", "shutdown_timeout", d.config.ShutdownTimeout.String())
	case <-ctx.Done():
	case err = <-failed:
		d.log.Error("stopping", "error", err)
	}

	d.stopping.Store(true)
	// In the order in which data flows. What is not delivered within three
	// quarters of the time stays in the spool for the next start.
	end := time.Now().Add(d.config.ShutdownTimeout)
	drain, cancelDrain := context.WithDeadline(ctx, end.Add(-d.config.ShutdownTimeout/4))
	defer cancelDrain()
	stopSources()
	sources.Wait()
	d.intake.Close()
	context.AfterFunc(drain, func() { stopStoring(errors.New("the time to stop is over")) })
	intake.Wait()
	d.drainSinks(drain)
	stopSinks()
	sinks.Wait()

	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), max(time.Until(end), closeTime))
	defer cancelLast()
	d.release(last)
	listeners.Wait()
	if cause := context.Cause(ctx); cause != nil && err == nil {
		return fmt.Errorf("cut short: %w", cause)
	}
	d.log.Info("stopped")
	return err
}

// drainSinks waits until every sink has what is in the spool, or the time is up.
func (d *daemon) drainSinks(ctx context.Context) {
	var drained sync.WaitGroup
	for _, s := range d.sinks {
		drained.Go(func() {
			if err := s.forwarder.WaitDrained(ctx); err != nil {
				d.log.Warn("not everything was delivered; the rest stays in the spool", "sink", s.name, "error", err)
			}
		})
	}
	drained.Wait()
}

// release closes what newDaemon opened, as far as it came.
func (d *daemon) release(ctx context.Context) {
	report := func(what string, err error) {
		if err != nil && d.log != nil {
			d.log.Warn("closing "+what, "error", err)
		}
	}
	for _, s := range d.sources {
		if listening, ok := s.(closer); ok {
			report("source "+s.Status().Name, listening.Close())
		}
	}
	if d.control != nil {
		report("the control socket", d.control.Close())
	}
	var closing sync.WaitGroup
	for _, s := range d.sinks {
		closing.Go(func() { report("sink "+s.name, s.sink.Close(ctx)) })
	}
	closing.Wait()
	if d.feed != nil {
		d.feed.Close() // before its listener, so that streams end and are not cut
	}
	if d.console != nil {
		d.console.Close()
	}
	for _, l := range []*web.Listener{d.health, d.public, d.admin} {
		if l != nil {
			report("an HTTP listener", l.Close())
		}
	}
	if d.spool != nil {
		report("the spool", d.spool.Close(ctx))
	}
	if d.telemetry != nil {
		report("telemetry", d.telemetry.Shutdown(ctx))
	}
}
