package main

import (
	"context"
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
func (w *writer) stitch(ctx context.Context, key string, at int64) error {
	from, to := at, at
	idle := int64(w.idle)
	// Calls of a key are further from each other than idle: two at most are this
	// near to one pop.
	rows, err := w.takeCalls.QueryContext(ctx, key, at+idle, at-idle)
	if err != nil {
		return err
	}
	for rows.Next() {
		var began, ended int64
		if err := rows.Scan(&began, &ended); err != nil {
			return errors.Join(err, rows.Close())
		}
		from, to = min(from, began), max(to, ended)
		w.stale[w.day(time.Unix(0, began))] = true
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	c, err := w.readCall(ctx, key, from, to)
	if err != nil {
		return err
	}
	began := time.Unix(0, c.began)
	w.stale[w.day(began)] = true
	_, err = w.insertCall.ExecContext(ctx, c.key, c.began, c.ended, w.day(began), w.quarter(began),
		c.server, c.agent, c.mode, c.region, c.id, c.shown, c.pops)
	return err
}

// readCall makes a call of a key's pops from one time to another. It is its first
// pop's; what that does not say, a later one may.
func (w *writer) readCall(ctx context.Context, key string, from, to int64) (c call, err error) {
	rows, err := w.pops.QueryContext(ctx, key, from, to)
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
