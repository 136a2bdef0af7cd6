package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/callpop/connector/source/pop"
)

// Plan says which pops are written when. It is the same in every process, so that
// a pop's number alone tells all others what it is.
type Plan struct {
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"rate"`
	Format   string  `json:"format"`
	// Count is how many pops there are, numbered from 1; 0: until it is told.
	Count int `json:"count"`
}

// firstAgent is the number of the first session's agent.
const firstAgent = 100_001

// Agent is the agent of a session, counted from 0.
func Agent(session int) string { return strconv.Itoa(firstAgent + session) }

// Due is when pop n is meant to be written, counted from the start.
func (p *Plan) Due(n int) time.Duration {
	if p.Rate == 0 {
		return 0
	}
	return time.Duration(float64(n-1) / p.Rate * float64(time.Second))
}

// Calls go on: a third of them pops again after a period, at another agent or the
// same, and half of those once more. The period is a second of pops.
func (p *Plan) period() int {
	return max(1, min(int(p.Rate), 100_000))
}

// call returns the number of the first pop of the call that pop n belongs to, and
// the session that n goes to.
func (p *Plan) call(n int) (first, session int) {
	period := p.period()
	if p.Rate == 0 {
		period = 20_000
	}
	round, place := (n-1)/period%3, (n-1)%period
	if round == 0 || place%3 != 0 || round == 2 && place%6 != 0 {
		return n, n % p.Sessions
	}
	first, session = p.call(n - period)
	if place%12 == 0 { // passed on
		session = (session + 1) % p.Sessions
	}
	return first, session
}

// base is a start of calls that every format can carry: 2026-01-01 in Shanghai.
var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 8*60*60))

// Append appends pop n's string and returns the session that it is for.
func (p *Plan) Append(dst []byte, n int) ([]byte, int) {
	call, session := p.call(n)
	number := phone(call)
	at := base.Add(time.Duration(call) * time.Millisecond)
	op := firstAgent + session
	switch p.Format {
	case pop.T1V1:
		return fmt.Appendf(dst, "2,%s,1000,%d,%d", number, at.UnixMilli(), n), session
	case pop.T1V2:
		return fmt.Appendf(dst, "H=t1v2,ch=2,ph=%s,id=%d2,tm=%s,dm=%d;", number, at.UnixMilli(), at.Format("060102150405"), n), session
	case pop.T1V3:
		return fmt.Appendf(dst, "H=t1v3,ch=2,ph=%s,id=%d2,tm=%s,op=%d,sn=%d,dm=%d;", number, at.UnixMilli(), at.Format("060102150405"), op, call, n), session
	case pop.T1V4:
		return fmt.Appendf(dst, "H=t1v4,ch=2,ph=%s,ty=1,tm=%s,op=%d,sn=%d,so=0,dm=%d;", number, at.Format("060102150405"), op, call, n), session
	default:
		return fmt.Appendf(dst, "H=t1v5,ch=2,ph=%s,ty=1,tm=%s,op=%d,sn=%d,so=0,da=0,dm=%d;", number, at.Format("060102150405"), op, call, n), session
	}
}

// phone gives every other call a number of its own, the rest one of a thousand
// that call again and again.
func phone(call int) string {
	mixed := uint32(call) * 2654435761 // Knuth's multiplicative hash
	if call%2 == 0 {
		mixed %= 1000
	}
	return fmt.Sprintf("013%09d", mixed%1_000_000_000)
}

// NumberOf finds a pop's number in what the connector made of it: the body of an
// event. 0: it is none of ours.
func NumberOf(body []byte) int {
	_, rest, ok := bytes.Cut(body, []byte(`"keys":"`))
	if !ok {
		return 0
	}
	return leadingNumber(rest)
}

// NumberIn finds a pop's number in its string.
func NumberIn(raw []byte) int {
	if i := bytes.LastIndexAny(raw, "=,"); i >= 0 {
		return leadingNumber(raw[i+1:])
	}
	return 0
}

func leadingNumber(b []byte) (n int) {
	for _, c := range b {
		if c < '0' || c > '9' || n > maxPops {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
