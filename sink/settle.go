package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
)

// verdict is what became of one record of a call.
type verdict int

const (
	stored verdict = iota
	refused
	failed
	held // not attempted, because of an earlier one of its key
)

// errResultLength stands for a sink that breaks its contract. Nothing is known
// of any record then.
var errResultLength = errors.New("the sink's answer is not one for each record")

// results gives each record of a call its own error.
func results(err error, records int) func(i int) error {
	var each BatchError
	if !errors.As(err, &each) {
		return func(int) error { return err }
	}
	if len(each) != records {
		return func(int) error { return errResultLength }
	}
	return func(i int) error { return each[i] }
}

// settle takes the outcome of a call: each record is settled, sent to the dead
// letters, or noted for a retry.
func (l *line) settle(ctx context.Context, c *call, err error, now time.Time) {
	result := results(err, len(c.records))
	var (
		delivered, retries uint64
		answered           bool
		failures           map[string]bool // keys
		first              error
	)
	fail := func(key string, cause error) {
		if failures == nil {
			failures = make(map[string]bool)
		}
		failures[key] = true
		l.window.fail(key, now)
		retries++
		if first == nil {
			first = cause
		}
	}
	broken := make(map[string]bool) // keys of which an earlier record was not stored
	w := &l.window
	for i := range c.records {
		r, place := &c.records[i], c.places[i]
		cause := result(i)
		switch judge(cause, broken[r.Key]) {
		case stored:
			answered = true
			delivered++
			w.entries[place].settle(nil, now)
			w.succeed(r.Key)
			l.metrics.delivery.Record(ctx, max(0, now.Sub(r.Time).Seconds()), l.labels.record...)
		case refused:
			answered = true
			broken[r.Key] = true
			l.metrics.attempts.Add(ctx, 1, l.labels.attempt(cause).count...)
			if err := l.refuse(tracing.Context(ctx, &r.Event), r, cause); err != nil {
				fail(r.Key, err)
				break
			}
			w.entries[place].settle(cause, now)
			w.succeed(r.Key)
		case failed:
			broken[r.Key] = true
			l.metrics.attempts.Add(ctx, 1, l.labels.attempt(cause).count...)
			w.entries[place].fail(cause, now)
			fail(r.Key, cause)
		case held:
		}
	}
	w.compact()
	if answered {
		w.answered(failures, now)
	} else if ctx.Err() == nil {
		w.silent(failures, now)
	}
	if ctx.Err() != nil {
		first = nil // cut short by ourselves
	}
	l.unstored += int(delivered)
	if w.cursor() != l.stored && l.due.IsZero() {
		l.due = now.Add(cursorInterval)
	}
	if retries > 0 && l.trouble.since.IsZero() {
		l.trouble.since = now
	}
	if !l.trouble.since.IsZero() {
		l.trouble.retries += retries
		l.trouble.delivered += delivered
	}
	l.metrics.published.Add(ctx, int64(delivered), l.labels.count...)
	if delivered > 0 {
		l.metrics.attempts.Add(ctx, int64(delivered), l.labels.attempt(nil).count...)
	}
	if retries > 0 {
		l.metrics.retries.Add(ctx, int64(retries), l.labels.count...)
	}
	l.condition.update(func(s *Status) {
		s.Delivered += delivered
		if delivered > 0 {
			s.LastSuccess = now
		}
	})
	l.report(ctx, first)
}

// judge reads a record's error; broken says that an earlier record of its key was
// not stored in the same call.
func judge(cause error, broken bool) verdict {
	switch {
	case cause == nil:
		return stored
	case errors.Is(cause, ErrNotAttempted) && broken:
		return held
	case IsPermanent(cause):
		return refused
	default:
		return failed
	}
}

// refusalInterval is how often a refusal is a warning: a stream that refuses every
// event would have each one warn.
const refusalInterval = time.Minute

func (l *line) refusalLevel(now time.Time) slog.Level {
	if now.Sub(l.warned) < refusalInterval {
		return slog.LevelDebug
	}
	l.warned = now
	return slog.LevelWarn
}

// refuse makes a dead letter of a record that the sink refused for good. A dead
// letter that is refused itself stays where it is, in the spool: there is no dead
// letter of a dead letter.
func (l *line) refuse(ctx context.Context, r *Record, cause error) error {
	if l.typ == schema.TypeDeadLetter {
		l.log.WarnContext(ctx, "the sink refused a dead letter: it stays in the spool",
			slog.String("id", r.ID), slog.String("error", errorText(cause)))
		l.condition.update(func(s *Status) { s.Refused++ })
	} else {
		event, err := deadLetter(l.name, r, cause)
		if err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, emitTimeout)
		defer cancel()
		if err := l.spool.Emit(bounded, event); errors.Is(err, spool.ErrTooLarge) {
			l.log.ErrorContext(ctx, "the sink refused an event whose dead letter is too large: it stays in the spool",
				slog.String("id", r.ID), slog.String("error", errorText(cause)))
			l.condition.update(func(s *Status) { s.Refused++ })
			l.metrics.deadLetters.Add(ctx, 1, l.labels.count...)
			return nil
		} else if err != nil {
			return fmt.Errorf("store a dead letter: %w", err)
		}
		l.log.Log(ctx, l.refusalLevel(time.Now()), "the sink refused an event: it went to the dead letters",
			slog.String("id", r.ID), slog.String("dead_letter", event.ID), slog.String("error", errorText(cause)))
		l.condition.update(func(s *Status) { s.DeadLettered++ })
	}
	l.metrics.deadLetters.Add(ctx, 1, l.labels.count...)
	return nil
}
