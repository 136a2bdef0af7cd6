package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// report is what is known of one day.
type report struct {
	day string
	// from is when the day begins, to is when it ends, or what is known of it.
	from, to  time.Time
	servers   []string
	calls     int
	pops      int
	callers   int // numbers that called
	again     int // of these, those that called again
	quarters  []quarterCount
	modes     []count
	regions   []count
	agents    []agentCount
	repeats   []repeatCaller
	presences []presence
}

// over tells whether it is of the whole day.
func (r *report) over() bool { return !r.to.Before(r.from.AddDate(0, 0, 1)) }

// count is how many calls have something in common.
type count struct {
	Name  string
	Calls int
}

type quarterCount struct {
	quarter, mode string
	calls         int
}

type agentCount struct {
	agent
	calls, first int
}

// repeatCaller is a number that called more than once on one day.
type repeatCaller struct {
	// ID is what the database calls the number, of which Shown is what may be seen.
	ID, Shown, Region string
	Calls, Agents     int
	First, Last       time.Time
}

// readReport reads a day, and writes its availability, which is worked out here.
func (s *store) readReport(ctx context.Context, tx *sql.Tx, day string, now time.Time) (*report, error) {
	from, err := time.ParseInLocation(time.DateOnly, day, s.zone)
	if err != nil {
		return nil, err
	}
	r := &report{day: day, from: from, to: from.AddDate(0, 0, 1)}
	if now.After(from) && now.Before(r.to) {
		r.to = now
	}
	err = errors.Join(
		tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(pops), 0), count(DISTINCT nullif(caller, '')),
			(SELECT count(*) FROM repeat_callers WHERE day = ?1) FROM calls WHERE day = ?1`, day).
			Scan(&r.calls, &r.pops, &r.callers, &r.again),
		query(ctx, tx, func(scan scan) error {
			var server string
			defer func() { r.servers = append(r.servers, server) }()
			return scan(&server)
		}, `SELECT DISTINCT server FROM calls WHERE day = ? ORDER BY server`, day),
		query(ctx, tx, func(scan scan) error {
			var q quarterCount
			defer func() { r.quarters = append(r.quarters, q) }()
			return scan(&q.quarter, &q.mode, &q.calls)
		}, `SELECT quarter, mode, count(*) FROM calls WHERE day = ? GROUP BY quarter, mode ORDER BY quarter, mode`, day),
		counts(ctx, tx, &r.modes, `SELECT mode, calls FROM calls_by_mode WHERE day = ?`, day),
		counts(ctx, tx, &r.regions, `SELECT region, calls FROM calls_by_region WHERE day = ?`, day),
		query(ctx, tx, func(scan scan) error {
			var a agentCount
			defer func() { r.agents = append(r.agents, a) }()
			return scan(&a.server, &a.id, &a.calls, &a.first)
		}, `SELECT server, agent, calls, first FROM calls_by_agent WHERE day = ?`, day),
		query(ctx, tx, func(scan scan) error {
			var c repeatCaller
			var first, last int64
			err := scan(&c.ID, &c.Shown, &c.Region, &c.Calls, &c.Agents, &first, &last)
			c.First, c.Last = time.Unix(0, first).In(s.zone), time.Unix(0, last).In(s.zone)
			r.repeats = append(r.repeats, c)
			return err
		}, `SELECT caller, shown, region, calls, agents, first, last FROM repeat_callers WHERE day = ?
			ORDER BY calls DESC, last DESC LIMIT ?`, day, shownCallers),
	)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(r.agents, func(a, b agentCount) int {
		return cmp.Or(cmp.Compare(b.calls, a.calls), cmp.Compare(a.server, b.server), compareNames(a.id, b.id))
	})
	if r.presences, err = presences(ctx, tx, r.from, r.to); err != nil {
		return nil, err
	}
	for _, p := range r.presences {
		if !slices.Contains(r.servers, p.server) {
			r.servers = append(r.servers, p.server)
		}
	}
	return r, writeAvailability(ctx, tx, day, r.presences)
}

type scan func(...any) error

// query has each row of an answer read.
func query(ctx context.Context, tx *sql.Tx, row func(scan) error, statement string, values ...any) (err error) {
	rows, err := tx.QueryContext(ctx, statement, values...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// counts reads names and calls, most calls first.
func counts(ctx context.Context, tx *sql.Tx, to *[]count, statement, day string) error {
	return query(ctx, tx, func(scan scan) error {
		var c count
		defer func() { *to = append(*to, c) }()
		return scan(&c.Name, &c.Calls)
	}, statement+` ORDER BY 2 DESC, 1`, day)
}

func writeAvailability(ctx context.Context, tx *sql.Tx, day string, all []presence) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM availability WHERE day = ?`, day); err != nil {
		return fmt.Errorf("write the availability of %s: %w", day, err)
	}
	for _, p := range all {
		if _, err := tx.ExecContext(ctx, `INSERT INTO availability VALUES (?, ?, ?, ?, ?, ?)`,
			day, p.server, p.id, p.seconds(up), p.seconds(down), p.drops()); err != nil {
			return fmt.Errorf("write the availability of %s: %w", day, err)
		}
	}
	return nil
}
