package console

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
)

// state is the answer to /console/api/state.
type state struct {
	// Run and Version are what the viewer names the next time; More says that there
	// is more at once. Where Run is another one, what the viewer has is void.
	Run     string    `json:"run"`
	Version uint64    `json:"version"`
	More    bool      `json:"more,omitempty"`
	Now     time.Time `json:"now"`
	Viewer  viewer    `json:"viewer"`
	status
	Rate rateView `json:"rate"`
	// Agents and Events are those that are new to the viewer; AgentsLeftOff says that
	// there are more agents than are listed.
	Agents        []agentView `json:"agents"`
	AgentsLeftOff bool        `json:"agents_left_off,omitempty"`
	Events        []eventView `json:"events"`
}

// viewer is what the viewer may do.
type viewer struct {
	// LogIn says that one could log in, MayChange that dead letters may be retried.
	LogIn     bool `json:"log_in"`
	MayChange bool `json:"may_change"`
	// Ends is when the log-in is over, absent without one; Numbers says that numbers
	// are shown.
	Ends    time.Time `json:"ends,omitzero"`
	Numbers bool      `json:"numbers"`
}

// status is the same for everybody.
type status struct {
	Connector web.Readiness `json:"connector"`
	// Stored is how many events of each kind the spool holds.
	Stored map[schema.Type]uint64 `json:"stored"`
}

// agentView is a tile.
type agentView struct {
	Server string              `json:"server"`
	Agent  string              `json:"agent"`
	State  schema.SessionState `json:"state,omitempty"`
	Since  time.Time           `json:"since,omitzero"`
	Cause  string              `json:"cause,omitempty"`
	Pop    *eventView          `json:"pop,omitempty"`
}

// eventView is an event in a list.
type eventView struct {
	Type     schema.Type `json:"type"`
	Sequence uint64      `json:"sequence"`
	ID       string      `json:"id"`
	At       time.Time   `json:"at"`
	Server   string      `json:"server"`
	Agent    string      `json:"agent,omitempty"`
	// Of a pop.
	Number    string           `json:"number,omitempty"`
	Mode      schema.Mode      `json:"mode,omitempty"`
	Code      int              `json:"code,omitempty"`
	Direction schema.Direction `json:"direction,omitempty"`
	// Of a session.
	State schema.SessionState `json:"state,omitempty"`
	Cause string              `json:"cause,omitempty"`
	Gap   *schema.Gap         `json:"gap,omitempty"`
	// Of a dead letter.
	Reason string `json:"reason,omitempty"`
	Sink   string `json:"sink,omitempty"`
	Detail string `json:"detail,omitempty"`
	Source string `json:"source,omitempty"`
}

// viewOf says what a list shows of an event.
func viewOf(e *schema.Event, sequence uint64, numbers bool) eventView {
	v := eventView{Type: e.Type, Sequence: sequence, ID: e.ID, At: e.Time, Server: e.Server, Agent: e.Agent}
	switch e.Type {
	case schema.TypeCallPop:
		var p struct {
			Customer  schema.Customer
			Pop       schema.PopKind
			Direction schema.Direction
		}
		if json.Unmarshal(e.Body, &p) == nil {
			v.Number, v.Mode, v.Code, v.Direction = cmp.Or(p.Customer.Number, p.Customer.E164), p.Pop.Mode, p.Pop.Code, p.Direction
		}
		if !numbers {
			v.Number = telemetry.MaskNumber(v.Number)
		}
	case schema.TypeSessionChanged:
		var s schema.SessionChanged
		if json.Unmarshal(e.Body, &s) == nil {
			v.State, v.Cause, v.Gap = s.State, s.Cause, s.Gap
		}
	case schema.TypeDeadLetter:
		var d schema.DeadLetter
		if json.Unmarshal(e.Body, &d) == nil {
			v.Agent = cmp.Or(v.Agent, d.Agent)
			v.Reason, v.Sink, v.Detail, v.Source = d.Reason, d.Sink, d.Detail, d.Source.Name
		}
	}
	return v
}

// serveState answers with what has changed since the version that the viewer names.
func (c *Console) serveState(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after, err := strconv.ParseUint(cmp.Or(query.Get("after"), "0"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "after: expected a number")
		return
	}
	who := web.ViewerOf(r.Context())
	numbers := who.SeesNumbers()
	now := time.Now()
	n := c.wall.since(query.Get("run"), after, now)
	s := state{
		Run: n.run, Version: n.version, More: n.more, Now: now.UTC(), Rate: n.rates, AgentsLeftOff: n.leftOff,
		Viewer: viewer{LogIn: who.LogIn, MayChange: who.MayChange, Ends: who.Ends(), Numbers: numbers},
		status: c.currentStatus(r.Context()),
		Agents: make([]agentView, 0, len(n.agents)), Events: make([]eventView, 0, len(n.events)),
	}
	for _, a := range n.agents {
		v := agentView{Server: a.key.server, Agent: a.key.agent, State: a.state, Since: a.since, Cause: a.cause}
		if a.pop.Sequence > 0 {
			v.Pop = new(viewOf(&a.pop.Event, a.pop.Sequence, numbers))
		}
		s.Agents = append(s.Agents, v)
	}
	for _, e := range n.events {
		s.Events = append(s.Events, viewOf(&e.Event, e.Sequence, numbers))
	}
	answer(w, http.StatusOK, s)
}

// statusTimeout bounds what a viewer waits for the spool's counts.
const statusTimeout = 500 * time.Millisecond

// currentStatus is at most statusAge old, so that many viewers ask as often as one.
func (c *Console) currentStatus(ctx context.Context) status {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	now := time.Now()
	if age := now.Sub(c.statusAt); age >= 0 && age < statusAge {
		return c.status
	}
	s := status{Connector: c.readiness().Derive(now), Stored: map[schema.Type]uint64{}}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	for _, t := range schema.Types {
		if held, err := c.host.Spool.State(ctx, t); err == nil {
			s.Stored[t] = held.Messages
		}
	}
	c.status, c.statusAt = s, now
	return s
}
