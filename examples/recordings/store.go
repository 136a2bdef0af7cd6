package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/schema/consume"
)

// store keeps each pop under its event's id, and nothing else: what belongs to one
// call is worked out when somebody asks, so that neither a repeat nor a pop that
// comes behind a later one changes an answer.
type store struct {
	db   *sql.DB
	idle time.Duration
	keep time.Duration // 0: for ever
}

const tables = `
CREATE TABLE IF NOT EXISTS hops (
	event       TEXT PRIMARY KEY,
	key         TEXT NOT NULL,
	at          INTEGER NOT NULL, -- when it was received, in ns since 1970
	server      TEXT NOT NULL,
	agent       TEXT NOT NULL,
	from_agent  TEXT NOT NULL,
	mode        TEXT NOT NULL,
	direction   TEXT NOT NULL,
	call_id     TEXT NOT NULL,
	id_derived  INTEGER NOT NULL,
	line        TEXT NOT NULL,
	started_at  TEXT NOT NULL,    -- RFC 3339 with the server's offset
	number      TEXT NOT NULL,
	e164        TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hops_key    ON hops (key, at, event);
CREATE INDEX IF NOT EXISTS hops_number ON hops (number, at);
CREATE INDEX IF NOT EXISTS hops_e164   ON hops (e164, at) WHERE e164 <> '';
CREATE INDEX IF NOT EXISTS hops_at     ON hops (at);`

const columns = `event, key, at, server, agent, from_agent, mode, direction, call_id, id_derived, line, started_at, number, e164`

func openStore(ctx context.Context, path string, idle, keep time.Duration) (*store, error) {
	db, err := sqlite.Open(ctx, path, tables)
	if err != nil {
		return nil, err
	}
	return &store{db: db, idle: idle, keep: keep}, nil
}

func (s *store) close() error { return s.db.Close() }

// add keeps pops, all or none. One that is there already stays as it is.
func (s *store) add(ctx context.Context, all []*consume.Delivery) error {
	return sqlite.InTx(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, `INSERT OR IGNORE INTO hops (`+columns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return fmt.Errorf("keep pops: %w", err)
		}
		defer func() { _ = insert.Close() }()
		for _, d := range all {
			if s.keep > 0 && d.Late(time.Now(), s.keep) {
				continue
			}
			p := d.CallPop
			var started string
			if !p.Call.StartedAt.IsZero() {
				started = p.Call.StartedAt.Format(time.RFC3339Nano)
			}
			_, err := insert.ExecContext(ctx, p.ID, p.Key, p.ReceivedAt.UnixNano(), p.Server, p.Agent.ID,
				p.Call.TransferredFrom, p.Pop.Mode, p.Direction, p.Call.ID, p.Call.IDDerived, p.Call.Line, started,
				p.Customer.Number, p.Customer.E164)
			if err != nil {
				return fmt.Errorf("keep the pop of event %s: %w", p.ID, err)
			}
		}
		return nil
	})
}

// forgets is how often old pops are deleted.
const forgets = time.Hour

// forget deletes what is older than is to be kept, until ctx is done.
func (s *store) forget(ctx context.Context) error {
	if s.keep == 0 {
		return nil
	}
	tick := time.NewTicker(forgets)
	defer tick.Stop()
	for {
		_, err := s.db.ExecContext(ctx, `DELETE FROM hops WHERE at < ?`, time.Now().Add(-s.keep).UnixNano())
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("delete old pops: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// hops returns the newest pops of a key, in the order in which they came.
func (s *store) hops(ctx context.Context, key string) (all []hop, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT * FROM (SELECT `+columns+` FROM hops WHERE key = ?
		ORDER BY at DESC, event DESC LIMIT ?) ORDER BY at, event`, key, maxHops)
	if err != nil {
		return nil, fmt.Errorf("read a key's pops: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var h hop
		var at int64
		var started string
		if err := rows.Scan(&h.Event, &h.key, &at, &h.server, &h.Agent, &h.From, &h.Mode, &h.direction, &h.ID,
			&h.derived, &h.line, &started, &h.number, &h.e164); err != nil {
			return nil, fmt.Errorf("read a key's pops: %w", err)
		}
		h.At = time.Unix(0, at).UTC()
		if started != "" {
			if h.started, err = time.Parse(time.RFC3339Nano, started); err != nil {
				return nil, fmt.Errorf("read the pop of event %s: %w", h.Event, err)
			}
		}
		all = append(all, h)
	}
	return all, rows.Err()
}

// maxHops bounds what is read of one key: years of a serial number that starts
// again each day.
const maxHops = 5000

// query asks for calls by key or by number.
type query struct {
	key, number string
	// before goes on where an answer ended: at the event that it named.
	before string
	limit  int
}

// where is the condition on a pop that is asked for.
func (q *query) where() (condition, value string) {
	if q.key != "" {
		return `key = ?1`, q.key
	}
	// The number as the telephone system writes it, or in its international form;
	// then the others in which the same line's number was written.
	return `(number = ?1 OR (e164 <> '' AND e164 IN (SELECT ?1 UNION SELECT '+' || ?1
		UNION SELECT e164 FROM hops WHERE number = ?1)))`, q.number
}

// errNoEvent is a query's before that is none of its pops.
var errNoEvent = errors.New("no such event")

// find returns calls, newest first, and the event to go on before; empty: there
// are no more.
func (s *store) find(ctx context.Context, q *query) (calls []call, next string, err error) {
	where, value := q.where()
	matches, err := s.db.QueryContext(ctx, `SELECT event, key FROM hops WHERE `+where+` ORDER BY at DESC, event DESC`, value)
	if err != nil {
		return nil, "", fmt.Errorf("find calls: %w", err)
	}
	defer func() { err = errors.Join(err, matches.Close()) }()
	stitched := map[string][]call{} // by key
	seen := map[string]bool{}       // events of calls that had their turn
	there := q.before == ""         // whether the part that is asked for has begun
	for matches.Next() {
		var event, key string
		if err := matches.Scan(&event, &key); err != nil {
			return nil, "", fmt.Errorf("find calls: %w", err)
		}
		if seen[event] {
			continue
		}
		if len(calls) == q.limit {
			return calls, next, nil
		}
		if stitched[key] == nil {
			hops, err := s.hops(ctx, key)
			if err != nil {
				return nil, "", err
			}
			stitched[key] = stitch(hops, s.idle)
		}
		c := of(stitched[key], event)
		if c == nil {
			continue // older than what is read of a key, or deleted just now
		}
		for _, h := range c.Hops {
			seen[h.Event] = true
		}
		if there {
			calls, next = append(calls, *c), event
		}
		there = there || seen[q.before]
	}
	if err := matches.Err(); err != nil {
		return nil, "", fmt.Errorf("find calls: %w", err)
	}
	if !there {
		return nil, "", errNoEvent
	}
	return calls, "", nil
}

// of is the call that an event belongs to.
func of(calls []call, event string) *call {
	for i := range calls {
		for _, h := range calls[i].Hops {
			if h.Event == event {
				return &calls[i]
			}
		}
	}
	return nil
}
