package httpstop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serving is a server that answers with 204, whose connections have been let in.
func serving(t *testing.T) (c *Connections, l net.Listener, ended chan error) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})}
	c, ended = Watch(s), make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	return c, l, ended
}

// letIn dials and waits until the server knows of n connections.
func letIn(t *testing.T, c *Connections, l net.Listener, n int) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for known := 0; known < n; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		known = len(c.owing)
		c.mu.Unlock()
	}
	return conn
}

func TestWhoWasLetInIsAnsweredThoughItsRequestComesDuringTheStop(t *testing.T) {
	c, l, ended := serving(t)
	const peers = 50
	var conns []net.Conn
	for n := range peers {
		conns = append(conns, letIn(t, c, l, n+1))
	}
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("it served until %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { c.Stop(ctx) })
	for i, conn := range conns {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond) // while it stops
			if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				t.Errorf("peer %d: %v", i, err)
				return
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Errorf("peer %d: %v", i, err)
				return
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusNoContent {
				t.Errorf("peer %d: %s", i, response.Status)
			}
		})
	}
	all.Wait()
}

func TestAPeerThatNeverAsksDoesNotHoldUpTheStop(t *testing.T) {
	c, l, ended := serving(t)
	conn := letIn(t, c, l, 1)
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("it served until %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	c.Stop(ctx)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open still")
	}
}
