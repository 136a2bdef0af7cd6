package sink

import (
	"cmp"
	"slices"
	"time"
)

// The window's bounds: what a line holds in memory whatever its backlog is.
const (
	maxWindowRecords = 1024
	maxWindowBytes   = 8 << 20
)

// probeRecords is how many records, each of another key, are tried while the
// whole broker seems to be away.
const probeRecords = 8

// window holds the records of a line that were read from the spool and are not
// settled, in the order of their sequence, and knows which of them may be sent
// now. Only the line's goroutine uses it.
type window struct {
	entries []entry
	bytes   int
	// largest is the size of the largest record seen: what the next one may be.
	largest int
	// read is the sequence of the last record that came in.
	read uint64
	// retries holds the keys whose last attempt failed.
	retries map[string]*retry
	// outage is the failure of the line as a whole.
	outage outage
}

type entry struct {
	record  Record
	settled bool
	// attempts and failure, the last one's kind, are for the record's span.
	attempts int
	failure  string
}

// retry is the state of a key whose last attempt failed.
type retry struct {
	failures int
	until    time.Time
}

// outage tells a broker that is away from a key that is in trouble alone: the
// line as a whole is down once the failures since the last success are of two
// keys or more.
type outage struct {
	// key is the one that failed since the last success, while it is only one.
	key      string
	some     bool
	down     bool
	failures int
	until    time.Time
}

// size is what a record costs in memory, about.
func size(r *Record) int {
	const fixed = 256 // the struct and its strings' headers
	return fixed + len(r.Body) + len(r.ID) + len(r.Key) + len(r.Agent) + len(r.Overlap) + len(r.TraceParent) + len(r.TraceState) + len(r.SpoolSequence)
}

// room returns how many more records the window takes; 0: it is full.
func (w *window) room() int {
	if w.bytes >= maxWindowBytes || len(w.entries) >= maxWindowRecords {
		return 0
	}
	records := maxWindowRecords - len(w.entries)
	if w.largest > 0 {
		records = min(records, max(1, (maxWindowBytes-w.bytes)/w.largest))
	}
	return records
}

// add appends records, which follow those that are there.
func (w *window) add(records []Record) {
	for _, r := range records {
		s := size(&r)
		w.bytes += s
		w.largest = max(w.largest, s)
		w.read = r.Sequence
		w.entries = append(w.entries, entry{record: r})
	}
}

// cursor returns the last sequence before which everything is settled.
func (w *window) cursor() uint64 {
	if len(w.entries) == 0 {
		return w.read
	}
	return w.entries[0].record.Sequence - 1
}

// call is what one call publishes: records and their places in the window.
type call struct {
	records []Record
	places  []int
}

func (c *call) add(w *window, place int) {
	c.records = append(c.records, w.entries[place].record)
	c.places = append(c.places, place)
}

// reset empties the call, lets go of the bodies and keeps the memory.
func (c *call) reset() {
	clear(c.records)
	c.records, c.places = c.records[:0], c.places[:0]
}

// sendable fills c with the records that may be published now, in the order of
// their sequence: none whose key waits, one at a time of a key whose last attempt
// failed, a few while the line is down.
func (w *window) sendable(now time.Time, c *call) {
	c.reset()
	if w.outage.down {
		if !now.Before(w.outage.until) {
			w.probe(c)
		}
		return
	}
	var tried map[string]bool // the failed keys that have a record in c
	for i := range w.entries {
		key := w.entries[i].record.Key
		if failed := w.retries[key]; failed != nil {
			if tried[key] || now.Before(failed.until) {
				continue
			}
			if tried == nil {
				tried = make(map[string]bool)
			}
			tried[key] = true
		}
		c.add(w, i)
	}
}

// probe adds the first records of a few keys, those that failed least first:
// a key in trouble of its own must not be all that an outage is judged by.
func (w *window) probe(c *call) {
	type head struct{ place, failures int }
	seen := make(map[string]bool)
	var heads []head
	for i := range w.entries {
		key := w.entries[i].record.Key
		if seen[key] {
			continue
		}
		seen[key] = true
		h := head{place: i}
		if failed := w.retries[key]; failed != nil {
			h.failures = failed.failures
		}
		heads = append(heads, h)
	}
	slices.SortStableFunc(heads, func(a, b head) int { return cmp.Compare(a.failures, b.failures) })
	heads = heads[:min(len(heads), probeRecords)]
	slices.SortFunc(heads, func(a, b head) int { return cmp.Compare(a.place, b.place) })
	for _, h := range heads {
		c.add(w, h.place)
	}
}

// wake returns when the next record may be sent, given that none may be now; ok
// is false where nothing waits for a time.
func (w *window) wake() (at time.Time, ok bool) {
	if len(w.entries) == 0 {
		return time.Time{}, false
	}
	if w.outage.down {
		return w.outage.until, true
	}
	for i := range w.entries {
		failed := w.retries[w.entries[i].record.Key]
		if failed != nil && (!ok || failed.until.Before(at)) {
			at, ok = failed.until, true
		}
	}
	return at, ok
}

// retrying reports whether any record waits because an attempt failed.
func (w *window) retrying() bool { return w.outage.down || len(w.retries) > 0 }

// fail notes that a record of a key failed.
func (w *window) fail(key string, now time.Time) {
	failed := w.retries[key]
	if failed == nil {
		failed = new(retry)
		if w.retries == nil {
			w.retries = make(map[string]*retry)
		}
		w.retries[key] = failed
	}
	failed.failures++
	failed.until = now.Add(backoff(failed.failures))
}

// succeed notes that the broker answered for a record of a key.
func (w *window) succeed(key string) { delete(w.retries, key) }

// answered notes that the broker answered in a call. Where the line was down,
// the keys that wait because of it wait no longer; failed are those of the call.
func (w *window) answered(failed map[string]bool, now time.Time) {
	if w.outage.down {
		for key, r := range w.retries {
			if !failed[key] {
				r.until = now
			}
		}
	}
	w.outage = outage{}
}

// silent notes a call in which nothing but failures came back, of these keys.
func (w *window) silent(failed map[string]bool, now time.Time) {
	o := &w.outage
	for key := range failed {
		if o.some && o.key != key {
			o.down = true
		}
		o.key, o.some = key, true
	}
	if o.down {
		o.failures++
		o.until = now.Add(backoff(o.failures))
	}
}

// compact removes the settled records.
func (w *window) compact() {
	w.entries = slices.DeleteFunc(w.entries, func(e entry) bool {
		if e.settled {
			w.bytes -= size(&e.record)
		}
		return e.settled
	})
}
