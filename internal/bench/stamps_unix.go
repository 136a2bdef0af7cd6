//go:build unix

package bench

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenStamps maps a file for pops up to count, and makes it where it is missing.
func OpenStamps(path string, count int) (_ *Stamps, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size := (count + 1) * stampSize
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return newStamps(memory), nil
}

// Close lets go of the memory.
func (s *Stamps) Close() error {
	memory := s.memory
	s.memory, s.places = nil, nil
	if memory == nil {
		return nil
	}
	return unix.Munmap(memory)
}
