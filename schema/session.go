package schema

import "time"

// SessionChanged says that an agent's session with the LQ server went up or
// down. It is published once for each change, not for each attempt to connect.
type SessionChanged struct {
	ID      string       `json:"id"`
	Version int          `json:"version"`
	Server  string       `json:"server"`
	Agent   string       `json:"agent,omitempty"`
	State   SessionState `json:"state"`
	// OCXCode is the number LClientCS.ocx reports for the state in its
	// connectStatus event: 6 connecting, 7 connected, 9 failed, 0 reconnecting.
	OCXCode int `json:"ocx_code"`
	// Cause says why, in words for people, such as "connection refused".
	Cause string    `json:"cause,omitempty"`
	At    time.Time `json:"at"`
	// Gap is the time in which this agent's pops may have been missed: on
	// connected, since the last live session; after an overflow, the time of the
	// pops that memory could not hold.
	Gap    *Gap   `json:"gap,omitempty"`
	Source Source `json:"source"`
}

// Gap is a stretch of time, UTC.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// SessionState is the state of one agent's session.
type SessionState string

// The session states.
const (
	// Connecting: the first attempt is under way.
	Connecting SessionState = "connecting"
	// Connected: the first byte came from the server. A dial that succeeds
	// proves nothing.
	Connected SessionState = "connected"
	// Failed: refused, reset, or accepted and never heard.
	Failed SessionState = "failed"
	// Expired: heard once, then silent for too long.
	Expired SessionState = "expired"
	// Reconnecting: the server closed a session that was up.
	Reconnecting SessionState = "reconnecting"
	// Closed: by the roster or the operator.
	Closed SessionState = "closed"
)

// OCXCode returns the number of LClientCS.ocx's connectStatus event for s; the
// manual's "other" is 0.
func (s SessionState) OCXCode() int {
	switch s {
	case Connecting:
		return 6
	case Connected:
		return 7
	case Failed:
		return 9
	default:
		return 0
	}
}

// DeadLetter is something that could not become an event, or an event that a
// sink will never take, with its bytes and the reason.
type DeadLetter struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
	Server  string `json:"server"`
	Agent   string `json:"agent,omitempty"`
	// Reason is one of a small set of words, fit for a metric's label.
	Reason string `json:"reason"`
	// Detail says more, in words for people. It holds no customer's number.
	Detail string `json:"detail,omitempty"`
	// Raw is the bytes decoded to UTF-8.
	Raw string `json:"raw,omitempty"`
	// RawBase64 is the bytes themselves in standard base64; absent where there
	// were none.
	RawBase64  string    `json:"raw_base64,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	Source     Source    `json:"source"`
	// Sink and Headers are those of an event that a sink refused; Raw is then
	// that event's body.
	Sink    string            `json:"sink,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

// Reasons of dead letters.
const (
	// ReasonUndecodable: a pop from which neither number nor call can be had.
	ReasonUndecodable = "undecodable"
	// ReasonLostFraming: bytes skipped while looking for the next heartbeat.
	ReasonLostFraming = "lost_framing"
	// ReasonCutFrame: the connection ended inside a frame.
	ReasonCutFrame = "cut_frame"
	// ReasonRefused: a sink refused the event and would refuse it again.
	ReasonRefused = "refused"
)
