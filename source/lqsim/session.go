package lqsim

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/callpop/connector/source/frame"
)

const (
	// registrationLimit is the most a client may send before its registration is
	// complete.
	registrationLimit = 8 * frame.MaxTemplate
	// registrationSettle is how long to wait where a registration is complete but
	// could go on (a template that ends with the agent's number).
	registrationSettle = 50 * time.Millisecond
	// linger is how long a closed socket waits for the client's own close, so that
	// what was sent last is not lost to a reset.
	linger = time.Second
)

// session is one socket. One goroutine, run, reads it and sends the heartbeats;
// pops are written by their senders. Ten thousand of them must fit: it holds no
// buffer larger than a few replies.
type session struct {
	server *Server
	conn   net.Conn
	muted  bool

	// writing is held from picking what to write until it is booked, so that the
	// order of the wire is the order of the books. Taken before Server.mu.
	writing sync.Mutex

	// Server.mu guards the rest but for the last two.
	agent       *agent // nil until registered
	info        Session
	due         time.Time     // of the next heartbeat
	asked       time.Time     // the oldest heartbeat without a reply
	outstanding int           // heartbeats without a reply, not yet given up
	inRow       int           // unanswered heartbeats in a row
	halfOpen    chan struct{} // not nil: parked until it is closed

	matched int      // bytes of TRY_REP seen so far; run's own
	buf     [32]byte // run's own
}

// run serves the socket until it ends.
func (c *session) run() {
	if c.muted {
		c.discard()
		c.finish(EndMuted)
		return
	}
	rest, end := c.readRegistration()
	if end == "" {
		c.take(rest)
		end = c.serve()
	}
	c.finish(end)
}

// finish books the end, if nothing was booked before, and closes the socket.
func (c *session) finish(end End) {
	s := c.server
	s.mu.Lock()
	s.endLocked(c, end)
	info := c.info
	delete(s.sockets, c)
	s.notifyLocked()
	s.mu.Unlock()
	_ = c.conn.Close()
	if s.opts.OnSession != nil {
		s.opts.OnSession(info)
	}
}

// discard reads and forgets until the client, or the server's stop, ends it.
func (c *session) discard() {
	for {
		if _, err := c.conn.Read(c.buf[:]); err != nil {
			return
		}
	}
}

// readRegistration reads until the template fits, and registers the agent. It
// returns what the client sent behind its registration.
func (c *session) readRegistration() ([]byte, End) {
	s := c.server
	deadline := time.Now().Add(s.opts.RegisterTimeout)
	var received []byte
	for {
		agent, channel, n, ok, more := s.registration.Match(received)
		switch {
		case ok && !more:
			return c.register(agent, channel, received[n:])
		case !ok && !more || len(received) >= registrationLimit:
			return nil, EndUnregistered
		}
		until := deadline
		if settled := time.Now().Add(registrationSettle); ok && settled.Before(until) {
			until = settled
		}
		if !c.arm(until) {
			return nil, EndStopped
		}
		count, err := c.conn.Read(c.buf[:])
		received = append(received, c.buf[:count]...)
		switch {
		case err == nil || count > 0:
		case ok: // silence or a half close after a whole registration
			return c.register(agent, channel, received[n:])
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, EndUnregistered
		default:
			return nil, readEnd(err)
		}
	}
}

func (c *session) register(agent, channel string, rest []byte) ([]byte, End) {
	info, end := c.server.register(c, agent, channel)
	if end == "" && c.server.opts.OnSession != nil {
		c.server.opts.OnSession(info)
	}
	return rest, end
}

// serve reads replies and sends heartbeats until the socket ends.
func (c *session) serve() End {
	s := c.server
	for {
		s.mu.Lock()
		parked, due, ended := c.halfOpen, c.due, c.info.End != ""
		s.mu.Unlock()
		if parked != nil {
			<-parked
			return EndStopped // whoever closed it has booked the true end
		}
		if s.opts.Heartbeat == Never {
			due = time.Time{}
		} else if !ended && !due.After(time.Now()) {
			if end := c.heartbeat(); end != "" {
				return end
			}
			continue
		}
		if !c.arm(due) {
			// The script has closed it: wait for the client's close.
			c.discard()
			return EndStopped
		}
		n, err := c.conn.Read(c.buf[:])
		reading := c.take(c.buf[:n])
		if reading && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return readEnd(err)
		}
	}
}

// arm sets the next read's deadline, unless the script has ended the session: its
// own deadline stands then. False means that. Both sides set deadlines under mu,
// so that neither undoes the other's.
func (c *session) arm(deadline time.Time) bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.info.End != "" {
		return false
	}
	if c.halfOpen != nil {
		deadline = time.Now()
	}
	_ = c.conn.SetReadDeadline(deadline)
	return true
}

// wakeLocked lets run look at the session's state at once.
func (c *session) wakeLocked() {
	if c.halfOpen != nil && c.info.End != "" {
		select {
		case <-c.halfOpen:
		default:
			close(c.halfOpen)
		}
	}
	_ = c.conn.SetReadDeadline(time.Now())
}

// readEnd is how a session ended whose read failed.
func readEnd(err error) End {
	if errors.Is(err, io.EOF) {
		return EndClientClosed
	}
	return EndClientReset
}

// take books what the client sent: replies, and bytes that are none. A T only
// starts a reply, so that a mismatch can go back no further than to itself. False
// means that the session has become half open, and nothing is read any more.
func (c *session) take(received []byte) bool {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.halfOpen != nil || len(received) == 0 {
		return c.halfOpen == nil
	}
	now := time.Now()
	for _, b := range received {
		switch b {
		case frame.Reply[c.matched]:
			c.matched++
		case frame.Reply[0]:
			c.strayLocked(c.matched)
			c.matched = 1
		default:
			c.strayLocked(c.matched + 1)
			c.matched = 0
		}
		if c.matched == len(frame.Reply) {
			c.matched = 0
			c.replyLocked(now)
		}
	}
	s.notifyLocked()
	return true
}

func (c *session) strayLocked(n int) {
	c.info.Stray += n
	c.server.totals.Stray += n
}

func (c *session) replyLocked(now time.Time) {
	if c.outstanding == 0 {
		c.info.Unsolicited++
		c.server.totals.Unsolicited++
		return
	}
	c.outstanding--
	c.inRow = 0
	c.info.Replies++
	c.info.SlowestReply = max(c.info.SlowestReply, now.Sub(c.asked))
	c.agent.Replies++
	c.server.totals.Replies++
}

// heartbeat gives up the replies that are owed and sends the next TRY_REQ that is
// due.
func (c *session) heartbeat() End {
	s := c.server
	s.mu.Lock()
	c.due = time.Now().Add(s.opts.Heartbeat)
	c.info.Unanswered += c.outstanding
	c.agent.Unanswered += c.outstanding
	s.totals.Unanswered += c.outstanding
	c.inRow += c.outstanding
	c.outstanding = 0
	limit := s.opts.MaxUnanswered
	tooMany := limit > 0 && c.inRow >= limit
	s.notifyLocked()
	s.mu.Unlock()
	if tooMany {
		return EndUnanswered
	}
	if err := c.sendHeartbeat(); err != nil && !isHeldBack(err) {
		return EndWrite
	}
	return ""
}
