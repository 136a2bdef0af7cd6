package lqsim

import (
	"net/netip"
	"time"
)

// End says how a session or a socket ended, from the server's side.
type End string

// How a session ends.
const (
	// EndClientClosed: the client closed the connection (FIN).
	EndClientClosed End = "client closed"
	// EndClientReset: the client's side broke (RST or another read error).
	EndClientReset End = "client reset"
	// EndClosed, EndReset, EndCut, EndCutReset: [Server.Close], [Server.Reset],
	// [Server.Cut], [Server.CutReset].
	EndClosed   End = "closed"
	EndReset    End = "reset"
	EndCut      End = "cut"
	EndCutReset End = "cut and reset"
	// EndWrite: a write failed or took longer than [Options.WriteTimeout].
	EndWrite End = "write failed"
	// EndUnanswered: [Options.MaxUnanswered] heartbeats in a row went unanswered.
	EndUnanswered End = "heartbeats unanswered"
	// EndStopped: the server's Run ended.
	EndStopped End = "server stopped"
	// EndRejected: the agent is not one of [Options.Agents].
	EndRejected End = "agent rejected"
	// EndUnregistered: no registration, or one that does not fit the template.
	EndUnregistered End = "not registered"
	// EndHungUp: accepted while [Server.HangUp] was on.
	EndHungUp End = "hung up"
	// EndMuted: accepted while [Server.Mute] was on, and ended by the client.
	EndMuted End = "muted"
)

// Session is what the server knows of one socket.
type Session struct {
	// Number is the connection's number, counted from 1 as accepted. As long as
	// an agent's session has the same number, its socket was not closed.
	Number int64
	// Remote is the client's address and port.
	Remote netip.AddrPort
	// Agent and Channel are as registered; empty on a socket that did not.
	Agent, Channel string
	// RegisteredAt is zero on a socket that did not register.
	RegisteredAt time.Time

	// Heartbeats counts TRY_REQ sent, Replies the TRY_REP that came for them.
	Heartbeats, Replies int
	// Unanswered counts heartbeats without a reply when the next one was due.
	Unanswered int
	// Unsolicited counts replies to nothing: more than the heartbeats sent, or
	// later than the next heartbeat.
	Unsolicited int
	// SlowestReply is the longest time from a heartbeat to its reply.
	SlowestReply time.Duration
	// Pops counts the pops written whole.
	Pops int
	// Stray counts bytes from the client after the registration that belong to
	// no TRY_REP.
	Stray int

	// End is empty while the session lives.
	End     End
	EndedAt time.Time
}

// Agent is what the server knows of one agent, over all its sessions.
type Agent struct {
	ID string
	// Live is how many of its sessions are up, MostLive the most there ever were
	// at once: more than one is a double registration.
	Live, MostLive int
	// Connects and Disconnects count registrations and ended sessions.
	Connects, Disconnects int
	// Heartbeats, Replies and Unanswered add up its sessions'.
	Heartbeats, Replies, Unanswered int
	// Pops counts pops written whole; Missed those that had no session to go to.
	Pops, Missed int
	// LastEnd is how its last ended session ended.
	LastEnd End
}

// Totals add up the whole server.
type Totals struct {
	// Accepted counts sockets; Registered those that became sessions, Rejected,
	// Unregistered, Muted and HungUp those that did not.
	Accepted, Registered, Rejected, Unregistered, Muted, HungUp int
	// Live sessions now, and Ended ones.
	Live, Ended int
	// Heartbeats, Replies, Unanswered and Unsolicited as in [Session].
	Heartbeats, Replies, Unanswered, Unsolicited int
	// Pops counts pops written whole; Missed those without a session.
	Pops, Missed int
	// Stray counts client bytes that belong to no TRY_REP.
	Stray int
}

// Sent is one pop that was written whole.
type Sent struct {
	// Sequence counts from 1 over the server; of one session's pops it rises in
	// the order of the wire.
	Sequence uint64
	// Agent is whose session it went to, Session that session's number.
	Agent   string
	Session int64
	// Raw is the pop string, without the length in front. Not to be changed.
	Raw []byte
	// At is the moment before the write.
	At time.Time
}
