package sink

import (
	"context"
	"errors"
	"time"

	"github.com/callpop/connector/schema"
)

// fetched is what a feed hands over: records, or the number of events lost since
// the last time, or an error that it is getting over by itself.
type fetched struct {
	records []Record
	lost    losses
	err     error
}

// losses are events that were gone before the sink had them.
type losses struct {
	// limits are those that the spool's limits took, or a purge.
	limits, damage uint64
}

func (l losses) all() uint64 { return l.limits + l.damage }

// feed reads one event type from the spool, ahead of the line, as much as the
// line asks for and no more. It opens a new reader whenever one breaks.
type feed struct {
	spool  Spool
	typ    schema.Type
	wanted chan int     // the line asks: at most so many records
	out    chan fetched // answers: errors, then records once
}

func newFeed(s Spool, t schema.Type) *feed {
	return &feed{spool: s, typ: t, wanted: make(chan int, 1), out: make(chan fetched)}
}

// run answers requests until ctx is done. It begins after the sequence after.
func (f *feed) run(ctx context.Context, after uint64) {
	var reader Reader
	var lost losses // of this reader
	drop := func() {
		if reader != nil {
			_ = reader.Close() // it is spent; there is nothing to save
			reader = nil
		}
	}
	defer drop()
	for failures := 0; ; {
		var limit int
		select {
		case <-ctx.Done():
			return
		case limit = <-f.wanted:
		}
		for {
			var answer fetched
			if reader == nil {
				reader, answer.err = f.open(ctx, &after)
				lost = losses{}
			}
			if answer.err == nil {
				answer.records, answer.err = reader.Next(ctx, limit)
				now := losses{limits: reader.Lost() - reader.Damaged(), damage: reader.Damaged()}
				answer.lost, lost = losses{now.limits - lost.limits, now.damage - lost.damage}, now
			}
			if ctx.Err() != nil {
				return
			}
			if n := len(answer.records); n > 0 {
				after = answer.records[n-1].Sequence
				failures = 0
			} else if answer.err == nil {
				answer.err = errNothingRead
			}
			select {
			case f.out <- answer:
			case <-ctx.Done():
				return
			}
			if answer.err != nil {
				drop()
				failures++
			}
			if len(answer.records) > 0 {
				break
			}
			if !sleep(ctx, backoff(failures)) {
				return
			}
		}
	}
}

// errNothingRead guards against a reader that returns at once with nothing.
var errNothingRead = errors.New("the spool's reader gave neither an event nor an error")

// open opens a reader after the last event read. A spool that came back without
// its newest events gives their sequences to others: those must not be skipped.
func (f *feed) open(ctx context.Context, after *uint64) (Reader, error) {
	_, last, err := f.spool.Bounds(ctx, f.typ)
	if err != nil {
		return nil, err
	}
	*after = min(*after, last)
	return f.spool.Read(ctx, f.typ, *after)
}

// sleep pauses for d; false means that ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
