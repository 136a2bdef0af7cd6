package roster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
)

// fileName is the file in the spool's directory.
const fileName = "roster.json"

// maxFile bounds what is read: far more than any Store writes.
const maxFile = 64 << 20

// content is what the file holds.
type content struct {
	Version int             `json:"version"`
	Sources map[string]Edit `json:"sources,omitempty"`
	// Replicas say how the rosters were split last; nil: not yet.
	Replicas *Split `json:"replicas,omitempty"`
}

// version of the file.
const version = 1

// Store keeps the edits. Its methods may be called from any goroutine.
type Store struct {
	path string

	mu      sync.Mutex // guards what follows
	content content
}

// ErrDamaged means that the file could not be understood: it was moved aside, and
// the Store begins empty.
var ErrDamaged = errors.New("the file of the rosters that were set while the connector ran is damaged")

// Open reads what the directory has. The caller holds its lock. With [ErrDamaged]
// there is a Store all the same: that the configured agents have no sessions would
// be worse.
func Open(dir string) (*Store, error) {
	s := &Store{path: filepath.Join(dir, fileName), content: content{Version: version}}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the edits of the rosters: %w", err)
	}
	c, err := parse(text)
	if err == nil {
		s.content = c
		return s, nil
	}
	if moveErr := os.Rename(s.path, s.path+".damaged"); moveErr != nil {
		return nil, fmt.Errorf("read the edits of the rosters: %w", errors.Join(err, moveErr))
	}
	return s, fmt.Errorf("%w: it is now %s, and the rosters are those of the configuration: %w", ErrDamaged, s.path+".damaged", err)
}

func parse(text []byte) (c content, err error) {
	if len(text) > maxFile {
		return c, fmt.Errorf("%d bytes: expected at most %d", len(text), maxFile)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, err
	}
	if c.Version != version {
		return c, fmt.Errorf("version %d: expected %d", c.Version, version)
	}
	if c.Replicas != nil {
		if err := c.Replicas.check(); err != nil {
			return c, err
		}
	}
	for name, e := range c.Sources {
		if err := e.check(); err != nil {
			return c, fmt.Errorf("source %s: %w", name, err)
		}
	}
	return c, nil
}

// Edit is that of a source.
func (s *Store) Edit(name string) Edit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.content.Sources[name]
}

// Edited are the names of the sources that have an Edit.
func (s *Store) Edited() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.content.Sources {
		names = append(names, name)
	}
	return names
}

// Set stores the Edit of a source, on disk before it returns. On an error nothing
// has changed.
func (s *Store) Set(name string, e Edit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.content
	next.Sources = maps.Clone(s.content.Sources)
	if next.Sources == nil {
		next.Sources = map[string]Edit{}
	}
	if next.Sources[name] = e; e.isZero() {
		delete(next.Sources, name)
	}
	return s.save(next)
}

// Split gives what was stored last; false where nothing was.
func (s *Store) Split() (Split, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content.Replicas == nil {
		return Split{}, false
	}
	return *s.content.Replicas, true
}

// SetSplit stores how the rosters are split, on disk before it returns. On an error
// nothing has changed.
func (s *Store) SetSplit(to Split) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.content.Replicas; now != nil && now.equal(to) {
		return nil
	}
	next := s.content
	next.Replicas = &to
	return s.save(next)
}

// save makes next the content, once it is on disk. mu is held.
func (s *Store) save(next content) error {
	text, err := json.Marshal(next)
	if err == nil {
		err = replaceFile(s.path, text)
	}
	if err != nil {
		return fmt.Errorf("store the edits of the rosters: %w", err)
	}
	s.content = next
	return nil
}

// replaceFile writes a file such that after a loss of power either the old or the
// new one is there.
func replaceFile(path string, text []byte) error {
	made := path + ".new"
	f, err := os.OpenFile(made, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(made))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir has a directory's names on disk, where the system can.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	_ = d.Sync() // not every file system has it, and the file itself is safe
	return d.Close()
}
