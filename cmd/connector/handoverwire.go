package main

import (
	"time"

	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// handoverProtocol is the version of what follows. A connector passes nothing to one
// that speaks another.
const handoverProtocol = 1

// The messages between a connector and its successor, in their order. Whoever
// receives "failed", or the end of the line before "taken" was sent has to do with a
// takeover that was given up.
const (
	kindHello    = "hello"    // successor: who it is
	kindListener = "listener" // predecessor: one listener
	kindSpool    = "spool"    // predecessor: the spool is closed and unlocked
	kindOpen     = "open"     // successor: it has the spool open and all parts made; stores what the predecessor still gets
	kindSource   = "source"   // predecessor: a source
	kindAgents   = "agents"   // predecessor: agents of that source, with their sockets
	kindDesktops = "desktops" // predecessor: desktops of that source, with theirs
	kindGot      = "got"      // successor: the message before this one was received
	kindWhole    = "whole"    // predecessor: that was all
	kindTaken    = "taken"    // successor: everything is its own from here on
	kindFailed   = "failed"   // either: why it gives up
)

type helloBody struct {
	Protocol int           `json:"protocol"`
	Version  string        `json:"version"`
	Process  int           `json:"process"`
	Sources  []helloSource `json:"sources"`
}

type helloSource struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type reasonBody struct {
	Reason string `json:"reason"`
}

// listenerBody says where a listener belongs: the part of the configuration, and the
// address that stands there.
type listenerBody struct {
	Part    string `json:"part"`
	Address string `json:"address"`
}

type spoolBody struct {
	Version string `json:"version"`
	Process int    `json:"process"`
}

type sourceBody struct {
	Name    string          `json:"name"`
	Session *session.Handed `json:"session,omitempty"`
	Relay   *relay.Handed   `json:"relay,omitempty"`
}

type agentsBody struct {
	Agents []session.HandedAgent `json:"agents"`
}

type desktopsBody struct {
	Desktops []relay.HandedDesktop `json:"desktops"`
}

type wholeBody struct {
	DrainedSince time.Time `json:"drained_since"`
}

type emptyBody struct{}

// handoverBatch is how many agents without a session go in a message at most.
const handoverBatch = 1024
