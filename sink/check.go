package sink

import (
	"context"

	"github.com/callpop/connector/schema"
)

// Finding is one thing that a sink looked at in its broker, good or bad.
type Finding struct {
	// What was looked at: connection, stream CALLPOP, topic callpop.v1.
	What string
	// Detail says what was found, in words for people. It holds no secret.
	Detail string
	// Err says what is wrong; nil where all is well.
	Err error
}

// Checker is a sink that can look at its broker without publishing anything.
type Checker interface {
	// Check looks at everything that publishing needs, and returns when it is
	// done or ctx is. It changes nothing in the broker. Calls may overlap with
	// Publish.
	Check(ctx context.Context) []Finding
}

// DuplicateCounter is a sink whose broker says that it had an event before.
type DuplicateCounter interface {
	// Duplicates returns how many events of a type the broker has recognised as
	// duplicates since the sink was made.
	Duplicates(t schema.Type) uint64
}
