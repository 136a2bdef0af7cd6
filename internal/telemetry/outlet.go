package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// The queue of a signal, in spans or log lines. A span is a kilobyte or two.
const (
	defaultQueue = 2048 // the SDK's own
	maxQueue     = 1 << 20
)

// outlet is the way of one signal out of the process. It lets in as much as the
// queue holds, counts the rest, and says once that a collector has gone away, and
// once that it is back: the SDK would say it with every batch, and drop without a
// word.
type outlet struct {
	signal signal
	log    *slog.Logger
	// life ends what is under way when the time to stop is over.
	life context.Context //nolint:containedctx // of the process's exports, not of a call

	limit int64
	// pending counts what was let in and is neither sent nor given up; full and
	// failed what was not sent, for want of room and of a collector.
	pending, full, failed atomic.Int64

	mu   sync.Mutex // guards what follows
	away bool
	lost int64 // in the present absence
}

// admit reports whether there is room for one more, and takes it.
func (o *outlet) admit() bool {
	if o.pending.Add(1) > o.limit {
		o.pending.Add(-1)
		o.full.Add(1)
		return false
	}
	return true
}

// send sends n at once. What cannot be sent is counted; the error is logged and
// goes no further.
func (o *outlet) send(ctx context.Context, n int, export func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.life, cancel)()
	err := export(ctx)
	o.pending.Add(-int64(n))
	if err != nil {
		o.failed.Add(int64(n))
	}
	if o.life.Err() != nil {
		return // Shutdown says what is lost
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.lost += int64(n)
	}
	switch {
	case err != nil && !o.away:
		o.away = true
		o.log.Warn("the collector does not take "+string(o.signal)+": they are dropped until it does", "error", err)
	case err == nil && o.away:
		o.away = false
		o.log.Info("the collector takes "+string(o.signal)+" again", "dropped", o.lost)
		o.lost = 0
	}
}
