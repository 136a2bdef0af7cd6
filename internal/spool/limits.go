package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/callpop/connector/internal/bytesize"
)

// What [KeepLimits] takes for limits that cannot be read: as good as none.
const (
	endlessAge   = 100 * 365 * 24 * time.Hour
	endlessBytes = bytesize.Size(1 << 60)
)

// ErrNoSpool means that a directory holds no spool.
var ErrNoSpool = errors.New("there is no spool")

// KeepLimits returns c with the max_age and max_bytes that the log in c.Dir has:
// [Open] gives a log the limits of its configuration, and lets events go that are
// beyond them, which whoever only wants to look at it must not cause. Where they
// cannot be read, it has limits that nothing reaches. An error wraps [ErrNoSpool]
// where c.Dir holds no log at all.
func KeepLimits(c Config) (Config, error) {
	switch _, err := os.Stat(filepath.Join(c.Dir, idFile)); {
	case errors.Is(err, fs.ErrNotExist):
		return c, fmt.Errorf("%w in %s", ErrNoSpool, c.Dir)
	case err != nil:
		return c, fmt.Errorf("spool directory %s: %w", c.Dir, cause(err))
	}
	c.MaxAge, c.MaxBytes = 0, 0
	for _, st := range streams {
		var stored struct {
			MaxAge   time.Duration `json:"max_age"`
			MaxBytes int64         `json:"max_bytes"`
		}
		text, err := os.ReadFile(filepath.Join(c.Dir, "jetstream", spoolAccount, "streams", st.name, "meta.inf"))
		if err == nil {
			err = json.Unmarshal(text, &stored)
		}
		if err != nil || stored.MaxAge < minMaxAge || stored.MaxBytes < int64(minMaxBytes) {
			// Made anew, or mended, by Open.
			stored.MaxAge, stored.MaxBytes = endlessAge, int64(endlessBytes)
		}
		c.MaxAge = max(c.MaxAge, stored.MaxAge)
		c.MaxBytes = max(c.MaxBytes, bytesize.Size(stored.MaxBytes))
	}
	return c, nil
}

// SetLimits puts the max_age, max_bytes and min_free of c in force while the log
// is open; events beyond smaller limits go. On an error all is as it was.
func (s *Spool) SetLimits(ctx context.Context, c Config) error {
	former := s.limited()
	limits := former
	limits.MaxAge, limits.MaxBytes, limits.MinFree = c.MaxAge, c.MaxBytes, c.MinFree
	if limits == former {
		return nil
	}
	if err := prefix("spool.", limits.Validate()); err != nil {
		return err
	}
	e := s.current()
	if e == nil {
		return fmt.Errorf("set the spool's limits: %w", ErrRestarted)
	}
	// Stored first: an engine that starts meanwhile takes them.
	s.limits.Store(&limits)
	for i, st := range streams {
		err := createStream(ctx, e.js, st.config(limits))
		if err == nil {
			continue
		}
		s.limits.Store(&former)
		back := context.WithoutCancel(ctx)
		for _, done := range streams[:i] {
			err = errors.Join(err, createStream(back, e.js, done.config(former)))
		}
		return fmt.Errorf("set the limits of stream %s: %w", st.name, err)
	}
	return nil
}

// limited is the configuration with the limits now in force.
func (s *Spool) limited() Config {
	if limits := s.limits.Load(); limits != nil {
		return *limits
	}
	return s.config
}
