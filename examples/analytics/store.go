package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/callpop/connector/examples/internal/sqlite"
)

// tables are the events, by their id; what was made of them; and the answers. Times
// are nanoseconds since 1970.
const tables = `
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS pops (
	event  TEXT PRIMARY KEY,
	key    TEXT NOT NULL,
	at     INTEGER NOT NULL,
	server TEXT NOT NULL,
	agent  TEXT NOT NULL,
	mode   TEXT NOT NULL,
	caller TEXT NOT NULL,
	shown  TEXT NOT NULL,
	region TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pops_key ON pops (key, at);
CREATE INDEX IF NOT EXISTS pops_at ON pops (at);

CREATE TABLE IF NOT EXISTS sessions (
	event    TEXT PRIMARY KEY,
	at       INTEGER NOT NULL,
	server   TEXT NOT NULL,
	agent    TEXT NOT NULL,
	state    TEXT NOT NULL,
	gap_from INTEGER, -- of the time in which pops may have been missed
	gap_to   INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_agent ON sessions (server, agent, at);

-- A call is all pops of a key with less than two hours (idle) between each and the next.
CREATE TABLE IF NOT EXISTS calls (
	key     TEXT NOT NULL,
	began   INTEGER NOT NULL, -- the first pop
	ended   INTEGER NOT NULL, -- the last pop
	day     TEXT NOT NULL,    -- of the first pop, as 2026-11-23
	quarter TEXT NOT NULL,    -- of an hour, in which the first pop came: 09:15
	server  TEXT NOT NULL,
	agent   TEXT NOT NULL,    -- who had it first
	mode    TEXT NOT NULL,
	region  TEXT NOT NULL,
	caller  TEXT NOT NULL,    -- the same for each call of a number; empty: withheld
	shown   TEXT NOT NULL,    -- the number with its middle hidden
	pops    INTEGER NOT NULL,
	PRIMARY KEY (key, began)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_day ON calls (day);

CREATE TABLE IF NOT EXISTS availability (
	day    TEXT NOT NULL,
	server TEXT NOT NULL,
	agent  TEXT NOT NULL,
	up     REAL NOT NULL, -- seconds in which a pop would have come
	down   REAL NOT NULL, -- seconds in which it may have been missed
	drops  INTEGER NOT NULL, -- how often up became down
	PRIMARY KEY (day, server, agent)
) WITHOUT ROWID;

-- The days of which there is something: whether that has changed since the page was plotted, and whether
-- the day was over by then.
CREATE TABLE IF NOT EXISTS days (day TEXT PRIMARY KEY, stale INTEGER NOT NULL, over INTEGER NOT NULL) WITHOUT ROWID;

CREATE VIEW IF NOT EXISTS calls_by_quarter AS SELECT day, quarter, count(*) AS calls FROM calls GROUP BY day, quarter;
CREATE VIEW IF NOT EXISTS calls_by_mode    AS SELECT day, mode,    count(*) AS calls FROM calls GROUP BY day, mode;
CREATE VIEW IF NOT EXISTS calls_by_region  AS SELECT day, region,  count(*) AS calls FROM calls GROUP BY day, region;
-- calls is in how many an agent took part, each once; first is how many of them rang there first.
CREATE VIEW IF NOT EXISTS calls_by_agent AS
	SELECT day, server, agent, count(*) AS calls, sum(first) AS first
	FROM (SELECT c.day, p.server, p.agent, max(p.server = c.server AND p.agent = c.agent) AS first
		FROM calls c JOIN pops p ON p.key = c.key AND p.at BETWEEN c.began AND c.ended
		GROUP BY c.key, c.began, p.server, p.agent)
	GROUP BY day, server, agent;
CREATE VIEW IF NOT EXISTS repeat_callers AS
	SELECT day, caller, shown, region, count(*) AS calls, count(DISTINCT server || '/' || agent) AS agents,
		min(began) AS first, max(began) AS last
	FROM calls WHERE caller <> '' GROUP BY day, caller HAVING count(*) > 1;
`

// storeOptions are what is counted as one.
type storeOptions struct {
	zone       *time.Location
	idle, keep time.Duration
}

// store is the database.
type store struct {
	storeOptions

	db     *sql.DB
	secret []byte
}

func openStore(ctx context.Context, path string, o storeOptions) (_ *store, err error) {
	db, err := sqlite.Open(ctx, path, tables)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
		}
	}()
	s := &store{storeOptions: o, db: db}
	for name, now := range map[string]string{"timezone": o.zone.String(), "idle": o.idle.String()} {
		was, err := s.setting(ctx, name, now)
		if err != nil {
			return nil, err
		}
		if was != now {
			return nil, fmt.Errorf("it was made with -%s %s: expected the same, not %s", name, was, now)
		}
	}
	secret, err := s.setting(ctx, "secret", rand.Text())
	if err != nil {
		return nil, err
	}
	s.secret = []byte(secret)
	return s, nil
}

func (s *store) close() error { return s.db.Close() }

// setting is what a setting was at the first start, which makes it what it is now.
func (s *store) setting(ctx context.Context, name, now string) (value string, err error) {
	if _, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO settings VALUES (?, ?)`, name, now); err != nil {
		return "", fmt.Errorf("set the database's %s: %w", name, err)
	}
	if err := s.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&value); err != nil {
		return "", fmt.Errorf("read the database's %s: %w", name, err)
	}
	return value, nil
}

// day is the day of a time, as 2026-11-23.
func (s *store) day(at time.Time) string { return at.In(s.zone).Format(time.DateOnly) }

// quarter is the quarter of an hour of a time, as 09:15.
func (s *store) quarter(at time.Time) string {
	at = at.In(s.zone)
	return fmt.Sprintf("%02d:%02d", at.Hour(), at.Minute()/15*15)
}

// forgets is how often what is old is deleted.
const forgets = time.Hour

// forget deletes what is older than is to be kept, until ctx is done. An agent's
// last session stays: it says what the agent is in.
func (s *store) forget(ctx context.Context) error {
	if s.keep == 0 {
		return nil
	}
	tick := time.NewTicker(forgets)
	defer tick.Stop()
	for {
		if err := s.deleteBefore(ctx, time.Now().Add(-s.keep)); err != nil && ctx.Err() == nil {
			return fmt.Errorf("delete what is old: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *store) deleteBefore(ctx context.Context, at time.Time) error {
	return sqlite.InTx(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		for statement, before := range map[string]any{
			`DELETE FROM pops WHERE at < ?`:          at.UnixNano(),
			`DELETE FROM calls WHERE began < ?`:      at.UnixNano(),
			`DELETE FROM availability WHERE day < ?`: s.day(at),
			`DELETE FROM days WHERE day < ?`:         s.day(at),
			`DELETE FROM sessions WHERE at < ? AND EXISTS (SELECT 1 FROM sessions later
				WHERE later.server = sessions.server AND later.agent = sessions.agent AND later.at > sessions.at)`: at.UnixNano(),
		} {
			if _, err := tx.ExecContext(ctx, statement, before); err != nil {
				return err
			}
		}
		return nil
	})
}
