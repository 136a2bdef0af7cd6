package schema

import "time"

// Version is the version of every event body in this package.
const Version = 1

// CallPop says that a screen-pop reached an agent: who is calling, on which
// line, for whom, and what the IVR knew. One call may pop many times (ringing,
// transfer, three-way, a re-pop asked for by the agent); each pop is an event of
// its own, and all of them share Key.
type CallPop struct {
	// ID is a UUIDv7, made once when the pop is accepted and never again: every
	// retry, redelivery and replay carries it.
	ID string `json:"id"`
	// Fingerprint is 32 hex digits, see [Fingerprint]: equal for a re-pop with
	// the same bytes and for a copy seen over a second connection. It is for
	// judging by, never a reason to drop an event.
	Fingerprint string `json:"fingerprint"`
	// Version is 1.
	Version int `json:"version"`
	// Key orders and partitions: all pops of one call share it, see [Key]. As a
	// serial number may start again, a call is key plus time.
	Key string `json:"key"`
	// Server is the LQ server's name, as the connector's configuration has it.
	Server string `json:"server"`
	// Agent is whom the pop was for: the pop's own op or oper, else the agent of
	// the session it came over.
	Agent Agent `json:"agent,omitzero"`
	// Pop says what kind of pop it is; absent in t1v1 to t1v3, which do not say.
	Pop PopKind `json:"pop,omitzero"`
	// Direction is absent where it is not known.
	Direction Direction `json:"direction,omitempty"`
	Call      Call      `json:"call,omitzero"`
	Customer  Customer  `json:"customer,omitzero"`
	IVR       IVR       `json:"ivr,omitzero"`
	// Format is the newer of what the pop's H field says and what its fields
	// show: t1v1 to t1v5, or callback.
	Format Format `json:"format"`
	// DeclaredFormat is the H field's own word, present only where it differs
	// from Format.
	DeclaredFormat string `json:"declared_format,omitempty"`
	// Truncated is true where the string was cut at 255 bytes and something
	// useful still decoded.
	Truncated bool `json:"truncated,omitempty"`
	// Extra holds what has no field above, as received: unknown keys, t1v1's
	// spare field (spare), a so outside modes 5 and 6, a callback's datetime that
	// disagrees with its startTime, text without a key (unparsed).
	Extra map[string]string `json:"extra,omitempty"`
	// Raw is the pop string or the callback's query, decoded to UTF-8.
	Raw string `json:"raw"`
	// RawBase64 is the bytes themselves in standard base64, present only where
	// decoding them to Raw lost something.
	RawBase64 string `json:"raw_base64,omitempty"`
	// Source says which of the connector's sources the pop came through.
	Source Source `json:"source"`
	// ReceivedAt is when the connector read the pop, UTC, to the nanosecond.
	ReceivedAt time.Time `json:"received_at"`
}

// Agent is an operator (坐席) of the call centre.
type Agent struct {
	// ID is the operator number (工号), such as 801.
	ID string `json:"id,omitempty"`
	// Channel is the channel of the agent's extension, where known.
	Channel string `json:"channel,omitempty"`
}

// PopKind is the pop mode (弹屏模式), the wire's ty field.
type PopKind struct {
	// Mode names the code; absent for a code that the manual does not name.
	Mode Mode `json:"mode,omitempty"`
	// Code is ty as a number, 1 or greater.
	Code int `json:"code"`
}

// Mode is the name of a pop mode.
type Mode string

// The pop modes of the manual's chapter 8, in the order of their codes 1 to 9.
const (
	ModeInbound            Mode = "inbound"
	ModeManualOutbound     Mode = "manual_outbound"
	ModeInboundConference  Mode = "inbound_conference"
	ModeAutoOutbound       Mode = "auto_outbound"
	ModeInboundTransfer    Mode = "inbound_transfer"
	ModeOutboundTransfer   Mode = "outbound_transfer"
	ModeOutboundConference Mode = "outbound_conference"
	ModeTest               Mode = "test"
	ModeReserved           Mode = "reserved"
)

// Direction of a call, seen from the call centre.
type Direction string

// The two directions; an unknown one is absent.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
)

// modes is indexed by ty.
var modes = [...]struct {
	mode      Mode
	direction Direction
}{
	1: {ModeInbound, Inbound},
	2: {ModeManualOutbound, Outbound},
	3: {ModeInboundConference, Inbound},
	4: {ModeAutoOutbound, Outbound},
	5: {ModeInboundTransfer, Inbound},
	6: {ModeOutboundTransfer, Outbound},
	7: {ModeOutboundConference, Outbound},
	8: {ModeTest, ""},
	9: {ModeReserved, ""},
}

// ModeOf returns the name and direction of a ty code. Both are empty for a code
// that the manual does not name; such a code still passes through as a number.
func ModeOf(code int) (Mode, Direction) {
	if code < 1 || code >= len(modes) {
		return "", ""
	}
	return modes[code].mode, modes[code].direction
}

// Call identifies a call within its server.
type Call struct {
	// SN is the serial number of the call (呼叫流水号). It may be small and may
	// start again.
	SN string `json:"sn,omitempty"`
	// ID is the call's id, with which its recording can be found.
	ID string `json:"id,omitempty"`
	// IDDerived is true where the format carries no id and ID was made from the
	// call's start and line, the way the server makes it.
	IDDerived bool `json:"id_derived,omitempty"`
	// Line is the channel of the outside line.
	Line string `json:"line,omitempty"`
	// StartedAt is the call's start in the server's zone: to the millisecond
	// where the pop gives it so exactly, else to the second.
	StartedAt time.Time `json:"started_at,omitzero"`
	// TransferredFrom is the agent who began the transfer, in modes 5 and 6.
	TransferredFrom string `json:"transferred_from,omitempty"`
}

// Customer is the other party of the call.
type Customer struct {
	// Number is the telephone number as received.
	Number string `json:"number,omitempty"`
	// E164 is the same number in international form, present only where the
	// manual's number rules and the site's area code make it certain.
	E164 string `json:"e164,omitempty"`
}

// IVR is what the voice menu gathered before the pop.
type IVR struct {
	// Keys are the keys the customer pressed, as received without the string's
	// closing semicolon: 1;2
	Keys string `json:"keys,omitempty"`
	// Member is the member number (会员号).
	Member string `json:"member,omitempty"`
	// Data is what the IVR's programmer attached, as received, trimmed.
	Data string `json:"data,omitempty"`
	// Fields are the key:value pairs of Data, where it has that custom.
	Fields map[string]string `json:"fields,omitempty"`
}

// IsZero reports whether the menu gathered nothing.
func (i IVR) IsZero() bool {
	return i.Keys == "" && i.Member == "" && i.Data == "" && len(i.Fields) == 0
}

// Format is the version of a pop's layout (popVer).
type Format string

// The formats of the manual's chapter 8, and the HTTP callback of its chapter 3.
const (
	T1V1     Format = "t1v1"
	T1V2     Format = "t1v2"
	T1V3     Format = "t1v3"
	T1V4     Format = "t1v4"
	T1V5     Format = "t1v5"
	Callback Format = "callback"
)

// Source names the part of the connector that an event came through.
type Source struct {
	// Type is session, relay or callback.
	Type string `json:"type"`
	// Name is the source's name in the configuration.
	Name string `json:"name"`
	// Agent is the agent of the socket, present only where it is not the event's
	// own agent.
	Agent string `json:"agent,omitempty"`
}
