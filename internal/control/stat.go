package control

import (
	"context"
	"slices"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// Overview is the condition of a spool.
type Overview struct {
	// SpoolID is the first part of spoolsequence.
	SpoolID string `json:"spool_id"`
	// State and Detail are those of /readyz.
	State  spool.Phase `json:"state"`
	Detail string      `json:"detail,omitempty"`
	// FreeBytes is the free space of the file system; 0 where it cannot be known.
	FreeBytes uint64   `json:"free_bytes,omitempty"`
	Streams   []Stream `json:"streams"`
	Cursors   []Cursor `json:"cursors"`
}

// Stream is what the spool holds of one event type.
type Stream struct {
	Type schema.Type `json:"type"`
	Name string      `json:"name"`
	// First is the sequence of the oldest event that there is, Last that of the
	// newest that ever was; in an empty stream First is Last+1.
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"`
	// Oldest and Newest are the times at which First and Last were stored.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	// Missing counts the events between First and Last that are gone, and Lost
	// those that the embedded server found damaged: both are damage.
	Missing uint64 `json:"missing"`
	Lost    uint64 `json:"lost"`
	// Gaps are what damage has taken, of which the starts told: the sequences, how
	// many events they were, and which sinks had not had them.
	Gaps []spool.Gap `json:"gaps,omitempty"`
}

// Cursor is how far a sink has come with one event type.
type Cursor struct {
	Sink     string      `json:"sink"`
	Type     schema.Type `json:"type"`
	Sequence uint64      `json:"sequence"`
	Moved    time.Time   `json:"moved,omitzero"`
	// Backlog counts the events that the sink has not had.
	Backlog uint64 `json:"backlog"`
	// Orphan is true where no such sink is configured; always false where no
	// configuration is known.
	Orphan bool `json:"orphan,omitempty"`
}

// StatRequest asks for nothing in particular.
type StatRequest struct{}

// Stat gives the condition of the spool.
var Stat = Operation[StatRequest, Overview]{name: "stat", run: stat}

func stat(ctx context.Context, h *Host, _ StatRequest, yield func(Overview) error) error {
	status := h.Spool.Status()
	o := Overview{
		SpoolID: h.Spool.ID(), State: status.Phase, Detail: status.Detail, FreeBytes: status.FreeBytes,
		Streams: []Stream{}, Cursors: []Cursor{},
	}
	for _, t := range schema.Types {
		d, err := h.Spool.Details(ctx, t)
		if err != nil {
			return err
		}
		o.Streams = append(o.Streams, Stream{
			Type: t, Name: d.Stream, First: d.First, Last: d.Last, Events: d.Messages, Bytes: d.Bytes,
			Oldest: d.FirstTime, Newest: d.LastTime, Missing: d.Missing, Lost: uint64(len(d.Lost)), Gaps: d.Gaps,
		})
	}
	cursors, err := h.Spool.Cursors(ctx)
	if err != nil {
		return err
	}
	for _, c := range cursors {
		backlog, err := h.Spool.Backlog(ctx, c.Type, c.Sequence)
		if err != nil {
			return err
		}
		o.Cursors = append(o.Cursors, Cursor{
			Sink: c.Sink, Type: c.Type, Sequence: c.Sequence, Moved: c.Updated,
			Backlog: backlog, Orphan: h.orphan(c.Sink),
		})
	}
	return yield(o)
}

// orphan reports whether a cursor's sink is known not to be configured.
func (h *Host) orphan(sink string) bool { return h.Sinks != nil && !slices.Contains(h.Sinks(), sink) }
