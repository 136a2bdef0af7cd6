package relay

import (
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

// agents remembers, for each agent, whether a session is live, when the last one
// was, and what was reported last. It is bounded: its keys come from the network.
// Only the tap's goroutine uses it.
type agents struct {
	known map[string]*agentState
	max   int
	// absences begin the first gap of an agent never seen.
	absences *source.Absences
	source   string // its name
	// forgetful is set once an agent was forgotten: of one that is not known,
	// nothing is known from then on.
	forgetful bool
}

type agentState struct {
	live int
	// state is the last one reported; empty if none was.
	state schema.SessionState
	// lastHeard is when the last live session was last heard.
	lastHeard time.Time
}

func newAgents(maxClients int, absences *source.Absences, sourceName string) *agents {
	// Those with a live session always find a place.
	return &agents{known: map[string]*agentState{}, max: 4*maxClients + 1000, absences: absences, source: sourceName}
}

func (a *agents) of(id string) *agentState {
	state := a.known[id]
	if state == nil {
		if len(a.known) >= a.max {
			a.forgetOne()
		}
		state = &agentState{}
		if !a.forgetful {
			state.lastHeard = a.absences.Since(a.source, id)
		}
		a.known[id] = state
	}
	return state
}

// forgetOne makes room. Which one goes is left to the map: most have no session.
func (a *agents) forgetOne() {
	for id, state := range a.known {
		if state.live == 0 {
			delete(a.known, id)
			a.absences.Forget(a.source, id)
			a.forgetful = true
			return
		}
	}
}

// rise notes a session that was first heard at at. report says whether the agent
// had none before; gap is then the time without one, nil where that is not known.
func (a *agents) rise(id string, at time.Time) (gap *schema.Gap, before schema.SessionState, report bool) {
	state := a.of(id)
	state.live++
	if state.live > 1 {
		return nil, schema.Connected, false
	}
	if since := state.lastHeard; !since.IsZero() && since.Before(at) {
		gap = &schema.Gap{From: since.UTC(), To: at.UTC()}
	}
	a.absences.End(a.source, id)
	before, state.state = state.state, schema.Connected
	return gap, before, true
}

// fall notes that a live session ended as to, having last been heard at lastHeard.
// False means that the agent has another one.
func (a *agents) fall(id string, to schema.SessionState, lastHeard time.Time) (report bool) {
	state := a.of(id)
	if lastHeard.After(state.lastHeard) {
		state.lastHeard = lastHeard
	}
	if state.live--; state.live > 0 {
		return false
	}
	a.absences.Begin(a.source, id, state.lastHeard)
	state.state = to
	return true
}

// fail notes a session that was never heard. False means that this is no news: the
// agent has a live session, or is known to be down.
func (a *agents) fail(id string) (report bool) {
	state := a.of(id)
	if state.live > 0 || state.state != "" && state.state != schema.Closed {
		return false
	}
	state.state = schema.Failed
	return true
}
