package lqsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/source/frame"
)

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server until the test ends.
func start(t testing.TB, opts Options) *Server {
	t.Helper()
	server, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	return server
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// client is a plain client, as the manual's chapter 7 describes it.
type client struct {
	t       testing.TB
	conn    net.Conn
	decoder frame.Decoder
}

// dial connects and sends what is given, nothing if empty.
func dial(t testing.TB, server *Server, message string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", server.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, conn: conn}
	c.write(message)
	return c
}

// register connects an agent with the default template and waits until the
// server has booked it.
func register(t testing.TB, server *Server, agent string) *client {
	t.Helper()
	before, _ := server.Agent(agent)
	c := dial(t, server, "op="+agent+",ch=-1;")
	err := server.WaitAgent(within(t), agent, func(a Agent) bool { return a.Connects > before.Connects })
	if err != nil {
		t.Fatalf("agent %s did not register: %v", agent, err)
	}
	return c
}

func (c *client) write(message string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, message); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next frame, its data copied, or how the connection ended.
func (c *client) next() (frame.Frame, error) {
	for {
		if f, ok := c.decoder.Next(); ok {
			f.Data = bytes.Clone(f.Data)
			return f, nil
		}
		n, err := c.conn.Read(c.decoder.Buffer())
		c.decoder.Wrote(n)
		if n == 0 && err != nil {
			return frame.Frame{}, err
		}
	}
}

func (c *client) wantHeartbeat() {
	c.t.Helper()
	if f, err := c.next(); err != nil || f.Kind != frame.Heartbeat {
		c.t.Fatalf("got frame %s %q, %v, want a heartbeat", f.Kind, f.Data, err)
	}
}

func (c *client) wantPop(want string) {
	c.t.Helper()
	if f, err := c.next(); err != nil || f.Kind != frame.Pop || string(f.Data) != want {
		c.t.Fatalf("got frame %s %q, %v, want the pop %q", f.Kind, f.Data, err, want)
	}
}

// wantEnd reads what is left and wants the connection to end that way.
func (c *client) wantEnd(reset bool) {
	c.t.Helper()
	for {
		f, err := c.next()
		switch {
		case err == nil && f.Kind == frame.Heartbeat:
		case err == nil:
			c.t.Fatalf("got frame %s %q, want the end", f.Kind, f.Data)
		case reset && isReset(err), !reset && errors.Is(err, io.EOF):
			return
		default:
			c.t.Fatalf("got %v, want the end with reset %t", err, reset)
		}
	}
}

// isReset: every error of a socket but its end and our own patience's.
func isReset(err error) bool {
	return !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded)
}

// answer replies to every heartbeat and keeps the pops until the connection ends.
func (c *client) answer() *answering {
	a := &answering{done: make(chan struct{})}
	_ = c.conn.SetDeadline(time.Time{})
	go func() {
		defer close(a.done)
		for {
			f, err := c.next()
			if err != nil {
				return
			}
			switch f.Kind {
			case frame.Heartbeat:
				if _, err := io.WriteString(c.conn, frame.Reply); err != nil {
					return
				}
			default:
				a.mu.Lock()
				a.pops = append(a.pops, string(f.Data))
				a.mu.Unlock()
			}
		}
	}()
	c.t.Cleanup(func() {
		_ = c.conn.Close()
		<-a.done
	})
	return a
}

type answering struct {
	done chan struct{}
	mu   sync.Mutex
	pops []string
}

// received waits until the connection has ended and returns the pops.
func (a *answering) received() []string {
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pops
}

// reconnecting keeps an agent's session up until the test ends: it connects again
// whenever the server ends it or falls silent.
func reconnecting(t testing.TB, server *Server, agent string) {
	const expire = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	session := func() {
		conn, err := (&net.Dialer{Timeout: expire}).DialContext(ctx, "tcp", server.Addr().String())
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		c := &client{t: t, conn: conn}
		if _, err := io.WriteString(conn, "op="+agent+",ch=-1;"); err != nil {
			return
		}
		for {
			_ = conn.SetReadDeadline(time.Now().Add(expire))
			f, err := c.next()
			if err != nil {
				return
			}
			if f.Kind == frame.Heartbeat {
				if _, err := io.WriteString(conn, frame.Reply); err != nil {
					return
				}
			}
		}
	}
	go func() {
		defer close(done)
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			session()
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}
