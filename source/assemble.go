package source

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"
	"unsafe"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

// Assembler makes events of what was received. It is the one place that does, and
// it reuses its buffers: one for each worker, not safe for concurrent use.
type Assembler struct {
	decoder pop.Decoder
	// pop is the one in hand, fingerprint its event's: both are valid until the next.
	pop         pop.Pop
	fingerprint string
	// fields and extra are lent to an event that has any.
	fields, extra map[string]string
	// scratch has what is made of a pop, body the JSON before it is copied.
	scratch, body []byte
}

// NewAssembler makes an Assembler.
func NewAssembler() *Assembler {
	return &Assembler{fields: map[string]string{}, extra: map[string]string{}}
}

// Labels say what a pop was, for metrics. They hold no agent, no number, and only
// words of closed sets, whatever came over the socket.
type Labels struct {
	Format schema.Format
	// Mode is that of the pop, [NoMode] or [OtherMode].
	Mode schema.Mode
	// Reason is why there is no pop: a [pop.Reason], or where the bytes were no
	// whole frame that of the dead letter. Empty for a pop.
	Reason string
}

// The modes of pops that have none of the manual's.
const (
	// NoMode: the format does not tell (t1v1 to t1v3, callbacks).
	NoMode schema.Mode = "none"
	// OtherMode: a code that the manual does not name.
	OtherMode schema.Mode = "other"
)

func labelsOf(e *schema.CallPop) Labels {
	mode := e.Pop.Mode
	switch {
	case e.Pop.Code == 0:
		mode = NoMode
	case mode == "":
		mode = OtherMode
	}
	return Labels{Format: e.Format, Mode: mode}
}

// began is when the call of the last pop began, on its server's clock; zero where
// that pop does not say, or there was none.
func (a *Assembler) began() time.Time { return a.pop.StartedAt }

// Pop makes a CallPop of a pop string as it came from a socket, or a DeadLetter
// where neither number nor call can be had of it; the error, a [pop.Error], then
// says why. raw may be used again as soon as Pop returns.
func (a *Assembler) Pop(o *Origin, at time.Time, raw []byte) (schema.Event, Labels, error) {
	a.use(o.Decoding.Now())
	return a.assemble(o, at, raw, a.decoder.Decode(raw, &a.pop))
}

// Callback makes a CallPop of a callback's query (manual, chapter 3), or a
// DeadLetter, as Pop does.
func (a *Assembler) Callback(o *Origin, at time.Time, query []byte) (schema.Event, Labels, error) {
	a.use(o.Decoding.Now())
	return a.assemble(o, at, query, a.decoder.DecodeCallback(query, &a.pop))
}

func (a *Assembler) use(d *Decoding) {
	a.decoder.Charset, a.decoder.Location = d.Charset, d.Location
}

func (a *Assembler) assemble(o *Origin, at time.Time, raw []byte, err error) (schema.Event, Labels, error) {
	if err != nil {
		letter := a.DeadLetter(o, at, raw, schema.ReasonUndecodable, err.Error())
		labels := Labels{Reason: schema.ReasonUndecodable}
		var undecodable *pop.Error
		if errors.As(err, &undecodable) {
			labels.Reason = string(undecodable.Reason)
		}
		return letter, labels, err
	}
	p := &a.pop
	agent := o.Agent
	if p.Agent != "" && p.Agent != o.Agent {
		agent = strings.Clone(p.Agent)
	}

	e := a.describe(o, agent)
	a.scratch = schema.AppendID(a.scratch[:0], at)
	a.scratch = schema.AppendFingerprint(a.scratch, o.Server, agent, raw)
	a.scratch = schema.AppendKey(a.scratch, o.Server, p.SN, p.ID, view(a.scratch[:idLen]))
	keyEnd := len(a.scratch)
	a.scratch = o.Decoding.Now().Numbers.AppendE164(a.scratch, p.Number)
	made := view(a.scratch)
	e.ID, e.Fingerprint, e.Key = made[:idLen], made[idLen:idLen+fingerprintLen], made[idLen+fingerprintLen:keyEnd]
	e.Customer.E164 = made[keyEnd:]
	a.fingerprint = e.Fingerprint
	e.ReceivedAt = at.UTC()
	if p.Lossy {
		e.RawBase64 = base64.StdEncoding.EncodeToString(raw)
	}
	a.body = e.AppendJSON(a.body[:0])
	return e.EventOf(a.body), labelsOf(&e), nil
}

