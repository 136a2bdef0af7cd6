package sinktest

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// SpoolID is the spool's id in the records of a [Spool].
const SpoolID = "test"

// Spool is a spool in memory, which outlives forwarders as the real one outlives
// a crash. Its faults are set by functions; each is called before the operation,
// and an error from it is the operation's. All methods may overlap.
type Spool struct {
	mu      sync.Mutex
	streams map[schema.Type]*stream
	cursors map[string]uint64
	writes  int
	changed chan struct{} // closed and replaced when a stream or a fault changes
	faults  Faults
}

// Faults are the failures of a [Spool]; nil functions fail nothing.
type Faults struct {
	// Emit is asked by Emit.
	Emit func(schema.Event) error
	// Read is asked by Read and, with each call, by Next.
	Read func(schema.Type) error
	// SetCursor is asked by SetCursor.
	SetCursor func(schema.Type, uint64) error
}

type stream struct {
	records []sink.Record // what still exists, by rising sequence
	gone    []uint64      // the sequences that the limits took, rising
	damaged []uint64      // those that damage took
	ids     map[string]bool
	last    uint64
	handed  int // records given to readers
}

// NewSpool makes an empty spool.
func NewSpool() *Spool {
	return &Spool{
		streams: make(map[schema.Type]*stream),
		cursors: make(map[string]uint64),
		changed: make(chan struct{}),
	}
}

// Fail sets the faults from now on.
func (s *Spool) Fail(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
	s.wake()
}

// wake wakes the readers; the lock is held.
func (s *Spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Spool) stream(t schema.Type) *stream {
	st := s.streams[t]
	if st == nil {
		st = new(stream)
		s.streams[t] = st
	}
	return st
}

// Emit appends an event, once for each id.
func (s *Spool) Emit(ctx context.Context, e schema.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.faults.Emit != nil {
		if err := s.faults.Emit(e); err != nil {
			return err
		}
	}
	st := s.stream(e.Type)
	if st.ids[e.ID] {
		return nil
	}
	if st.ids == nil {
		st.ids = make(map[string]bool)
	}
	st.ids[e.ID] = true
	st.last++
	st.records = append(st.records, NewRecord(e, st.last))
	s.wake()
	return nil
}

// NewRecord gives an event a place in the spool.
func NewRecord(e schema.Event, sequence uint64) sink.Record {
	return sink.Record{Event: e, Sequence: sequence, SpoolSequence: fmt.Sprintf("%s-%020d", SpoolID, sequence)}
}

// Skip leaves a hole of n sequences, as deleted events do.
func (s *Spool) Skip(t schema.Type, n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream(t).last += n
}

// Expire takes away the oldest events up to a sequence, as the limits do.
func (s *Spool) Expire(t schema.Type, through uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stream(t)
	for len(st.records) > 0 && st.records[0].Sequence <= through {
		st.gone = append(st.gone, st.records[0].Sequence)
		st.records = st.records[1:]
	}
	s.wake()
}

// Damage takes away the events from one sequence to another, as a damaged disk does.
func (s *Spool) Damage(t schema.Type, from, to uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stream(t)
	st.records = slices.DeleteFunc(st.records, func(r sink.Record) bool {
		gone := from <= r.Sequence && r.Sequence <= to
		if gone {
			st.damaged = append(st.damaged, r.Sequence)
		}
		return gone
	})
}

// Truncate takes away the newest events, after a sequence, which will be given
// again: what a power failure does.
func (s *Spool) Truncate(t schema.Type, after uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stream(t)
	for len(st.records) > 0 && st.records[len(st.records)-1].Sequence > after {
		st.records = st.records[:len(st.records)-1]
	}
	st.last = min(st.last, after)
}

// Records returns what the spool holds of a type.
func (s *Spool) Records(t schema.Type) []sink.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stream(t).records)
}

// Handed returns how many records of a type were given to readers.
func (s *Spool) Handed(t schema.Type) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream(t).handed
}

// CursorWrites returns how often a cursor was stored.
func (s *Spool) CursorWrites() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Bounds implements [sink.Spool].
func (s *Spool) Bounds(ctx context.Context, t schema.Type) (first, last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	if s.faults.Read != nil {
		if err := s.faults.Read(t); err != nil {
			return 0, 0, err
		}
	}
	st := s.stream(t)
	if len(st.records) == 0 {
		return st.last + 1, st.last, nil
	}
	return st.records[0].Sequence, st.last, nil
}

// Backlog implements [sink.Spool].
func (s *Spool) Backlog(ctx context.Context, t schema.Type, after uint64) (uint64, error) {
	first, last, err := s.Bounds(ctx, t)
	if err != nil {
		return 0, err
	}
	return last - min(last, max(after, first-1)), nil
}

// Cursor implements [sink.Spool].
func (s *Spool) Cursor(_ context.Context, name string, t schema.Type) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sequence, ok := s.cursors[name+" "+string(t)]
	return sequence, ok, nil
}

// SetCursor implements [sink.Spool].
func (s *Spool) SetCursor(ctx context.Context, name string, t schema.Type, sequence uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.faults.SetCursor != nil {
		if err := s.faults.SetCursor(t, sequence); err != nil {
			return err
		}
	}
	s.cursors[name+" "+string(t)] = sequence
	s.writes++
	return nil
}

// Read implements [sink.Spool].
func (s *Spool) Read(_ context.Context, t schema.Type, after uint64) (sink.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.Read != nil {
		if err := s.faults.Read(t); err != nil {
			return nil, err
		}
	}
	return &reader{spool: s, typ: t, after: after}, nil
}

type reader struct {
	spool *Spool
	typ   schema.Type
	after uint64

	lost, damaged uint64
}

func (r *reader) Next(ctx context.Context, limit int) ([]sink.Record, error) {
	for {
		records, changed, err := r.next(limit)
		if len(records) > 0 || err != nil {
			return records, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (r *reader) next(limit int) ([]sink.Record, <-chan struct{}, error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.Read != nil {
		if err := s.faults.Read(r.typ); err != nil {
			return nil, nil, err
		}
	}
	st := s.stream(r.typ)
	from := sort.Search(len(st.records), func(i int) bool { return st.records[i].Sequence > r.after })
	records := slices.Clone(st.records[from:min(len(st.records), from+limit)])
	if len(records) > 0 {
		between := func(sequences []uint64) (n uint64) {
			for _, sequence := range sequences {
				if r.after < sequence && sequence <= records[len(records)-1].Sequence {
					n++
				}
			}
			return n
		}
		damaged := between(st.damaged)
		r.damaged += damaged
		r.lost += between(st.gone) + damaged
		r.after = records[len(records)-1].Sequence
		st.handed += len(records)
	}
	return records, s.changed, nil
}

func (r *reader) Lost() uint64 { return r.lost }

func (r *reader) Damaged() uint64 { return r.damaged }

func (r *reader) Close() error { return nil }
