package web

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boundUnacknowledged sets TCP_USER_TIMEOUT (RFC 5482) on a listening socket, from
// which accepted ones inherit it: keepalive does not notice a peer that vanished
// with data on its way. Zero leaves the system's own time.
func boundUnacknowledged(raw syscall.RawConn, limit time.Duration) error {
	if limit == 0 {
		return nil
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(limit.Milliseconds()))
	}); err != nil {
		return err
	}
	return set
}
