package web

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAcceptedConnectionsInheritTheTimeForUnacknowledgedData(t *testing.T) {
	for _, limit := range []time.Duration{0, 30 * time.Second} {
		c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return boundUnacknowledged(raw, limit) }}
		l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		client, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = accepted.Close() }()
		raw, err := accepted.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			if want := int(limit.Milliseconds()); err != nil || got != want {
				t.Errorf("TCP_USER_TIMEOUT is %d ms, %v, want %d", got, err, want)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
