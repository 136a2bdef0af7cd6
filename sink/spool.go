package sink

import (
	"context"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// Spool is what a [Forwarder] needs of the spool. [FromSpool] makes one of the
// real one. Calls may overlap.
type Spool interface {
	// Read opens a reader of the events of a type whose sequence is above after.
	Read(ctx context.Context, t schema.Type, after uint64) (Reader, error)
	// Bounds returns the sequences of the oldest event of a type that still exists
	// and of the newest that ever was. Where none exists, first is last+1.
	Bounds(ctx context.Context, t schema.Type) (first, last uint64, err error)
	// Backlog returns how many events of a type there are after a sequence.
	Backlog(ctx context.Context, t schema.Type, after uint64) (uint64, error)
	// Cursor returns how far a sink has come with a type; ok is false for a sink
	// that has no cursor yet.
	Cursor(ctx context.Context, sink string, t schema.Type) (sequence uint64, ok bool, err error)
	// SetCursor stores how far a sink has come with a type.
	SetCursor(ctx context.Context, sink string, t schema.Type, sequence uint64) error
	// Emit stores an event, as package source's Emit does. The forwarder emits
	// the dead letters of what its sink refuses.
	Emit(ctx context.Context, event schema.Event) error
}

// Reader reads the events of one type in the order of their sequence. Only one
// goroutine uses it.
type Reader interface {
	// Next returns the events that are there, at most limit, and waits for the
	// first one. An error other than ctx's means that the reader is spent: close
	// it and read again from the last event that it gave.
	Next(ctx context.Context, limit int) ([]Record, error)
	// Lost counts the events that were gone before this reader came to them.
	Lost() uint64
	// Damaged counts those of Lost that damage took, and not the spool's limits.
	Damaged() uint64
	// Close ends the reader.
	Close() error
}

// FromSpool gives a forwarder the spool.
func FromSpool(s *spool.Spool) Spool { return spoolAdapter{s} }

// spoolAdapter exists since Go's interfaces want the very result types.
type spoolAdapter struct{ *spool.Spool }

func (a spoolAdapter) Read(ctx context.Context, t schema.Type, after uint64) (Reader, error) {
	reader, err := a.Spool.Read(ctx, t, after)
	if err != nil {
		return nil, err
	}
	return reader, nil
}

func (a spoolAdapter) Bounds(ctx context.Context, t schema.Type) (first, last uint64, err error) {
	state, err := a.State(ctx, t)
	return state.First, state.Last, err
}
