package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
)

// Options are what a [Forwarder] is made of.
type Options struct {
	// Name is the sink's name in the configuration; its cursors are kept under it.
	Name string
	// Sink publishes. The forwarder does not close it.
	Sink Sink
	// Types are the event types that the sink takes.
	Types []schema.Type
	Spool Spool
	// Start says where to begin without a cursor; empty: [StartNew].
	Start Start
	// Logger is told of each change of state; nil: nobody is.
	Logger *slog.Logger
	// System is what the sink publishes to, nats or kafka: messaging.system in
	// metrics.
	System string
	// Meter makes the metrics of this package; nil: none.
	Meter metric.Meter
	// Tracer makes the publish spans of the events whose traces are sampled; nil:
	// none.
	Tracer *tracing.Tracer
}

// Forwarder carries events from the spool to one sink. Each event type has a line
// of its own, which reads from a cursor of its own, so that one that is stuck
// holds up no other.
//
// A line holds a bounded window of events in memory, whatever the backlog. It
// publishes what is there now, retries what failed for ever with back-off and
// full jitter, lets nothing overtake an event of its own key, makes a dead letter
// of what the sink refuses for good, and moves the cursor to the last event
// before which all are settled. While nothing at all is answered, a few events
// are tried at a time. After a crash up to 100 ms, or 1,000 events, are published
// again with the same ids.
type Forwarder struct {
	lines   []*line
	spool   Spool
	metrics *metrics
	running sync.Mutex // held by Run
}

// New makes a forwarder. It touches neither spool nor sink.
func New(o Options) (*Forwarder, error) {
	if o.Name == "" || o.Sink == nil || o.Spool == nil || len(o.Types) == 0 {
		return nil, errors.New("make forwarder: name, sink, spool and an event type are required")
	}
	if o.Start == "" {
		o.Start = StartNew
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Meter, o.System)
	if err != nil {
		return nil, fmt.Errorf("make forwarder %s: %w", o.Name, err)
	}
	f := &Forwarder{spool: o.Spool, metrics: m}
	duplicates, _ := o.Sink.(DuplicateCounter)
	for _, t := range o.Types {
		if slices.ContainsFunc(f.lines, func(l *line) bool { return l.typ == t }) {
			return nil, fmt.Errorf("make forwarder %s: event type %s is there twice", o.Name, t)
		}
		f.lines = append(f.lines, &line{
			name:       o.Name,
			typ:        t,
			sink:       o.Sink,
			spool:      o.Spool,
			start:      o.Start,
			log:        o.Logger.With(slog.String("sink", o.Name), slog.String("type", string(t))),
			metrics:    m,
			labels:     newLabels(o.Name, o.System, t),
			duplicates: duplicates,
			condition:  newCondition(t, time.Now()),
			publishing: newPublishing(o.Tracer, o.Name, t, o.Sink),
		})
	}
	for _, l := range f.lines {
		m.begin(&l.labels)
	}
	return f, nil
}

// Prepare stores a cursor for each line that has none. What enters the spool
// after it has returned nil is delivered; so it is called before the sources
// start. Run prepares what Prepare did not. They do not overlap.
func (f *Forwarder) Prepare(ctx context.Context) error {
	for _, l := range f.lines {
		if err := l.prepare(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ErrRunning is the error of a second Run.
var ErrRunning = errors.New("the forwarder runs already, or has run")

// Run carries events until ctx is done; then it reads no more, gives the calls
// that are under way a second, stores the cursors and returns. What was not
// delivered stays in the spool. It returns nil, or the error of storing a cursor,
// which costs duplicates and no event. Run runs once.
func (f *Forwarder) Run(ctx context.Context) error {
	if !f.running.TryLock() {
		return ErrRunning
	}
	observed, err := f.metrics.observe(f)
	if err != nil {
		return err
	}
	errs := make([]error, len(f.lines))
	var lines sync.WaitGroup
	for i, l := range f.lines {
		lines.Go(func() { errs[i] = l.run(ctx) })
	}
	lines.Wait()
	return errors.Join(append(errs, observed.Unregister())...)
}

// drainPoll is how often the end of the spool is looked up while draining: it
// also moves when events expire.
const drainPoll = 250 * time.Millisecond

// WaitDrained waits until every line has settled all that the spool holds, dead
// letters that it makes meanwhile included. It is for stopping: stop the sources,
// wait here as long as the deadline allows, then end Run. It changes nothing
// itself. Its error says how many events are left when ctx is done; they stay in
// the spool.
func (f *Forwarder) WaitDrained(ctx context.Context) error {
	var left uint64
	for {
		n, moved, err := f.left(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("drain sink %s: %d events are left in the spool: %w", f.lines[0].name, left, context.Cause(ctx))
		case err == nil && n == 0:
			return nil
		case err == nil:
			left = n
		}
		timer := time.NewTimer(drainPoll)
		select {
		case <-ctx.Done():
		case <-moved:
		case <-timer.C: // also where the spool does not answer now
		}
		timer.Stop()
	}
}

// left returns how many events the spool holds that are not settled, and a
// channel that is closed when a cursor moves that is behind.
func (f *Forwarder) left(ctx context.Context) (left uint64, moved <-chan struct{}, err error) {
	for _, l := range f.lines {
		status, changed := l.condition.snapshot()
		n, err := f.spool.Backlog(ctx, l.typ, status.Cursor)
		if err != nil {
			return 0, nil, err
		}
		if left += n; n > 0 {
			moved = changed
		}
	}
	return left, moved, nil
}

// Status returns the condition of each line, in the order of Options.Types. It
// asks the spool for the backlogs, for which ctx is; all else is in memory.
func (f *Forwarder) Status(ctx context.Context) []Status {
	all := make([]Status, len(f.lines))
	for i, l := range f.lines {
		all[i], _ = l.condition.snapshot()
		if n, err := f.spool.Backlog(ctx, l.typ, all[i].Cursor); err == nil {
			all[i].Backlog = &n
		}
	}
	return all
}
