package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/callpop/connector/internal/bytesize"
)

// damagedDir has damaged blocks as they were found, for people to look into.
const damagedDir = "damaged"

// Damaged blocks that are kept aside are bounded: the oldest go.
const (
	maxAside      = 64
	maxAsideBytes = int64(256 * bytesize.MiB)
)

// keepAside copies a damaged block to damagedDir, where there is the space for it.
func (s *Spool) keepAside(stream string, b *block) (path string, err error) {
	if free, err := s.free(s.config.Dir); err == nil && free < uint64(s.config.MinFree)+2*uint64(min(b.size, maxBlock)) {
		return "", fmt.Errorf("%s free in %s", bytesize.Size(min(free, math.MaxInt64)), s.config.Dir)
	}
	dir := filepath.Join(s.config.Dir, damagedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := makeRoom(dir, min(b.size, maxBlock)); err != nil {
		return "", err
	}
	// The name begins with the time, so that names sort by age.
	name := fmt.Sprintf("%s-%s-%d%s", time.Now().UTC().Format("20060102T150405.000000000"), stream, b.number, blockSuffix)
	path = filepath.Join(dir, name)
	if err := copyFile(path, b.path, maxBlock); err != nil {
		return "", err
	}
	return path, nil
}

// copyFile copies as much of a file, to one that must not be there yet.
func copyFile(to, from string, limit int64) (err error) {
	source, err := os.Open(from) //nolint:gosec // a file of the spool
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in the spool's directory
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(source, limit))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// makeRoom removes the oldest files, as many as another one of a size needs.
func makeRoom(dir string, size int64) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	total, sizes := int64(0), make([]int64, len(entries))
	for i, entry := range entries {
		if info, err := entry.Info(); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i, entry := range entries {
		if len(entries)-i < maxAside && total+size <= maxAsideBytes {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
		total -= sizes[i]
	}
	return nil
}
