//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSystemdIsTold(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	tellSupervisor([]string{"A=1", "NOTIFY_SOCKET=" + socket}, "READY=1")
	tellSupervisor([]string{"A=1"}, "nobody")
	tellSupervisor([]string{"NOTIFY_SOCKET=" + socket + "-gone"}, "nobody")
	tellSupervisor([]string{"NOTIFY_SOCKET=" + socket}, "MAINPID=7")
	for _, want := range []string{"READY=1", "MAINPID=7"} {
		var text [64]byte
		_ = listener.SetReadDeadline(time.Now().Add(patience))
		n, err := listener.Read(text[:])
		if err != nil || string(text[:n]) != want {
			t.Errorf("%q, %v, want %q", text[:n], err, want)
		}
	}
}
