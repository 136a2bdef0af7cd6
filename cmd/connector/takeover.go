package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/handover"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
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

// takeSources takes sources until that was all. adopt makes them the daemon's, and
// cannot fail.
func (t *takeover) takeSources(d *daemon) (whole wholeBody, adopt func(), err error) {
	var all []*sourceBody
	defer func() {
		if err != nil {
			for _, s := range all {
				s.discard()
			}
		}
	}()
	for m := range t.messages {
		switch m.Kind {
		case kindWhole:
			return whole, func() { adoptAll(d, all) }, m.Decode(&whole)
		case kindSource:
			s := &sourceBody{}
			if err := m.Decode(s); err != nil {
				return whole, nil, err
			}
			if (s.Session == nil) == (s.Relay == nil) {
				return whole, nil, fmt.Errorf("it passes source %q as neither of sessions nor of desktops", s.Name)
			}
			all = append(all, s)
		case kindAgents:
			if len(all) == 0 || all[len(all)-1].Session == nil {
				m.Discard()
				return whole, nil, errors.New("it passes agents without their source")
			}
			if err := takeAgents(all[len(all)-1].Session, m); err != nil {
				return whole, nil, err
			}
		case kindFailed:
			return whole, nil, reasonOf(m)
		case kindDesktops:
			if len(all) == 0 || all[len(all)-1].Relay == nil {
				m.Discard()
				return whole, nil, errors.New("it passes desktops without their source")
			}
			if err := takeDesktops(all[len(all)-1].Relay, m); err != nil {
				return whole, nil, err
			}
		default:
			m.Discard()
			return whole, nil, fmt.Errorf("it said %q, expected sources", m.Kind)
		}
		if err := t.line.Send(kindGot, emptyBody{}); err != nil {
			return whole, nil, err
		}
	}
	return whole, nil, gaveUp(io.EOF)
}

// takeAgents takes agents with their sockets.
func takeAgents(s *session.Handed, m *handover.Message) error {
	defer m.Discard()
	var batch agentsBody
	if err := m.Decode(&batch); err != nil {
		return err
	}
	socket := 0
	for _, a := range batch.Agents {
		if a.Held {
			conn, err := m.Conn(socket)
			if err != nil {
				return err
			}
			a.Conn = conn
			socket++
		}
		s.Agents = append(s.Agents, a)
	}
	return nil
}

// takeDesktops takes desktops with their sockets.
func takeDesktops(s *relay.Handed, m *handover.Message) (err error) {
	defer m.Discard()
	var batch desktopsBody
	if err := m.Decode(&batch); err != nil {
		return err
	}
	socket := 0
	next := func() *net.TCPConn {
		var conn *net.TCPConn
		if err == nil {
			conn, err = m.Conn(socket)
			socket++
		}
		return conn
	}
	for _, d := range batch.Desktops {
		d.Client = next()
		if d.Dialled {
			d.Server = next()
		}
		s.Desktops = append(s.Desktops, d)
	}
	return err
}

// discard closes this process's hold on the sockets.
func (s *sourceBody) discard() {
	if s.Session != nil {
		for _, a := range s.Session.Agents {
			if a.Conn != nil {
				_ = a.Conn.Close()
			}
		}
	}
	if s.Relay != nil {
		for _, d := range s.Relay.Desktops {
			for _, conn := range []*net.TCPConn{d.Client, d.Server} {
				if conn != nil {
					_ = conn.Close()
				}
			}
		}
	}
}

// adoptAll gives the sources what was theirs.
func adoptAll(d *daemon, all []*sourceBody) {
	for _, running := range d.openSources() {
		// The predecessor has made sure that the sources are there, and of which type.
		i := slices.IndexFunc(all, func(s *sourceBody) bool { return s.Name == running.name })
		if i < 0 {
			continue
		}
		var err error
		switch s := running.source.(type) {
		case *session.Source:
			err = s.Adopt(all[i].Session)
		case *relay.Source:
			err = s.Adopt(all[i].Relay)
		}
		if err != nil {
			d.log.Warn("connections were taken over with trouble", "source", running.name, "error", err)
		}
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