// view returns b as a string without copying it, for the buffer of an Assembler: the
// event that holds it is encoded before the buffer is used again.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// describe makes an event of what the pop and its origin say. It is returned as a
// value, which stays on the stack: to write its many pointers to the heap would take
// longer while the collector runs.
func (a *Assembler) describe(o *Origin, agent string) (e schema.CallPop) {
	p := &a.pop
	e.Version, e.Server = schema.Version, o.Server
	e.Agent.ID, e.Agent.Channel = agent, p.Channel
	e.Call.SN, e.Call.ID, e.Call.IDDerived = p.SN, p.ID, p.IDDerived
	e.Call.Line, e.Call.StartedAt = p.Line, p.StartedAt
	e.Customer.Number = p.Number
	e.IVR.Keys, e.IVR.Member, e.IVR.Data = p.Keys, p.Member, p.Data
	e.Format, e.DeclaredFormat, e.Truncated = schema.Format(p.Format), p.Declared, p.Truncated
	e.Raw = p.Text
	e.Source.Type, e.Source.Name = o.Type, o.Name
	if p.Mode != 0 {
		e.Pop.Code = p.Mode
		e.Pop.Mode, e.Direction = schema.ModeOf(p.Mode)
	}
	if agent != o.Agent {
		e.Source.Agent = o.Agent
	} else if p.Channel == "" && o.Channel != FindChannel {
		e.Agent.Channel = o.Channel
	}
	if len(p.Fields) > 0 {
		clear(a.fields)
		for _, f := range p.Fields {
			a.fields[f.Name] = f.Value
		}
		e.IVR.Fields = a.fields
	}
	a.addExtra(&e, p)
	return e
}

// Lengths of the text forms of an id and a fingerprint.
const (
	idLen          = 36
	fingerprintLen = 32
)

// addExtra keeps what has no field of its own.
func (a *Assembler) addExtra(e *schema.CallPop, p *pop.Pop) {
	clear(a.extra)
	for _, f := range p.Extra {
		a.extra[f.Name] = f.Value
	}
	if p.Spare != "" {
		a.extra["spare"] = p.Spare
	}
	if p.From != "" {
		if e.Pop.Mode == schema.ModeInboundTransfer || e.Pop.Mode == schema.ModeOutboundTransfer {
			e.Call.TransferredFrom = p.From
		} else {
			a.extra["so"] = p.From
		}
	}
	if len(a.extra) > 0 {
		e.Extra = a.extra
	}
}

// DeadLetter makes an event of bytes that cannot become a CallPop. The detail is
// for people and must not hold a customer's number.
func (a *Assembler) DeadLetter(o *Origin, at time.Time, raw []byte, reason, detail string) schema.Event {
	text, _ := pop.Text(raw, o.Decoding.Now().Charset)
	letter := schema.DeadLetter{
		ID: schema.NewID(at), Version: schema.Version, Server: o.Server, Agent: o.Agent,
		Reason: reason, Detail: detail, Raw: text, RawBase64: base64.StdEncoding.EncodeToString(raw),
		ReceivedAt: at.UTC(), Source: schema.Source{Type: o.Type, Name: o.Name},
	}
	return letter.Event()
}

// SessionChange is a change of one agent's session, see [schema.SessionChanged].
type SessionChange struct {
	State schema.SessionState
	Cause string
	At    time.Time
	Gap   *schema.Gap
}

// SessionChanged makes the event of a change.
func (a *Assembler) SessionChanged(o *Origin, c SessionChange) schema.Event {
	changed := schema.SessionChanged{
		ID: schema.NewID(c.At), Version: schema.Version, Server: o.Server, Agent: o.Agent,
		State: c.State, OCXCode: c.State.OCXCode(), Cause: c.Cause, At: c.At.UTC(), Gap: c.Gap,
		Source: schema.Source{Type: o.Type, Name: o.Name},
	}
	return changed.Event()
}
