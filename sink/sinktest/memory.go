package sinktest

import (
	"context"
	"sync"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Memory is a sink that keeps the contract and stores in memory. Outcome decides
// on each record; it outlives forwarders, as a broker does.
type Memory struct {
	// Before is called at the start of each call, if it is set; an error from it
	// is that of the whole call, and nothing is stored.
	Before func(ctx context.Context, records []sink.Record) error
	// Outcome says what becomes of a record; nil: all are stored. It is not asked
	// for records that are held back because of an earlier one.
	Outcome func(record sink.Record) Outcome

	mu     sync.Mutex
	stored []sink.Record
	calls  int
}

// Outcome is what becomes of a record: whether the broker stores it, and what it
// says. Stored with an error is an answer that was lost.
type Outcome struct {
	Stored bool
	Err    error
}

// Publish implements [sink.Sink].
func (m *Memory) Publish(ctx context.Context, records []sink.Record) error {
	m.mu.Lock()
	m.calls++
	m.mu.Unlock()
	if m.Before != nil {
		if err := m.Before(ctx, records); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	errs := make(sink.BatchError, len(records))
	failed := make(map[string]bool)
	some := false
	for i, r := range records {
		if failed[r.Key] {
			errs[i] = sink.ErrNotAttempted
			continue
		}
		outcome := Outcome{Stored: true}
		if m.Outcome != nil {
			outcome = m.Outcome(r)
		}
		if outcome.Stored {
			m.mu.Lock()
			m.stored = append(m.stored, r)
			m.mu.Unlock()
		}
		if errs[i] = outcome.Err; outcome.Err != nil {
			failed[r.Key] = true
			some = true
		}
	}
	if some {
		return errs
	}
	return nil
}

// Close implements [sink.Sink].
func (m *Memory) Close(context.Context) error { return nil }

// Stored returns what was stored of a type, in order, duplicates included.
func (m *Memory) Stored(t schema.Type) []sink.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	var records []sink.Record
	for _, r := range m.stored {
		if r.Type == t {
			records = append(records, r)
		}
	}
	return records
}

// Calls returns how often Publish was called.
func (m *Memory) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}
