package spool

import (
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/callpop/connector/schema"
)

// recent is the newest events of a stream as they were emitted. A reader that
// keeps up takes them from here, as they are: asking the server for each again,
// which reads, frames and parses it once more, was a sixth of all that an event
// cost. What is not here, it gets from the server: the log is what counts, and an
// event is here only once it is there.
//
// It belongs to one engine, since another may give its sequences to other events.
type recent struct {
	mu      sync.Mutex     // guards what follows
	places  []schema.Event // by sequence, modulo their number; nil until the first
	numbers [recentEvents]uint64
	// forgotten is the sequence up to which events were removed from the log, aged the
	// newest one at the last call of age.
	forgotten, aged uint64
}

const (
	// recentEvents is more than a sink that keeps up has under way.
	recentEvents = 2048
	// recentBytes is the longest body kept: with all places full of such, 32 MiB.
	recentBytes = 16 << 10
)

// put keeps e, which the log has under sequence.
func (r *recent) put(sequence uint64, e *schema.Event) {
	if len(e.Body) > recentBytes || !utf8.ValidString(e.Key) || !utf8.ValidString(e.Agent) || !utf8.ValidString(e.Server) {
		return // the log's headers say it otherwise
	}
	at := sequence % recentEvents
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.places == nil {
		r.places = make([]schema.Event, recentEvents)
	}
	if sequence <= r.forgotten || sequence < r.numbers[at] {
		return // removed meanwhile, or emitted again and known from before
	}
	r.numbers[at], r.places[at] = sequence, *e
	r.places[at].Time = e.Time.Round(0).UTC() // as it is read: without the clock of this process
}

// after returns the events that follow last without a gap, at most limit.
func (r *recent) after(last uint64, limit int, spoolSequence func(uint64) string) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < min(limit, recentEvents) && r.numbers[(last+1+uint64(n))%recentEvents] == last+1+uint64(n) {
		n++
	}
	if n == 0 {
		return nil
	}
	records := make([]Record, n)
	for i := range records {
		sequence := last + 1 + uint64(i)
		records[i] = Record{Event: r.places[sequence%recentEvents], Sequence: sequence, SpoolSequence: spoolSequence(sequence)}
	}
	return records
}

// forget lets go of the events up to and including through, which were removed
// from the log.
func (r *recent) forget(through uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten = max(r.forgotten, through)
	for at, sequence := range r.numbers {
		if sequence != 0 && sequence <= through {
			r.numbers[at], r.places[at] = 0, schema.Event{}
		}
	}
}

// age lets go of the events that were here at its last call already: who keeps up has
// had them.
func (r *recent) age() {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := slices.Max(r.numbers[:])
	switch newest {
	case 0:
	case r.aged:
		r.numbers, r.places = [recentEvents]uint64{}, nil
	default:
		for at, sequence := range r.numbers {
			if sequence != 0 && sequence <= r.aged {
				r.numbers[at], r.places[at] = 0, schema.Event{}
			}
		}
	}
	r.aged = newest
}
