package spool

import (
	"errors"
	"fmt"
	"os"

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
	if s.doubtful {
		if err := s.tryWrite(); err != nil {
			return true, fmt.Sprintf("%s cannot be written: %v", s.config.Dir, cause(err))
		}
		s.doubtful = false
	}
	least := s.limited().MinFree
	need := uint64(least)
	if s.low {
		need += need / 16
	}
	s.low = !s.blind && free < need
	if !s.low {
		return false, ""
	}
	return true, fmt.Sprintf("%s free in %s, less than min_free %v", bytesize.Size(free), s.config.Dir, least)
}

// probeBytes is room for some thousand events.
const probeBytes = int(bytesize.MiB)

// tryWrite writes as much and takes it away again. A disk may be full whatever it
// says of its free space, for want of inodes or by a quota; and where min_free is
// 0, nothing else tells before the next event does.
func (s *Spool) tryWrite() (err error) {
	f, err := os.CreateTemp(s.config.Dir, ".write-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, probeBytes)); err != nil {
		return err
	}
	return f.Sync()
}

// settle sets the phase of a running engine by the free space.
func (s *Spool) settle(e *engine) {
	if low, detail := s.look(); low {
		s.set(e, LowSpace, detail)
		return
	}
	s.set(e, Serving, "")
}
