package lqsim

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/callpop/connector/source/frame"
)

// Silence switched on sends the agent nothing at all: no heartbeats, no pops, on
// this session and on those it opens meanwhile. Its replies are still read. When
// it returns, nothing is on its way.
func (s *Server) Silence(agent string, on bool) {
	s.mu.Lock()
	a := s.agentLocked(agent)
	a.silent = on
	sessions := slices.Clone(a.sessions)
	s.mu.Unlock()
	for _, c := range sessions {
		c.awaitWrite()
	}
}

// awaitWrite waits for a write that is under way.
func (c *session) awaitWrite() {
	c.writing.Lock()
	defer c.writing.Unlock()
}

// HalfOpen stops reading and sending on the agent's newest session and keeps its
// socket, as when the path to it died: the client's kernel still gets its bytes
// acknowledged, but nothing is ever answered, and the server does not notice the
// client's close. It lasts until Close, Reset or the end of Run; the agent's next
// session is an ordinary one.
func (s *Server) HalfOpen(agent string) error {
	return s.withNewest("half-open", agent, func(c *session) error {
		c.writing.Lock()
		defer c.writing.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.halfOpen == nil {
			c.halfOpen = make(chan struct{})
			c.wakeLocked()
		}
		return nil
	})
}

// Close closes the agent's newest session in order (FIN) behind all that was sent.
func (s *Server) Close(agent string) error {
	return s.withNewest("close", agent, func(c *session) error {
		c.writing.Lock()
		defer c.writing.Unlock()
		return c.close(EndClosed)
	})
}

// Reset breaks the agent's newest session (RST). What the client had not read may
// be lost.
func (s *Server) Reset(agent string) error {
	return s.withNewest("reset", agent, func(c *session) error { return c.reset(EndReset) })
}

// Cut sends the first at bytes of a pop's frame, the length in front counted, and
// closes in order. at runs from 0 to the frame's length less one.
func (s *Server) Cut(agent string, raw []byte, at int) error {
	return s.cut(agent, raw, at, EndCut)
}

// CutReset is Cut with a reset at its end.
func (s *Server) CutReset(agent string, raw []byte, at int) error {
	return s.cut(agent, raw, at, EndCutReset)
}

func (s *Server) cut(agent string, raw []byte, at int, end End) error {
	framed, err := frame.AppendPop(nil, raw)
	if err != nil {
		return fmt.Errorf("cut for agent %s: %w", agent, err)
	}
	if at < 0 || at >= len(framed) {
		return fmt.Errorf("cut for agent %s: after %d bytes: expected 0 to %d", agent, at, len(framed)-1)
	}
	return s.withNewest("cut", agent, func(c *session) error {
		c.writing.Lock()
		defer c.writing.Unlock()
		if at > 0 {
			if err := c.write(framed[:at], booking{}); err != nil {
				return err
			}
		}
		if end == EndCutReset {
			return c.reset(end)
		}
		return c.close(end)
	})
}

// close books the end and sends FIN; run closes the socket when the client has
// closed its side, or after linger. The caller holds writing.
func (c *session) close(end End) error {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.endLocked(c, end) {
		return ErrNoSession
	}
	c.wakeLocked()
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(linger))
		return nil
	}
	return c.conn.Close()
}

// reset books the end and closes with RST.
func (c *session) reset(end End) error {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.endLocked(c, end) {
		return ErrNoSession
	}
	c.wakeLocked()
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return c.conn.Close()
}
