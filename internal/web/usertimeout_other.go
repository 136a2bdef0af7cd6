//go:build !linux

package web

import (
	"syscall"
	"time"
)

// boundUnacknowledged does nothing: the system has no TCP_USER_TIMEOUT. A peer that
// vanished is noticed when its connection's buffer is full or the system gives up.
func boundUnacknowledged(syscall.RawConn, time.Duration) error { return nil }
