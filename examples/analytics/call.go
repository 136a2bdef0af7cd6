package main

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// call is a row of the table of calls.
type call struct {
	key, server, agent, mode string
	caller
	began, ended int64
	pops         int
}

// stitch makes one call of a new pop, the calls on which it borders, and so of those
// that it joins: their order does not matter, nor when they come.
func (s *store) stitch(ctx context.Context, tx *sql.Tx, key string, at int64) error {
	from, to := at, at
	idle := int64(s.idle)
	// Calls of a key are further from each other than idle: two at most are this
	// near to one pop.
	rows, err := tx.QueryContext(ctx, `DELETE FROM calls WHERE key = ? AND began <= ? AND ended >= ? RETURNING began, ended`,
		key, at+idle, at-idle)
	if err != nil {
		return err
	}
	var days []string
	for rows.Next() {
		var began, ended int64
		if err := rows.Scan(&began, &ended); err != nil {
			return errors.Join(err, rows.Close())
		}
		from, to = min(from, began), max(to, ended)
		days = append(days, s.day(time.Unix(0, began)))
	}
	if err := rows.Close(); err != nil {
		return err
	}
	c, err := readCall(ctx, tx, key, from, to)
	if err != nil {
		return err
	}
	began := time.Unix(0, c.began)
	if _, err := tx.ExecContext(ctx, `INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, c.key, c.began, c.ended,
		s.day(began), s.quarter(began), c.server, c.agent, c.mode, c.region, c.id, c.shown, c.pops); err != nil {
		return err
	}
	for _, day := range append(days, s.day(began)) {
		if err := s.stale(ctx, tx, day); err != nil {
			return err
		}
	}
	return nil
}

// readCall makes a call of a key's pops from one time to another. It is its first
// pop's; what that does not say, a later one may.
func readCall(ctx context.Context, tx *sql.Tx, key string, from, to int64) (c call, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT at, server, agent, mode, caller, shown, region FROM pops
		WHERE key = ? AND at BETWEEN ? AND ? ORDER BY at, event`, key, from, to)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var next call
		if err := rows.Scan(&next.began, &next.server, &next.agent, &next.mode, &next.id, &next.shown, &next.region); err != nil {
			return c, err
		}
		if c.pops == 0 {
			c, c.key = next, key
		}
		if c.agent == unknown {
			c.agent = next.agent
		}
		if c.mode == unknown {
			c.mode = next.mode
		}
		if c.id == "" {
			c.caller = next.caller
		}
		c.ended = next.began
		c.pops++
	}
	return c, rows.Err()
}
