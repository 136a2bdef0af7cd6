package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// Cursor is how far a sink has come in the stream of one event type.
type Cursor struct {
	Sink string
	Type schema.Type
	// Sequence is that of the last event with which the sink is done.
	Sequence uint64
	// Updated is when the cursor was last moved.
	Updated time.Time
}

// Cursor returns how far a sink has come; ok is false for a sink without a
// cursor.
func (s *Spool) Cursor(ctx context.Context, sink string, t schema.Type) (seq uint64, ok bool, err error) {
	key, err := cursorKey(sink, t)
	if err != nil {
		return 0, false, err
	}
	e, err := s.acquire(ctx, false, nil)
	if err != nil {
		return 0, false, fmt.Errorf("read cursor %s: %w", key, err)
	}
	c, err := s.cursor(ctx, e, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, s.cut(e, err)
	}
	return c.Sequence, true, nil
}

// SetCursor stores how far a sink has come. It may go back.
func (s *Spool) SetCursor(ctx context.Context, sink string, t schema.Type, seq uint64) error {
	key, err := cursorKey(sink, t)
	if err != nil {
		return err
	}
	e, err := s.acquire(ctx, false, nil)
	if err == nil {
		if err = setCursor(ctx, e, key, seq); err != nil {
			err = s.cut(e, err)
		}
	}
	if err != nil {
		return fmt.Errorf("set cursor %s to %d: %w", key, seq, err)
	}
	s.noteCursor(key, seq)
	return nil
}

// Cursors lists every cursor, by sink and type, also those whose sink is no
// longer configured.
func (s *Spool) Cursors(ctx context.Context) ([]Cursor, error) {
	e, err := s.acquire(ctx, false, nil)
	if err == nil {
		var all []Cursor
		if all, err = s.allCursors(ctx, e); err == nil {
			return all, nil
		}
		err = s.cut(e, err)
	}
	return nil, fmt.Errorf("list cursors: %w", err)
}

// DeleteCursor forgets how far a sink has come. A cursor that does not exist is
// no error.
func (s *Spool) DeleteCursor(ctx context.Context, sink string, t schema.Type) error {
	key, err := cursorKey(sink, t)
	if err != nil {
		return err
	}
	e, err := s.acquire(ctx, false, nil)
	if err == nil {
		// A purge leaves a marker in place of the value, a few bytes.
		if err = e.cursors.Purge(ctx, key); err != nil {
			err = s.cut(e, err)
		}
	}
	if err != nil {
		return fmt.Errorf("delete cursor %s: %w", key, err)
	}
	s.forgetCursor(key)
	return nil
}

// sinkName is what a sink may be called: a token of a NATS subject.
var sinkName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// cursorKey is <sink>.<stream>.
func cursorKey(sink string, t schema.Type) (string, error) {
	st, err := streamOf(t)
	if err != nil {
		return "", fmt.Errorf("cursor: %w", err)
	}
	if !sinkName.MatchString(sink) {
		return "", fmt.Errorf("cursor: sink %q: expected letters, digits, - and _", sink)
	}
	return sink + "." + st.name, nil
}

func (s *Spool) cursor(ctx context.Context, e *engine, key string) (Cursor, error) {
	entry, err := e.cursors.Get(ctx, key)
	if err != nil {
		return Cursor{}, fmt.Errorf("read cursor %s: %w", key, err)
	}
	sink, name, _ := strings.Cut(key, ".")
	st, ok := streamNamed(name)
	if !ok {
		return Cursor{}, fmt.Errorf("read cursor %s: no such stream", key)
	}
	seq, err := strconv.ParseUint(string(entry.Value()), 10, 64)
	if err != nil {
		return Cursor{}, fmt.Errorf("read cursor %s: %w", key, err)
	}
	return Cursor{Sink: sink, Type: st.typ, Sequence: seq, Updated: entry.Created()}, nil
}

func setCursor(ctx context.Context, e *engine, key string, seq uint64) error {
	_, err := e.cursors.Put(ctx, key, strconv.AppendUint(nil, seq, 10))
	return err
}

func (s *Spool) allCursors(ctx context.Context, e *engine) ([]Cursor, error) {
	keys, err := e.cursors.ListKeys(ctx)
	if err != nil {
		return nil, err
	}
	var all []Cursor
	for key := range keys.Keys() {
		c, err := s.cursor(ctx, e, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, errors.Join(err, keys.Stop())
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Cursor) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Type, b.Type))
	})
	return all, nil
}
