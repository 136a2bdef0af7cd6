package bench

import (
	"context"
	"time"
)

// pacer waits for instants.
type pacer struct{ timer *time.Timer }

func newPacer() pacer { return pacer{time.NewTimer(0)} }

// coarse is how late a timer may be.
const coarse = 2 * time.Millisecond

// until returns at the instant at, or at once where it has passed; false means that
// ctx was done.
func (p pacer) until(ctx context.Context, at time.Time) bool {
	for wait := time.Until(at); wait > 0; wait = time.Until(at) {
		if wait <= coarse {
			sleepShort(wait)
			continue
		}
		p.timer.Reset(wait - coarse)
		select {
		case <-ctx.Done():
			return false
		case <-p.timer.C:
		}
	}
	return ctx.Err() == nil
}

func (p pacer) stop() { p.timer.Stop() }
