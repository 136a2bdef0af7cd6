package spool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Phase is what the spool is doing.
type Phase string

// The phases of a spool.
const (
	// Serving: events go in and out.
	Serving Phase = "serving"
	// LowSpace: free disk space is below min_free; Emit waits, readers read.
	LowSpace Phase = "low_space"
	// Restarting: the embedded server is restarted or about to be; Emit waits,
	// readers read until it stops.
	Restarting Phase = "restarting"
	// Failed: the embedded server did not start again; it is tried until it does.
	Failed Phase = "failed"
	// Suspended: [Spool.Suspend] was called; Emit and readers wait.
	Suspended Phase = "suspended"
	// Closed: [Spool.Close] was called.
	Closed Phase = "closed"
)

// Errors of calls that a restart or a close cut short.
var (
	// ErrRestarted means that the embedded server was restarted under the call.
	// The same call may be made again.
	ErrRestarted = errors.New("the embedded server was restarted meanwhile")
	// ErrClosed means that the spool is closed.
	ErrClosed = errors.New("the spool is closed")
)

// Status is the condition of a spool, for readiness.
type Status struct {
	Phase Phase
	// Detail says why, in words for people; empty while serving.
	Detail string
	// FreeBytes is the free space of the directory's file system, as last looked
	// at; 0 where it cannot be known.
	FreeBytes uint64
	// Since is when the phase began.
	Since time.Time
}

// Status returns the condition of the spool.
func (s *Spool) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// acquire returns the engine that runs, waiting for one; with room, it waits until
// the spool serves. It stops waiting when closed is closed.
func (s *Spool) acquire(ctx context.Context, room bool, closed <-chan struct{}) (*engine, error) {
	for {
		s.mu.Lock()
		e, phase, changed := s.engine, s.status.Phase, s.changed
		s.mu.Unlock()
		switch {
		case phase == Closed:
			return nil, ErrClosed
		case e != nil && (!room || phase == Serving):
			return e, nil
		}
		select {
		case <-changed:
		case <-closed:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the spool (%s): %w", phase, ctx.Err())
		}
	}
}

// set changes the engine and the phase, logs a change of phase once, and wakes
// whoever waits. A closed spool stays closed.
func (s *Spool) set(e *engine, phase Phase, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Phase == Closed {
		return
	}
	another := s.engine != e
	s.engine = e
	before, known := s.status.Phase, s.status.Detail
	s.status.Detail = detail
	if phase == Failed && detail != known {
		s.logger.Error("embedded server does not start; trying on", "dir", s.config.Dir, "error", detail)
	}
	if another || before != phase {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	if before == phase {
		return
	}
	s.status.Phase, s.status.Since = phase, time.Now()
	switch {
	case before == "" && phase == Serving, phase == Closed:
	case phase == Serving:
		s.logger.Info("spool serves again", "dir", s.config.Dir, "after", before)
	default:
		s.logger.Warn("spool does not serve", "dir", s.config.Dir, "state", phase, "detail", detail)
	}
}

// current returns the engine that runs, nil for none.
func (s *Spool) current() *engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine
}
