package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/callpop/connector/schema"
)

// ErrParted is what a [Session]'s Read returns when its socket is another process's:
// the agent's session goes on there, and nothing is reported.
var ErrParted = errors.New("the session was handed over")

// Handed is one agent of a fleet on its way to another process.
type Handed struct {
	Agent   string              `json:"agent"`
	Channel string              `json:"channel"`
	State   schema.SessionState `json:"state"`
	Since   time.Time           `json:"since"`
	Detail  string              `json:"detail,omitempty"`
	// DownSince is when the last live session was last heard, UpAt when this one was
	// first; zero while it was not.
	DownSince time.Time `json:"down_since"`
	UpAt      time.Time `json:"up_at"`
	LastPop   time.Time `json:"last_pop"`
	Failures  int       `json:"failures"`
	// Session is nil for an agent who has none now.
	Session Session `json:"-"`
	// Origin is, for [Fleet.Adopt], that of the roster where the session is as the
	// roster would have it; else one of its own.
	Origin *Origin `json:"-"`
}

// pausePoll is how often a pause is looked after.
const pausePoll = 5 * time.Millisecond

// dialGrace is how long attempts under way may go on in a pause, before they are
// given up and made again later: it serves servers that answer, whom a connection
// that breaks off would concern.
const dialGrace = time.Second

// Pause opens nothing until [Fleet.Unpause]. It returns when no attempt is under way
// and no agent is leaving; ctx bounds that.
func (f *Fleet) Pause(ctx context.Context) error {
	ticker := time.NewTicker(pausePoll)
	defer ticker.Stop()
	for began := time.Now(); ; {
		if f.pause(time.Since(began) > dialGrace) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for sessions that open or close: %w", context.Cause(ctx))
		}
	}
}

// pause reports whether all is quiet. giveUp has attempts end.
func (f *Fleet) pause(giveUp bool) (quiet bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused, quiet = true, true
	for _, m := range f.members {
		switch {
		case m.phase == memberDialling:
			quiet = false
			if giveUp && !m.again {
				m.again = true
				m.cancel()
			}
		case m.cause != "" && m.phase == memberHeld, m.phase == memberEnding:
			quiet = false
		}
	}
	return quiet
}

// Unpause ends a pause.
func (f *Fleet) Unpause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = false
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// HandOver gives the state of every agent, in a pause, while no session can end. The
// fleet goes on as it is, unless [Fleet.Part] follows. False means that a session
// ends just now: ask again.
func (f *Fleet) HandOver() (all []Handed, quiet bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		if m.phase == memberEnding || m.phase == memberDialling || m.cause != "" {
			return nil, false
		}
		all = append(all, Handed{
			Agent: m.origin.Agent, Channel: m.origin.Channel, State: m.state, Since: m.since.time(), Detail: m.detail,
			DownSince: m.downSince.time(), UpAt: m.upAt.time(), LastPop: m.origin.LastPop(), Failures: int(m.failures), Session: m.session,
		})
	}
	return all, true
}

// Part says that all agents are another process's from now on. The sessions' Read
// has to return [ErrParted]; nothing is closed or reported.
func (f *Fleet) Part() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parted, f.phase, f.due = true, fleetOver, nil
	for _, m := range f.members {
		switch m.phase {
		case memberWaiting:
			m.timer.Stop()
			m.timer = nil
			f.part(m)
		case memberDue:
			f.part(m)
		case memberDialling, memberHeld, memberEnding, memberGone: // their goroutines do
		}
	}
}

// part forgets a member. mu is held.
func (f *Fleet) part(m *member) {
	if m.upAt != 0 && m.cause == "" {
		f.up--
	}
	m.phase, m.session, m.upAt = memberGone, nil, 0
	if f.members[m.origin.Agent] == m {
		delete(f.members, m.origin.Agent)
		f.agents.Done()
	}
}

// Adopt takes the agents that another process handed over; with [Fleet.Run] the
// fleet goes on with them. A session that is not as the roster would have it is
// closed then, as by [Fleet.Set].
func (f *Fleet) Adopt(all []Handed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.adopted = append(f.adopted, all...)
	for _, h := range all { // now: what is saved from here on is theirs
		if h.Session != nil && !h.UpAt.IsZero() {
			f.o.Absences.End(h.Origin.Name, h.Agent)
		} else {
			f.o.Absences.Begin(h.Origin.Name, h.Agent, h.DownSince)
		}
	}
}

// begin makes the members with which the fleet starts: those that were adopted, and
// unless it is drained those of the roster. mu is held.
func (f *Fleet) begin(now time.Time) {
	listed := make(map[string]*Origin, len(f.listed))
	for _, o := range f.listed {
		listed[o.Agent] = o
	}
	for i := range f.adopted {
		if h := &f.adopted[i]; h.Session != nil || f.phase != fleetDrained {
			f.adopt(h)
		}
	}
	f.adopted = nil
	for agent, m := range f.members {
		switch o := listed[agent]; {
		case o == nil:
			f.leave(m, nil, CauseRoster)
		case o != m.origin && f.phase == fleetDrained:
			f.leave(m, nil, CauseConfiguration)
		case o != m.origin:
			f.leave(m, o, CauseConfiguration)
		}
	}
	if f.phase == fleetDrained {
		f.wanted = f.up
		return
	}
	for _, o := range f.listed {
		if f.members[o.Agent] == nil {
			f.add(o, cmp.Or(f.o.Absences.Since(o.Name, o.Agent), o.DownSince, now))
		}
	}
	f.short = f.up < f.wanted
}

// adopt makes the member of an agent that was another process's. mu is held.
func (f *Fleet) adopt(h *Handed) {
	m := &member{
		origin: h.Origin, edit: f.edit, state: h.State, since: instantOf(h.Since), detail: h.Detail,
		downSince: instantOf(h.DownSince), failures: int32(max(0, min(h.Failures, math.MaxInt32))), upAt: instantOf(h.UpAt),
	}
	h.Origin.state = h.State
	if !h.LastPop.IsZero() {
		h.Origin.popped(h.LastPop)
	}
	f.members[h.Agent] = m
	f.agents.Add(1)
	switch {
	case h.Session != nil:
		m.phase, m.session = memberHeld, h.Session
		if m.upAt != 0 {
			f.up++
		}
		go f.hold(m, h.Session)
	case m.failures > 0:
		f.await(m)
	default:
		f.queue(m)
	}
}
