package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Files in the spool's directory, beside the server's own.
const (
	lockFile = "lock"
	idFile   = "id"
	// passingFile is locked while a spool is suspended: whoever has it says who may
	// take the lock.
	passingFile = "lock.passing"
)

// openDir makes dir where it is missing, checks that it can be written, and locks
// it: the server itself would let a second process open a store that is in use.
// It returns the lock and the spool's id.
func openDir(dir string, successor bool) (_ *flock.Flock, id string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make spool directory %s: %w", dir, cause(err))
	}
	if err := checkWritable(dir); err != nil {
		return nil, "", fmt.Errorf("spool directory %s cannot be written: %w", dir, cause(err))
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, "", err
	}
	if !successor {
		if passer, err := passing(dir); err != nil || passer != "" {
			if err == nil {
				err = fmt.Errorf("spool directory %s is being handed over by %s", dir, passer)
			}
			return nil, "", errors.Join(err, lock.Close())
		}
	}
	if id, err = spoolID(filepath.Join(dir, idFile)); err != nil {
		return nil, "", errors.Join(err, lock.Close())
	}
	return lock, id, nil
}

func checkWritable(dir string) error {
	f, err := os.CreateTemp(dir, ".write-*")
	if err != nil {
		return err
	}
	// A full disk takes the name of a file and none of its bytes; that is low
	// space, not a directory that cannot be written.
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// lockDir holds the lock and writes down who does.
func lockDir(dir string) (*flock.Flock, error) { return lockAs(dir, lockFile) }

// passing names the process that hands the spool over; empty where none does.
func passing(dir string) (by string, err error) {
	path := filepath.Join(dir, passingFile)
	if _, err := os.Stat(path); err != nil {
		return "", nil // never handed over
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	locked, err := lock.TryLock()
	if err != nil {
		return "", fmt.Errorf("lock spool directory %s: %w", dir, cause(err))
	}
	if !locked {
		return holder(path), nil
	}
	return "", lock.Close()
}

// lockAs holds the lock of a name and writes down who does.
func lockAs(dir, name string) (*flock.Flock, error) {
	path := filepath.Join(dir, name)
	lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock spool directory %s: %w", dir, cause(err))
	}
	if !locked {
		return nil, fmt.Errorf("spool directory %s is in use by %s", dir, holder(path))
	}
	// Who holds the lock is for people to read; the lock holds without it, as on
	// a full disk.
	_ = os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	return lock, nil
}

// holder names the process that wrote itself into a lock file.
func holder(path string) string {
	text, err := os.ReadFile(path)
	if err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return fmt.Sprintf("process %d", pid)
		}
	}
	return "another process"
}

// idBytes is the length of a spool id: its time in milliseconds, so that the
// sequences of a spool made later sort after those of one made earlier, and
// chance.
const idBytes = 6 + 4

// spoolID reads the spool's id from its file, or makes one.
func spoolID(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newSpoolID(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the spool's id: %w", err)
	}
	id := string(bytes.TrimSpace(text))
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != idBytes || strings.ToLower(id) != id {
		return "", fmt.Errorf("read the spool's id: %s: expected %d hex digits", path, 2*idBytes)
	}
	return id, nil
}

// newSpoolID writes the id so that a crash leaves either no id or a whole one.
func newSpoolID(path string) (string, error) {
	var now [8]byte
	binary.BigEndian.PutUint64(now[:], uint64(time.Now().UnixMilli()))
	raw := append(now[2:], make([]byte, 4)...)
	// crypto/rand does not fail.
	_, _ = rand.Read(raw[6:])
	id := hex.EncodeToString(raw)
	f, err := os.CreateTemp(filepath.Dir(path), ".id-*")
	if err != nil {
		return "", fmt.Errorf("write the spool's id: %w", err)
	}
	_, err = f.WriteString(id + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("write the spool's id: %w", err), os.Remove(f.Name()))
	}
	return id, nil
}

// cause takes the path out of err where the message around it names it already.
func cause(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
