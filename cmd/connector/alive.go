package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/callpop/connector/source"
)

// Files in the spool's directory: the time of aliveFile is until when the connector
// lived and had all that it heard in its log, absencesFile says which agents had no
// session then, and since when.
const (
	aliveFile    = "alive"
	absencesFile = "absences.json"
)

// aliveInterval is how exact they are after a kill -9.
const aliveInterval = time.Second

// presence keeps, from one run to the next, since when agents have had no session.
type presence struct {
	dir      string
	absences *source.Absences
	log      *slog.Logger
	failing  bool
	// oldest is when the oldest event was received that is not in the log yet; zero
	// where there is none.
	oldest func() time.Time
}

// newPresence reads what the run before has left in the spool's directory. What
// cannot be read makes gaps begin when the connector was last alive.
func newPresence(dir string, oldest func() time.Time, log *slog.Logger) *presence {
	p := &presence{dir: dir, oldest: oldest, log: log}
	saved, err := os.ReadFile(filepath.Join(dir, absencesFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	absences, damage := source.NewAbsences(saved, lastAlive(dir))
	if err = errors.Join(err, damage); err != nil {
		log.Warn("since when agents have had no session is not known", "file", absencesFile, "error", err)
	}
	p.absences = absences
	return p
}

// lastAlive is when the connector with this spool directory last ran; zero where
// that is not known.
func lastAlive(dir string) time.Time {
	info, err := os.Stat(filepath.Join(dir, aliveFile))
	if err != nil || info.ModTime().After(time.Now()) {
		return time.Time{}
	}
	return info.ModTime()
}

// keep notes the presence until ctx is done. What cannot be written costs the next
// start's gaps their exactness, nothing else.
func (p *presence) keep(ctx context.Context) {
	ticker := time.NewTicker(aliveInterval)
	defer ticker.Stop()
	for {
		p.note()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// note writes who is absent, and only then that the connector lives: an agent that
// the file does not name would count as present until now. What waits in memory
// would be lost with the process: it belongs to the gaps of the next start.
func (p *presence) note() {
	until := time.Now()
	if oldest := p.oldest(); !oldest.IsZero() && oldest.Before(until) {
		until = oldest
	}
	err := p.write()
	if failing := err != nil; failing != p.failing {
		p.failing = failing
		if failing {
			p.log.Warn("which agents have no session cannot be noted: after a restart their gaps may be too long", "error", err)
		}
	}
	if err != nil {
		return
	}
	path := filepath.Join(p.dir, aliveFile)
	if err := os.Chtimes(path, until, until); errors.Is(err, fs.ErrNotExist) {
		if f, err := os.OpenFile(path, os.O_CREATE, 0o600); err == nil { //nolint:gosec // the operator names the directory
			_ = f.Close()
			_ = os.Chtimes(path, until, until)
		}
	}
}

func (p *presence) write() error {
	text := p.absences.Save()
	if text == nil {
		return nil
	}
	path := filepath.Join(p.dir, absencesFile)
	err := os.WriteFile(path+".new", text, 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		p.absences.Unsaved()
	}
	return err
}
