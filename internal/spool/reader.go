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
// It keeps nothing in the server: each Next is a direct get of the records after
// the last one handed out. So there is no consumer that a restart forgets, that
// counts against limits, or that a client could delete.
type Reader struct {
	spool  *Spool
	stream stream
	// last is the sequence up to which everything was handed out or is lost.
	last uint64
	lost uint64

	inbox  *inbox
	closed chan struct{}
	once   sync.Once
	using  sync.Mutex // held by Next, so that Close can wait for it
}

// Read returns a reader of the events of type t with sequences greater than
// after; with after 0, of all that the log still holds. ctx bounds the call, not
// the reader.
func (s *Spool) Read(ctx context.Context, t schema.Type, after uint64) (*Reader, error) {
	st, err := streamOf(t)
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	if _, err := s.acquire(ctx, false); err != nil {
		return nil, fmt.Errorf("read stream %s: %w", st.name, err)
	}
	return &Reader{spool: s, stream: st, last: after, closed: make(chan struct{})}, nil
}

// Next waits until there is a record and returns those that are there now, at
// least one and at most max, in the order of their sequence. It returns fewer
// where they are many bytes together.
//
// After an error, Next may be called again and goes on where it was; only
// [ErrClosed] is for good. [ErrRestarted] means that the embedded server was
// restarted under the call.
func (r *Reader) Next(ctx context.Context, max int) ([]Record, error) {
	r.using.Lock()
	defer r.using.Unlock()
	records, err := r.next(ctx, max)
	if err != nil {
		return nil, fmt.Errorf("read stream %s after %d: %w", r.stream.name, r.last, err)
	}
	return records, nil
}

func (r *Reader) next(ctx context.Context, max int) ([]Record, error) {
	if max < 1 {
		return nil, fmt.Errorf("a batch of at most %d: expected 1 or more", max)
	}
	for {
		select {
		case <-r.closed:
			return nil, ErrClosed
		default:
		}
		e, err := r.spool.acquire(ctx, false)
		if err != nil {
			return nil, err
		}
		grown := r.spool.tails[r.stream.index].wait()
		records, err := r.batch(ctx, e, min(max, maxBatch))
		if len(records) > 0 {
			// An error on the way is that of the next call too.
			return records, nil
		}
		if err != nil {
			return nil, r.spool.cut(e, err)
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

// batch gets records until there are max of them, or many bytes, or no more.
func (r *Reader) batch(ctx context.Context, e *engine, max int) ([]Record, error) {
	var records []Record
	for bytes := 0; len(records) < max && bytes < maxBatchBytes; {
		got, err := r.get(ctx, e, min(max-len(records), maxGet))
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

// Lost returns how many sequences were gone, by the log's limits or by damage,
// before records that were handed out: between the reader's start and the first,
// and between one and the next.
func (r *Reader) Lost() uint64 { return r.lost }

// Close ends the reader; a Next under way returns [ErrClosed]. It is safe to call
// it twice.
func (r *Reader) Close() error {
	r.once.Do(func() {
		close(r.closed)
		// A Next under way notices and lets go of its inbox; afterwards there is
		// nobody else to do it.
		r.using.Lock()
		defer r.using.Unlock()
		r.drop()
	})
	return nil
}
