//go:build unix

package handover

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/callpop/connector/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair gives both ends of a line.
func pair(t *testing.T) (a, b *Line, raw *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "line") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address := &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"}
	listener, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dialled, err := net.DialUnix("unix", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	a, b = NewLine(dialled), NewLine(accepted)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b, dialled
}

// connected gives both ends of a TCP connection.
func connected(t *testing.T) (here, there *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialled.Close(), accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

func TestASocketOutlivesWhoPassedItOn(t *testing.T) {
	a, b, _ := pair(t)
	here, there := connected(t)
	if _, err := there.Write([]byte("kept")); err != nil {
		t.Fatal(err)
	}
	many := make([]syscall.Conn, MaxFiles)
	for i := range many {
		many[i] = here
	}
	sent := make(chan error, 1)
	go func() {
		sent <- errors.Join(a.Send("first", 1), a.Send("sockets", map[string]string{"of": strings.Repeat("x", 1<<20)}, many...),
			a.Send("one", 2, here), here.Close(), a.Send("last", 3), a.Close())
	}()
	for _, want := range []struct {
		kind    string
		sockets int
	}{{"first", 0}, {"sockets", MaxFiles}, {"one", 1}, {"last", 0}} {
		m, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind != want.kind || m.Sockets() != want.sockets {
			t.Errorf("%s with %d sockets, want %s with %d", m.Kind, m.Sockets(), want.kind, want.sockets)
		}
		if m.Kind == "one" {
			conn, err := m.Conn(0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Conn(0); err == nil {
				t.Error("a socket is given twice")
			}
			var read [4]byte
			if _, err := io.ReadFull(conn, read[:]); err != nil || string(read[:]) != "kept" {
				t.Errorf("%q: %v", read, err)
			}
			_ = conn.Close()
		}
		m.Discard()
	}
	if _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestAMessageIsSentInTimeOrNotAtAll(t *testing.T) {
	a, b, _ := pair(t)
	if err := a.Send("in time", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Deafen(); err != nil {
		t.Fatal(err)
	}
	if err := a.Send("too late", nil); err == nil {
		t.Error("a message that nobody takes was sent")
	}
	if m, err := b.Receive(); err != nil || m.Kind != "in time" {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, %v", m, err)
	}
	if err := a.Send("later still", nil); err == nil {
		t.Error("a line that broke goes on")
	}
}

func TestWhatNoConnectorSaysIsRefused(t *testing.T) {
	for _, said := range []string{
		"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\x00\x00\x00\x01x", "\x00\x00\x00\x02\x00\x00\x00\x00{}",
		"\x00\x00\x00\x02\x00\x01\x00\x01x{}", // a descriptor that does not come
		"\x00\x00\x00\x02\x00",
	} {
		_, b, raw := pair(t)
		if _, err := raw.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		_ = raw.CloseWrite()
		if m, err := b.Receive(); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q is taken: %v, %v", said, m, err)
		}
	}
	a, b, _ := pair(t)
	here, _ := connected(t)
	if err := a.Send("sockets", nil, here); err != nil {
		t.Fatal(err)
	}
	m, err := b.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Conn(1); err == nil {
		t.Error("a socket is given that did not come")
	}
	m.Discard()
}

func TestEventsAreStoredAtTheOtherEnd(t *testing.T) {
	a, b, _ := pair(t)
	remote := NewRemote(a)
	refused := make(chan error, 1)
	go func() {
		for i := range 3 {
			m, err := b.Receive()
			var e Event
			if err == nil {
				err = m.Decode(&e)
			}
			if err == nil && i < 2 {
				err = b.Send(KindStored, Stored{Number: e.Number, Error: []string{"", "the disk is full"}[i]})
			}
			if err != nil {
				refused <- err
				return
			}
		}
		refused <- b.Close()
	}()
	answers := make(chan error, 1)
	go func() {
		for {
			m, err := a.Receive()
			if err != nil {
				remote.Gone()
				answers <- nil
				return
			}
			var s Stored
			if err := m.Decode(&s); err != nil {
				answers <- err
				return
			}
			remote.Answer(s)
		}
	}()
	e := schema.Event{Type: schema.TypeCallPop, ID: "1", Body: []byte(`{}`)}
	if err := remote.Emit(t.Context(), e); err != nil {
		t.Error(err)
	}
	if err := remote.Emit(t.Context(), e); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Error(err)
	}
	if err := remote.Emit(t.Context(), e); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := remote.Emit(t.Context(), e); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := errors.Join(<-refused, <-answers); err != nil {
		t.Error(err)
	}
}
