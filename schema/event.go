package schema

import "time"

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
	// TraceParent and TraceState are the W3C trace context that was made when the
	// event was accepted; empty without tracing.
	TraceParent string
	TraceState  string
}
