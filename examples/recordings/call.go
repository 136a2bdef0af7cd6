package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/callpop/connector/schema"
)

// call is what an answer says of one call.
type call struct {
	Key       string           `json:"key"`
	Server    string           `json:"server"`
	Number    string           `json:"number,omitempty"` // as the telephone system writes it
	E164      string           `json:"e164,omitempty"`
	Direction schema.Direction `json:"direction,omitempty"`
	// StartedAt is when the call began as the telephone system says: to the second
	// in some formats.
	StartedAt time.Time `json:"started_at,omitzero"`
	FirstPop  time.Time `json:"first_pop"`
	LastPop   time.Time `json:"last_pop"`
	// Agents had the call, in this order.
	Agents []string `json:"agents,omitempty"`
	// IDs are the call's ids, as a rule one.
	IDs       []string   `json:"ids,omitempty"`
	Recording *recording `json:"recording,omitempty"`
	Hops      []hop      `json:"hops"`
}

// recording is how the telephone system finds a call's recording: by the call's
// id (manual, chapter 3). Formats t1v4 and t1v5 do not carry it.
type recording struct {
	ID string `json:"id,omitempty"`
	// Derived is true where the format does not carry the id, and the connector
	// made it the way the server does.
	Derived bool `json:"derived,omitempty"`
	// IDPattern stands for an unknown id: the start of the call in milliseconds,
	// three digits of which are not known, and the line. A question mark is a digit.
	IDPattern string `json:"id_pattern,omitempty"`
}

// kind says how a call came to an agent.
type kind string

const (
	ring       kind = "ring"
	transfer   kind = "transfer"
	conference kind = "conference"
	rePop      kind = "re_pop" // the agent asked to see it again
	popped     kind = "pop"    // again, and the format does not say why
)

// hop is one pop of a call.
type hop struct {
	Event string      `json:"event"`
	At    time.Time   `json:"at"`
	Kind  kind        `json:"kind"`
	Agent string      `json:"agent,omitempty"`
	From  string      `json:"from,omitempty"` // who passed the call on
	Mode  schema.Mode `json:"mode,omitempty"`
	ID    string      `json:"id,omitempty"`

	key, server  string
	direction    schema.Direction
	derived      bool
	line         string
	started      time.Time
	number, e164 string
}

// stitch makes calls of a key's pops, which are in the order in which they came. A
// key that was idle for longer than idle is another call: serial numbers start
// again.
func stitch(hops []hop, idle time.Duration) []call {
	var calls []call
	for begin := 0; begin < len(hops); {
		end := begin + 1
		for end < len(hops) && hops[end].At.Sub(hops[end-1].At) <= idle {
			end++
		}
		calls = append(calls, newCall(slices.Clone(hops[begin:end])))
		begin = end
	}
	return calls
}

// newCall makes a call of its pops.
func newCall(hops []hop) call {
	first := &hops[0]
	c := call{Key: first.key, Server: first.server, FirstPop: first.At, LastPop: hops[len(hops)-1].At, Hops: hops}
	for i := range hops {
		h := &hops[i]
		h.Kind = h.kindAfter(c.Agents, i == 0)
		if h.Agent != "" && !slices.Contains(c.Agents, h.Agent) {
			c.Agents = append(c.Agents, h.Agent)
		}
		if h.ID != "" && !slices.Contains(c.IDs, h.ID) {
			c.IDs = append(c.IDs, h.ID)
		}
		// What is not said at first may be said later.
		if c.Number == "" {
			c.Number, c.E164 = h.number, h.e164
		}
		if c.Direction == "" {
			c.Direction = h.direction
		}
		if c.StartedAt.IsZero() {
			c.StartedAt = h.started
		}
		c.Recording = c.Recording.or(h)
	}
	return c
}

// kindAfter is how the call came to the hop's agent, after those who had it.
func (h *hop) kindAfter(agents []string, first bool) kind {
	switch h.Mode {
	case schema.ModeInboundTransfer, schema.ModeOutboundTransfer:
		return transfer
	case schema.ModeInboundConference, schema.ModeOutboundConference:
		return conference
	}
	switch {
	case first:
		return ring
	case h.Mode == "":
		return popped
	case slices.Contains(agents, h.Agent):
		return rePop
	default:
		return ring // at the next agent, where the one before did not answer
	}
}

// or is the better reference: an id that was sent, else one that was derived, else
// a pattern.
func (r *recording) or(h *hop) *recording {
	switch {
	case h.ID != "" && (r == nil || r.ID == "" || r.Derived && !h.derived):
		return &recording{ID: h.ID, Derived: h.derived}
	case r == nil && h.line != "" && !h.started.IsZero():
		return &recording{IDPattern: fmt.Sprintf("%d???%s", h.started.Unix(), h.line)}
	default:
		return r
	}
}
