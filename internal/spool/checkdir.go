package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// CheckDir reports whether [Open] would get dir, and leaves everything as it is.
// inUseBy names the process that holds it; that is no error, since it may be the
// very connector that is asked about.
func CheckDir(dir string) (inUseBy string, err error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent, err := existingParent(dir)
		if err == nil {
			err = checkWritable(parent)
		}
		if err != nil {
			return "", fmt.Errorf("spool directory %s cannot be made: %w", dir, cause(err))
		}
		return "", nil
	case err != nil:
		return "", fmt.Errorf("spool directory %s: %w", dir, cause(err))
	case !info.IsDir():
		return "", fmt.Errorf("spool directory %s is a file", dir)
	}
	if err := checkWritable(dir); err != nil {
		return "", fmt.Errorf("spool directory %s cannot be written: %w", dir, cause(err))
	}
	path := filepath.Join(dir, lockFile)
	if _, err := os.Stat(path); err != nil {
		return "", nil // never opened
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	locked, err := lock.TryLock()
	if err != nil {
		return "", fmt.Errorf("lock spool directory %s: %w", dir, cause(err))
	}
	if !locked {
		return holder(path), nil
	}
	if err := lock.Close(); err != nil {
		return "", err
	}
	return passing(dir)
}

// existingParent is the nearest directory above dir that exists.
func existingParent(dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for parent := filepath.Dir(absolute); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is a file", parent)
		case err == nil:
			return parent, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
}
