package spool

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/callpop/connector/schema"
)

// writer is the connection by which events go into the log. It speaks of NATS' client
// protocol what publishing needs: each event is an HPUB with a subject of its own for
// the answer, and all that comes while one write is under way goes with the next.
//
// nats.go makes a map, an encoder, a context and two wake-ups of each request; beside
// it, this takes half the processor time for an event, client and server together, and
// a third of the time for a lone one. See docs/performance.md.
type writer struct {
	conn   net.Conn
	reader *bufio.Reader
	calls  sync.Pool     // of *call
	kick   chan struct{} // has an element when there is something to write
	ended  chan struct{} // closed when err is set
	runs   sync.WaitGroup

	mu        sync.Mutex // guards what follows
	unwritten []byte
	// awaited are the calls without an answer, by the number in its subject.
	awaited map[uint64]*call
	number  uint64
	err     error
}

const (
	// keptBuffer is how much memory a buffer keeps for the next events.
	keptBuffer = 256 << 10
	// maxUnwritten bounds what waits to be written while the server takes nothing: more
	// than all callers together have under way.
	maxUnwritten = 64 * maxPayload
)

// call is one event on its way into the log.
type call struct {
	headers []byte
	answer  chan ack // one element
	timer   *time.Timer
}

type ack struct {
	sequence uint64
	err      error
}

func newCall() any {
	c := &call{answer: make(chan ack, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}

// newWriter logs in to a server over a connection, which it closes if that fails, and
// serves it until [writer.close]. lost is called once, from a goroutine of the
// writer's, where the connection ends before that.
func newWriter(conn net.Conn, l login, lost func(error)) (*writer, error) {
	w := &writer{
		conn: conn, reader: bufio.NewReaderSize(conn, 32<<10),
		calls: sync.Pool{New: newCall}, kick: make(chan struct{}, 1), ended: make(chan struct{}),
		awaited: map[uint64]*call{},
	}
	if err := w.logIn(l); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("log in to the embedded server: %w", err)
	}
	w.runs.Go(w.write)
	w.runs.Go(func() {
		if w.fail(w.read()) {
			lost(w.err)
		}
	})
	return w, nil
}

// publish has e stored, and returns its sequence. Where no answer comes within
// patience or before ctx is done, e may be stored or not.
func (w *writer) publish(ctx context.Context, e *schema.Event, patience time.Duration) (uint64, error) {
	c := w.calls.Get().(*call)
	number, err := w.send(c, e)
	if err == nil {
		c.timer.Reset(patience)
		select {
		case a := <-c.answer:
			c.timer.Stop()
			w.calls.Put(c)
			return a.sequence, a.err
		case <-ctx.Done():
			err = fmt.Errorf("wait for the log's answer: %w", ctx.Err())
		case <-c.timer.C:
			err = fmt.Errorf("%w within %v", errNoAck, patience)
		}
		c.timer.Stop()
		if w.take(number) == nil { // the answer is on its way to c
			a := <-c.answer
			w.calls.Put(c)
			return a.sequence, a.err
		}
	}
	w.calls.Put(c)
	return 0, err
}

// send gives e to the goroutine that writes.
func (w *writer) send(c *call, e *schema.Event) (number uint64, err error) {
	if c.headers, err = appendHeaders(c.headers[:0], e); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if len(w.unwritten) > maxUnwritten {
		return 0, fmt.Errorf("%w: it takes nothing", errNoAck)
	}
	w.number++
	w.awaited[w.number] = c
	w.unwritten = appendPublish(w.unwritten, w.number, c.headers, e)
	w.wake()
	return w.number, nil
}

func (w *writer) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// take returns the call that awaits an answer, and from then on nobody else does; nil
// where nobody awaits it.
func (w *writer) take(number uint64) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.awaited[number]
	delete(w.awaited, number)
	return c
}

// write writes what is given to it until the connection ends.
func (w *writer) write() {
	var out []byte
	for {
		select {
		case <-w.ended:
			return
		case <-w.kick:
		}
		if cap(out) > keptBuffer {
			out = nil
		}
		w.mu.Lock()
		out, w.unwritten = w.unwritten, out[:0]
		w.mu.Unlock()
		if len(out) == 0 {
			continue // the last write took it
		}
		if _, err := w.conn.Write(out); err != nil {
			_ = w.conn.Close() // which read sees
			return
		}
	}
}

// read takes answers until the connection ends.
func (w *writer) read() error {
	for {
		m, err := readMessage(w.reader)
		switch {
		case err != nil:
			return err
		case m.ping:
			// Written by the other goroutine: the server may be waiting for us to read.
			w.mu.Lock()
			w.unwritten = append(w.unwritten, "PONG\r\n"...)
			w.mu.Unlock()
			w.wake()
		default:
			if c := w.take(m.number); c != nil {
				c.answer <- m.ack
			}
		}
	}
}

// fail ends all calls with err, and reports whether nothing had before.
func (w *writer) fail(err error) bool {
	w.mu.Lock()
	if w.err != nil {
		w.mu.Unlock()
		return false
	}
	w.err = fmt.Errorf("%w: %w", errConnectionLost, err)
	awaited := w.awaited
	w.awaited = nil // nothing is sent any more
	close(w.ended)
	w.mu.Unlock()
	_ = w.conn.Close()
	for _, c := range awaited {
		c.answer <- ack{err: w.err}
	}
	return true
}

// close ends the connection, and with it all calls. A second call does nothing more.
func (w *writer) close() {
	w.fail(net.ErrClosed)
	w.runs.Wait()
}
