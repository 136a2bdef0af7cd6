package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/callpop/connector/examples/internal/sqlite"
)

// outbox holds each event that was taken, by its id, and the call in it until the
// CRM has that: the hook may be down for days, and neither the screen nor the
// broker waits for it.
type outbox struct {
	db *sql.DB
	// filled has a value where a call was put in since the last look.
	filled chan struct{}
}

const outboxTable = `
CREATE TABLE IF NOT EXISTS outbox (
	event TEXT PRIMARY KEY,  -- its id, and that of the replay where it was one
	state TEXT NOT NULL,     -- waiting, done or refused
	at    INTEGER NOT NULL,  -- when it was put in, as all times in ms since 1970
	call  TEXT NOT NULL,     -- what is posted; empty once it is done
	tries INTEGER NOT NULL,
	next  INTEGER NOT NULL   -- when to try
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (next, event) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS outbox_at ON outbox (at);`

// state is how far the CRM's copy of a call is.
type state string

const (
	waiting state = "waiting"
	done    state = "done"
	refused state = "refused" // by the CRM, for good
)

// put puts a call in, and reports whether it was not there before.
func put(ctx context.Context, tx *sql.Tx, event string, c *call, s state) (fresh bool, err error) {
	var body []byte
	if s == waiting {
		if body, err = json.Marshal(c); err != nil {
			return false, err
		}
	}
	now := time.Now().UnixMilli()
	result, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO outbox (event, state, at, call, tries, next) VALUES (?, ?, ?, ?, 0, ?)`,
		event, s, now, string(body), now)
	if err != nil {
		return false, fmt.Errorf("put event %s in the outbox: %w", event, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// letter is a call in the outbox.
type letter struct {
	event string
	body  []byte
	tries int
}

// due returns the calls to post now, longest due first, and when the next is due:
// never is the zero time.
func (o *outbox) due(ctx context.Context, now time.Time, limit int) (all []letter, next time.Time, err error) {
	rows, err := o.db.QueryContext(ctx, `SELECT event, call, tries, next FROM outbox
		WHERE state = 'waiting' ORDER BY next, event LIMIT ?`, limit)
	if err != nil {
		return nil, next, fmt.Errorf("read the outbox: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var l letter
		var at int64
		if err := rows.Scan(&l.event, &l.body, &l.tries, &at); err != nil {
			return nil, next, fmt.Errorf("read the outbox: %w", err)
		}
		if next = time.UnixMilli(at); next.After(now) {
			break
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, next, fmt.Errorf("read the outbox: %w", err)
	}
	return all, next, nil
}

// outcome is what became of an attempt.
type outcome struct {
	event string
	state state
	next  time.Time // where state is waiting
}

// settle notes what became of attempts.
func (o *outbox) settle(ctx context.Context, all []outcome) error {
	return sqlite.InTx(ctx, o.db, func(ctx context.Context, tx *sql.Tx) error {
		for _, r := range all {
			_, err := tx.ExecContext(ctx, `UPDATE outbox SET state = ?1, tries = tries + 1, next = ?2,
				call = CASE ?1 WHEN 'done' THEN '' ELSE call END WHERE event = ?3`, r.state, r.next.UnixMilli(), r.event)
			if err != nil {
				return fmt.Errorf("note what became of event %s: %w", r.event, err)
			}
		}
		return nil
	})
}

// count is how many calls wait.
func (o *outbox) count(ctx context.Context) (n int, err error) {
	err = o.db.QueryRowContext(ctx, `SELECT count(*) FROM outbox WHERE state = 'waiting'`).Scan(&n)
	return n, err
}

// prune forgets what was put in before a time and is not waiting.
func (o *outbox) prune(ctx context.Context, before time.Time) error {
	_, err := o.db.ExecContext(ctx, `DELETE FROM outbox WHERE at < ? AND state <> 'waiting'`, before.UnixMilli())
	if err != nil {
		return fmt.Errorf("forget old events: %w", err)
	}
	return nil
}
