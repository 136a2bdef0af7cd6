package control

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// replayLine is the spool as a forwarder sees it that carries a replay: only what
// the filter means is in it, each record is marked, and the cursor is kept in
// memory.
type replayLine struct {
	host    *Host
	filter  *Filter
	run     string
	after   uint64 // where it begins
	through uint64 // the last sequence to look at

	mu      sync.Mutex
	cursor  uint64 // guarded by mu; the forwarder's
	last    uint64 // guarded by mu; the last sequence handed out
	end     bool   // guarded by mu; there is nothing beyond last
	refused uint64 // guarded by mu
	refusal string // guarded by mu
}

var _ sink.Spool = (*replayLine)(nil)

// Read implements [sink.Spool].
func (l *replayLine) Read(ctx context.Context, t schema.Type, after uint64) (sink.Reader, error) {
	return newReplayReader(ctx, l, t, after), nil
}

// Bounds implements [sink.Spool]. The end of what is to be replayed is known once
// everything was looked at; until then it is further than any cursor, so that the
// forwarder is not drained.
func (l *replayLine) Bounds(context.Context, schema.Type) (first, last uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end {
		return l.after + 1, l.last, nil
	}
	return l.after + 1, l.through + 1, nil
}

// Backlog implements [sink.Spool].
func (l *replayLine) Backlog(ctx context.Context, t schema.Type, after uint64) (uint64, error) {
	first, last, err := l.Bounds(ctx, t)
	return last - min(last, max(after, first-1)), err
}

// Cursor implements [sink.Spool].
func (l *replayLine) Cursor(context.Context, string, schema.Type) (sequence uint64, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursor, true, nil
}

// SetCursor implements [sink.Spool].
func (l *replayLine) SetCursor(_ context.Context, _ string, _ schema.Type, sequence uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursor = sequence
	return nil
}

// Emit implements [sink.Spool]. What a forwarder emits is the dead letter of what
// its sink refused; the first delivery has made the same one.
func (l *replayLine) Emit(_ context.Context, e schema.Event) error {
	letter, err := readLetter(&e)
	if err != nil {
		return err
	}
	l.refuse(letter.Detail)
	return nil
}

func (l *replayLine) refuse(detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == 0 {
		l.refusal = detail
	}
	l.refused++
}

// progress reads how far the forwarder is.
func (l *replayLine) progress(f *sink.Forwarder) ReplayProgress {
	// Asking nobody but this line, it does not wait.
	status := f.Status(context.Background())[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	p := ReplayProgress{
		Run: l.run, Sequence: max(status.Cursor, l.cursor), Sent: status.Delivered,
		// A refused dead letter has no dead letter of its own.
		Refused: l.refused + status.Refused, Refusal: l.refusal,
	}
	if status.State == sink.Retrying {
		p.Trouble = status.LastError
	}
	if p.Refused > 0 && p.Refusal == "" {
		p.Refusal = "the sink refuses a dead letter"
	}
	return p
}

func (l *replayLine) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused > 0 {
		return fmt.Errorf("the sink refused %d events: %s", l.refused, l.refusal)
	}
	return nil
}

// replayReader gives a forwarder the records of a replay.
type replayReader struct {
	line *replayLine
	next func() (spool.Item, error, bool)
	stop func()
}

func newReplayReader(ctx context.Context, l *replayLine, t schema.Type, after uint64) *replayReader {
	next, stop := iter.Pull2(l.host.Spool.Scan(ctx, t, after, l.through))
	return &replayReader{line: l, next: next, stop: stop}
}

// maxReplayScan bounds how many records that do not fit a reader goes through
// while one that does waits.
const maxReplayScan = 256

// Next implements [sink.Reader].
func (r *replayReader) Next(ctx context.Context, limit int) ([]sink.Record, error) {
	var records []sink.Record
	for scanned := 0; len(records) == 0 || len(records) < limit && scanned < maxReplayScan; scanned++ {
		item, err, ok := r.next()
		switch {
		case !ok:
			return r.ended(ctx, records)
		case err != nil:
			return records, err
		case item.Damage == "" && r.line.filter.fits(&item.Event):
			item.Replay = r.line.run
			records = append(records, item.Record)
		}
	}
	r.line.hand(records, false)
	return records, nil
}

// ended gives the last records, or waits as a reader does that has no more.
func (r *replayReader) ended(ctx context.Context, records []sink.Record) ([]sink.Record, error) {
	r.line.hand(records, true)
	if len(records) > 0 {
		return records, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// hand notes what is handed out, and whether it was the last.
func (l *replayLine) hand(records []sink.Record, end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(records); n > 0 {
		l.last = records[n-1].Sequence
	}
	l.end = l.end || end
}

// Lost implements [sink.Reader]. What the spool has lost is no concern of a
// replay.
func (r *replayReader) Lost() uint64 { return 0 }

// Damaged implements [sink.Reader].
func (r *replayReader) Damaged() uint64 { return 0 }

// Close implements [sink.Reader].
func (r *replayReader) Close() error {
	r.stop()
	return nil
}
