package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// serverRead and clientRead are the sizes of a desktop's own buffers: a segment
	// of an Ethernet from the server, so that what came as one piece leaves as one,
	// also for a client that takes a read for a pop; from the desktop, which sends
	// a registration and then seven bytes at a time, more than any registration.
	serverRead = 1460
	clientRead = 512
	// largeRead is the size of the buffer lent to a stream while it fills its own.
	largeRead = 32 << 10
	// maxSaid is how much of what a desktop sends first the agent is looked for in.
	maxSaid = 1 << 10
	// saidPause is how long a desktop whose server cannot be reached is waited for
	// to say who it is. The refusal of a direct connection would have come sooner,
	// but its client tries again in seconds at the soonest.
	saidPause = 100 * time.Millisecond
)

// desktop is one client's connection and the one to the server behind it.
type desktop struct {
	source  *Source
	address netip.Addr
	client  *net.TCPConn
	// ended counts the directions that have ended in order, running the two
	// goroutines that pass bytes on.
	ended, running atomic.Int32
	// ways are the two directions, by their sender, where they are to wait.
	ways [2]way
	// named is set by the tap once it needs no more of what the desktop says.
	named atomic.Bool

	mu     sync.Mutex   // guards what follows
	server *net.TCPConn // nil until dialled
	first  *ending      // what ended the connection first
	closed bool

	tapped
}

// peer is one of the two that the relay stands between.
type peer uint8

const (
	lqServer peer = iota
	client
	connector // we ourselves: the source stops
	dial      // there was no server
)

// other is who is on the other side of the relay.
func (p peer) other() peer {
	if p == client {
		return lqServer
	}
	return client
}

// ending is how a connection ended: who ended it, and the error that told, io.EOF
// for an end in order.
type ending struct {
	by  peer
	err error
}

var errStopping = errors.New("the connector stops")

// serve dials the server for the desktop and starts passing on. It returns then:
// the stack that dialling needs is not kept.
func (d *desktop) serve(ctx context.Context, clients *sync.WaitGroup) {
	s := d.source
	s.metrics.add(s.metrics.dials, 1)
	conn, err := d.dial(ctx)
	if errors.Is(err, errParted) {
		s.forget(d)
		return
	}
	if ctx.Err() == nil {
		s.outage.note(s.log, s.config.Address, err)
	}
	if err != nil {
		d.refuse(ctx, err)
		s.forget(d)
		return
	}
	server := conn.(*net.TCPConn)
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed { // by stop, meanwhile
		_ = server.Close()
	}
	s.tap.opened(d, time.Now())
	d.begin(clients)
}

// begin starts passing on.
func (d *desktop) begin(clients *sync.WaitGroup) {
	d.running.Store(2)
	clients.Go(func() { d.run(lqServer) })
	clients.Go(func() { d.run(client) })
}

// dial connects to the server; not while the source is paused. An attempt that a
// pause ends is made again after it, here or in another process.
func (d *desktop) dial(ctx context.Context) (net.Conn, error) {
	s := d.source
	for {
		attempt, done, err := s.beginDial(ctx, d)
		if err != nil {
			return nil, err
		}
		timed, cancel := context.WithTimeout(attempt, time.Duration(s.dialTimeout.Load()))
		conn, err := s.dialer.DialContext(timed, "tcp", s.config.Address)
		cancel()
		again := err != nil && attempt.Err() != nil && ctx.Err() == nil
		if err == nil {
			d.mu.Lock()
			d.server = conn.(*net.TCPConn)
			d.mu.Unlock()
		}
		done()
		if !again {
			return conn, err
		}
	}
}

// refuse ends a desktop whose server could not be reached.
func (d *desktop) refuse(ctx context.Context, err error) {
	if ctx.Err() != nil {
		d.stop()
	} else {
		_ = d.client.SetReadDeadline(time.Now().Add(saidPause))
		var said [clientRead]byte
		n, _ := d.client.Read(said[:])
		d.source.tap.client(d, time.Now(), said[:n])
		d.note(dial, err)
	}
	d.source.tap.ended(d, time.Now())
	reset(d.client)
}

