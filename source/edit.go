package source

import (
	"cmp"
	"math/rand/v2"
	"time"

	"github.com/callpop/connector/schema"
)

// Why sessions are closed though nothing is wrong with them, as their events say.
const (
	// CauseRoster: the roster does not have the agent any more.
	CauseRoster = "roster"
	// CauseConfiguration: the session's address, registration or channel changed.
	CauseConfiguration = "configuration"
	// CauseReplicas: another replica has the agent now.
	CauseReplicas = "replicas"
	// CauseDrain: an operator drains the connector.
	CauseDrain = "drain"
)

// Edit counts what a change of the roster did.
type Edit struct {
	// Opened and Closed count agents that came and went; Reopened those whose
	// session ends and is opened anew; Kept those that were left alone.
	Opened, Closed, Reopened, Kept int
}

// Set makes origins the roster: at most one for each agent. An agent whose origin
// is the very one it had is left alone; one with another origin has its session
// closed, for [CauseConfiguration], and a new one opened once it has ended; one that
// is not among them leaves for cause. It returns at once, and may be called at any
// time; the slice must not be changed afterwards.
//
// While the fleet is drained nobody is added.
func (f *Fleet) Set(origins []*Origin, cause string) Edit {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed = origins
	switch f.phase {
	case fleetIdle:
		f.wanted = len(origins)
		f.expect()
		return Edit{Opened: len(origins)}
	case fleetOver:
		return Edit{}
	case fleetRunning, fleetDrained:
	}
	return f.settle(cause)
}

// settle has the members follow listed. mu is held.
func (f *Fleet) settle(cause string) (done Edit) {
	f.edit++
	now := time.Now()
	for _, o := range f.listed {
		m := f.members[o.Agent]
		switch {
		case m == nil && f.phase == fleetDrained:
			continue
		case m == nil:
			f.add(o, cmp.Or(o.DownSince, now))
			done.Opened++
			continue
		case m.cause != "" && f.phase == fleetDrained:
		case m.cause != "":
			if m.next == nil {
				done.Opened++
			}
			m.next = o // opened once the old one has ended
		case m.origin == o:
			done.Kept++
		case f.phase == fleetDrained:
			f.leave(m, nil, cause)
			done.Closed++
		default:
			f.leave(m, o, CauseConfiguration)
			done.Reopened++
		}
		m.edit = f.edit
	}
	f.wanted = 0
	for _, m := range f.members {
		switch {
		case m.edit == f.edit:
		case m.cause == "":
			f.leave(m, nil, cause)
			done.Closed++
		case m.next != nil:
			m.next = nil
			done.Closed++
		}
		if m.cause == "" || m.next != nil {
			f.wanted++
		}
	}
	return done
}

// SetReconnectInterval changes the bound of the pauses between attempts. Where it
// is lower than before, the pauses under way are drawn anew.
func (f *Fleet) SetReconnectInterval(bound time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shorter := bound < f.reconnectInterval
	f.reconnectInterval = bound
	for _, m := range f.members {
		// A timer that has fired meanwhile has its callback find it in force still,
		// and is not set again.
		if shorter && m.timer != nil && m.timer.Stop() {
			m.timer.Reset(rand.N(max(1, bound)))
		}
	}
}

// AgentStatus is what there is to say of one agent's session.
type AgentStatus struct {
	ID, Channel string
	// State is the last one reported, at Since, because of Cause.
	State schema.SessionState
	Since time.Time
	Cause string
	// LastPop is when its session last had a pop; zero if it never had.
	LastPop time.Time
}

// Agents are the statuses of all agents, in no order, also of those that leave.
func (f *Fleet) Agents() []AgentStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]AgentStatus, 0, len(f.members))
	for _, m := range f.members {
		all = append(all, m.status())
	}
	return all
}

// Agent is the status of one agent; false if the fleet has it not.
func (f *Fleet) Agent(id string) (AgentStatus, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[id]; m != nil {
		return m.status(), true
	}
	return AgentStatus{}, false
}

func (m *member) status() AgentStatus {
	return AgentStatus{
		ID: m.origin.Agent, Channel: m.origin.Channel,
		State: m.state, Since: m.since.time(), Cause: m.detail, LastPop: m.origin.LastPop(),
	}
}

// Drain opens nothing more until [Fleet.Resume], has agents without a session
// leave, and returns those that have one, whom [Fleet.CloseAgent] closes one by one.
func (f *Fleet) Drain() []AgentStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == fleetOver {
		return nil
	}
	f.phase = fleetDrained
	var held []AgentStatus
	f.wanted = 0
	for _, m := range f.members {
		m.next = nil
		switch {
		case m.cause != "":
		case m.phase == memberHeld:
			held = append(held, m.status())
			f.wanted++
		default:
			f.leave(m, nil, CauseDrain)
		}
	}
	return held
}

// CloseAgent closes the session of one agent of a fleet that is being drained.
func (f *Fleet) CloseAgent(agent string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[agent]; m != nil && m.cause == "" && f.phase == fleetDrained {
		f.leave(m, nil, CauseDrain)
		f.wanted--
	}
}

// Resume opens the sessions of the roster again after [Fleet.Drain].
func (f *Fleet) Resume() Edit {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase != fleetDrained {
		return Edit{}
	}
	f.phase = fleetRunning
	return f.settle(CauseRoster)
}
