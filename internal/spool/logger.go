package spool

import (
	"fmt"
	"log/slog"
	"sync"
)

// maxServerLog bounds a line of the embedded server's log.
const maxServerLog = 512

// serverLog carries the embedded server's warnings and errors to slog. What it
// says beyond them is of use to its developers only.
type serverLog struct {
	logger *slog.Logger

	mu    sync.Mutex
	fatal string // guarded by mu
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any) {
	// The password is in the connector's configuration, which has its own means
	// to keep it out of files.
	if format == "Plaintext passwords detected, use nkeys or bcrypt" {
		return
	}
	l.logger.Warn("embedded server", "message", serverMessage(format, v))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.logger.Error("embedded server", "message", serverMessage(format, v))
}

// Fatalf keeps the message: the server calls it where it cannot start, and goes
// on as if it had exited.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		l.fatal = serverMessage(format, v)
	}
}

// fatalMessage is the first thing that kept the server from starting.
func (l *serverLog) fatalMessage() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// serverMessage formats a message of the server. Arguments that are bytes are
// what a client sent: they are counted, not shown.
func serverMessage(format string, v []any) string {
	shown := make([]any, len(v))
	for i, arg := range v {
		if b, ok := arg.([]byte); ok {
			arg = fmt.Sprintf("(%d bytes)", len(b))
		}
		shown[i] = arg
	}
	message := fmt.Sprintf(format, shown...)
	if len(message) > maxServerLog {
		message = message[:maxServerLog] + "..."
	}
	return message
}
