//go:build unix

package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supported says whether sockets can be passed.
const Supported = true

// duplicate makes copies of the sockets' descriptors and the control message that
// passes them on. A copy by [net.TCPConn.File] would make the connection a blocking
// one, for both processes.
func duplicate(sockets []syscall.Conn) (copies []int, oob []byte, err error) {
	for i, s := range sockets {
		raw, err := s.SyscallConn()
		if err != nil {
			return copies, nil, fmt.Errorf("socket %d: %w", i, err)
		}
		var fd int
		var failed error
		err = raw.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
		if err = errors.Join(err, failed); err != nil {
			return copies, nil, fmt.Errorf("socket %d: %w", i, err)
		}
		copies = append(copies, fd)
	}
	return copies, unix.UnixRights(copies...), nil
}

func closeAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}

// rights reads from a socket and keeps the descriptors that come.
type rights struct {
	conn  *net.UnixConn
	files []int
	oob   [4 * 256]byte // of one control message; longer ones are not sent
}

func (r *rights) Read(p []byte) (int, error) {
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(p, r.oob[:])
	if oobn > 0 {
		messages, parseErr := unix.ParseSocketControlMessage(r.oob[:oobn])
		for i := range messages {
			if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
				for _, fd := range fds {
					unix.CloseOnExec(fd)
				}
				r.files = append(r.files, fds...)
			}
		}
		if err == nil {
			err = parseErr
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return n, io.EOF // as io.ReadFull has to see it
	case err != nil:
		return n, err
	case flags&unix.MSG_CTRUNC != 0:
		return n, errors.New("descriptors were lost: is the limit of open files too low (ulimit -n)?")
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// take gives the next n descriptors.
func (r *rights) take(n int) ([]int, error) {
	if len(r.files) != n {
		closeAll(r.files)
		got := len(r.files)
		r.files = nil
		return nil, fmt.Errorf("%d descriptors came, expected %d", got, n)
	}
	files := r.files
	r.files = nil
	return files, nil
}
