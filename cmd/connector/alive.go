package main

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// aliveFile, in the spool's directory, has the time at which the connector was
// last alive: the first sessions of the next start have been missing since then.
const aliveFile = "alive"

// aliveInterval is how exact that is after a kill -9.
const aliveInterval = time.Second

// lastAlive is when the connector with this spool directory last ran; zero where
// that is not known.
func lastAlive(dir string) time.Time {
	info, err := os.Stat(filepath.Join(dir, aliveFile))
	if err != nil || info.ModTime().After(time.Now()) {
		return time.Time{}
	}
	return info.ModTime()
}

// stayAlive keeps the time until ctx is done. What cannot be written costs the
// next start's gaps their exactness, nothing else.
func stayAlive(ctx context.Context, dir string) {
	path := filepath.Join(dir, aliveFile)
	if f, err := os.OpenFile(path, os.O_CREATE, 0o600); err == nil { //nolint:gosec // the operator names the directory
		_ = f.Close()
	}
	ticker := time.NewTicker(aliveInterval)
	defer ticker.Stop()
	for {
		now := time.Now()
		_ = os.Chtimes(path, now, now)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