// run passes on what sender sends until it ends. All that goes on for long is flat,
// so that the goroutine keeps its first, small stack.
func (d *desktop) run(sender peer) {
	from, to, size := d.client, d.server, clientRead
	if sender == lqServer {
		from, to, size = d.server, d.client, serverRead
	}
	var by peer
	err := d.passRest(sender, to)
	if err != nil {
		by = sender.other()
	} else {
		by, err = d.copy(sender, from, to, make([]byte, size))
	}
	if errors.Is(err, errParted) {
		if d.running.Add(-1) == 0 {
			d.source.forget(d)
		}
		return
	}
	d.finish(sender, from, to, by, err)
}

// finish passes the end on, as a reset if a connection broke.
func (d *desktop) finish(sender peer, from, to *net.TCPConn, by peer, err error) {
	d.note(by, err)
	inOrder := errors.Is(err, io.EOF)
	if !inOrder {
		d.reset()
	}
	if sender == lqServer {
		// Nothing more will come for the tap, be the other direction open or not.
		d.source.tap.ended(d, time.Now())
	}
	if inOrder {
		d.ways[sender].over.Store(true)
		d.passEnd(sender, from, to)
	}
	if d.running.Add(-1) == 0 {
		d.source.forget(d)
	}
}

// copy returns who ended it, and how: io.EOF for an end in order.
func (d *desktop) copy(sender peer, from, to *net.TCPConn, own []byte) (peer, error) {
	tap := d.source.tap
	said := 0
	buffer := own
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			at := time.Now()
			// What the desktop says first is shown to the tap before it goes on, so
			// that the server's answer to it never comes first.
			if sender == client && said < maxSaid && !d.named.Load() {
				some := min(n, maxSaid-said)
				said += some
				tap.client(d, at, buffer[:some])
			}
			wrote, writeErr := to.Write(buffer[:n])
			// What the server says is shown to it behind that; also where the desktop
			// did not take it, for it comes only once.
			if sender == lqServer {
				tap.server(d, at, buffer[:n])
			}
			if writeErr != nil && d.interrupted(sender, writeErr) {
				d.ways[sender].rest = buffer[wrote:n]
				writeErr = d.passRest(sender, to)
			}
			if writeErr != nil {
				d.giveBack(buffer)
				return sender.other(), writeErr
			}
		}
		if err != nil && d.interrupted(sender, err) {
			err = d.wait(sender, from, to)
		}
		if err != nil {
			d.giveBack(buffer)
			return sender, err
		}
		switch {
		case n < len(buffer): // there was no more
			d.giveBack(buffer)
			buffer = own
		case len(buffer) == len(own):
			buffer = d.source.large.Get().(*[largeRead]byte)[:]
		}
	}
}

// giveBack returns a buffer if it was lent.
func (d *desktop) giveBack(buffer []byte) {
	if len(buffer) == largeRead {
		d.source.large.Put((*[largeRead]byte)(buffer))
	}
}

// passEnd passes on that from has sent all it will send. While the other direction
// goes on, to is given up as a kernel gives up a closed socket, and a reset of from,
// which nobody reads any more, is watched for.
func (d *desktop) passEnd(sender peer, from, to *net.TCPConn) {
	if d.ended.Add(1) == 2 {
		d.close()
		return
	}
	_ = to.CloseWrite() // fails for one that is gone: its own reader says so
	boundUnacknowledged(to)
	if err := awaitReset(from); err != nil {
		d.note(sender, err)
		d.reset()
	}
}

// note keeps what ended the connection first.
func (d *desktop) note(by peer, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == nil {
		d.first = &ending{by, err}
	}
}

func (d *desktop) ending() ending {
	d.mu.Lock()
	defer d.mu.Unlock()
	return *d.first
}

// stop closes both connections because the source stops.
func (d *desktop) stop() {
	d.note(connector, errStopping)
	d.close()
}

// close closes both connections in order.
func (d *desktop) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	_ = d.client.Close()
	if d.server != nil {
		_ = d.server.Close()
	}
}

// reset breaks both connections, unless they have been closed.
func (d *desktop) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		reset(d.client)
		reset(d.server)
	}
}

// reset closes a connection with a RST; what was not sent is dropped.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // fails for one that is closed
	_ = conn.Close()
}
