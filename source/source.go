// Package source turns what LQ servers and their clients send into events.
//
// A source (package session, relay, callback) reads bytes and hands each pop to
// the [Intake], which never blocks it. The intake's workers decode, make the
// event in one place ([Assembler]) and store it with [Emit], events of one key in
// the order they were received.
package source

import (
	"context"

	"github.com/callpop/connector/schema"
)

// Emit stores an event durably. It blocks until the event is stored or ctx is
// done; nil means that it is stored and the connector owns it from then on. Calls
// may overlap. An error says nothing about whether the event was stored: emit the
// same event again, with the same id.
type Emit func(ctx context.Context, event schema.Event) error
