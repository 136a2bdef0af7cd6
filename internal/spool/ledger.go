package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ledgerFile, in the spool's directory, says what the log has to hold.
const ledgerFile = "ledger"

// ledger is what the log has to hold, kept beside it: the embedded server takes
// whatever it finds for all there ever was.
type ledger struct {
	// Clean is true after a close in order: the blocks are as Streams says.
	Clean bool `json:"clean"`
	// Boot names the run of the operating system, where that is known.
	Boot    string                   `json:"boot,omitempty"`
	Streams map[string]*streamLedger `json:"streams"`
	// Cursors are the sinks' places by their keys, for those that damage takes.
	Cursors map[string]uint64 `json:"cursors"`
}

// streamLedger is what one stream has to hold.
type streamLedger struct {
	// First is the oldest sequence that the limits had left, Last the newest that
	// was ever given to an event or passed over.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// MaxBytes is the stream's limit.
	MaxBytes int64 `json:"max_bytes"`
	// Gaps are the sequences between that have no event, rising.
	Gaps []Gap `json:"gaps,omitempty"`
	// Blocks are the sizes of the files, after a close in order.
	Blocks map[string]int64 `json:"blocks,omitempty"`
}

// readLedger returns the ledger of a spool's directory. One that is missing or
// damaged is nil, and then only damage within the log shows.
func readLedger(dir string) (*ledger, error) {
	text, err := os.ReadFile(filepath.Join(dir, ledgerFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the spool has to hold: %w", err)
	}
	body, sum, _ := bytes.Cut(text, []byte("\n"))
	if want := ledgerSum(body); string(bytes.TrimSpace(sum)) != want {
		return nil, fmt.Errorf("read what the spool has to hold: %s: the checksum is wrong", filepath.Join(dir, ledgerFile))
	}
	l := newLedger()
	if err := json.Unmarshal(body, l); err != nil {
		return nil, fmt.Errorf("read what the spool has to hold: %s: %w", filepath.Join(dir, ledgerFile), err)
	}
	return l, nil
}

func newLedger() *ledger {
	l := &ledger{Streams: map[string]*streamLedger{}, Cursors: map[string]uint64{}}
	for _, st := range streams {
		l.Streams[st.name] = &streamLedger{}
	}
	return l
}

func ledgerSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// writeLedger puts a ledger in the place of the one before it, so that a crash
// leaves one of them whole.
func writeLedger(dir string, l *ledger) error {
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write what the spool has to hold: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, ledgerFile), append(body, "\n"+ledgerSum(body)+"\n"...)); err != nil {
		return fmt.Errorf("write what the spool has to hold: %w", err)
	}
	return nil
}

// replaceFile writes a file anew, and returns once it is on disk under its name.
func replaceFile(path string, parts ...[]byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err = f.Write(part); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // a directory of the spool
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// bootID names the run of the operating system; "" where it has no name.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
