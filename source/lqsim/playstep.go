package lqsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/callpop/connector/source/frame"
)

// step does one step, for each agent it is for.
func (p *player) step(ctx context.Context, s *step, now time.Time) error {
	switch s.kind {
	case Burst:
		return p.burst(ctx, s)
	case AcceptSilent:
		p.on.Mute(true)
		p.start(s, now, "mute", func() error { p.on.Mute(false); return nil })
		p.done(s, "", nil)
		return nil
	case Refuse:
		return p.refuse(s, now)
	case Transfer, ThreeWay, RePop:
		return p.follow(s)
	}
	for _, agent := range p.agents(s) {
		err := p.forAgent(s, now, agent)
		var wrong *ScenarioError
		if errors.As(err, &wrong) {
			return err
		}
		p.done(s, agent, err)
	}
	return nil
}

func (p *player) forAgent(s *step, now time.Time, agent string) error {
	switch s.kind {
	case Silence:
		p.on.Silence(agent, true)
		p.start(s, now, "silence "+agent, func() error { p.on.Silence(agent, false); return nil })
		return nil
	case HalfOpen:
		return p.on.HalfOpen(agent)
	case Close:
		return p.on.Close(agent)
	case Reset:
		return p.on.Reset(agent)
	case Heartbeat:
		for range max(1, s.count) {
			if err := p.on.Heartbeat(agent); err != nil {
				return err
			}
		}
		return nil
	case Raw:
		if s.framed {
			return p.send(agent, s.bytes)
		}
		return p.on.SendBytes(agent, s.bytes)
	case Garbage:
		return p.garbage(s, agent)
	default:
		return p.begin(s, agent)
	}
}

// send sends a pop and counts it.
func (p *player) send(agent string, raw []byte) error {
	err := p.on.Send(agent, raw)
	if err == nil {
		p.tally.Sent++
	} else {
		p.tally.Missed++
	}
	return err
}

func (p *player) done(s *step, agent string, err error) {
	if p.opts.OnStep != nil {
		p.opts.OnStep(Played{Round: p.round, Line: s.line, Kind: s.kind, Agent: agent, Err: err})
	}
}

func (p *player) refuse(s *step, now time.Time) error {
	var err error
	if s.hangUp {
		p.on.HangUp(true)
		p.start(s, now, "hang up", func() error { p.on.HangUp(false); return nil })
	} else {
		err = p.on.Refuse(true)
		p.start(s, now, "refuse", func() error { return p.on.Refuse(false) })
	}
	p.done(s, "", err)
	return err
}

// begin rings a new call at an agent, or cuts its pop.
func (p *player) begin(s *step, agent string) error {
	charset := cmp.Or(s.charset, p.opts.Charset)
	if s.kind == GBInbound {
		charset = GB18030
	}
	c := p.exchange.begin(time.Now(), *s.mode, cmp.Or(s.format, p.opts.Format), charset)
	if s.kind == GBInbound {
		c.pop.Data = "name:" + personName(p.exchange.rng) + "|city:南京"
	}
	for field, set := range map[*string]*string{
		&c.pop.Number: s.number, &c.pop.Line: s.outsideLine, &c.pop.SN: s.sn, &c.pop.Member: s.member,
	} {
		if set != nil {
			*field = *set
		}
	}
	if s.outsideLine != nil {
		c.pop.ID = strconv.FormatInt(c.pop.StartedAt.UnixMilli(), 10) + c.pop.Line
	}
	c.attach(s)
	p.calls[s.call], p.last = c, c
	pop := c.ring(agent, *s.mode)
	raw, err := encode(&pop, c.format, c.charset)
	if err == nil && len(raw) > frame.MaxPop {
		err = fmt.Errorf("%d bytes", len(raw))
	}
	if err != nil {
		return p.wrong(s, string(s.kind), err.Error(), "fields that "+c.format+" can carry in "+strconv.Itoa(frame.MaxPop)+" bytes")
	}
	if s.kind != Cut {
		return p.send(agent, raw)
	}
	at := (1 + len(raw)) / 2
	if s.atByte != nil {
		at = *s.atByte
	}
	if at > len(raw) {
		return p.wrong(s, "at_byte", strconv.Itoa(at), fmt.Sprintf("0 to %d: the frame is one longer", len(raw)))
	}
	if s.reset {
		return p.on.CutReset(agent, raw, at)
	}
	return p.on.Cut(agent, raw, at)
}

