package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/source"
)

// reloading is what the daemon reloads with.
type reloading struct {
	environ []string
	// hangup gives a value where a reload is asked for by a signal; nil: never.
	hangup <-chan os.Signal
	// upgrade gives one where an upgrade is.
	upgrade <-chan os.Signal
	count   metric.Int64Counter

	// What follows is guarded by the desk's turn.

	// life ends with the daemon's work, and any reload with it; nil before.
	life           context.Context
	end            context.CancelFunc
	sources, sinks *crew
}

// reloadTimeout bounds a reload: it looks at a broker for a second at most.
const reloadTimeout = 30 * time.Second

func (d *daemon) makeReloading(w *world) (err error) {
	d.reloading.environ, d.reloading.hangup, d.reloading.upgrade = w.environ, w.hangup, w.upgrade
	d.reloading.count, err = d.telemetry.Meter("config").Int64Counter("callpop.config.reloads",
		metric.WithDescription("Attempts to put another configuration, or another roster file, in force, by outcome: applied, unchanged, refused."),
		metric.WithUnit("{reload}"))
	return err
}

// beginReloading permits reloads.
func (d *daemon) beginReloading(sources, sinks *crew) {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	r := &d.reloading
	r.sources, r.sinks = sources, sinks
	r.life, r.end = context.WithCancel(sources.ctx)
}

// endReloading waits for the reload under way, cutting it short, and permits no
// more.
func (d *daemon) endReloading() {
	d.reloading.end()
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	d.reloading.sources = nil
}

var (
	errNotRunning = errors.New("the connector is starting or stopping")
	errNoFile     = errors.New("this connector was not started from a configuration file")
)

// Reload implements [control.Daemon].
func (d *daemon) Reload(ctx context.Context) control.Reloaded { return d.reload(ctx, "asked for") }

// reload reads the configuration again and puts it in force, or changes nothing.
func (d *daemon) reload(ctx context.Context, why string) control.Reloaded {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	r := control.Reloaded{At: time.Now()}
	err := errNotRunning
	if d.reloading.sources != nil {
		timed, cancel := context.WithTimeout(ctx, reloadTimeout)
		defer cancel()
		defer context.AfterFunc(d.reloading.life, cancel)()
		r.Changes, err = d.renew(timed)
	}
	switch {
	case err != nil:
		r.Outcome, r.Message = control.Refused, err.Error()
		d.log.Error("the configuration was not reloaded: nothing changed", "why", why, "file", d.config.File, "error", err)
	case len(r.Sessions) == 0 && len(r.Keys) == len(r.Pending):
		r.Outcome, r.Message = control.Unchanged, "nothing to put in force"
		if len(r.Pending) > 0 {
			r.Message += "; needs a restart: " + strings.Join(r.Pending, ", ")
		}
		d.log.Info("the configuration was reloaded: "+r.Message, "why", why)
	default:
		r.Outcome, r.Message = control.Applied, summary(r.Changes)
		d.log.Info("the configuration was reloaded: "+r.Message, "why", why)
	}
	d.countReload("configuration", r.Outcome)
	d.lastReload.Store(&web.Reload{At: r.At, Outcome: r.Outcome, Message: r.Message, Pending: d.pending(r)})
	return r
}

// pending are the keys that wait for a restart. What was refused waits for nothing;
// what an earlier reload left waiting does still.
func (d *daemon) pending(r control.Reloaded) []string {
	if last := d.lastReload.Load(); r.Outcome == control.Refused && last != nil {
		return last.Pending
	}
	return r.Pending
}

func (d *daemon) countReload(what, outcome string) {
	d.reloading.count.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("what", what), attribute.String("outcome", outcome)))
}

// renew is a reload. The desk's turn is held.
func (d *daemon) renew(ctx context.Context) (control.Changes, error) {
	from := d.running.Load()
	plan, err := d.planFor(from.File)
	if err != nil {
		return control.Changes{}, err
	}
	changes := d.changes(from, plan)
	p, err := d.prepare(ctx, from, plan)
	if err != nil {
		p.discard(d)
		return control.Changes{}, err
	}
	d.commit(from, plan.Next, p)
	return changes, nil
}

