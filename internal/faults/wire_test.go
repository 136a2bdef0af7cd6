//go:build linux

package faults

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// wire is a proxy for what toxiproxy cannot do: packets that are dropped, so that
// not even a kernel acknowledges them, and resets in the middle of a message.
type wire struct {
	t        testing.TB
	listener *net.TCPListener
	upstream string
	running  sync.WaitGroup

	mu sync.Mutex // guards what follows
	// dropping is closed by heal; nil while nothing is dropped.
	dropping chan struct{}
	// cut bounds what a connection carries before it is reset; 0 for no end.
	cut   int
	conns map[*splice]struct{}
}

// splice is one connection through the wire.
type splice struct {
	near, far *net.TCPConn // to the connector, to its peer
	mu        sync.Mutex
	// left is what it may carry yet, both ways together; negative for no end.
	left int
}

func newWire(t testing.TB, port int, upstream string) *wire {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false) // whose sockets take no filter
	l, err := config.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, listener: l.(*net.TCPListener), upstream: upstream, conns: map[*splice]struct{}{}}
	w.running.Go(w.serve)
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.heal()
		w.resetAll()
		w.running.Wait()
	})
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) serve() {
	for {
		near, err := w.listener.AcceptTCP()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("tcp", w.upstream)
		if err != nil {
			_ = near.Close()
			continue
		}
		s := &splice{near: near, far: far.(*net.TCPConn), left: -1}
		w.mu.Lock()
		if w.cut > 0 {
			s.left = 1 + rand.IntN(w.cut)
		}
		if w.dropping != nil {
			w.filter(near, true)
		}
		w.conns[s] = struct{}{}
		w.mu.Unlock()
		w.running.Go(func() { w.carry(s) })
	}
}

// carry passes bytes both ways until one side ends, or the wire cuts.
func (w *wire) carry(s *splice) {
	var up sync.WaitGroup
	up.Go(func() { w.pump(s, s.near, s.far) })
	w.pump(s, s.far, s.near)
	up.Wait()
	_ = s.near.Close()
	_ = s.far.Close()
	w.mu.Lock()
	delete(w.conns, s)
	w.mu.Unlock()
}

func (w *wire) pump(s *splice, from, to *net.TCPConn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		// What is dropped is not passed on later either: heal ends the connection.
		w.mu.Lock()
		dropping := w.dropping
		w.mu.Unlock()
		if dropping != nil {
			<-dropping
		}
		n, whole := s.take(n)
		if _, werr := to.Write(buffer[:n]); werr != nil {
			_ = from.CloseRead()
			return
		}
		if !whole {
			s.reset()
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.reset()
			}
			_ = to.CloseWrite()
			return
		}
	}
}

// take returns how much of n bytes may pass.
func (s *splice) take(n int) (pass int, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left < 0 {
		return n, true
	}
	if n >= s.left {
		n = s.left
		s.left = 0
		return n, false
	}
	s.left -= n
	return n, true
}

// reset ends both sides with a reset.
func (s *splice) reset() {
	for _, c := range []*net.TCPConn{s.near, s.far} {
		_ = c.SetLinger(0) // it fails where the connection is closed already
		_ = c.Close()
	}
}

func (w *wire) resetAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.conns {
		s.reset()
	}
}

// spoil begins a fault. Dropping, the kernel throws away every packet that the
// connector sends, and the connector gets none; also new connections get no answer.
func (w *wire) spoil(f networkFault) {
	w.t.Helper()
	w.mu.Lock()
	w.cut = f.cut
	if f.drop {
		w.dropping = make(chan struct{})
		w.filter(w.listener, true)
		for s := range w.conns {
			w.filter(s.near, true)
		}
	}
	w.mu.Unlock()
	if f.cut > 0 {
		w.resetAll()
	}
}

// heal ends the fault. Connections of which packets were dropped are reset, as by
// a peer that has forgotten them.
func (w *wire) heal() {
	w.mu.Lock()
	w.cut = 0
	dropped := w.dropping
	if w.dropping = nil; dropped != nil {
		w.filter(w.listener, false)
		for s := range w.conns {
			w.filter(s.near, false)
		}
	}
	w.mu.Unlock()
	if dropped != nil {
		w.resetAll()
		close(dropped)
	}
}

// filter attaches a socket filter (classic BPF) that lets no packet in, or takes it
// away. The kernel asks it before TCP sees the packet.
func (w *wire) filter(socket syscall.Conn, on bool) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return // it is closed, or about to be
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var set error
	err = raw.Control(func(fd uintptr) {
		if on {
			set = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
		} else {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		}
	})
	if err == nil && set != nil && !errors.Is(set, unix.ENOENT) {
		w.t.Errorf("filter packets: %v", set)
	}
}
