package control

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// Entry is one event of the spool.
type Entry struct {
	// Type is the stream's event type, also where the event itself is damaged.
	Type          schema.Type `json:"type"`
	Sequence      uint64      `json:"sequence"`
	SpoolSequence string      `json:"spoolsequence,omitempty"`
	StoredAt      time.Time   `json:"stored_at,omitzero"`
	// Event is the event. Its body is carried byte by byte.
	Event schema.Event `json:"event,omitzero"`
	// Damage says why there is no event; what is left of it is in the event's body.
	Damage string `json:"damage,omitempty"`
}

// ReadRequest asks for events.
type ReadRequest struct {
	Filter Filter `json:"filter"`
	// Limit is how many events are wanted at most, the oldest first; 0: all.
	Limit int `json:"limit,omitempty"`
	// Damaged asks for damaged records too, whatever the rest of the filter says.
	Damaged bool `json:"damaged,omitempty"`
}

// Read gives the events that the spool holds when it is asked, those of a type in
// the order of their sequence. Damaged records are left out unless asked for.
var Read = Operation[ReadRequest, Entry]{name: "read", run: read}

func read(ctx context.Context, h *Host, r ReadRequest, yield func(Entry) error) error {
	if err := r.Filter.Validate(); err != nil {
		return err
	}
	given := 0
	for _, t := range r.Filter.types() {
		for item, err := range h.scan(ctx, t, &r.Filter) {
			switch {
			case err != nil:
				return err
			case item.Damage != "" && !r.Damaged, item.Damage == "" && !r.Filter.fits(&item.Event):
				continue
			}
			if err := yield(Entry{
				Type: t, Sequence: item.Sequence, SpoolSequence: item.SpoolSequence,
				StoredAt: item.Stored, Event: item.Event, Damage: item.Damage,
			}); err != nil {
				return err
			}
			if given++; given == r.Limit {
				return nil
			}
		}
	}
	return nil
}

// scan goes through the stream of type t as far as the filter's sequences and
// times allow; what it gives need not fit.
func (h *Host) scan(ctx context.Context, t schema.Type, f *Filter) iter.Seq2[spool.Item, error] {
	return func(yield func(spool.Item, error) bool) {
		after, through, err := h.bounds(ctx, t, f)
		if err != nil {
			yield(spool.Item{}, err)
			return
		}
		for item, err := range h.Spool.Scan(ctx, t, after, through) {
			if !yield(item, err) {
				return
			}
		}
	}
}

// bounds are the sequences between which everything is that a filter means.
func (h *Host) bounds(ctx context.Context, t schema.Type, f *Filter) (after, through uint64, err error) {
	state, err := h.Spool.State(ctx, t)
	if err != nil {
		return 0, 0, err
	}
	after, through = max(f.After, state.First-1), state.Last
	if f.Through > 0 {
		through = min(through, f.Through)
	}
	if !f.Since.IsZero() {
		since, err := h.Spool.Since(ctx, t, f.Since)
		if err != nil {
			return 0, 0, err
		}
		after = max(after, since)
	}
	return after, through, nil
}

// Total is what a filter means, added up.
type Total struct {
	// Events and Bytes, of bodies, are how much it is.
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"`
	// First and Last are the sequences of the first and the last event, 0 where
	// there is none, and Oldest and Newest the ends of their times.
	First  uint64    `json:"first,omitempty"`
	Last   uint64    `json:"last,omitempty"`
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// Scanned of ToScan places of the log have been looked at.
	Scanned uint64 `json:"scanned"`
	ToScan  uint64 `json:"to_scan"`
}

func (t *Total) add(e *spool.Record) {
	t.Events++
	t.Bytes += uint64(len(e.Body))
	if t.First == 0 {
		t.First = e.Sequence
	}
	t.Last = e.Sequence
	if t.Oldest.IsZero() || e.Time.Before(t.Oldest) {
		t.Oldest = e.Time
	}
	if e.Time.After(t.Newest) {
		t.Newest = e.Time
	}
}

// Count adds up what a filter of one type means. Parts before the last tell how
// far it is.
var Count = Operation[Filter, Total]{name: "count", live: true, run: count}

// progressInterval is how often an operation tells how far it is.
const progressInterval = 200 * time.Millisecond

func count(ctx context.Context, h *Host, f Filter, yield func(Total) error) error {
	if err := f.Validate(); err != nil {
		return err
	}
	if len(f.Types) != 1 {
		return Wrong(errors.New("count: expected one event type"))
	}
	after, through, err := h.bounds(ctx, f.Types[0], &f)
	if err != nil {
		return err
	}
	total := Total{ToScan: through - min(after, through)}
	told := time.Now()
	for item, err := range h.Spool.Scan(ctx, f.Types[0], after, through) {
		if err != nil {
			return err
		}
		if item.Damage == "" && f.fits(&item.Event) {
			total.add(&item.Record)
		}
		total.Scanned = item.Sequence - after
		if now := time.Now(); now.Sub(told) >= progressInterval {
			told = now
			if err := yield(total); err != nil {
				return err
			}
		}
	}
	total.Scanned = total.ToScan
	return yield(total)
}
