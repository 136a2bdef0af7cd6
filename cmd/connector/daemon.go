package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// config is the one that it started with.
	config   *config.Config
	observer observer
	log      *slog.Logger
	// level is the log's; it may change.
	level     *slog.LevelVar
	telemetry *telemetry.Telemetry
	spool     *spool.Spool
	intake    *source.Intake
	// outlet is between the two.
	outlet *outlet
	// takeover is what came from a predecessor; nil without one.
	takeover *takeover
	// upgrading is the way to a successor; handed is closed when it has everything,
	// over the line of handing.
	upgrading upgrading
	handed    chan struct{}
	handing   *handing
	// What a successor is started with: this program, its environment, its outputs.
	program        string
	environ        []string
	stdout, stderr io.Writer
	// sharing is what sources have together.
	sharing sharing

	mu      sync.Mutex // guards sinks and sources, which a reload changes
	sinks   []*delivery
	sources []*supply
	// running is the configuration in force: config, but for what a reload changed.
	running    atomic.Pointer[config.Config]
	lastReload atomic.Pointer[web.Reload]
	// reloading is what a reload works with.
	reloading reloading
	// desk has the rosters of session sources.
	desk *desk
	// leave is closed where an operator drained the connector and has it stop.
	leave     chan struct{}
	leaveOnce sync.Once
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
	// presence knows since when agents have had no session.
	presence *presence
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
	task
}

// supply is one source.
type supply struct {
	name   string
	source source.Source
	task
}

// newDaemon makes everything and starts nothing but the spool: what is wrong with
// this machine (a directory, a port) shows here, at once; what is wrong with
// others (brokers, LQ servers) does not.
func newDaemon(ctx context.Context, w *world, c *config.Config) (*daemon, error) {
	d := &daemon{config: c, observer: w.observer, started: time.Now(), leave: make(chan struct{}), handed: make(chan struct{}),
		takeover: w.takeover, program: w.program, environ: w.environ, stdout: w.stdout, stderr: w.stderr,
	}
	d.running.Store(c)
	if err := d.make(ctx, w); err != nil {
		d.release(context.WithoutCancel(ctx))
		return nil, err
	}
	return d, nil
}

// make makes the parts in the order in which they need each other.
func (d *daemon) make(ctx context.Context, w *world) (err error) {
	c := d.config
	d.log, d.level = telemetry.NewLogger(w.stderr, c.Log, isTerminal(w.stderr))
	b := thisBuild()
	if d.telemetry, err = telemetry.Setup(ctx, telemetry.Options{
		Version: b.Version, Commit: b.Commit, Logger: d.log, Export: c.Telemetry,
		Getenv: func(name string) string { value, _ := w.env(name); return value },
	}); err != nil {
		return err
	}
	d.log = d.telemetry.Logger(d.log, d.level, c.Log.Numbers)
	if d.spool, err = spool.Open(ctx, spool.Options{
		Config: c.Spool, Embedded: c.Embedded, Logger: d.log.With("part", "spool"), Meter: d.telemetry.Meter("spool"),
		Successor: d.takeover != nil,
	}); err != nil {
		return err
	}
	d.presence = newPresence(c.Spool.Dir, func() time.Time { return d.intake.Oldest() }, d.log)
	if err = d.makeSinks(ctx); err != nil {
		return err
	}
	if err = d.makeSources(); err != nil {
		return err
	}
	if err = d.openDesk(); err != nil {
		return err
	}
	if err = d.makeReloading(w); err != nil {
		return err
	}
	if d.health, err = web.ListenHealth(ctx, c.HTTP, web.Options{
		Readiness: d.readiness, Metrics: d.telemetry.Handler(), Logger: d.log,
	}, web.On(d.takeover.listener("http.health", c.HTTP.Health))); err != nil {
		return err
	}
	if err = d.listenPublic(ctx); err != nil {
		return err
	}
	if err = d.listenAdmin(ctx); err != nil {
		return err
	}
	if d.takeover == nil {
		d.listenControl(ctx)
	}
	return nil
}

// closeTime is what closing gets at least: a log that is closed in order opens
// faster.
const closeTime = 3 * time.Second

