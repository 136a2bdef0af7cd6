package handover

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/callpop/connector/schema"
)

// The kinds of message by which the predecessor stores what it still has in the
// spool, which its successor has by then: an event, and the answer to it.
const (
	KindEvent  = "event"
	KindStored = "stored"
)

// Event is the body of a KindEvent.
type Event struct {
	Number uint64       `json:"number"`
	Event  schema.Event `json:"event"`
}

// Stored is the body of a KindStored.
type Stored struct {
	Number uint64 `json:"number"`
	// Error says why the event was not stored; empty where it was.
	Error string `json:"error,omitempty"`
}

// ErrGone means that the successor does not answer any more.
var ErrGone = errors.New("the successor is gone")

// Remote stores events in the successor's spool.
type Remote struct {
	line *Line

	mu      sync.Mutex // guards what follows
	number  uint64
	waiting map[uint64]chan Stored
	gone    bool
}

// NewRemote makes a Remote. Whoever receives from the line gives it the answers.
func NewRemote(line *Line) *Remote {
	return &Remote{line: line, waiting: map[uint64]chan Stored{}}
}

// Emit is a source.Emit. Its error says nothing about whether the event was stored,
// as always.
func (r *Remote) Emit(ctx context.Context, e schema.Event) error {
	answer := make(chan Stored, 1)
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return ErrGone
	}
	r.number++
	number := r.number
	r.waiting[number] = answer
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.waiting, number)
		r.mu.Unlock()
	}()
	if err := r.line.Send(KindEvent, Event{number, e}); err != nil {
		return err
	}
	select {
	case stored, ok := <-answer:
		switch {
		case !ok:
			return ErrGone
		case stored.Error != "":
			return fmt.Errorf("the successor: %s", stored.Error)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Answer takes an answer.
func (r *Remote) Answer(s Stored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer := r.waiting[s.Number]; answer != nil {
		answer <- s // there is room for the one that comes
		delete(r.waiting, s.Number)
	}
}

// Gone says that no answer will come any more.
func (r *Remote) Gone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	for number, answer := range r.waiting {
		close(answer)
		delete(r.waiting, number)
	}
}
