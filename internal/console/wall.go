package console

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

const (
	// maxAgents bounds the wall: twice what one connector holds sessions for. Names
	// come off the wire too.
	maxAgents = 20_000
	// maxRecent bounds the events of each kind that are listed.
	maxRecent = 100
	// maxRecentBytes is the longest body that is kept for the list.
	maxRecentBytes = 16 << 10
	// closedTime is how long an agent stays whose session was closed for good, and
	// quietTime one without a session and without a pop.
	closedTime = time.Hour
	quietTime  = 24 * time.Hour
)

// wall is what has been read of the spool: agents, the newest events, the rate. Every
// change has a version, so that a viewer gets only what is new to it.
type wall struct {
	mu sync.Mutex // guards all of it
	// run changes where versions begin anew: viewers forget what they have.
	run     string
	version uint64
	agents  map[agentKey]*agent
	// leftOff says that there are more agents than the wall has room for.
	leftOff bool
	recent  map[schema.Type]*ring
	rates   rates
}

type agentKey struct{ server, agent string }

// agent is one tile.
type agent struct {
	key     agentKey
	version uint64
	// state is empty for an agent without a session, whose pops come by callback.
	state   schema.SessionState
	since   time.Time
	cause   string
	pop     spool.Record // the newest; Sequence 0: none
	touched time.Time
}

// entry is an event of the list.
type entry struct {
	spool.Record
	version uint64
}

// ring is the newest events of one kind.
type ring struct {
	entries [maxRecent]entry
	next    int
}

func (r *ring) add(e entry) {
	r.entries[r.next] = e
	r.next = (r.next + 1) % len(r.entries)
}

func newWall(now time.Time) *wall {
	w := &wall{run: rand.Text(), agents: map[agentKey]*agent{}, recent: map[schema.Type]*ring{}, rates: newRates(now)}
	for _, t := range schema.Types {
		w.recent[t] = &ring{}
	}
	return w
}

// cut says that of the past hour's events of type t only the newest are read.
func (w *wall) cut(t schema.Type) {
	if t == schema.TypeCallPop {
		w.rates.cut = true
	}
}

// take enters an event. Where live is false it was stored before this process took
// up its sessions: then it says nothing of a session now.
func (w *wall) take(r spool.Record, live bool) {
	var session schema.SessionChanged
	known := r.Type == schema.TypeSessionChanged && json.Unmarshal(r.Body, &session) == nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.rates.add(r.Type, r.Time, time.Now())
	listed := r
	if len(listed.Body) > maxRecentBytes {
		listed.Body = nil
	}
	w.recent[r.Type].add(entry{listed, w.version})
	tells := r.Type == schema.TypeCallPop || known && live
	if r.Agent == "" || !tells {
		return
	}
	a := w.agent(agentKey{r.Server, r.Agent}, r.Time)
	if a == nil {
		return
	}
	a.version = w.version
	if r.Time.After(a.touched) {
		a.touched = r.Time
	}
	switch {
	case r.Type == schema.TypeCallPop:
		a.pop = listed
	case a.state != session.State:
		a.state, a.since, a.cause = session.State, session.At, session.Cause
	default: // a gap while the state stays what it is
		a.cause = session.Cause
	}
}

// agent finds or makes a tile; nil where there is no room. The caller holds mu.
func (w *wall) agent(key agentKey, at time.Time) *agent {
	if a := w.agents[key]; a != nil {
		return a
	}
	if len(w.agents) >= maxAgents {
		w.leftOff = true
		return nil
	}
	a := &agent{key: key, touched: at}
	w.agents[key] = a
	return a
}

// prune lets go of agents that are no longer any.
func (w *wall) prune(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.agents)
	quiet := quietTime
	if w.leftOff {
		quiet = closedTime // names that are no agents must not keep agents off
	}
	for key, a := range w.agents {
		age := now.Sub(a.touched)
		if a.state == schema.Closed && age > closedTime || a.state == "" && age > quiet {
			delete(w.agents, key)
		}
	}
	if len(w.agents) < before {
		w.run, w.leftOff = rand.Text(), false
	}
}

// news is what a viewer does not have yet.
type news struct {
	run     string
	version uint64
	// more says that there is more of it now.
	more    bool
	leftOff bool
	agents  []agent
	events  []entry
	rates   rateView
}

// maxNews bounds the agents of one answer.
const maxNews = 1000

// since is what has changed after version of the run; everything where the run is
// another one.
func (w *wall) since(run string, after uint64, now time.Time) news {
	w.mu.Lock()
	defer w.mu.Unlock()
	if run != w.run || after > w.version {
		after = 0
	}
	n := news{run: w.run, version: w.version, leftOff: w.leftOff, rates: w.rates.view(now)}
	if after == w.version {
		return n
	}
	for _, a := range w.agents {
		if a.version > after {
			n.agents = append(n.agents, *a)
		}
	}
	if len(n.agents) > maxNews {
		slices.SortFunc(n.agents, func(a, b agent) int { return cmp.Compare(a.version, b.version) })
		n.agents = n.agents[:maxNews]
		n.version, n.more = n.agents[maxNews-1].version, true
	}
	for _, r := range w.recent {
		for _, e := range r.entries {
			if e.version > after && e.version <= n.version {
				n.events = append(n.events, e)
			}
		}
	}
	slices.SortFunc(n.events, func(a, b entry) int { return cmp.Compare(a.version, b.version) })
	return n
}
