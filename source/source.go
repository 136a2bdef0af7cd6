// Package source turns what LQ servers and their clients send into events.
//
// A source (package session, relay, callback) reads bytes and hands each pop to
// the [Intake], which never blocks it. The intake's workers decode, make the
// event in one place ([Assembler]) and store it with [Emit], events of one key in
// the order they were received.
package source

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/schema"
)

// Emit stores an event durably. It blocks until the event is stored or ctx is
// done; nil means that it is stored and the connector owns it from then on. Calls
// may overlap. An error says nothing about whether the event was stored: emit the
// same event again, with the same id.
type Emit func(ctx context.Context, event schema.Event) error

// Source takes pops from one LQ server, or from its clients.
type Source interface {
	// Run blocks until ctx is done and everything the source started has ended.
	// Trouble with a server never ends it; an error means that the source could
	// not begin, such as a port in use.
	Run(ctx context.Context) error
	// Status may be called at any time, also before and after Run.
	Status() Status
}

// Status is what a source tells the people who run it.
type Status struct {
	Name   string
	Type   string
	Server string
	// Wanted and Up count agents' sessions. A session is up from the first byte
	// the server sent over it.
	Wanted, Up int
	// States counts the sessions by their state; those that are connected are Up,
	// and all of them Wanted. nil where the source has no sessions.
	States map[schema.SessionState]int
}

// Origin is where a pop came from: one socket, or one callback endpoint. It is
// made once and shared by all that comes over it.
type Origin struct {
	// Type is session, relay or callback; Name the source's name.
	Type, Name string
	// Server is the LQ server's name.
	Server string
	// Agent and Channel are the socket's own; empty where unknown.
	Agent, Channel string
	Decoding       *Decoding
	// DownSince is since when the agent may have had no session, before the first one of
	// o; zero: since that one was to be opened. It is the fleet's once that was set.
	DownSince time.Time

	// lastPop is the [instant] at which a pop last came, overlap that at which the
	// declared overlap ends; 0: there was, or is, none.
	lastPop, overlap atomic.Int64
	// state is the last one reported, which a gap repeats; guarded by the mutex of
	// the Intake.
	state schema.SessionState
}

// popped notes a pop.
func (o *Origin) popped(at time.Time) { o.lastPop.Store(at.UnixNano()) }

// LastPop is when a pop last came from o; zero if none did.
func (o *Origin) LastPop() time.Time { return instant(o.lastPop.Load()).time() }

// DeclareOverlap says that until then the agent may have a session at another replica
// too, over which copies of o's pops come; zero: none. Their events carry the
// fingerprint as [schema.HeaderOverlap].
func (o *Origin) DeclareOverlap(until time.Time) {
	o.overlap.Store(int64(instantOf(until)))
}

// overlaps reports whether what came at a time may have come to another replica too.
func (o *Origin) overlaps(at time.Time) bool { return at.UnixNano() < o.overlap.Load() }

// inherit takes over what is known of the agent whose origin o replaces.
func (o *Origin) inherit(former *Origin) {
	o.lastPop.Store(former.lastPop.Load())
}
