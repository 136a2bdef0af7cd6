package sink

import (
	"context"
	"fmt"
	"sync"

	"github.com/callpop/connector/schema"
)

// Shared lets several callers use one sink: their calls for one event type take
// turns, as the contract of [Sink] has it. A caller waits for one call of another
// at most, so that a replay does not starve the line of live events.
type Shared struct {
	sink Sink

	mu    sync.Mutex
	turns map[schema.Type]chan struct{} // guarded by mu; each holds the turn of its type
}

// NewShared makes s fit for several callers, who must all go through what it
// returns.
func NewShared(s Sink) *Shared { return &Shared{sink: s, turns: map[schema.Type]chan struct{}{}} }

var (
	_ Sink             = (*Shared)(nil)
	_ DuplicateCounter = (*Shared)(nil)
	_ Located          = (*Shared)(nil)
)

// Publish waits for the turn of the records' event type, then publishes; see
// [Sink].
func (s *Shared) Publish(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	turn := s.turn(records[0].Type)
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for another call to the sink: %w", context.Cause(ctx))
	}
	defer func() { <-turn }()
	return s.sink.Publish(ctx, records)
}

func (s *Shared) turn(t schema.Type) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[t] == nil {
		s.turns[t] = make(chan struct{}, 1)
	}
	return s.turns[t]
}

// Duplicates is that of a sink that counts them, else 0; see [DuplicateCounter].
func (s *Shared) Duplicates(t schema.Type) uint64 {
	if counter, ok := s.sink.(DuplicateCounter); ok {
		return counter.Duplicates(t)
	}
	return 0
}

// Destination is that of a sink that says it; see [Located].
func (s *Shared) Destination(t schema.Type) Destination {
	if located, ok := s.sink.(Located); ok {
		return located.Destination(t)
	}
	return Destination{}
}

// Close closes the sink; see [Sink].
func (s *Shared) Close(ctx context.Context) error { return s.sink.Close(ctx) }
