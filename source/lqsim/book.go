package lqsim

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// register makes a socket a session. It returns an End if the agent is turned
// away.
func (s *Server) register(socket *session, id, channel string) (Session, End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if socket.info.End != "" {
		return socket.info, socket.info.End
	}
	full := len(s.agents) >= maxAgents && s.agents[id] == nil
	unknown := s.known != nil && !s.known[id]
	if id == "" || full || unknown {
		s.totals.Rejected++
		return socket.info, EndRejected
	}
	a := s.agentLocked(id)
	socket.agent = a
	socket.info.Agent = a.ID
	socket.info.Channel = channel
	socket.info.RegisteredAt = time.Now()
	socket.due = socket.info.RegisteredAt.Add(s.opts.FirstHeartbeat)
	a.sessions = append(a.sessions, socket)
	a.Connects++
	a.Live++
	a.MostLive = max(a.MostLive, a.Live)
	s.totals.Registered++
	s.totals.Live++
	s.notifyLocked()
	return socket.info, ""
}

// agentLocked returns an agent's record, making one for an agent not seen yet.
func (s *Server) agentLocked(id string) *agent {
	a := s.agents[id]
	if a == nil {
		a = &agent{Agent: Agent{ID: id}}
		s.agents[id] = a
	}
	return a
}

// endLocked books how a socket ended; only the first call counts. Closing is the
// caller's.
func (s *Server) endLocked(socket *session, end End) bool {
	if socket.info.End != "" {
		return false
	}
	socket.info.End = end
	socket.info.EndedAt = time.Now()
	if a := socket.agent; a != nil {
		a.sessions = slices.DeleteFunc(a.sessions, func(other *session) bool { return other == socket })
		a.Live--
		a.Disconnects++
		a.LastEnd = end
		s.totals.Live--
		s.totals.Ended++
	}
	switch end {
	case EndUnregistered:
		s.totals.Unregistered++
	case EndHungUp:
		s.totals.HungUp++
	default:
	}
	if len(s.ended) < s.opts.History {
		s.ended = append(s.ended, socket.info)
	} else {
		s.ended[s.endedAt] = socket.info
		s.endedAt = (s.endedAt + 1) % len(s.ended)
	}
	s.notifyLocked()
	return true
}

// remote is the client's address, without the netip.Addr's zone for IPv4 in IPv6.
func remote(conn net.Conn) netip.AddrPort {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		a := tcp.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return netip.AddrPort{}
}
