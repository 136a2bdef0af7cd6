package spool

import (
	"slices"
	"time"
)

// tailMargin is by how much a stream goes on beyond all that is known, where its
// end was damaged: events may have been stored after the ledger was written last,
// and a sink may have had them. It is ten times what the log takes in a second.
const tailMargin = 1 << 20

// findings are what an inspection comes to.
type findings struct {
	// gaps are new ones, not yet in the ledger.
	gaps []Gap
	// next is one more than the highest sequence that may have been an event's;
	// 0 where the stream goes on from its last record.
	next uint64
}

// judge compares what a stream's files hold with what they have to. cursor is the
// highest that any sink has there; suspect says that the end may be missing,
// and nothing tells how much of it.
func judge(in *inspection, l *streamLedger, cursor uint64, suspect bool, now time.Time, maxAge time.Duration) findings {
	var f findings
	held := in.end()
	// A cursor is given to what a sink has had: whatever the log lost, it was there.
	known := max(in.seen(), l.Last, cursor)
	if known == 0 {
		return f
	}
	var runs []run
	for _, b := range in.blocks {
		runs = append(runs, b.runs...)
	}
	next := l.First // of what has to be there
	if next == 0 || l.Last == 0 {
		next = held + 1
		if len(runs) > 0 {
			next = runs[0].from
		}
	}
	var before run
	for _, r := range runs {
		if r.from > next && !in.limited(r, l, next, now, maxAge) {
			f.add(l.Gaps, Gap{From: next, To: r.from - 1, After: storedAt(before.endedAt), Before: storedAt(r.began)})
		}
		next, before = max(next, r.to+1), r
	}
	if in.emptied(next, l) {
		next = held + 1
	}
	if next <= known {
		f.add(l.Gaps, Gap{From: next, To: known, After: storedAt(before.endedAt)})
	}
	if held < known || suspect {
		f.next = known + 1 + tailMargin
		f.extend(known, f.next-1, storedAt(before.endedAt))
	}
	return f
}

// limited reports whether the limits may have taken what is missing before run r,
// the log's first: they may have since the ledger was written. What is older than
// max_age would go now all the same; and a stream whose oldest block went by
// max_bytes is full but for one event, while a missing block leaves it less so.
func (in *inspection) limited(r run, l *streamLedger, next uint64, now time.Time, maxAge time.Duration) bool {
	if next != l.First {
		return false
	}
	return now.Sub(time.Unix(0, r.began)) >= maxAge || in.bytes() >= l.MaxBytes-min(l.MaxBytes/16, int64(maxPayload))
}

// emptied reports whether the stream was emptied: a purge leaves nothing but a
// tombstone of the last event.
func (in *inspection) emptied(next uint64, l *streamLedger) bool {
	if next != l.First {
		return false
	}
	for _, b := range in.blocks {
		if len(b.runs) > 0 || b.lost() > 0 {
			return false
		}
	}
	end := in.end()
	// The spool's own tombstone, at the end of a gap, says nothing of what was before.
	return end >= l.Last && !slices.ContainsFunc(l.Gaps, func(g Gap) bool { return g.To == end })
}

// add adds what of a gap is not known already.
func (f *findings) add(known []Gap, g Gap) {
	for _, k := range known {
		if k.To < g.From || k.From > g.To {
			continue
		}
		if k.From > g.From {
			part := g
			part.To = k.From - 1
			f.lose(part)
		}
		if k.To >= g.To {
			return
		}
		g.From = k.To + 1
	}
	f.lose(g)
}

// lose adds a gap all of whose sequences were events.
func (f *findings) lose(g Gap) {
	g.Lost = g.To - g.From + 1
	f.gaps = append(f.gaps, g)
}

// extend has the last gap go on up to a sequence, or makes one.
func (f *findings) extend(known, to uint64, after time.Time) {
	if n := len(f.gaps); n > 0 && f.gaps[n-1].To == known {
		f.gaps[n-1].To = to
		return
	}
	f.gaps = append(f.gaps, Gap{From: known + 1, To: to, After: after})
}

func storedAt(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}
