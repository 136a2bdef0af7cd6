package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Verdict is what a [Window] knows of an event.
type Verdict string

// The verdicts.
const (
	// Fresh: the event is the caller's to handle, and to settle or release.
	Fresh Verdict = "fresh"
	// Handled: it was settled within the window.
	Handled Verdict = "handled"
	// Busy: someone else has claimed it and not settled it yet. The broker should
	// deliver it again later.
	Busy Verdict = "busy"
)

// Window remembers which events were handled, by id. It is safe for concurrent
// use.
type Window interface {
	// Claim asks for the event with an id.
	Claim(ctx context.Context, id string) (Verdict, error)
	// Settle says that a claimed event was handled.
	Settle(ctx context.Context, id string) error
	// Release gives a claimed event back: it was not handled.
	Release(ctx context.Context, id string) error
}

// Once calls handle if the event was not handled before, and says what the window
// knew. Where handle fails, the event is released and its error returned: the
// broker should deliver it again. An event that was handled and could not be
// settled will be handled again: that is what remains of "at least once", and why
// whatever handle changes should go by the event's id.
//
// An event with [schema.HeaderOverlap] is known by that fingerprint instead of its id:
// of the copies that two replicas of the connector received one is handled.
//
// A replay is what an operator asked for: its events are handled once more, once
// for each replay.
func Once(ctx context.Context, w Window, d *Delivery, handle func(context.Context, *Delivery) error) (Verdict, error) {
	id := d.Event.ID
	switch {
	case d.Replay != "":
		id += ".replay." + d.Replay
	case d.Event.Overlap != "":
		id = "overlap." + d.Event.Overlap
	}
	verdict, err := w.Claim(ctx, id)
	if err != nil {
		return verdict, fmt.Errorf("claim event %s: %w", id, err)
	}
	if verdict != Fresh {
		return verdict, nil
	}
	if err := handle(ctx, d); err != nil {
		// The caller's context may be why handle failed; the claim ends even so.
		if released := w.Release(context.WithoutCancel(ctx), id); released != nil {
			err = errors.Join(err, fmt.Errorf("release event %s: %w", id, released))
		}
		return Fresh, err
	}
	if err := w.Settle(context.WithoutCancel(ctx), id); err != nil {
		return Fresh, fmt.Errorf("settle event %s, which was handled: %w", id, err)
	}
	return Fresh, nil
}

// Memory is a [Window] of one process, which forgets all when it ends.
type Memory struct {
	age time.Duration

	mu     sync.Mutex // guards events and what they hold
	events *lru.Cache[string, entry]
}

type entry struct {
	settled bool
	at      time.Time
}

// NewMemory makes a window of the last size events, none older than age. An entry
// takes about 200 bytes. Both must be positive.
func NewMemory(size int, age time.Duration) (*Memory, error) {
	if age <= 0 {
		return nil, fmt.Errorf("window's age is %v: expected more than nothing", age)
	}
	events, err := lru.New[string, entry](size)
	if err != nil {
		return nil, fmt.Errorf("window's size is %d: expected 1 or more", size)
	}
	return &Memory{age: age, events: events}, nil
}

// Claim implements [Window]; it returns no error.
func (m *Memory) Claim(_ context.Context, id string) (Verdict, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if known, ok := m.events.Peek(id); ok && now.Sub(known.at) < m.age {
		if known.settled {
			return Handled, nil
		}
		return Busy, nil
	}
	m.events.Add(id, entry{at: now})
	return Fresh, nil
}

// Settle implements [Window]; it returns no error.
func (m *Memory) Settle(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events.Add(id, entry{settled: true, at: time.Now()})
	return nil
}

// Release implements [Window]; it returns no error.
func (m *Memory) Release(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events.Remove(id)
	return nil
}
