package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/handover"
	"github.com/callpop/connector/internal/spool"
)

// takeover is what a successor gets from its predecessor; see [daemon.HandOver]. A
// nil one is that of a connector that starts on its own.
type takeover struct {
	line        *handover.Line
	listeners   map[listenerBody]*net.TCPListener
	predecessor spoolBody
	storing     sync.WaitGroup // the events of the predecessor that are being stored
	serving     sync.WaitGroup // what stores them
	messages    chan *handover.Message
	over        chan struct{}
	once        sync.Once
	stop        func() bool
}

// beginTakeover has the connector that runs on c's spool pass it on, and returns once
// the spool can be opened. Where none runs there is nothing to take over: nil.
func beginTakeover(ctx context.Context, w *world, c *config.Config) (*takeover, error) {
	if !handover.Supported {
		return nil, errors.New("--takeover: this system cannot pass sockets from one process to another")
	}
	holder, err := spool.CheckDir(c.Spool.Dir)
	if err != nil {
		return nil, err
	}
	if holder == "" {
		w.tell("connector: no connector runs on the spool in %s: there is nothing to take over\n", c.Spool.Dir)
		return nil, nil
	}
	conn, err := control.TakeOver(ctx, c.Spool.Dir)
	if err != nil {
		return nil, err
	}
	t := &takeover{
		line: handover.NewLine(conn), listeners: map[listenerBody]*net.TCPListener{},
		messages: make(chan *handover.Message), over: make(chan struct{}),
	}
	t.stop = context.AfterFunc(ctx, func() { _ = t.line.Close() })
	hello := helloBody{Protocol: handoverProtocol, Version: thisBuild().Version, Process: ownProcess()}
	for _, s := range c.Sources {
		hello.Sources = append(hello.Sources, helloSource{s.Name, s.Type})
	}
	if err := t.line.Send(kindHello, hello); err != nil {
		return nil, errors.Join(err, t.close())
	}
	if err := t.takeListeners(); err != nil {
		return nil, errors.Join(fmt.Errorf("take over from %s: %w", holder, err), t.close())
	}
	return t, nil
}

// takeListeners takes what comes before the spool.
func (t *takeover) takeListeners() error {
	for {
		m, err := t.line.Receive()
		if err != nil {
			return gaveUp(err)
		}
		switch m.Kind {
		case kindListener:
			var of listenerBody
			err := m.Decode(&of)
			var listener *net.TCPListener
			if err == nil {
				listener, err = m.Listener(0)
			}
			m.Discard()
			if err != nil {
				return err
			}
			t.listeners[of] = listener
		case kindSpool:
			return m.Decode(&t.predecessor)
		case kindFailed:
			return reasonOf(m)
		default:
			m.Discard()
			return fmt.Errorf("it said %q, expected %q", m.Kind, kindSpool)
		}
	}
}

// reasonOf is why the predecessor goes on itself.
func reasonOf(m *handover.Message) error {
	var why reasonBody
	if err := m.Decode(&why); err != nil {
		return err
	}
	return fmt.Errorf("it goes on itself: %s", why.Reason)
}

// gaveUp says what the end of the line means.
func gaveUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return errors.New("it gave up the handover and goes on itself; its log says why")
	}
	return err
}

// listener gives what the predecessor listened on for a part of the configuration
// with the same address; nil where there is none.
func (t *takeover) listener(part, address string) *net.TCPListener {
	if t == nil {
		return nil
	}
	of := listenerBody{part, address}
	l := t.listeners[of]
	delete(t.listeners, of)
	return l
}

// finish takes the sockets, and with them everything: on an error nothing, and the
// predecessor goes on. It has stored what the predecessor still had. What the
// predecessor gets until it ends is stored until close.
func (t *takeover) finish(ctx context.Context, d *daemon) error {
	for _, l := range t.listeners { // of parts that are not configured any more
		_ = l.Close()
	}
	if err := t.line.Send(kindOpen, emptyBody{}); err != nil {
		return err
	}
	t.serving.Go(func() { t.receive(context.WithoutCancel(ctx), d) })
	began := time.Now()
	whole, adopt, err := t.takeSources(d)
	if err != nil {
		return fmt.Errorf("take over from process %d: %w", t.predecessor.Process, err)
	}
	if err := t.line.Send(kindTaken, emptyBody{}); err != nil {
		return fmt.Errorf("take over from process %d: %w", t.predecessor.Process, gaveUp(err))
	}
	t.stop() // from here on the end of ctx is the daemon's business
	adopt()
	if !whole.DrainedSince.IsZero() {
		d.desk.setDrained(whole.DrainedSince)
		for _, held := range d.held() {
			held.Fleet().Drain()
		}
	}
	d.log.Info("everything was taken over", "predecessor", t.predecessor.Process, "version", t.predecessor.Version, "took", time.Since(began).String())
	return nil
}

// receive stores the events that come, each in a goroutine of its own as they are
// bounded by the predecessor, and gives on all else, until the line ends.
func (t *takeover) receive(ctx context.Context, d *daemon) {
	defer close(t.messages)
	defer t.storing.Wait()
	emit := d.outlet.Emit
	for {
		m, err := t.line.Receive()
		if err != nil {
			return
		}
		if m.Kind != handover.KindEvent {
			select {
			case t.messages <- m:
			case <-t.over:
				m.Discard()
			}
			continue
		}
		var e handover.Event
		if m.Decode(&e) != nil {
			return // what follows cannot be trusted
		}
		t.storing.Go(func() {
			stored := handover.Stored{Number: e.Number}
			if err := emit(ctx, e.Event); err != nil {
				stored.Error = err.Error()
			}
			_ = t.line.Send(handover.KindStored, stored) // it stores the event elsewhere, with the same id
		})
	}
}

// fail tells the predecessor why it has to go on.
func (t *takeover) fail(err error) {
	if t != nil {
		_ = t.line.Send(kindFailed, reasonBody{err.Error()}) // else it sees the end of the line
	}
}

// close ends the line, and what the predecessor stores over it. It is safe to call it
// twice.
func (t *takeover) close() error {
	if t == nil {
		return nil
	}
	var err error
	t.once.Do(func() {
		close(t.over)
		err = t.line.Close()
		t.stop()
		t.serving.Wait()
		for _, l := range t.listeners {
			_ = l.Close()
		}
	})
	return err
}
