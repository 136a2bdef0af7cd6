package callback

import (
	"net"
	"sync"
)

// limitListener accepts no more connections than it has places for; further ones
// wait in the kernel's queue, and cost no descriptor.
type limitListener struct {
	net.Listener
	places chan struct{}
	closed chan struct{}
	once   sync.Once // closes closed
}

func newLimitListener(l net.Listener, places int) *limitListener {
	return &limitListener{Listener: l, places: make(chan struct{}, places), closed: make(chan struct{})}
}

// Accept waits for a place, then for a connection.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close ends Accept; connections stay.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close gives the place back.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