// planFor loads a file and compares it with what is in force.
func (d *daemon) planFor(file string) (*config.Plan, error) {
	if file == "" {
		return nil, errNoFile
	}
	to, err := config.Load(config.Input{File: file, Environ: d.reloading.environ})
	if err != nil {
		return nil, err
	}
	return config.Compare(d.running.Load(), to)
}

// changes describes a plan.
func (d *daemon) changes(from *config.Config, p *config.Plan) control.Changes {
	old := rosters(from, d.desk.whole(from), from.Replicas.Holds)
	next := rosters(p.Next, d.desk.whole(p.Next), p.Next.Replicas.Holds)
	return changesOf(from, p, old, next)
}

// Plan implements [control.Daemon].
func (d *daemon) Plan(_ context.Context, file string) (control.Changes, error) {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	p, err := d.planFor(file)
	if err != nil {
		return control.Changes{}, err
	}
	return d.changes(d.running.Load(), p), nil
}

// prepared is all of a reload that can fail, done.
type prepared struct {
	sources []*supply
	sinks   []*delivery
	// undo takes back what is in force already.
	undo []func()
}

// discard takes everything back.
func (p *prepared) discard(d *daemon) {
	for _, s := range p.sources {
		if listening, ok := s.source.(closer); ok {
			_ = listening.Close() // nothing has come in yet
		}
	}
	for _, s := range p.sinks {
		d.closeSink(s)
	}
	for _, undo := range slices.Backward(p.undo) {
		undo()
	}
}

// prepare does what can fail. What it returns beside an error is to be discarded.
func (d *daemon) prepare(ctx context.Context, from *config.Config, plan *config.Plan) (*prepared, error) {
	p, next := &prepared{}, plan.Next
	for _, c := range next.Sources {
		if slices.ContainsFunc(from.Sources, func(o config.Source) bool { return o.Name == c.Name }) {
			continue
		}
		made, err := d.makeSource(c, d.presence.absences.WithoutPast())
		if err != nil {
			return p, err
		}
		d.intake.Introduce(made.Status())
		p.sources = append(p.sources, &supply{name: c.Name, source: made})
	}
	for _, c := range next.Sinks {
		known := slices.ContainsFunc(from.Sinks, func(o config.Sink) bool { return o.Name == c.Name })
		if known && !plan.Has("sinks["+c.Name+"]") {
			continue
		}
		made, err := d.openSink(ctx, c, d.log.With("part", "sink"))
		if made != nil {
			p.sinks = append(p.sinks, made)
		}
		if err == nil && !known {
			// One that is replaced goes on from where the one before it will have come.
			err = made.forwarder.Prepare(ctx)
		}
		if err != nil {
			return p, err
		}
	}
	if err := d.spool.SetLimits(ctx, next.Spool); err != nil {
		return p, err
	}
	p.undo = append(p.undo, func() {
		if err := d.spool.SetLimits(context.WithoutCancel(ctx), from.Spool); err != nil {
			d.log.Error("the spool's limits are those of a configuration that was refused", "error", err)
		}
	})
	if err := ctx.Err(); err != nil {
		return p, context.Cause(ctx)
	}
	if next.Replicas != from.Replicas {
		if err := d.desk.splitOver(next.Replicas); err != nil {
			return p, err
		}
	}
	return p, nil // nothing comes after the split, which has no undo
}

// commit puts next in force. Nothing in it fails.
func (d *daemon) commit(from, next *config.Config, p *prepared) {
	cause := source.CauseRoster
	if from.Replicas != next.Replicas {
		cause = source.CauseReplicas
	}
	d.commitSettings(next)
	d.commitSources(next, p.sources, cause)
	d.commitSinks(next, p.sinks)
	d.running.Store(next)
	d.desk.begin()
}
