package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/callpop/connector/schema"
)

// agent is one agent of one server.
type agent struct{ server, id string }

// change is what a SessionChanged says.
type change struct {
	at    time.Time
	state schema.SessionState
	gap   *schema.Gap
}

// reach is whether a pop for an agent would have come.
type reach string

const (
	// up: it would have.
	up reach = "up"
	// down: the session was broken, or lost what it got; also looked back on, since a
	// dead session is found out late.
	down reach = "down"
	// off: the connector was not to hold one, or has said nothing yet.
	off reach = "off"
)

// stretch is a time in which that did not change.
type stretch struct {
	From, To time.Time
	Reach    reach
}

// presence is what an agent's sessions were in a time.
type presence struct {
	agent
	stretches []stretch
}

// seconds is how long that time was in one state.
func (p *presence) seconds(r reach) float64 {
	var sum time.Duration
	for _, s := range p.stretches {
		if s.Reach == r {
			sum += s.To.Sub(s.From)
		}
	}
	return sum.Seconds()
}

// drops is how often up became down.
func (p *presence) drops() (n int) {
	for i := 1; i < len(p.stretches); i++ {
		if p.stretches[i-1].Reach == up && p.stretches[i].Reach == down {
			n++
		}
	}
	return n
}

// share is up among up and down; 0 where there is neither.
func (p *presence) share() float64 {
	return p.seconds(up) / cmp.Or(p.seconds(up)+p.seconds(down), 1)
}

// follow tells from an agent's changes, in their order, what the time from one time
// to another was like. A gap goes before what the states say.
func follow(changes []change, from, to time.Time) []stretch {
	edges := []time.Time{from, to}
	for _, c := range changes {
		edges = append(edges, c.at)
		if c.gap != nil {
			edges = append(edges, c.gap.From, c.gap.To)
		}
	}
	edges = slices.DeleteFunc(edges, func(at time.Time) bool { return at.Before(from) || at.After(to) })
	slices.SortFunc(edges, time.Time.Compare)
	var all []stretch
	for i := 1; i < len(edges); i++ {
		s := stretch{From: edges[i-1], To: edges[i], Reach: reachAt(changes, edges[i-1])}
		switch last := len(all) - 1; {
		case !s.From.Before(s.To):
		case last >= 0 && all[last].Reach == s.Reach:
			all[last].To = s.To
		default:
			all = append(all, s)
		}
	}
	return all
}

// reachAt is what it was from a time on.
func reachAt(changes []change, at time.Time) reach {
	r := off
	for _, c := range changes {
		if c.gap != nil && !at.Before(c.gap.From) && at.Before(c.gap.To) {
			return down
		}
		if c.at.After(at) {
			continue // its gap may reach back
		}
		switch c.state {
		case schema.Connected:
			r = up
		case schema.Closed:
			r = off
		default:
			r = down
		}
	}
	return r
}

// presences tells what the sessions of all agents were like from one time to another.
func presences(ctx context.Context, tx *sql.Tx, from, to time.Time) (all []presence, err error) {
	// What happened in that time, the state at its start, and gaps that reach into it.
	rows, err := tx.QueryContext(ctx, `SELECT server, agent, at, state, gap_from, gap_to FROM sessions s
		WHERE at < ?2 AND (at >= ?1 OR at = (SELECT max(at) FROM sessions WHERE server = s.server AND agent = s.agent AND at < ?1))
			OR gap_from < ?2 AND gap_to > ?1
		ORDER BY server, agent, at, event`, from.UnixNano(), to.UnixNano())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	changes := map[agent][]change{}
	for rows.Next() {
		var who agent
		var c change
		var at int64
		var gapFrom, gapTo sql.NullInt64
		if err := rows.Scan(&who.server, &who.id, &at, &c.state, &gapFrom, &gapTo); err != nil {
			return nil, err
		}
		c.at = time.Unix(0, at)
		if gapFrom.Valid && gapTo.Valid {
			c.gap = &schema.Gap{From: time.Unix(0, gapFrom.Int64), To: time.Unix(0, gapTo.Int64)}
		}
		changes[who] = append(changes[who], c)
	}
	for who, of := range changes {
		p := presence{agent: who, stretches: follow(of, from, to)}
		if p.seconds(up)+p.seconds(down) > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b presence) int { return cmp.Or(cmp.Compare(a.server, b.server), compareNames(a.id, b.id)) })
	return all, rows.Err()
}

// compareNames orders 99 before 801.
func compareNames(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }
