package spool

import (
	"context"
	"errors"
	"fmt"
)

// turn is a call of Suspend or Resume, which the supervisor does.
type turn struct {
	resume bool
	done   chan error // has room for the answer
}

var (
	errNotSuspended = errors.New("the spool is not suspended")
	errSuspended    = errors.New("the spool is suspended")
	errNoEngine     = errors.New("the embedded server does not run")
)

// Suspend stops the embedded server in order and unlocks the directory, so that
// another process can open it, as [Options.Successor]. Calls wait, as during a restart, until [Spool.Resume];
// emits under way may return [ErrRestarted]. It is refused while the server does not
// run. Close may follow, and leaves to the other process what is its.
func (s *Spool) Suspend(ctx context.Context) error {
	if err := s.turn(ctx, false); err != nil {
		return fmt.Errorf("suspend spool: %w", err)
	}
	return nil
}

// Resume locks the directory again and runs the embedded server on what is there
// then. Where it fails, such as while another process has the directory, the spool
// stays suspended and Resume may be called again.
func (s *Spool) Resume(ctx context.Context) error {
	if err := s.turn(ctx, true); err != nil {
		return fmt.Errorf("resume spool: %w", err)
	}
	return nil
}

// Cede says that the successor has the spool for good: from then on this one can
// only be closed.
func (s *Spool) Cede() error {
	if passing := s.passing.Swap(nil); passing != nil {
		return passing.Close()
	}
	return nil
}

// turn has the supervisor do it, and waits.
func (s *Spool) turn(ctx context.Context, resume bool) error {
	t := turn{resume, make(chan error, 1)}
	select {
	case s.turns <- t:
	case <-s.life.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Stopping and starting are bounded by themselves, and must not be left half
	// done.
	return <-t.done
}

// suspended does a turn of Suspend, and returns once that of Resume is done, or the
// spool is closed.
func (s *Spool) suspended(t turn) {
	e := s.current()
	switch {
	case t.resume:
		t.done <- errNotSuspended
		return
	case e == nil:
		t.done <- errNoEngine
		return
	}
	passing, err := lockAs(s.config.Dir, passingFile)
	if err != nil {
		t.done <- err
		return
	}
	s.passing.Store(passing)
	e.retire()
	s.set(nil, Suspended, "another process may have it")
	s.closeBooks(e)
	t.done <- s.unlock()
	for {
		select {
		case <-s.life.Done():
			return
		case t := <-s.turns:
			if !t.resume {
				t.done <- errSuspended
				continue
			}
			err := s.regain()
			t.done <- err
			if err == nil {
				return
			}
		}
	}
}

// unlock gives the directory up, once.
func (s *Spool) unlock() error {
	if s.lock == nil {
		return nil
	}
	lock := s.lock
	s.lock = nil
	return lock.Close()
}

// regain opens the store as it is now: others may have written to it.
func (s *Spool) regain() (err error) {
	if s.lock, err = lockDir(s.config.Dir); err != nil {
		return err
	}
	known, err := readLedger(s.config.Dir)
	if err != nil {
		s.logger.Warn("damage at the spool's ends will not show", "error", err)
	}
	if known == nil {
		known = newLedger()
	}
	s.books.mu.Lock()
	s.books.ledger, s.books.dirty = known, false
	s.books.mu.Unlock()
	s.exact, s.doubtful = false, false
	e, err := s.start(s.life)
	if err != nil {
		return errors.Join(err, s.unlock())
	}
	s.startTails(e)
	s.settle(e)
	return s.Cede()
}
