package spool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

const (
	// maxBatch and maxBatchBytes bound what one Next hands out, and with it what a
	// reader holds in memory. One get may exceed the bytes by its last record.
	maxBatch      = 4096
	maxBatchBytes = int(bytesize.MiB)
	// maxGet bounds one direct get: the server takes no new event for the stream
	// while it answers one. 128 take about two milliseconds; with 4096 at once an
	// emit was seen to wait for 70 ms beside a reader that catches up.
	maxGet = 128
	// readTimeout bounds the wait for the answer to one get.
	readTimeout = 5 * time.Second
)

// Reader reads the events of one type in the order of their sequence. It is for
// one goroutine at a time, but Close may be called from another.
//
// It keeps nothing in the server: each Next takes the records after the last one
// handed out from the newest that are in memory, or else by a direct get. So there
// is no consumer that a restart forgets, that counts against limits, or that a
// client could delete.
type Reader struct {
	spool  *Spool
	stream stream
	// last is the sequence up to which everything was handed out or is lost.
	last uint64
	lost losses

	inbox  *inbox
	closed chan struct{}
	once   sync.Once
	using  sync.Mutex // held by Next
}

// Read returns a reader of the events of type t with sequences greater than
// after; with after 0, of all that the log still holds. ctx bounds the call, not
// the reader.
func (s *Spool) Read(ctx context.Context, t schema.Type, after uint64) (*Reader, error) {
	st, err := streamOf(t)
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	if _, err := s.acquire(ctx, false, nil); err != nil {
		return nil, fmt.Errorf("read stream %s: %w", st.name, err)
	}
	return &Reader{spool: s, stream: st, last: after, closed: make(chan struct{})}, nil
}

// Next waits until there is a record and returns those that are there now, at
// least one and at most limit, in the order of their sequence. It returns fewer
// where they are many bytes together.
//
// After an error, Next may be called again and goes on where it was; only
// [ErrClosed] is for good. [ErrRestarted] means that the embedded server was
// restarted under the call.
func (r *Reader) Next(ctx context.Context, limit int) ([]Record, error) {
	r.using.Lock()
	defer r.tidy()
	defer r.using.Unlock()
	records, err := r.next(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("read stream %s after %d: %w", r.stream.name, r.last, err)
	}
	return records, nil
}

func (r *Reader) next(ctx context.Context, limit int) ([]Record, error) {
	if limit < 1 {
		return nil, fmt.Errorf("at most %d records: expected 1 or more", limit)
	}
	for {
		select {
		case <-r.closed:
			return nil, ErrClosed
		default:
		}
		e, err := r.spool.acquire(ctx, false, r.closed)
		if err != nil {
			return nil, err
		}
		known, grown := r.spool.tails[r.stream.index].wait()
		records := e.recents[r.stream.index].after(r.last, min(limit, maxBatch), r.spool.sequence)
		if n := len(records); n > 0 {
			r.last = records[n-1].Sequence
			return records, nil
		}
		records, err = r.batch(ctx, e, min(limit, maxBatch))
		if len(records) > 0 {
			// An error on the way is that of the next call too.
			return records, nil
		}
		if err != nil {
			return nil, r.spool.cut(e, err)
		}
		if known > r.last {
			if err := r.skip(ctx, e); err != nil {
				return nil, r.spool.cut(e, err)
			}
			continue
		}
		select {
		case <-grown:
		case <-e.retired:
			return nil, r.spool.cut(e, nil)
		case <-r.closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// batch gets records until it has as many as the limit, or many bytes, or no more.
func (r *Reader) batch(ctx context.Context, e *engine, limit int) ([]Record, error) {
	var records []Record
	for bytes := 0; len(records) < limit && bytes < maxBatchBytes; {
		got, err := r.get(ctx, e, min(limit-len(records), maxGet))
		if err != nil {
			r.drop()
			return records, err
		}
		records = append(records, got.records...)
		if got.pending == 0 {
			break
		}
		for _, record := range got.records {
			bytes += len(record.Body)
		}
	}
	return records, nil
}

// skip moves on where the stream is known to have gone on and yet gives nothing:
// the rest of it went by its limits, or its next record is damaged. Without this,
// one damaged record would hold up a sink for good.
func (r *Reader) skip(ctx context.Context, e *engine) error {
	state, err := streamState(ctx, e, r.stream)
	if err != nil {
		return err
	}
	gap, ok := r.spool.gapAt(r.stream, r.last+1)
	switch {
	case ok:
		r.pass(gap.To, state.First)
	case state.First > r.last+1:
		r.pass(state.First-1, state.First)
	case r.last+1 <= e.last[r.stream.index]:
		r.pass(r.last+1, state.First)
		r.spool.logger.Error("a record of the spool is damaged", "stream", r.stream.name, "sequence", r.last)
	default:
		// This very server stored it. After a block that was cut at a damaged record
		// the server (2.15.2) reads what it stores next only once it was restarted.
		r.spool.fault(e, fmt.Errorf("stream %s: record %d was stored and cannot be read", r.stream.name, r.last+1))
		select {
		case <-e.retired:
		case <-r.closed:
		case <-ctx.Done():
		}
		return ErrRestarted
	}
	return nil
}

// pass counts every event up to sequence as lost; first is that of the oldest
// record that the stream holds.
func (r *Reader) pass(sequence, first uint64) {
	r.lost = r.lost.plus(r.spool.lossesBetween(r.stream, r.last+1, sequence, first))
	r.last = sequence
}

// losses are events that a reader did not find.
type losses struct {
	all uint64
	// damaged are those of all that did not go by the log's limits or a purge.
	damaged uint64
}

func (l losses) plus(more losses) losses {
	return losses{l.all + more.all, l.damaged + more.damaged}
}

// lossesBetween are the events from one sequence to another, none of which is there;
// first is the sequence of the oldest record that the stream holds. Limits and purges
// take what is before it, and only from the front: what is missing behind it was
// damaged, and so was what the books say of any of them.
func (s *Spool) lossesBetween(st stream, from, to, first uint64) losses {
	if from > to {
		return losses{}
	}
	l := losses{all: to - from + 1 - s.neverGiven(st, from, to)}
	if l.damaged = l.all; first > from {
		l.damaged = s.takenFrom(st, from, min(to, first-1))
		if first <= to {
			l.damaged += s.lossesBetween(st, first, to, 0).all
		}
	}
	return l
}

// Lost returns how many events were gone, by the log's limits or by damage,
// before records that were handed out: between the reader's start and the first,
// and between one and the next.
func (r *Reader) Lost() uint64 { return r.lost.all }

// Damaged returns how many of [Reader.Lost] damage took, and not the log's limits
// or a purge.
func (r *Reader) Damaged() uint64 { return r.lost.damaged }

// Close ends the reader; a Next under way returns [ErrClosed]. It is safe to call
// it twice.
func (r *Reader) Close() error {
	r.once.Do(func() { close(r.closed) })
	r.tidy()
	return nil
}

// tidy lets go of a closed reader's inbox, or leaves it to the Next under way:
// Close must not wait for that one, nor miss what it leaves behind.
func (r *Reader) tidy() {
	select {
	case <-r.closed:
		if r.using.TryLock() {
			r.drop()
			r.using.Unlock()
		}
	default:
	}
}
