//go:build !linux

package relay

import "net"

// boundUnacknowledged does nothing: the system has no TCP_USER_TIMEOUT. A peer that
// vanished is given up when the kernel gives it up.
func boundUnacknowledged(*net.TCPConn) {}

// awaitReset does not wait: a reset of a socket that was read to its end is found
// by the next write.
func awaitReset(*net.TCPConn) error { return nil }

// descriptorLimit is not known.
func descriptorLimit() (uint64, bool) { return 0, false }
