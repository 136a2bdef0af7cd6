package sink

import (
	"context"
	"log/slog"
	"time"
)

// trouble is a stretch in which a line is retrying, for the log.
type trouble struct {
	since              time.Time // zero outside of one
	retries, delivered uint64
}

// report brings the status up to date, and logs where the state has changed. err
// is the newest failure, if there is one.
func (l *line) report(ctx context.Context, err error) {
	now := time.Now()
	state := l.state()
	var before State
	var oldest time.Time
	if len(l.window.entries) > 0 {
		oldest = l.window.entries[0].record.Time
	}
	l.condition.update(func(s *Status) {
		before = s.State
		if s.State != state {
			s.State, s.Since = state, now
		}
		if err != nil {
			s.LastError, s.LastErrorAt = errorText(err), now
		}
		s.OldestUndelivered = oldest
		if l.prepared {
			s.Cursor = l.window.cursor()
		}
	})
	if ctx.Err() != nil {
		return // on the way out nothing is news
	}
	switch {
	case state == Retrying && before != Retrying:
		if l.trouble.since.IsZero() {
			l.trouble.since = now
		}
		text := "unknown"
		if err != nil {
			text = errorText(err)
		}
		l.log.WarnContext(ctx, "the sink is in trouble: retrying", slog.String("error", text), slog.Int("waiting", len(l.window.entries)))
	case state != Retrying && before == Retrying:
		l.log.InfoContext(ctx, "the sink has recovered",
			slog.Duration("after", now.Sub(l.trouble.since)), slog.Uint64("retries", l.trouble.retries), slog.Uint64("delivered", l.trouble.delivered))
		l.trouble = trouble{}
	}
	if l.lost.all() > 0 && state == Idle && l.caughtUp(ctx) {
		l.log.WarnContext(ctx, "the sink has caught up after losses", slog.Uint64("lost", l.lost.all()), slog.Uint64("damaged", l.lost.damage))
		l.lost = losses{}
	}
}

// caughtUp reports whether nothing of the spool waits any more. A window that is
// empty does not say so: while a backlog is read, it is that now and then.
func (l *line) caughtUp(ctx context.Context) bool {
	first, last, err := l.spool.Bounds(ctx, l.typ)
	return err == nil && (l.window.cursor() >= last || first > last)
}

func (l *line) state() State {
	switch {
	case l.readError != nil || l.window.retrying():
		return Retrying
	case len(l.window.entries) > 0:
		return Publishing
	default:
		return Idle
	}
}

// lose notes that events were gone before they were delivered: once in an episode
// for what the spool's limits took, and once for what was damaged.
func (l *line) lose(ctx context.Context, n losses) {
	if l.lost.limits == 0 && n.limits > 0 {
		l.log.ErrorContext(ctx, "events left the spool before the sink had them: its limits are too small for this backlog", slog.Uint64("lost", n.limits))
	}
	if l.lost.damage == 0 && n.damage > 0 {
		l.log.ErrorContext(ctx, "events in the spool were damaged before the sink had them: it goes on behind them", slog.Uint64("lost", n.damage))
	}
	l.lost.limits += n.limits
	l.lost.damage += n.damage
	l.metrics.lost.Add(ctx, int64(n.all()), l.labels.count...) //nolint:gosec // a count
	l.condition.update(func(s *Status) { s.Lost += n.all() })
}
