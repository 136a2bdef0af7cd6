//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// relayed gives both ends of a relayed connection: the desktop's and the server's.
func relayed(t *testing.T, server net.Listener, address string) (desktop, behind *net.TCPConn) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), accepted.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_ = accepted.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn), accepted.(*net.TCPConn)
}

func TestRelayedBytesGoThroughAnUpgradeExactly(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	listen := freeAddressFor(t, 6)
	i := install(t, fmt.Sprintf(`
sources: [{name: desktops, type: relay, server: hq, listen: %q, address: %q}]
spool: {dir: "{DIR}", min_free: 0}`, listen, server.Addr()), nil)
	i.waitListening(listen)

	// One whose desktop has said all that it will say, and listens on.
	half, halfServer := relayed(t, server, listen)
	if _, err := io.WriteString(half, "op=801,ch=-1;"); err != nil {
		t.Fatal(err)
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(halfServer); err != nil || string(said) != "op=801,ch=-1;" {
		t.Fatalf("%q, %v", said, err)
	}
	// One whose desktop does not read now, and one whose server does not: the relay
	// stands in the middle of a write.
	data := make([]byte, 12<<20)
	for at := range data {
		data[at] = byte(rand.Uint32())
	}
	slow, slowServer := relayed(t, server, listen)
	busy, busyServer := relayed(t, server, listen)
	written := make(chan error, 2)
	for _, conn := range []*net.TCPConn{slowServer, busy} {
		go func() {
			_, err := conn.Write(data)
			if err == nil {
				err = conn.CloseWrite()
			}
			written <- err
		}()
	}
	for range 2 {
		t.Log(i.upgrade())
	}
	if _, err := io.WriteString(halfServer, "still there"); err != nil {
		t.Fatal(err)
	}
	if err := halfServer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(half); err != nil || string(got) != "still there" {
		t.Errorf("%q, %v", got, err)
	}
	for name, conn := range map[string]*net.TCPConn{"to the desktop": slow, "to the server": busyServer} {
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(data), err)
		}
	}
	for range 2 {
		if err := <-written; err != nil {
			t.Error(err)
		}
	}
}
