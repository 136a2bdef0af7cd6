package relay

import (
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/callpop/connector/source/frame"
)

func option(t *testing.T, conn *net.TCPConn, level, name int) (value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }))
	must(t, err)
	return value
}

func TestBothConnectionsSendAtOnceAndAreKeptAlive(t *testing.T) {
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{})
	conn := register(t, r.address(), "801")
	accepted := server.next(t)
	wantRead(t, accepted, "op=801,ch=-1;")
	r.source.mu.Lock()
	var d *desktop
	for d = range r.source.desktops {
	}
	r.source.mu.Unlock()
	for name, conn := range map[string]*net.TCPConn{"desktop": d.client, "server": d.server} {
		if option(t, conn, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 || option(t, conn, unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 ||
			option(t, conn, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE) != int(keepAlive.Idle.Seconds()) {
			t.Errorf("the connection to the %s delays, or is not kept alive", name)
		}
		if option(t, conn, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) != 0 {
			t.Errorf("the connection to the %s is given up sooner than the kernel would", name)
		}
	}
	// Only once one side has ended is the other not waited for without end.
	must(t, accepted.CloseWrite())
	if got := end(conn); got != "EOF" {
		t.Fatalf("the desktop got %q", got)
	}
	eventually(t, "the desktop's connection is bounded", func() bool {
		return option(t, d.client, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) == orphanTimeout
	})
	write(t, conn, frame.Reply) // and still used
	wantRead(t, accepted, frame.Reply)
}

func TestTooFewDescriptorsAreWarnedOf(t *testing.T) {
	limit, ok := descriptorLimit()
	if !ok || limit > 1<<40 {
		t.Skip("no limit of open files")
	}
	server := newPlainServer(t)
	many := newRig(t, server.address(), rigOptions{config: func(c *Config) { c.MaxClients = min(100_000, int(limit)) }})
	few := newRig(t, server.address(), rigOptions{config: func(c *Config) { c.MaxClients = 1 }})
	const warning = "limit of open files is too low"
	if got := strings.Contains(many.logs.String(), warning); got != (limit < 200_000+256) {
		t.Errorf("warned of %d files for many: %t", limit, got)
	}
	if strings.Contains(few.logs.String(), warning) {
		t.Errorf("warned of %d files for one desktop", limit)
	}
}
