package schema_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/callpop/connector/schema"
)

// A source of values for property tests; the same seed gives the same values.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 0))} }

func pick[T any](r random, values ...T) T { return values[r.IntN(len(values))] }

// maybe returns the value of f, or its zero value half of the time.
func maybe[T any](r random, f func() T) T {
	if r.IntN(2) == 0 {
		var zero T
		return zero
	}
	return f()
}

// pieces are what an encoder of strings can get wrong, between plain text of any
// length: escapes, controls, every size of UTF-8 and what is none.
var pieces = []string{
	"\x00", "\x1f", "\b", "\f", "\n", "\r", "\t", `"`, `\`, "/", "\x7f", "<", ">", "&",
	"é", "ÿ", "张", "三", "来电", "😀", "\u2027", "\u2028", "\u2029", "\u202a", "\ufffd", "\ufeff", "\U0010ffff",
	"\x80", "\xff", "\xc3", "\xe5\xbc", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80",
}

// anyText returns any bytes at all, which may be none.
func (r random) anyText() string {
	var b []byte
	for range r.IntN(4) {
		for range r.IntN(20) {
			b = append(b, byte(0x20+r.IntN(0x5F)))
		}
		if r.IntN(3) == 0 {
			b = append(b, pick(r, pieces...)...)
		}
	}
	return string(b)
}

// text returns what a field may hold by the contract: UTF-8, not empty.
func (r random) text() string {
	words := []string{"1", "801", "hq", "张三", "a b", `say "x"`, "1;2", "tab\there", "line\r\nend", "😀", "50%", "\u2028"}
	s := pick(r, words...)
	for range r.IntN(3) {
		s += pick(r, words...)
	}
	return s
}

func (r random) base64() string {
	b := make([]byte, 1+r.IntN(40))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return base64.StdEncoding.EncodeToString(b)
}

func (r random) pairs(text func() string) map[string]string {
	m := make(map[string]string)
	for range r.IntN(5) {
		m[text()] = text()
	}
	if r.IntN(20) == 0 { // more than the encoder sorts without allocating
		for i := range 30 {
			m[fmt.Sprint(i)] = text()
		}
	}
	return m
}

// time returns a time that RFC 3339 can say, from year 0 to 9999 and in any zone
// of whole minutes, which comes back equal.
func (r random) time() time.Time {
	first := time.Date(0, 1, 2, 0, 0, 0, 0, time.UTC).Unix()
	last := time.Date(9999, 12, 30, 23, 59, 59, 0, time.UTC).Unix()
	nano := pick(r, 0, 0, 1, 100, 500_000_000, 375_000_000, 999_999_999, int(r.Int64N(1e9)))
	t := time.Unix(first+r.Int64N(last-first), int64(nano))
	minutes := r.IntN(2*24*60-1) - (24*60 - 1)
	return t.In(pick(r, time.UTC, time.FixedZone("", 8*3600), time.FixedZone("", 60*minutes)))
}

func (r random) utc() time.Time { return r.time().UTC() }

// anyCallPop returns values that the types allow, whether they make sense or not.
func (r random) anyCallPop() *schema.CallPop {
	return &schema.CallPop{
		ID: r.anyText(), Fingerprint: r.anyText(), Version: int(r.Int64()), Key: r.anyText(), Server: r.anyText(),
		Agent:     schema.Agent{ID: maybe(r, r.anyText), Channel: maybe(r, r.anyText)},
		Pop:       schema.PopKind{Mode: schema.Mode(maybe(r, r.anyText)), Code: r.IntN(3) - 1},
		Direction: schema.Direction(maybe(r, r.anyText)),
		Call: schema.Call{
			SN: maybe(r, r.anyText), ID: maybe(r, r.anyText), IDDerived: r.IntN(2) == 0, Line: maybe(r, r.anyText),
			StartedAt: maybe(r, r.time), TransferredFrom: maybe(r, r.anyText),
		},
		Customer: schema.Customer{Number: maybe(r, r.anyText), E164: maybe(r, r.anyText)},
		IVR: schema.IVR{
			Keys: maybe(r, r.anyText), Member: maybe(r, r.anyText), Data: maybe(r, r.anyText),
			Fields: maybe(r, func() map[string]string { return r.pairs(r.anyText) }),
		},
		Format: schema.Format(r.anyText()), DeclaredFormat: maybe(r, r.anyText), Truncated: r.IntN(2) == 0,
		Extra: maybe(r, func() map[string]string { return r.pairs(r.anyText) }),
		Raw:   r.anyText(), RawBase64: maybe(r, r.anyText), Source: r.anySource(), ReceivedAt: r.time(),
	}
}

func (r random) anySource() schema.Source {
	return schema.Source{Type: r.anyText(), Name: r.anyText(), Agent: maybe(r, r.anyText)}
}

func (r random) anySessionChanged() *schema.SessionChanged {
	return &schema.SessionChanged{
		ID: r.anyText(), Version: int(r.Int64()), Server: r.anyText(), Agent: r.anyText(),
		State: schema.SessionState(r.anyText()), OCXCode: r.IntN(10), Cause: r.anyText(), At: r.time(),
		Gap:    maybe(r, func() *schema.Gap { return &schema.Gap{From: r.time(), To: r.time()} }),
		Source: r.anySource(),
	}
}

func (r random) anyDeadLetter() *schema.DeadLetter {
	return &schema.DeadLetter{
		ID: r.anyText(), Version: int(r.Int64()), Server: r.anyText(), Agent: maybe(r, r.anyText),
		Reason: r.anyText(), Detail: maybe(r, r.anyText), Raw: maybe(r, r.anyText), RawBase64: r.anyText(),
		ReceivedAt: r.time(), Source: r.anySource(), Sink: maybe(r, r.anyText),
		Headers: maybe(r, func() map[string]string { return r.pairs(r.anyText) }),
	}
}

// callPop returns an event as the connector may publish it.
func (r random) callPop() *schema.CallPop {
	p := &schema.CallPop{
		Version: schema.Version, Server: r.text(), Raw: r.text(), RawBase64: maybe(r, r.base64),
		Agent: schema.Agent{ID: maybe(r, r.text), Channel: maybe(r, r.text)},
		Call: schema.Call{
			SN: maybe(r, r.text), ID: maybe(r, r.text), Line: maybe(r, r.text),
			StartedAt: maybe(r, r.time), TransferredFrom: maybe(r, r.text),
		},
		Customer: schema.Customer{Number: maybe(r, r.text)},
		IVR: schema.IVR{
			Keys: maybe(r, r.text), Member: maybe(r, r.text), Data: maybe(r, r.text), Fields: maybe(r, func() map[string]string { return r.pairs(r.text) }),
		},
		Format:         pick(r, schema.T1V1, schema.T1V2, schema.T1V3, schema.T1V4, schema.T1V5, schema.Callback),
		DeclaredFormat: maybe(r, r.text), Truncated: r.IntN(2) == 0,
		Extra:  maybe(r, func() map[string]string { return r.pairs(r.text) }),
		Source: r.source(), ReceivedAt: r.utc(),
	}
	p.Call.IDDerived = p.Call.ID != "" && r.IntN(2) == 0
	if p.Customer.Number != "" && r.IntN(2) == 0 {
		p.Customer.E164 = "+8613812345678"
	}
	p.ID = schema.NewID(p.ReceivedAt)
	p.Fingerprint = schema.Fingerprint(p.Server, p.Agent.ID, []byte(p.Raw))
	p.Key = schema.Key(p.Server, p.Call.SN, p.Call.ID, p.ID)
	if r.IntN(2) == 0 {
		p.Pop.Code = 1 + r.IntN(12)
		p.Pop.Mode, p.Direction = schema.ModeOf(p.Pop.Code)
	}
	return p
}

func (r random) source() schema.Source {
	return schema.Source{Type: pick(r, "session", "relay", "callback"), Name: r.text(), Agent: maybe(r, r.text)}
}

func (r random) sessionChanged() *schema.SessionChanged {
	s := &schema.SessionChanged{
		Version: schema.Version, Server: r.text(), Agent: maybe(r, r.text),
		State: pick(r, schema.Connecting, schema.Connected, schema.Failed, schema.Expired, schema.Reconnecting, schema.Closed),
		Cause: maybe(r, r.text), At: r.utc(), Source: r.source(),
		Gap: maybe(r, func() *schema.Gap { return &schema.Gap{From: r.utc(), To: r.utc()} }),
	}
	s.ID = schema.NewID(s.At)
	s.OCXCode = s.State.OCXCode()
	return s
}

func (r random) deadLetter() *schema.DeadLetter {
	d := &schema.DeadLetter{
		Version: schema.Version, Server: r.text(), Agent: maybe(r, r.text),
		Reason: pick(r, schema.ReasonUndecodable, schema.ReasonLostFraming, schema.ReasonCutFrame, schema.ReasonRefused),
		Detail: maybe(r, r.text), Raw: maybe(r, r.text), RawBase64: r.base64(), ReceivedAt: r.utc(), Source: r.source(),
		Sink: maybe(r, r.text), Headers: maybe(r, func() map[string]string { return r.pairs(r.text) }),
	}
	d.ID = schema.NewID(d.ReceivedAt)
	return d
}
