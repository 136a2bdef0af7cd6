package sink

import (
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/callpop/connector/schema"
)

// State is what a line is doing, as the broker's answers show it. A connection
// that is up proves nothing.
type State string

// The states of a line.
const (
	// Idle: every event that the spool has shown is settled.
	Idle State = "idle"
	// Publishing: events are on their way, and the last answers were good.
	Publishing State = "publishing"
	// Retrying: an event waits because an attempt failed, or the spool cannot be
	// read.
	Retrying State = "retrying"
)

// Status is the condition of one line: one event type on its way to one sink.
type Status struct {
	Type  schema.Type `json:"type"`
	State State       `json:"state"`
	// Since is when State began.
	Since time.Time `json:"since"`
	// LastError is the text of the newest failure, also after it has passed; it
	// has one line and at most 300 characters.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// LastSuccess is when the broker last took an event.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// OldestUndelivered is the time of the oldest event read and not settled;
	// zero while there is none.
	OldestUndelivered time.Time `json:"oldest_undelivered,omitzero"`
	// Delivered, DeadLettered, Refused and Lost count events since the forwarder
	// was made: stored by the broker; refused by it and made a dead letter; refused
	// and left in the spool, as dead letters are; gone from the spool before they
	// were delivered.
	Delivered    uint64 `json:"delivered"`
	DeadLettered uint64 `json:"dead_lettered"`
	Refused      uint64 `json:"refused"`
	Lost         uint64 `json:"lost"`
	// Cursor is the sequence up to which every event is settled.
	Cursor uint64 `json:"cursor"`
	// Backlog is how many events the spool has after the cursor. It is absent where
	// the spool does not answer.
	Backlog *uint64 `json:"backlog,omitempty"`
}

// condition is a line's status. The line writes it, anyone reads it.
type condition struct {
	mu     sync.Mutex
	status Status
	// moved is closed and replaced when the cursor moves.
	moved chan struct{}
}

func newCondition(t schema.Type, now time.Time) *condition {
	return &condition{
		status: Status{Type: t, State: Idle, Since: now},
		moved:  make(chan struct{}),
	}
}

// update changes the status under the lock.
func (c *condition) update(change func(*Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cursor := c.status.Cursor
	change(&c.status)
	if c.status.Cursor != cursor {
		close(c.moved)
		c.moved = make(chan struct{})
	}
}

// snapshot returns the status and a channel that is closed when the cursor moves
// on from it.
func (c *condition) snapshot() (Status, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, c.moved
}

// maxErrorText is in characters.
const maxErrorText = 300

// errorText makes an error fit for a status or a log line: what a broker says is
// from outside.
func errorText(err error) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, err.Error())
	n := 0
	for i := range text {
		if n++; n > maxErrorText {
			return text[:i] + "…"
		}
	}
	return text
}
