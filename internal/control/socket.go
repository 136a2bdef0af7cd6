package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// socketName is the socket's, within the spool's directory.
const socketName = "control.sock"

// socketPath is where the process that holds the spool in dir can be reached.
func socketPath(dir string) string { return filepath.Join(dir, socketName) }

// maxSocketPath is how long the path of a Unix socket may be everywhere: 104
// bytes with the zero at its end on the BSDs and macOS, 108 on Linux.
const maxSocketPath = 103

// listen listens on a Unix socket that only its owner can connect to. What is
// there already is replaced: the lock of the spool says that nobody serves it.
func listen(ctx context.Context, path string) (net.Listener, error) {
	// It is made in a directory that nobody else can enter and moved when its
	// permissions are right: until chmod, anyone could connect.
	private := filepath.Join(filepath.Dir(path), ".control")
	err := os.RemoveAll(private)
	if err == nil {
		err = os.Mkdir(private, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(private) }() // empty by then, or made anew next time
	made := filepath.Join(private, "s")
	var listener net.Listener
	err = reach(made, func(short string) error {
		listener, err = new(net.ListenConfig).Listen(ctx, "unix", short)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket %s: %w", path, plain(err))
	}
	// It is removed by the name it is moved to.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the control socket %s: %w", path, err), listener.Close())
	}
	return listener, nil
}

func dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = reach(path, func(short string) error {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// reach calls use with a path of the socket that is short enough to connect or
// bind to: its own, or one through a link in a directory of our own, which is
// gone when reach returns. The socket itself is where its path says.
func reach(path string, use func(short string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	private, err := os.MkdirTemp("", "callpop-")
	if err != nil {
		return fmt.Errorf("its path has %d bytes, more than %d, and no shorter one can be made: %w", len(path), maxSocketPath, err)
	}
	defer func() { _ = os.RemoveAll(private) }() // a link and a directory; they are in nobody's way
	link := filepath.Join(private, "d")
	if err := os.Symlink(dir, link); err != nil {
		return fmt.Errorf("its path has %d bytes, more than %d, and no shorter one can be made: %w", len(path), maxSocketPath, err)
	}
	short := filepath.Join(link, filepath.Base(path))
	if len(short) > maxSocketPath {
		return fmt.Errorf("its path has %d bytes, more than %d, and so has one through the directory for temporary files", len(path), maxSocketPath)
	}
	return use(short)
}

// plain takes the address out of an error of package net.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
