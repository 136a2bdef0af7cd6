package source

import (
	"context"
	"fmt"
	"sync"
)

// Flush waits until all that was taken before is stored, or was dropped for want of
// memory. What comes meanwhile is not waited for. Run must be running.
func (in *Intake) Flush(ctx context.Context) error {
	var marks sync.WaitGroup
	marks.Add(shards)
	in.mu.Lock()
	for i := range in.shards {
		s := &in.shards[i]
		it := item{kind: markItem, at: s.last, stored: marks.Done}
		s.queue = append(s.queue, it)
		in.bytes += it.cost()
	}
	in.mu.Unlock()
	for i := range in.shards {
		select {
		case in.shards[i].ready <- struct{}{}:
		default:
		}
	}
	passed := make(chan struct{})
	go func() { // which ends with the workers at the latest: they pass every mark
		marks.Wait()
		close(passed)
	}()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("store what waits in memory (%v): %w", in.Queued(), context.Cause(ctx))
	}
}
