package sink

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/callpop/connector/schema"
)

// How far the stored cursor may lag behind the settled events: what is published
// again after a crash.
const (
	cursorInterval = 100 * time.Millisecond
	cursorEvents   = 1000
)

// cursorRetry is the pause after the cursor could not be stored.
const cursorRetry = time.Second

// stopGrace is how long a call may go on after the forwarder was told to stop.
const stopGrace = time.Second

// cursorTimeout bounds one attempt to store the cursor, so that a spool that is
// stuck holds neither the line nor its end.
const cursorTimeout = 2 * time.Second

// line carries the events of one type to one sink. It is driven by one goroutine
// (run); a second one reads ahead.
type line struct {
	name       string // the sink's
	typ        schema.Type
	sink       Sink
	spool      Spool
	start      Start
	log        *slog.Logger
	metrics    *metrics
	labels     labels
	duplicates DuplicateCounter // nil where the sink does not count them
	condition  *condition
	publishing *publishing

	// What follows belongs to the line's goroutine.
	window window
	feed   *feed
	asked  bool   // the feed owes an answer
	call   call   // the last one's memory
	stored uint64 // the cursor in the spool
	// prepared is true once stored is known.
	prepared bool
	// unstored counts the events delivered since the cursor was stored, and due
	// is when it must be; zero while it is up to date.
	unstored int
	due      time.Time
	// readError is the spool's, until it gives events again.
	readError error
	trouble   trouble
	lost      losses // in the present episode of losses
	known     uint64 // duplicates counted so far
	// warned is when a refusal was last a warning.
	warned time.Time
}

// prepare finds where the line begins and stores it, so that whatever enters the
// spool from now on is delivered.
func (l *line) prepare(ctx context.Context) error {
	if l.prepared {
		return nil
	}
	_, last, err := l.spool.Bounds(ctx, l.typ)
	if err != nil {
		return fmt.Errorf("sink %s: look up the end of %s: %w", l.name, l.typ, err)
	}
	cursor, ok, err := l.spool.Cursor(ctx, l.name, l.typ)
	if err != nil {
		return fmt.Errorf("sink %s: read its cursor of %s: %w", l.name, l.typ, err)
	}
	begin := cursor
	switch {
	case !ok && l.start == StartAll:
		begin = 0
	case !ok:
		begin = last
	case cursor > last:
		// The spool lost its newest events, as after a power failure. Their
		// sequences will be given again; a cursor ahead of them would skip events.
		l.log.WarnContext(ctx, "the spool ends before the sink's cursor: going back to the spool's end",
			slog.Uint64("cursor", cursor), slog.Uint64("end", last))
		begin = last
	}
	if !ok || begin != cursor {
		if err := l.spool.SetCursor(ctx, l.name, l.typ, begin); err != nil {
			return fmt.Errorf("sink %s: store its cursor of %s: %w", l.name, l.typ, err)
		}
	}
	l.prepared, l.stored, l.window.read = true, begin, begin
	l.condition.update(func(s *Status) { s.Cursor = begin })
	return nil
}

// run carries events until ctx is done, then stores the cursor. Its error is that
// of the last store.
func (l *line) run(ctx context.Context) error {
	for failures := 1; ; failures++ {
		err := l.prepare(ctx)
		if err == nil {
			break
		}
		l.readError = err
		l.report(ctx, err)
		if !sleep(ctx, backoff(failures)) {
			return nil // nothing was read, so there is nothing to store
		}
	}
	l.readError = nil

	l.feed = newFeed(l.spool, l.typ)
	var feeding sync.WaitGroup
	begin := l.window.read
	feeding.Go(func() { l.feed.run(ctx, begin) })
	l.loop(ctx)
	feeding.Wait()
	l.window.abandon()

	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cursorTimeout)
	defer cancel()
	return l.storeCursor(last)
}

// loop is the line's life: ask for events, publish what may be published, wait
// for what comes first.
func (l *line) loop(ctx context.Context) {
	calls, stop := outlive(ctx, stopGrace)
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if room := l.window.room(); room > 0 && !l.asked {
			l.asked = true
			l.feed.wanted <- room // one place is free: the feed owes nothing
		}
		select {
		case f := <-l.feed.out:
			l.take(ctx, f)
		default:
		}
		if l.window.sendable(time.Now(), &l.call); len(l.call.records) > 0 {
			l.publish(calls)
			l.storeCursorIfDue(ctx)
			continue
		}
		wake, wait := l.wake()
		if !wait {
			wake = time.Now().Add(time.Hour) // nothing is due; the feed wakes us
		}
		timer.Reset(time.Until(wake))
		select {
		case <-ctx.Done():
		case f := <-l.feed.out:
			l.take(ctx, f)
		case <-timer.C:
			l.storeCursorIfDue(ctx)
		}
	}
}

// wake returns when the line has something to do though nothing comes.
func (l *line) wake() (at time.Time, ok bool) {
	at, ok = l.window.wake()
	if !l.due.IsZero() && (!ok || l.due.Before(at)) {
		return l.due, true
	}
	return at, ok
}

// take takes what the feed has read, or its error.
func (l *line) take(ctx context.Context, f fetched) {
	if f.lost.all() > 0 {
		l.lose(ctx, f.lost)
	}
	if f.err != nil {
		l.readError = fmt.Errorf("read the spool: %w", f.err)
	}
	if len(f.records) > 0 {
		if f.err == nil {
			l.readError = nil
		}
		l.asked = false
		if f.records[0].Sequence <= l.window.read && len(l.window.entries) == 0 {
			// The spool gave sequences again, see feed.open.
			l.window.read = f.records[0].Sequence - 1
		}
		l.window.add(f.records)
	}
	l.report(ctx, f.err)
}

// publish makes one call for l.call and settles it.
func (l *line) publish(ctx context.Context) {
	l.publishing.begin(&l.window, &l.call)
	begun := time.Now()
	err := l.sink.Publish(ctx, l.call.records)
	now := time.Now()
	l.metrics.calls.Record(ctx, now.Sub(begun).Seconds(), l.labels.attempt(err).record...)
	l.settle(ctx, &l.call, err, now)
	if l.duplicates != nil {
		if n := l.duplicates.Duplicates(l.typ); n > l.known {
			l.metrics.duplicates.Add(ctx, int64(n-l.known), l.labels.count...)
			l.known = n
		}
	}
}

// storeCursorIfDue stores the cursor if it lags too far behind. A failure is
// tried again later; until then a crash repeats more events.
func (l *line) storeCursorIfDue(ctx context.Context) {
	if l.due.IsZero() || l.unstored < cursorEvents && time.Now().Before(l.due) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, cursorTimeout)
	defer cancel()
	if err := l.storeCursor(bounded); err != nil && ctx.Err() == nil {
		l.unstored, l.due = 0, time.Now().Add(cursorRetry)
		l.report(ctx, err)
	}
}

// storeCursor stores the cursor if it has moved.
func (l *line) storeCursor(ctx context.Context) error {
	if cursor := l.window.cursor(); l.prepared && cursor != l.stored {
		if err := l.spool.SetCursor(ctx, l.name, l.typ, cursor); err != nil {
			return fmt.Errorf("sink %s: store its cursor of %s: %w", l.name, l.typ, err)
		}
		l.stored = cursor
	}
	l.unstored, l.due = 0, time.Time{}
	return nil
}

// outlive returns a context that ends a while after ctx: a call that is under way
// when the forwarder stops is worth the wait, since cutting it short would make
// all its events unknown and publish them twice.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		sleep(longer, grace)
		cancel()
	})
	return longer, func() { unhook(); cancel() }
}
