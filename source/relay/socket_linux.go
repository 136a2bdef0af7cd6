package relay

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// orphanTimeout is how long, in milliseconds, what was sent to one whose sender has
// ended may stay unacknowledged: as long as Linux keeps a socket that its program
// has closed.
const orphanTimeout = 60_000

// boundUnacknowledged sets TCP_USER_TIMEOUT (RFC 5482).
func boundUnacknowledged(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	// An error means that the connection is gone.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, orphanTimeout)
	})
}

// awaitReset waits until conn, which has been read to its end, is reset, and
// returns the error, or nil once conn is closed. Such a socket can be read at any
// time, so that a read does not wait; the runtime's poller is told of each change.
func awaitReset(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	var reset error
	_ = raw.Read(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			reset = syscall.Errno(code)
		}
		return reset != nil
	})
	return reset
}

// descriptorLimit is how many files the process may open.
func descriptorLimit() (uint64, bool) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return limit.Cur, true
}
