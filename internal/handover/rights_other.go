//go:build !unix

package handover

import (
	"errors"
	"net"
	"syscall"
)

// Supported says whether sockets can be passed.
const Supported = false

var errUnsupported = errors.New("this system cannot pass sockets from one process to another")

func duplicate([]syscall.Conn) ([]int, []byte, error) { return nil, nil, errUnsupported }

func closeAll([]int) {}

// rights reads from a socket.
type rights struct{ conn *net.UnixConn }

func (r *rights) Read(p []byte) (int, error) { return r.conn.Read(p) }

func (r *rights) take(n int) ([]int, error) {
	if n > 0 {
		return nil, errUnsupported
	}
	return nil, nil
}