// attach gives a call the IVR data and keys that a step names.
func (c *call) attach(s *step) {
	if s.keys != nil {
		c.pop.Keys = *s.keys
	}
	if s.data != nil {
		c.pop.Data = *s.data
	}
}

// follow passes a call on, or pops it again.
func (p *player) follow(s *step) error {
	c := p.last
	if s.call != "" {
		c = p.calls[s.call]
	}
	if c == nil {
		return p.wrong(s, "call", strconv.Quote(s.call), "a call that an earlier step has begun")
	}
	c.attach(s)
	agents := []string{c.holder}
	switch {
	case s.kind != RePop:
		agents = p.resolve(s.to)
	case s.agent != "":
		agents = p.resolve(s.agent)
	}
	for _, agent := range agents {
		pop := c.rePop(agent)
		switch s.kind {
		case Transfer:
			pop = c.transfer(agent)
		case ThreeWay:
			pop = c.threeWay(agent)
		}
		raw, err := encode(&pop, c.format, c.charset)
		if err != nil {
			return p.wrong(s, string(s.kind), err.Error(), "fields that "+c.format+" can carry")
		}
		p.done(s, agent, p.send(agent, raw))
	}
	return nil
}

// burst sends many pops, made up.
func (p *player) burst(ctx context.Context, s *step) error {
	traffic, err := NewTraffic(TrafficOptions{
		Agents: p.agents(s), Rate: s.rate, Count: s.count,
		Format: cmp.Or(s.format, p.opts.Format), Charset: cmp.Or(s.charset, p.opts.Charset),
	})
	if err != nil {
		return err
	}
	traffic.exchange = p.exchange // its serial numbers go on
	begun := time.Now()
	for offer, ok := traffic.Next(); ok; offer, ok = traffic.Next() {
		if err := p.sleep(ctx, begun.Add(offer.Offset)); err != nil {
			return err
		}
		p.done(s, offer.Agent, p.send(offer.Agent, offer.Raw))
	}
	return nil
}

// garbage sends bytes that are no pop. Their first one starts no pop, and none is
// a letter, so that no heartbeat is among them.
func (p *player) garbage(s *step, agent string) error {
	const usual = 64
	data := make([]byte, cmp.Or(s.count, usual))
	for i := range data {
		data[i] = byte(0x80 + p.exchange.rng.IntN(0x80))
	}
	if s.framed {
		return p.send(agent, data)
	}
	return p.on.SendBytes(agent, data)
}

// agents is whom a step is for.
func (p *player) agents(s *step) []string { return p.resolve(s.agentRef()) }

// agentRef is the step's agent, or the default of its kind.
func (s *step) agentRef() string {
	switch {
	case s.agent != "":
		return s.agent
	case s.kind == Burst || s.kind == Silence || s.kind == Heartbeat:
		return "$all"
	default:
		return "$1"
	}
}

// resolve finds the agents that a reference stands for; checkRoster has seen it.
func (p *player) resolve(ref string) []string {
	if ref == "$all" {
		return p.opts.Agents
	}
	if place, ok := strings.CutPrefix(ref, "$"); ok {
		n, err := strconv.Atoi(place)
		if err != nil || n < 1 || n > len(p.opts.Agents) {
			return nil
		}
		return p.opts.Agents[n-1 : n]
	}
	return []string{ref}
}

// checkRoster refuses a step whose agents the roster does not have.
func (p *player) checkRoster(s *step) error {
	key, ref := "agent", s.agentRef()
	switch s.kind {
	case Wait, AcceptSilent, Refuse:
		return nil
	case Transfer, ThreeWay:
		key, ref = "to", s.to
	case RePop:
		if s.agent == "" { // whoever has the call
			return nil
		}
	}
	if len(p.resolve(ref)) == 0 {
		return p.wrong(s, key, ref, fmt.Sprintf("one of the %d agents of the roster", len(p.opts.Agents)))
	}
	return nil
}

// checkAgentRef tells of a reference that can stand for nobody.
func checkAgentRef(ref string, several bool) error {
	place, isRef := strings.CutPrefix(ref, "$")
	if !isRef {
		return checkAgents([]string{ref})
	}
	if several && place == "all" {
		return nil
	}
	if n, err := strconv.Atoi(place); err != nil || n < 1 {
		return fmt.Errorf("agent %s: no such reference", ref)
	}
	return nil
}
