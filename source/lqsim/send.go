package lqsim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/callpop/connector/source/frame"
)

// The reasons why nothing was sent. A pop held back is missed: as the real
// server, this one never sends it again.
var (
	// ErrNoSession: the agent has no session.
	ErrNoSession = errors.New("no session")
	// ErrSilent: [Server.Silence] is on for the agent.
	ErrSilent = errors.New("silenced")
	// ErrHalfOpen: the agent's session was made [Server.HalfOpen].
	ErrHalfOpen = errors.New("half open")
)

// isHeldBack says that the script, not the socket, kept bytes from being sent.
func isHeldBack(err error) bool {
	return errors.Is(err, ErrNoSession) || errors.Is(err, ErrSilent) || errors.Is(err, ErrHalfOpen)
}

// Send sends a pop string of at most 255 bytes, its length in front, to the
// agent's newest session, or to all with [Options.EverySession]. It blocks until the kernel has taken it, at most
// [Options.WriteTimeout]. With [ErrNoSession], [ErrSilent] or [ErrHalfOpen] the
// pop counts as missed.
func (s *Server) Send(agent string, raw []byte) error {
	framed, err := frame.AppendPop(make([]byte, 0, 1+len(raw)), raw)
	if err != nil {
		return fmt.Errorf("send to agent %s: %w", agent, err)
	}
	if s.opts.EverySession {
		err = s.withEvery("send to", agent, func(c *session) error { return c.sendPop(framed) })
	} else {
		err = s.withNewest("send to", agent, func(c *session) error { return c.sendPop(framed) })
	}
	if isHeldBack(err) {
		s.mu.Lock()
		s.totals.Missed++
		if len(s.agents) < maxAgents || s.agents[agent] != nil {
			s.agentLocked(agent).Missed++
		}
		s.notifyLocked()
		s.mu.Unlock()
	}
	return err
}

// SendBytes sends bytes as they are, without a frame: garbage, parts of frames,
// several frames at once. They are in no record. Errors as for Send.
func (s *Server) SendBytes(agent string, data []byte) error {
	return s.withNewest("send to", agent, func(c *session) error { return c.sendBytes(data) })
}

// Heartbeat sends the agent's newest session one TRY_REQ now, beside those that
// are due. Errors as for Send.
func (s *Server) Heartbeat(agent string) error {
	return s.withNewest("send to", agent, (*session).sendHeartbeat)
}

// withNewest calls do with the agent's newest session; what is for the error.
func (s *Server) withNewest(what, agent string, do func(*session) error) error {
	s.mu.Lock()
	c := s.newestLocked(agent)
	s.mu.Unlock()
	err := ErrNoSession
	if c != nil {
		err = do(c)
	}
	if err != nil {
		return fmt.Errorf("%s agent %s: %w", what, agent, err)
	}
	return nil
}

// withEvery calls do with each session of the agent. An error is that of the last one,
// where none of them went well.
func (s *Server) withEvery(what, agent string, do func(*session) error) error {
	s.mu.Lock()
	var all []*session
	if a := s.agents[agent]; a != nil {
		all = slices.Clone(a.sessions)
	}
	s.mu.Unlock()
	err, done := ErrNoSession, false
	for _, c := range all {
		if err = do(c); err == nil {
			done = true
		}
	}
	if done {
		return nil
	}
	return fmt.Errorf("%s agent %s: %w", what, agent, err)
}

func (s *Server) newestLocked(agent string) *session {
	if a := s.agents[agent]; a != nil && len(a.sessions) > 0 {
		return a.sessions[len(a.sessions)-1]
	}
	return nil
}

// booking is what to book of a write, each part where not nil.
type booking struct {
	// before is called with Server.mu held, once it is certain that the write is
	// tried: what answers it may be read before the write returns.
	before func()
	// after is called once the kernel has taken all, with the moment before.
	after func(at time.Time)
}

// write sends data unless the script holds it back. A write that fails ends the
// session. The caller holds writing.
func (c *session) write(data []byte, book booking) error {
	s := c.server
	s.mu.Lock()
	var held error
	switch {
	case c.info.End != "":
		held = ErrNoSession
	case c.halfOpen != nil:
		held = ErrHalfOpen
	case c.agent.silent:
		held = ErrSilent
	case book.before != nil:
		book.before()
	}
	s.mu.Unlock()
	if held != nil {
		return held
	}
	at := time.Now()
	_ = c.conn.SetWriteDeadline(at.Add(s.opts.WriteTimeout))
	if _, err := c.conn.Write(data); err != nil {
		s.mu.Lock()
		s.endLocked(c, EndWrite)
		_ = c.conn.SetReadDeadline(time.Now().Add(linger))
		s.mu.Unlock()
		return err
	}
	if book.after != nil {
		book.after(at)
	}
	return nil
}

// sendPop writes a frame and books the pop in it.
func (c *session) sendPop(framed []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(framed, booking{after: func(at time.Time) {
		s := c.server
		s.mu.Lock()
		s.sequence++
		sent := Sent{Sequence: s.sequence, Agent: c.info.Agent, Session: c.info.Number, Raw: framed[1:], At: at}
		c.info.Pops++
		c.agent.Pops++
		s.totals.Pops++
		if s.opts.Record {
			s.sent = append(s.sent, sent)
		}
		s.notifyLocked()
		s.mu.Unlock()
		if s.opts.OnSent != nil {
			s.opts.OnSent(sent)
		}
	}})
}

func (c *session) sendBytes(data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(data, booking{})
}

// heartbeatBytes is what every heartbeat writes; never changed.
var heartbeatBytes = []byte(frame.Request)

func (c *session) sendHeartbeat() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.write(heartbeatBytes, booking{before: func() {
		if c.outstanding == 0 {
			c.asked = time.Now()
		}
		c.outstanding++
		c.info.Heartbeats++
		c.agent.Heartbeats++
		c.server.totals.Heartbeats++
		c.server.notifyLocked()
	}})
}
