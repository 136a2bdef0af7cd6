package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// LogLevelRequest asks for the level of the connector's log, and sets it first
// where Level is not empty: debug, info, warn or error.
type LogLevelRequest struct {
	Level string `json:"level,omitempty"`
}

// Level is the level of a log: its name, and the one that it had before.
type Level struct {
	Level  string `json:"level"`
	Before string `json:"before"`
}

// LogLevel reads and sets the level of a running connector's log, until it stops.
var LogLevel = Operation[LogLevelRequest, Level]{name: "log-level", run: logLevel}

// ErrNotRunning means that only a running connector could do what was asked.
var ErrNotRunning = errors.New("no connector runs on this spool")

func logLevel(_ context.Context, h *Host, request LogLevelRequest, yield func(Level) error) error {
	if h.LogLevel == nil {
		return ErrNotRunning
	}
	before := h.LogLevel.Level()
	if request.Level != "" {
		level, err := parseLevel(request.Level)
		if err != nil {
			return Wrong(err)
		}
		if h.LogLevel.Set(level); level != before {
			h.Log.Warn("the log's level was changed", "level", levelName(level), "before", levelName(before))
		}
	}
	return yield(Level{Level: levelName(h.LogLevel.Level()), Before: levelName(before)})
}

func levelName(level slog.Level) string { return strings.ToLower(level.String()) }

func parseLevel(name string) (slog.Level, error) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if levelName(level) == name {
			return level, nil
		}
	}
	return 0, fmt.Errorf("level %q: expected debug, info, warn or error", name)
}
