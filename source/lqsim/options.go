package lqsim

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/callpop/connector/source/frame"
)

// The defaults of [Options].
const (
	// DefaultRegistration is a template of our own making: the vendor does not
	// publish the bytes.
	DefaultRegistration    = "op={{.Agent}},ch={{.Channel}};"
	DefaultHeartbeat       = 10 * time.Second
	DefaultRegisterTimeout = 10 * time.Second
	DefaultWriteTimeout    = 5 * time.Second
	DefaultHistory         = 1024
)

// maxAgents bounds how many different agents a server keeps records of: their
// names come from the network.
const maxAgents = 100_000

// Never as [Options.Heartbeat] sends heartbeats only when told to.
const Never time.Duration = -1

// Options configure a [Server]. The zero value listens on a free loopback port,
// takes every agent, and sends a heartbeat at once and then every ten seconds.
type Options struct {
	// Listener is used where given; the server closes it.
	Listener net.Listener
	// Address is host:port to listen on where Listener is nil, port 0 for a free
	// one. Default 127.0.0.1:0.
	Address string

	// Registration is the template of the registration message, the very one the
	// client renders. Default [DefaultRegistration]. RegistrationHex is the same
	// in hex, see [frame.ParseRegistrationHex]; not both.
	Registration    string
	RegistrationHex string
	// RegisterTimeout is how long a new socket may take to register before it is
	// closed. Default 10 s.
	RegisterTimeout time.Duration
	// Agents may register; others are closed at once ([EndRejected]). Empty:
	// every agent may.
	Agents []string

	// EverySession sends a pop to all sessions of its agent, the oldest first, as a
	// server does that lets an agent register twice. Default: to the newest alone.
	EverySession bool

	// Heartbeat is the time between two TRY_REQ on one session. Default 10 s;
	// [Never] sends none.
	Heartbeat time.Duration
	// FirstHeartbeat is when the first one is sent, counted from the
	// registration. Default at once, as the client takes a session for connected
	// at its first byte.
	FirstHeartbeat time.Duration
	// MaxUnanswered closes a session after so many heartbeats without TRY_REP.
	// Default 0: never, the manual tells of no such limit.
	MaxUnanswered int

	// WriteTimeout ends a session whose client does not read for so long.
	// Default 5 s.
	WriteTimeout time.Duration

	// OnSent, where not nil, is called for each pop once its frame was handed to
	// the kernel whole, in the order of the wire for one session, with calls for
	// different sessions overlapping. The client may see the bytes a moment
	// before. It must not call the server.
	OnSent func(Sent)
	// OnSession, where not nil, is called when a session has registered (End is
	// empty) and when it or a socket that never registered has ended. Calls
	// overlap. It may call the server, but not wait for it.
	OnSession func(Session)
	// Record keeps every pop sent in memory, for [Server.Sent].
	Record bool
	// History is how many ended sessions [Server.Ended] remembers. Default 1024.
	History int
}

// withDefaults returns o complete, with its registration parsed.
func (o Options) withDefaults() (Options, frame.Registration, error) {
	var none frame.Registration
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	for _, d := range []struct {
		value *time.Duration
		name  string
		def   time.Duration
	}{
		{&o.Heartbeat, "heartbeat", DefaultHeartbeat},
		{&o.RegisterTimeout, "register timeout", DefaultRegisterTimeout},
		{&o.WriteTimeout, "write timeout", DefaultWriteTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < 0 && (d.value != &o.Heartbeat || *d.value != Never) {
			return o, none, fmt.Errorf("lq server: %s %s: expected a positive duration", d.name, *d.value)
		}
	}
	if o.FirstHeartbeat < 0 {
		return o, none, fmt.Errorf("lq server: first heartbeat %s: expected zero or a positive duration", o.FirstHeartbeat)
	}
	if o.MaxUnanswered < 0 || o.History < 0 {
		return o, none, errors.New("lq server: max unanswered and history: expected zero or a positive number")
	}
	if o.History == 0 {
		o.History = DefaultHistory
	}
	var (
		registration frame.Registration
		err          error
	)
	switch {
	case o.RegistrationHex != "" && o.Registration != "":
		return o, none, errors.New("lq server: registration and registration hex are both set: expected one of them")
	case o.RegistrationHex != "":
		registration, err = frame.ParseRegistrationHex(o.RegistrationHex)
	default:
		if o.Registration == "" {
			o.Registration = DefaultRegistration
		}
		registration, err = frame.ParseRegistration(o.Registration)
	}
	if err != nil {
		return o, none, fmt.Errorf("lq server: registration: %w", err)
	}
	return o, registration, nil
}
