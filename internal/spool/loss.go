package spool

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/callpop/connector/schema"
)

// Loss is a gap in the stream of an event type.
type Loss struct {
	Type schema.Type
	Gap
}

// Losses are the events that damage has taken from the log, oldest first: what was
// found at this start and at earlier ones. They are kept for max_age, and for as
// long as the log has events from before.
func (s *Spool) Losses() []Loss {
	var all []Loss
	for _, st := range streams {
		for _, g := range s.gaps(st) {
			if g.Lost > 0 && !g.Found.IsZero() {
				g.Undelivered = maps.Clone(g.Undelivered)
				all = append(all, Loss{st.typ, g})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Loss) int { return a.Found.Compare(b.Found) })
	return all
}

// Backlog returns how many events of type t there are after a sequence.
func (s *Spool) Backlog(ctx context.Context, t schema.Type, after uint64) (uint64, error) {
	st, err := streamOf(t)
	if err != nil {
		return 0, fmt.Errorf("backlog: %w", err)
	}
	state, err := s.State(ctx, t)
	if err != nil {
		return 0, err
	}
	from := max(after+1, state.First)
	if from > state.Last {
		return 0, nil
	}
	n := state.Last - from + 1
	for _, g := range s.gaps(st) {
		if from, to := max(from, g.From), min(state.Last, g.To); from <= to && !g.Loose {
			n -= to - from + 1
		}
	}
	return n, nil
}

// report says what damage the check found, once the cursors can be read, and gives
// back the cursors that it took.
func (s *Spool) report(ctx context.Context, e *engine) error {
	all, err := s.allCursors(ctx, e)
	if err != nil {
		return fmt.Errorf("list cursors: %w", err)
	}
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	there := map[string]uint64{}
	for _, c := range all {
		st, err := streamOf(c.Type)
		if err != nil {
			return err
		}
		there[c.Sink+"."+st.name] = c.Sequence
		s.metrics.lacking(st, c.Sink, 0)
	}
	for _, key := range slices.Sorted(maps.Keys(b.ledger.Cursors)) {
		sequence := b.ledger.Cursors[key]
		// Where the newest record of a cursor is gone, an older one may come back.
		if at, ok := there[key]; ok && (at >= sequence || !s.cursorsDamaged) {
			continue
		}
		s.logger.Warn("a cursor was damaged; it is set to where it is known to have been", "cursor", key, "sequence", sequence)
		if err := setCursor(ctx, e, key, sequence); err != nil {
			return fmt.Errorf("set cursor %s: %w", key, err)
		}
		there[key] = sequence
	}
	b.ledger.Cursors = there
	b.dirty = true
	var states [len(streams)]State
	for i, st := range streams {
		if states[i], err = streamState(ctx, e, st); err != nil {
			return err
		}
		gaps := b.ledger.Streams[st.name].Gaps
		for j := range gaps {
			if gaps[j].Found.IsZero() {
				s.found(ctx, st, &gaps[j], there)
			}
		}
	}
	s.enter(states)
	s.writeBooks()
	return nil
}

// found says of one gap that it is there.
func (s *Spool) found(ctx context.Context, st stream, g *Gap, cursors map[string]uint64) {
	g.Found = time.Now().UTC()
	if g.Lost == 0 {
		s.logger.Warn("the end of a stream may be missing; it goes on beyond what may have been there", "stream", st.name,
			"last", g.From-1, "next", g.To+1)
		return
	}
	var lacking []string
	for _, key := range slices.Sorted(maps.Keys(cursors)) {
		sink, name, _ := strings.Cut(key, ".")
		if name != st.name {
			continue
		}
		if n := g.lostAfter(cursors[key]); n > 0 {
			if g.Undelivered == nil {
				g.Undelivered = map[string]uint64{}
			}
			g.Undelivered[sink] = n
			lacking = append(lacking, fmt.Sprintf("%s %d", sink, n))
			s.metrics.lacking(st, sink, n)
		}
	}
	s.metrics.lost.Add(ctx, int64(g.Lost), s.metrics.counted[st.index]...) //nolint:gosec // a count
	attrs := []any{
		"stream", st.name, "events", g.Lost, "from", g.From, "to", g.From + g.Lost - 1,
		"damaged_files", filepath.Join(s.config.Dir, damagedDir),
	}
	if !g.After.IsZero() {
		attrs = append(attrs, "stored_after", g.After)
	}
	if !g.Before.IsZero() {
		attrs = append(attrs, "stored_before", g.Before)
	}
	if len(lacking) > 0 {
		s.logger.Error("events of the spool were lost to damage, and sinks had not had them", append(attrs, "undelivered", strings.Join(lacking, ", "))...)
		return
	}
	s.logger.Warn("events of the spool were lost to damage; no sink was waiting for them", attrs...)
}

// closeBooks stops an engine, and takes down that the log was closed in order.
func (s *Spool) closeBooks(e *engine) {
	ctx, cancel := context.WithTimeout(context.Background(), stateTimeout)
	defer cancel()
	var states [len(streams)]State
	var err error
	for i, st := range streams {
		if states[i], err = streamState(ctx, e, st); err != nil {
			break
		}
	}
	e.stop()
	if err != nil {
		s.logger.Warn("the spool is closed without a look at its streams; the next start will check them", "error", err)
		return
	}
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	s.enter(states)
	for _, st := range streams {
		files, err := blockFiles(filepath.Join(streamDir(s.config.Dir, st.name), "msgs"))
		if err != nil {
			s.logger.Warn("the spool is closed without a list of its blocks; the next start will check them", "error", err)
			return
		}
		l := b.ledger.Streams[st.name]
		l.Blocks = make(map[string]int64, len(files))
		for _, f := range files {
			l.Blocks[filepath.Base(f.path)] = f.size
		}
	}
	b.ledger.Clean, b.dirty = true, true
	s.writeBooks()
}
