package schema_test

import (
	"github.com/invopop/jsonschema"

	"github.com/callpop/connector/schema"
)

const (
	uuidPattern        = `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
	fingerprintPattern = `^[0-9a-f]{32}$`
	base64Pattern      = `^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`
	e164Pattern        = `^\+[1-9][0-9]{1,14}$`
	utcPattern         = `Z$`

	// maxCode keeps numbers exact in every reader of JSON.
	maxCode = "9007199254740991"
)

var one = uint64(1)

// bodies are the types that the schemas describe.
var bodies = map[schema.Type]any{
	schema.TypeCallPop:        schema.CallPop{},
	schema.TypeSessionChanged: schema.SessionChanged{},
	schema.TypeDeadLetter:     schema.DeadLetter{},
}

// typeNotes says what the types do not: one entry for each type.
var typeNotes = map[string]jsonschema.Schema{
	"CallPop": {
		Title:       "CallPop, version 1",
		Description: "A screen-pop reached an agent: who is calling, on which line, for whom, and what the IVR knew. One call may pop many times (ringing, transfer, three-way, a re-pop asked for by the agent); each pop is an event of its own, and all of them share key. An absent field means unknown; nothing is an empty string. Fields may be added within version 1.",
	},
	"SessionChanged": {
		Title:       "SessionChanged, version 1",
		Description: "An agent's session with the LQ server went up or down. Published once for each change, not for each attempt to connect. An absent field means unknown; nothing is an empty string. Fields may be added within version 1.",
	},
	"DeadLetter": {
		Title:       "Dead letter, version 1",
		Description: "Something that could not become an event, or an event that a sink will never take, with its bytes and the reason. An absent field means unknown; nothing is an empty string. Fields may be added within version 1.",
	},
	"Agent":    {Description: "An operator of the call centre.", MinProperties: &one},
	"PopKind":  {Description: "The kind of pop: the wire's ty field."},
	"Call":     {Description: "A call, identified within its server.", MinProperties: &one, DependentRequired: map[string][]string{"id_derived": {"id"}}},
	"Customer": {Description: "The other party of the call.", MinProperties: &one, DependentRequired: map[string][]string{"e164": {"number"}}},
	"IVR":      {Description: "What the voice menu gathered before the pop.", MinProperties: &one},
	"Source":   {Description: "The part of the connector that an event came through."},
	"Gap":      {Description: "A stretch of time."},
}

// fieldNotes says what the types do not: one entry for each field, by its type
// and its name in JSON.
var fieldNotes = map[string]jsonschema.Schema{
	"CallPop.id": {
		Description: "UUIDv7, made once when the pop is accepted and never again: every retry, redelivery and replay carries it. De-duplicate by it.",
		Format:      "uuid", Pattern: uuidPattern,
	},
	"CallPop.fingerprint": {
		Description: "The first 16 bytes of SHA-256 over server, a zero byte, agent id, a zero byte and the raw bytes, in hex. Equal for a re-pop with the same bytes and for a copy seen over a second connection: for judging by, never a reason by itself to drop an event.",
		Pattern:     fingerprintPattern,
	},
	"CallPop.version":   {Description: "The version of this body.", Const: schema.Version},
	"CallPop.key":       {Description: "Orders and partitions: all pops of one call share it. <server>/<sn>, else <server>/<call id>, else <server>/<event id>. As a serial number may start again, a call is key plus time."},
	"CallPop.server":    {Description: "The LQ server's name, as the connector's configuration has it."},
	"CallPop.agent":     {Description: "Whom the pop was for: the pop's own op or oper, else the agent of the session it came over."},
	"CallPop.pop":       {Description: "What kind of pop it is; absent in the formats t1v1 to t1v3, which do not say."},
	"CallPop.direction": {Description: "The call's direction, seen from the call centre; absent where it is not known.", Enum: []any{schema.Inbound, schema.Outbound}},
	"CallPop.call":      {Description: "The call that popped."},
	"CallPop.customer":  {Description: "Who is calling, or called."},
	"CallPop.ivr":       {Description: "What the voice menu gathered."},
	"CallPop.format": {
		Description: "The pop's layout: the newer of what its H field says and what its fields show.",
		Enum:        []any{schema.T1V1, schema.T1V2, schema.T1V3, schema.T1V4, schema.T1V5, schema.Callback},
	},
	"CallPop.declared_format": {Description: "The H field's own word, present only where it differs from format."},
	"CallPop.truncated":       {Description: "True where the string was cut at 255 bytes and something useful still decoded; otherwise absent.", Const: true},
	"CallPop.extra":           {Description: "What has no field of its own, as received: unknown keys, t1v1's spare field (spare), a so outside modes 5 and 6, a callback's datetime that disagrees with its startTime, text without a key (unparsed)."},
	"CallPop.raw":             {Description: "The pop string, or the callback's query, decoded to UTF-8."},
	"CallPop.raw_base64":      {Description: "The bytes themselves, present only where decoding them to raw lost something.", Pattern: base64Pattern, ContentEncoding: "base64"},
	"CallPop.source":          {Description: "Which of the connector's sources the pop came through."},
	"CallPop.received_at":     {Description: "When the connector read the pop: RFC 3339, UTC, to the nanosecond.", Pattern: utcPattern},

	"Agent.id":      {Description: "The operator number, such as 801."},
	"Agent.channel": {Description: "The channel of the agent's extension, where known."},

	"PopKind.mode": {
		Description: "The name of the code; absent for a code that the vendor's manual does not name.",
		Enum: []any{
			schema.ModeInbound, schema.ModeManualOutbound, schema.ModeInboundConference, schema.ModeAutoOutbound, schema.ModeInboundTransfer,
			schema.ModeOutboundTransfer, schema.ModeOutboundConference, schema.ModeTest, schema.ModeReserved,
		},
	},
	"PopKind.code": {Description: "The code as received; 1 to 9 have names.", Minimum: "1", Maximum: maxCode},

	"Call.sn":               {Description: "The call's serial number. It may be small and may start again: unique only with the server, and not for ever."},
	"Call.id":               {Description: "The call's id, with which its recording can be found."},
	"Call.id_derived":       {Description: "True where the format carries no id, and id was made from the call's start and line the way the server makes it; otherwise absent.", Const: true},
	"Call.line":             {Description: "The channel of the outside line."},
	"Call.started_at":       {Description: "The call's start, RFC 3339 with the offset of the server's zone: to the millisecond where the pop gives it so exactly, else to the second."},
	"Call.transferred_from": {Description: "The agent who began the transfer, in the modes inbound_transfer and outbound_transfer."},

	"Customer.number": {Description: "The telephone number as received."},
	"Customer.e164":   {Description: "The same number in international form, present only where the server's number rules and the site's area code make it certain.", Pattern: e164Pattern},

	"IVR.keys":   {Description: "The keys that the customer pressed, as received without the closing semicolon, such as 1;2"},
	"IVR.member": {Description: "The member number."},
	"IVR.data":   {Description: "What the IVR's programmer attached, as received, trimmed."},
	"IVR.fields": {Description: "The key:value pairs of data, where it has that custom."},

	"Source.type":  {Description: "The kind of source.", Enum: []any{"session", "relay", "callback"}},
	"Source.name":  {Description: "The source's name in the connector's configuration."},
	"Source.agent": {Description: "The agent of the socket, present only where it is not the event's own agent."},

	"SessionChanged.id":      {Description: "UUIDv7, made once for the change. De-duplicate by it.", Format: "uuid", Pattern: uuidPattern},
	"SessionChanged.version": {Description: "The version of this body.", Const: schema.Version},
	"SessionChanged.server":  {Description: "The LQ server's name, as the connector's configuration has it."},
	"SessionChanged.agent":   {Description: "The operator number of the session's agent."},
	"SessionChanged.state": {
		Description: "connecting: the first attempt is under way. connected: the first byte came from the server. failed: refused, reset, or accepted and never heard. expired: heard once, then silent for too long. reconnecting: the server closed a session that was up. closed: by the roster or the operator.",
		Enum:        []any{schema.Connecting, schema.Connected, schema.Failed, schema.Expired, schema.Reconnecting, schema.Closed},
	},
	"SessionChanged.ocx_code": {Description: "The number that LClientCS.ocx reports for the state in its connectStatus event: 6 connecting, 7 connected, 9 failed, 0 any other.", Enum: []any{0, 6, 7, 9}},
	"SessionChanged.cause":    {Description: "Why, in words for people, such as \"connection refused\"."},
	"SessionChanged.at":       {Description: "When the state changed: RFC 3339, UTC.", Pattern: utcPattern},
	"SessionChanged.gap":      {Description: "The time in which this agent's pops may have been missed: on connected, since the last live session; after an overflow, the time of the pops that memory could not hold."},
	"SessionChanged.source":   {Description: "Which of the connector's sources holds the session."},

	"Gap.from": {Description: "The start: RFC 3339, UTC.", Pattern: utcPattern},
	"Gap.to":   {Description: "The end: RFC 3339, UTC.", Pattern: utcPattern},

	"DeadLetter.id":      {Description: "UUIDv7, made once for the dead letter. De-duplicate by it.", Format: "uuid", Pattern: uuidPattern},
	"DeadLetter.version": {Description: "The version of this body.", Const: schema.Version},
	"DeadLetter.server":  {Description: "The LQ server's name, as the connector's configuration has it."},
	"DeadLetter.agent":   {Description: "The operator number of the agent, where known."},
	"DeadLetter.reason": {
		Description: "undecodable: a pop from which neither number nor call can be had. lost_framing: bytes skipped while looking for the next heartbeat. cut_frame: the connection ended inside a frame. refused: a sink refused the event and would refuse it again.",
		Enum:        []any{schema.ReasonUndecodable, schema.ReasonLostFraming, schema.ReasonCutFrame, schema.ReasonRefused},
	},
	"DeadLetter.detail":      {Description: "More, in words for people. It holds no customer's number."},
	"DeadLetter.raw":         {Description: "The bytes decoded to UTF-8; for a refused event its body."},
	"DeadLetter.raw_base64":  {Description: "The bytes themselves; absent where there were none.", Pattern: base64Pattern, ContentEncoding: "base64"},
	"DeadLetter.received_at": {Description: "When the connector read the bytes: RFC 3339, UTC, to the nanosecond.", Pattern: utcPattern},
	"DeadLetter.source":      {Description: "Which of the connector's sources the bytes came through."},
	"DeadLetter.sink":        {Description: "The name of the sink that refused the event."},
	"DeadLetter.headers":     {Description: "The headers of the refused event."},
}
