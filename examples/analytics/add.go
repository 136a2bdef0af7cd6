package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

// add takes events, all or none. One that is there already changes nothing.
func (s *store) add(ctx context.Context, all []*consume.Delivery) error {
	return sqlite.InTx(ctx, s.db, func(ctx context.Context, tx *sql.Tx) (err error) {
		w, err := s.newWriter(ctx, tx)
		if err != nil {
			return fmt.Errorf("take events: %w", err)
		}
		defer func() { err = errors.Join(err, w.close()) }()
		for _, d := range all {
			if s.keep > 0 && d.Late(time.Now(), s.keep) {
				continue
			}
			switch {
			case d.CallPop != nil:
				err = w.addPop(ctx, d.CallPop)
			case d.SessionChanged != nil:
				err = w.addSession(ctx, d.SessionChanged)
			}
			if err != nil {
				return fmt.Errorf("take event %s: %w", d.Event.ID, err)
			}
		}
		return w.markStale(ctx)
	})
}

// writer takes the events of one transaction. Its statements are prepared once: that
// takes as long as running them does.
type writer struct {
	*store

	statements                                            []*sql.Stmt
	insertPop, insertSession, takeCalls, pops, insertCall *sql.Stmt
	insertDay, reach                                      *sql.Stmt

	// stale are the days that have changed.
	stale map[string]bool
}

func (s *store) newWriter(ctx context.Context, tx *sql.Tx) (_ *writer, err error) {
	w := &writer{store: s, stale: map[string]bool{}}
	for _, one := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&w.insertPop, `INSERT OR IGNORE INTO pops VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.insertSession, `INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&w.takeCalls, `DELETE FROM calls WHERE key = ? AND began <= ? AND ended >= ? RETURNING began, ended`},
		{&w.pops, `SELECT at, server, agent, mode, caller, shown, region FROM pops WHERE key = ? AND at BETWEEN ? AND ? ORDER BY at, event`},
		{&w.insertCall, `INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&w.insertDay, `INSERT INTO days VALUES (?, 1, 0) ON CONFLICT (day) DO UPDATE SET stale = 1`},
		{&w.reach, `UPDATE days SET stale = 1 WHERE day >= ?`},
	} {
		if *one.to, err = tx.PrepareContext(ctx, one.text); err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.statements = append(w.statements, *one.to)
	}
	return w, nil
}

func (w *writer) close() (err error) {
	for _, statement := range w.statements {
		err = errors.Join(err, statement.Close())
	}
	return err
}

// unknown is what is not said.
const unknown = "unknown"

func orUnknown(text string) string {
	if text == "" {
		return unknown
	}
	return text
}

func (w *writer) addPop(ctx context.Context, p *schema.CallPop) error {
	who := newCaller(w.secret, p.Customer)
	fresh, err := insert(ctx, w.insertPop, p.ID, p.Key, p.ReceivedAt.UnixNano(), p.Server, orUnknown(p.Agent.ID),
		orUnknown(string(p.Pop.Mode)), who.id, who.shown, who.region)
	if err != nil || !fresh {
		return err
	}
	return w.stitch(ctx, p.Key, p.ReceivedAt.UnixNano())
}

func (w *writer) addSession(ctx context.Context, c *schema.SessionChanged) error {
	from := c.At
	var gapFrom, gapTo sql.NullInt64
	if c.Gap != nil {
		gapFrom = sql.NullInt64{Int64: c.Gap.From.UnixNano(), Valid: true}
		gapTo = sql.NullInt64{Int64: c.Gap.To.UnixNano(), Valid: true}
		from = earlier(from, c.Gap.From)
	}
	fresh, err := insert(ctx, w.insertSession, c.ID, c.At.UnixNano(), c.Server, orUnknown(c.Agent), c.State, gapFrom, gapTo)
	if err != nil || !fresh {
		return err
	}
	w.stale[w.day(c.At)] = true
	// What a session was holds for the days in a gap, and until the next change.
	_, err = w.reach.ExecContext(ctx, w.day(from))
	return err
}

// insert reports whether the row was not there before.
func insert(ctx context.Context, statement *sql.Stmt, values ...any) (fresh bool, err error) {
	result, err := statement.ExecContext(ctx, values...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// markStale notes which days have changed.
func (w *writer) markStale(ctx context.Context) error {
	for day := range w.stale {
		if _, err := w.insertDay.ExecContext(ctx, day); err != nil {
			return fmt.Errorf("note that %s has changed: %w", day, err)
		}
	}
	return nil
}
