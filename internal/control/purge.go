package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// PurgeRequest says what to remove: the events of a type from the oldest on. One of
// Until, All and Through is required.
type PurgeRequest struct {
	Type schema.Type `json:"type"`
	// Until is where to stop: the first event received at this time or later stays,
	// and all that came after it.
	Until time.Time `json:"until,omitzero"`
	// All means all that there is.
	All bool `json:"all,omitempty"`
	// Through is the last sequence to remove: that of a preview, so that no more
	// goes than it said.
	Through uint64 `json:"through,omitempty"`
	// Undelivered permits to remove what a sink has not had.
	Undelivered bool `json:"undelivered,omitempty"`
	// Preview only says what would be removed.
	Preview bool `json:"preview,omitempty"`
}

// PurgeResult is what a purge removes.
type PurgeResult struct {
	Type schema.Type `json:"type"`
	// Events is how many they are, Through the sequence of the last; 0 where there
	// are none.
	Events  uint64 `json:"events"`
	Through uint64 `json:"through"`
	// Undelivered has the sinks that have not had all of them.
	Undelivered []Undelivered `json:"undelivered"`
	// Removed is true once they are gone.
	Removed bool `json:"removed"`
}

// Undelivered says what a sink has not had.
type Undelivered struct {
	Sink   string `json:"sink"`
	Events uint64 `json:"events"`
	// Orphan is true where no such sink is configured: it holds up no purge.
	Orphan bool `json:"orphan,omitempty"`
}

// ErrUndelivered is why a purge was refused.
var ErrUndelivered = errors.New("a sink has not had all of the events")

// Purge removes the oldest events of a type. It refuses, with [ErrUndelivered],
// what a configured sink has not had, unless that is permitted; where no
// configuration is known, every cursor counts as that of a sink.
var Purge = Operation[PurgeRequest, PurgeResult]{name: "purge", run: purge}

func purge(ctx context.Context, h *Host, r PurgeRequest, yield func(PurgeResult) error) error {
	f := Filter{Types: []schema.Type{r.Type}}
	if err := f.Validate(); err != nil {
		return err
	}
	ways := 0
	for _, set := range []bool{r.All, !r.Until.IsZero(), r.Through > 0} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return Wrong(errors.New("purge: expected a time, a sequence or all"))
	}
	result, err := h.findPurge(ctx, r)
	if err != nil {
		return err
	}
	if !r.Preview && result.Events > 0 {
		for _, u := range result.Undelivered {
			if !u.Orphan && !r.Undelivered {
				return Wrong(fmt.Errorf("%w: sink %s lacks %d of %d", ErrUndelivered, u.Sink, u.Events, result.Events))
			}
		}
		if result.Events, err = h.Spool.Purge(ctx, r.Type, result.Through); err != nil {
			return err
		}
		result.Removed = true
	}
	return yield(result)
}

// findPurge looks up what r would remove. Where sequences are missing from the log
// it counts them too.
func (h *Host) findPurge(ctx context.Context, r PurgeRequest) (PurgeResult, error) {
	result := PurgeResult{Type: r.Type, Undelivered: []Undelivered{}}
	state, err := h.Spool.State(ctx, r.Type)
	if err != nil {
		return result, err
	}
	through := state.Last
	switch {
	case r.Through > 0:
		through = min(through, r.Through)
	case !r.All:
		if through, err = h.olderThan(ctx, r.Type, r.Until, state); err != nil {
			return result, err
		}
	}
	if through < state.First {
		return result, nil
	}
	result.Through = through
	result.Events = min(through-(state.First-1), state.Messages)
	cursors, err := h.Spool.Cursors(ctx)
	if err != nil {
		return result, err
	}
	for _, c := range cursors {
		if c.Type == r.Type && c.Sequence < through {
			lacking := min(through-max(c.Sequence, state.First-1), result.Events)
			result.Undelivered = append(result.Undelivered, Undelivered{Sink: c.Sink, Events: lacking, Orphan: h.orphan(c.Sink)})
		}
	}
	return result, nil
}

// olderThan is the sequence before that of the first event received at or after a
// time.
func (h *Host) olderThan(ctx context.Context, t schema.Type, at time.Time, state spool.State) (uint64, error) {
	through, err := h.Spool.Since(ctx, t, at)
	if err != nil {
		return 0, err
	}
	through = max(through, state.First-1)
	for item, err := range h.Spool.Scan(ctx, t, through, state.Last) {
		if err != nil {
			return 0, err
		}
		if item.Damage == "" && !item.Time.Before(at) {
			break
		}
		through = item.Sequence
	}
	return through, nil
}
