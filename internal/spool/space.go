package spool

import (
	"fmt"

	"github.com/callpop/connector/internal/bytesize"
)

// freeSpace returns the bytes that this process may still write to the file
// system of a directory.
type freeSpace func(dir string) (uint64, error)

// look takes the free space; only the supervisor calls it, and Open before it.
// It returns whether there is too little of it, and why. Space that was too
// little has to grow by a sixteenth more than min_free before it is enough, or
// a log at the edge would go back and forth.
func (s *Spool) look() (low bool, detail string) {
	free, err := s.free(s.config.Dir)
	if err != nil {
		// Not to know is no reason to hold back: a write that fails is noticed.
		if !s.blind {
			s.blind = true
			s.logger.Warn("free disk space is not known", "dir", s.config.Dir, "error", err)
		}
		free = 0
	} else {
		s.blind = false
	}
	s.mu.Lock()
	s.status.FreeBytes = free
	s.mu.Unlock()
	need := uint64(s.config.MinFree)
	if s.low {
		need += need / 16
	}
	s.low = !s.blind && free < need
	if !s.low {
		return false, ""
	}
	return true, fmt.Sprintf("%s free in %s, less than min_free %v", bytesize.Size(free), s.config.Dir, s.config.MinFree)
}

// settle sets the phase of a running engine by the free space.
func (s *Spool) settle(e *engine) {
	if low, detail := s.look(); low {
		s.set(e, LowSpace, detail)
		return
	}
	s.set(e, Serving, "")
}
