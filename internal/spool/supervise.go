package spool

import (
	"time"
)

// Times of the supervisor.
const (
	// spaceInterval is how often free space is looked at: at 100 MB/s, the
	// default min_free lasts for two and a half times as long.
	spaceInterval = time.Second
	// Restarts that follow one another wait, twice as long each time.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// calm is how long a server must have run for the back-off to start anew.
	calm = 2 * maxBackoff
)

// fault is a report that an engine does not work.
type fault struct {
	engine *engine
	err    error
}

// fault asks for a restart of e, once: reports of an engine that is being
// stopped, and more reports than one, are dropped.
func (s *Spool) fault(e *engine, err error) {
	select {
	case <-e.retired:
		return
	default:
	}
	select {
	case s.faults <- fault{e, err}:
	default:
	}
}

// supervise owns the embedded server's life after Open, and the look at free
// space, until the spool is closed.
func (s *Spool) supervise() {
	ticker := time.NewTicker(s.spaceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-ticker.C:
			s.settle(s.current())
		case t := <-s.turns:
			s.suspended(t)
		case f := <-s.faults:
			if f.engine == s.current() {
				s.restart(f)
			}
		}
	}
}

// restart stops the engine and starts another, until one starts or the spool is
// closed. Restarts that follow one another wait longer and longer; until the
// engine is stopped, readers go on with it.
func (s *Spool) restart(f fault) {
	s.logger.Error("restarting the embedded server", "dir", s.config.Dir, "cause", f.err)
	s.metrics.restarts.Add(s.life, 1)
	s.doubtful = true
	s.set(f.engine, Restarting, f.err.Error())
	if time.Since(s.started) > calm {
		s.backoff = 0
	}
	running := f.engine
	for {
		if !s.pause(s.backoff) {
			return
		}
		s.backoff = min(max(2*s.backoff, s.minBackoff), maxBackoff)
		if running != nil {
			s.set(nil, Restarting, f.err.Error())
			running.stop()
			running = nil
		}
		e, err := s.start(s.life)
		if s.life.Err() != nil {
			if err == nil {
				e.stop()
			}
			return
		}
		if err == nil {
			s.started = time.Now()
			s.startTails(e)
			s.settle(e)
			return
		}
		s.set(nil, Failed, err.Error())
	}
}

// pause waits, and keeps the look at free space up meanwhile. It returns false
// when the spool was closed.
func (s *Spool) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	ticker := time.NewTicker(s.spaceInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.life.Done():
			return false
		case <-ticker.C:
			s.look()
		case <-timer.C:
			return true
		}
	}
}
