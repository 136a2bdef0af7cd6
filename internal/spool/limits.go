package spool

import (
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
