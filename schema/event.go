package schema

import (
	"bytes"
	"strings"
	"time"
	"unsafe"
)

// Type is the type of an event, as CloudEvents' type attribute has it. It is also
// the default subject prefix on NATS and the default topic on Kafka.
type Type string

// The event types of version 1.
const (
	TypeCallPop        Type = "callpop.v1"
	TypeSessionChanged Type = "callpop.session.v1"
	TypeDeadLetter     Type = "callpop.dlq.v1"
)

// Types lists every event type, in the order above.
var Types = [...]Type{TypeCallPop, TypeSessionChanged, TypeDeadLetter}

// Event is an encoded event on its way: what is stored in the spool and handed
// to sinks. Body is encoded once and never changed.
type Event struct {
	Type Type
	// ID is the body's id.
	ID string
	// Key orders and partitions: events of one key keep their order.
	Key    string
	Server string
	// Agent is empty where it is not known.
	Agent string
	// Time is when the event was received or happened; CloudEvents' time.
	Time time.Time
	// Body is the JSON of a CallPop, SessionChanged or DeadLetter.
	Body []byte
	// Overlap is set where two replicas of the connector may both have received the
	// pop, because each had a session of its agent: the pop's fingerprint, by which the
	// copies are known. Empty otherwise.
	Overlap string
	// TraceParent and TraceState are the W3C trace context that was made when the
	// event was accepted; empty without tracing.
	TraceParent string
	TraceState  string
}

// Event encodes p and returns it with what carries it: the key, the agent and
// the time are those of the body. Of p's memory the event keeps the names of the
// server and the agent alone.
func (p *CallPop) Event() Event {
	// Encoded on the stack, so that what is allocated is as long as the body: an
	// event stays in memory until every sink has it.
	var stack [eventRoom]byte
	return p.EventOf(p.AppendJSON(stack[:0]))
}

// EventOf is as [CallPop.Event], for a p that [CallPop.AppendJSON] has encoded as
// body, which is copied.
func (p *CallPop) EventOf(body []byte) Event {
	body = bytes.Clone(body)
	text := unsafe.String(unsafe.SliceData(body), len(body)) // which never changes, as the body
	keyAt := idAt + len(p.ID) + len(`","fingerprint":"`) + len(p.Fingerprint) + len(`","version":1,"key":"`)
	return Event{
		Type: TypeCallPop, ID: at(text, idAt, p.ID), Key: at(text, keyAt, p.Key), Server: p.Server, Agent: p.Agent.ID,
		Time: p.ReceivedAt, Body: body,
	}
}

// idAt is where the id is in a body.
const idAt = len(`{"id":"`)

// at returns s as the piece of text that begins at i, so that it needs no memory of
// its own. Where text has it in other words, as JSON has what it escapes, it is a copy.
func at(text string, i int, s string) string {
	if i+len(s) <= len(text) && text[i:i+len(s)] == s {
		return text[i : i+len(s)]
	}
	return strings.Clone(s)
}

// eventRoom is room for nearly every body; for another one more is allocated.
const eventRoom = 1024

// Event encodes s and returns it with what carries it; its key is [AgentKey].
func (s *SessionChanged) Event() Event {
	var stack [eventRoom]byte
	return Event{
		Type: TypeSessionChanged, ID: s.ID, Key: AgentKey(s.Server, s.Agent), Server: s.Server, Agent: s.Agent,
		Time: s.At, Body: bytes.Clone(s.AppendJSON(stack[:0])),
	}
}

// Event encodes d and returns it with what carries it; its key is [AgentKey].
func (d *DeadLetter) Event() Event {
	var stack [eventRoom]byte
	return Event{
		Type: TypeDeadLetter, ID: d.ID, Key: AgentKey(d.Server, d.Agent), Server: d.Server, Agent: d.Agent,
		Time: d.ReceivedAt, Body: bytes.Clone(d.AppendJSON(stack[:0])),
	}
}
