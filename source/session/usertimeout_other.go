//go:build !linux

package session

import "syscall"

// setUserTimeout does nothing: the system has no TCP_USER_TIMEOUT. A peer that
// vanished is then found by the missing heartbeat.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