// run works until stop is closed, then drains; ctx cuts everything short. ready
// is called once all has been started.
func (d *daemon) run(ctx context.Context, stop <-chan struct{}, ready func(*daemon)) error {
	if d.takeover != nil { // until now the predecessor could have gone on
		d.listenControl(ctx)
	}
	sourcesCtx, stopSources := context.WithCancel(ctx)
	defer stopSources()
	storing, stopStoring := context.WithCancelCause(ctx)
	defer stopStoring(nil)
	sinksCtx, stopSinks := context.WithCancel(ctx)
	defer stopSinks()
	failed := make(chan error, 1)
	fail := func(err error) {
		if err != nil {
			select {
			case failed <- err:
			default: // the first one is why it stops
			}
		}
	}

	var intake, listeners, others sync.WaitGroup
	sources, sinks := newCrew(sourcesCtx, fail), newCrew(sinksCtx, fail)
	if d.feed != nil {
		listeners.Go(func() { d.feed.Run(context.WithoutCancel(ctx)) })
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	if d.console != nil {
		listeners.Go(func() { d.console.Run(context.WithoutCancel(ctx)) })
	}
	for _, l := range []*web.Listener{d.health, d.public, d.admin} {
		listeners.Go(func() { fail(l.Serve(serving)) })
	}
	for _, s := range d.sinks {
		sinks.start(s.name, &s.task, s.forwarder.Run)
	}
	intake.Go(func() {
		if err := d.intake.Run(storing); err != nil {
			d.log.Error("events were lost", "error", err)
		}
	})
	for _, s := range d.sources {
		sources.start(s.name, &s.task, s.source.Run)
	}
	d.desk.begin()
	d.beginReloading(sources, sinks)
	others.Go(func() { d.follow(sourcesCtx) })
	if d.control != nil {
		others.Go(func() {
			if err := d.control.Serve(sourcesCtx); err != nil {
				d.log.Warn("commands cannot reach this connector any more", "error", err)
			}
		})
	}
	others.Go(func() { d.presence.keep(sourcesCtx) })
	d.log.Info("connector runs", "version", thisBuild().Version, "sources", len(d.openSources()), "sinks", len(d.openSinks()), "spool", d.config.Spool.Dir)
	ready(d)
	tellSupervisor(d.environ, "READY=1")

	var err error
	select {
	case <-stop:
		d.log.Info("stopping", "shutdown_timeout", d.running.Load().ShutdownTimeout.String())
	case <-d.leave:
		d.log.Info("stopping: it is drained, and was told to", "shutdown_timeout", d.running.Load().ShutdownTimeout.String())
	case <-d.handed:
		// The listeners are the successor's too: what comes from now on comes there.
		d.endStreams()
		stopServing()
	case <-ctx.Done():
	case err = <-failed:
		d.log.Error("stopping", "error", err)
	}

	d.stopping.Store(true)
	d.endReloading()
	gone := d.isHanded()
	if !gone {
		tellSupervisor(d.environ, "STOPPING=1")
	}
	timeout := d.running.Load().ShutdownTimeout
	// In the order in which data flows. What is not delivered within three
	// quarters of the time stays in the spool for the next start.
	end := time.Now().Add(timeout)
	drain, cancelDrain := context.WithDeadline(ctx, end.Add(-timeout/4))
	defer cancelDrain()
	if err == nil && !gone {
		d.closePaced(ctx, timeout/2)
	}
	stopSources()
	sources.wait()
	others.Wait()
	if err := d.takeover.close(); err != nil {
		d.log.Warn("closing the line to the predecessor", "error", err)
	}
	d.intake.Close()
	context.AfterFunc(drain, func() { stopStoring(errors.New("the time to stop is over")) })
	intake.Wait()
	if gone {
		d.handing.close() // the successor has it all, and notes who is there
	} else {
		d.presence.note() // the sessions that ended by the stop, and what was not stored
		d.drainSinks(drain)
	}
	stopSinks()
	sinks.wait()

	if gone || ctx.Err() == nil {
		// What they had begun to answer is answered, to the last byte.
		d.endStreams()
		stopServing()
		listeners.Wait()
	}
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

// endStreams ends what would otherwise be answered without end: feeds, and the
// console's views.
func (d *daemon) endStreams() {
	if d.feed != nil {
		d.feed.Close()
	}
	if d.console != nil {
		d.console.Close()
	}
}

// drainSinks waits until every sink has what is in the spool, or the time is up.
func (d *daemon) drainSinks(ctx context.Context) {
	var drained sync.WaitGroup
	for _, s := range d.openSinks() {
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
	for _, s := range d.openSources() {
		if listening, ok := s.source.(closer); ok {
			report("source "+s.name, listening.Close())
		}
	}
	d.desk.close()
	if d.control != nil {
		report("the control socket", d.control.Close())
	}
	var closing sync.WaitGroup
	for _, s := range d.openSinks() {
		closing.Go(func() { report("sink "+s.name, s.sink.Close(ctx)) })
	}
	closing.Wait()
	d.endStreams()
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
