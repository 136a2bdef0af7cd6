package telemetry

import (
	"errors"
	"fmt"
	"log/slog"
)

// Config is the configuration of the log.
type Config struct {
	// Level is the least important level that is written: debug, info, warn or
	// error.
	Level string `koanf:"level"`
	// Format is json, text, or auto: text on a terminal, else json.
	Format string `koanf:"format"`
	// Numbers writes customers' numbers in full. Without it they are masked, see
	// [MaskNumber].
	Numbers bool `koanf:"numbers"`
}

// The formats of the log.
const (
	FormatAuto = "auto"
	FormatJSON = "json"
	FormatText = "text"
)

// DefaultConfig is the configuration where none is given.
func DefaultConfig() Config { return Config{Level: "info", Format: FormatAuto} }

// Validate reports everything that is wrong with c, each with its key, its value
// and what was expected.
func (c Config) Validate() error {
	var errs []error
	if _, ok := c.level(); !ok {
		errs = append(errs, fmt.Errorf("level: %q: expected debug, info, warn or error", c.Level))
	}
	switch c.Format {
	case FormatAuto, FormatJSON, FormatText:
	default:
		errs = append(errs, fmt.Errorf("format: %q: expected auto, json or text", c.Format))
	}
	return errors.Join(errs...)
}

func (c Config) level() (level slog.Level, ok bool) {
	switch c.Level {
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	default:
		return slog.LevelInfo, false
	}
}
