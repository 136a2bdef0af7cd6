// Package httpstop ends HTTP servers so that nobody who was let in goes without an
// answer.
//
// [http.Server.Shutdown] does not do that: a connection that was accepted, and whose
// request is read while the server shuts down, is closed without a word (Go 1.26,
// conn.serve). Of a screen-pop that comes but once nothing would be left.
package httpstop

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// silent is how long a connection may be open without a request before it is
	// taken for one that a browser opened in advance.
	silent = time.Second
	// interval is how often the connections are looked at.
	interval = 2 * time.Millisecond
)

// Connections knows which connections of a server owe an answer.
type Connections struct {
	server *http.Server
	mu     sync.Mutex // guards owing
	owing  map[net.Conn]debt
}

// debt is what is owed to a connection.
type debt struct {
	since time.Time
	// asked is true once something of a request was read.
	asked bool
}

// Watch follows the connections of s from now on; s must not serve yet. It takes
// s.ConnState.
func Watch(s *http.Server) *Connections {
	c := &Connections{server: s, owing: map[net.Conn]debt{}}
	s.ConnState = c.state
	return c
}

func (c *Connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew, http.StateActive:
		c.owing[conn] = debt{time.Now(), state == http.StateActive}
	case http.StateIdle, http.StateHijacked, http.StateClosed:
		delete(c.owing, conn)
	}
}

// Stop answers everybody who was let in, closes the connections and returns; or
// cuts them off once ctx is done. The listener has to be closed before, and Serve
// to have returned.
func (c *Connections) Stop(ctx context.Context) {
	c.server.SetKeepAlivesEnabled(false) // each answer is its connection's last
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for c.owes(time.Now()) && ctx.Err() == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close() // a peer that does not finish is cut off
	}
}

// owes reports whether anybody waits for an answer.
func (c *Connections) owes(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.owing {
		if d.asked || now.Sub(d.since) < silent {
			return true
		}
	}
	return false
}
