package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/handover"
	"github.com/callpop/connector/internal/spool"
)

// Bounds of a handover, beside those of the line.
const (
	// helloTimeout is how long a successor may take to say who it is.
	helloTimeout = 10 * time.Second
	// shutTimeout bounds the wait for what is under way to the spool.
	shutTimeout = 10 * time.Second
	// openTimeout is how long a successor may take to open the spool. Heartbeats go
	// on meanwhile, and events wait in memory.
	openTimeout = 2 * time.Minute
	// pauseTimeout is how long nothing may be read. Sessions expire after half a
	// minute, and an agent's client is waited for about as long.
	pauseTimeout = 5 * time.Second
	// reopenTimeout is how long a successor that gave up, or was given up, may keep
	// the spool before it is killed, where it is a child of this process.
	reopenTimeout = 5 * time.Second
	maxReopen     = time.Second
)

// handing is a handover under way.
type handing struct {
	*daemon
	line     *handover.Line
	remote   *handover.Remote
	messages chan *handover.Message
	// over is closed when nobody takes messages any more, ended when none is received.
	over, ended chan struct{}

	hello  helloBody
	result control.Upgraded
	// What was done, to be undone.
	shut, opened, suspended, paused bool
}

// passable is a source whose sockets can be handed over.
type passable interface {
	// Pause has it open nothing until Unpause.
	Pause(ctx context.Context) error
	Unpause()
	// Part says that its sockets are the successor's.
	Part()
}

// passables are the running sources whose sockets can be handed over.
func (d *daemon) passables() (all []passable) {
	for _, s := range d.openSources() {
		if p, ok := s.source.(passable); ok {
			all = append(all, p)
		}
	}
	return all
}

// HandOver implements [control.Daemon]: it passes everything to the successor at the
// other end. In the order of what it does:
//
// The spool changes its owner first, while all sockets are read and all heartbeats
// answered here: what comes waits in memory. When the successor has it open, the
// memory is emptied into it, over the line. Only then are the sockets paused, for as
// long as it takes to pass them on, and nothing waits in memory any more. With the
// successor's word that it has them, all is its own. Until then everything is still
// here, and goes on here where it fails.
func (d *daemon) HandOver(ctx context.Context, conn *net.UnixConn) {
	h := &handing{
		daemon: d, line: handover.NewLine(conn),
		messages: make(chan *handover.Message), over: make(chan struct{}), ended: make(chan struct{}),
	}
	h.remote = handover.NewRemote(h.line)
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	err := errNotRunning
	if d.reloading.sources != nil {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(d.reloading.life, func() { cancel(errNotRunning) })()
		go func() {
			h.receive()
			cancel(errSuccessorGone) // whatever is waited for
		}()
		err = h.handOver(ctx)
	} else {
		close(h.ended)
	}
	if err == nil {
		d.log.Info("everything was handed over: this process ends", "successor", h.hello.Process, "version", h.hello.Version,
			"sessions", h.result.Sessions, "desktops", h.result.Desktops, "paused", h.result.Paused.String())
		d.upgrading.settle(h.hello.Process, h.result, nil) // now: whoever asked is cut off with the process
		d.handedOver(h)
		return
	}
	d.log.Error("the handover was given up: this process goes on", "successor", h.hello.Process, "error", err)
	h.takeBack(err)
	d.upgrading.settle(h.hello.Process, control.Upgraded{}, err)
}

// handedOver has the daemon end. The desk's turn is held.
func (d *daemon) handedOver(h *handing) {
	d.reloading.sources = nil
	d.handing = h
	if err := d.spool.Cede(); err != nil {
		d.log.Warn("ceding the spool", "error", err)
	}
	if d.control != nil {
		d.control.Cede()
	}
	tellSupervisor(d.environ, fmt.Sprintf("MAINPID=%d", h.hello.Process))
	close(d.handed)
}

// receive takes messages from the line until it ends.
func (h *handing) receive() {
	defer close(h.ended)
	defer close(h.messages)
	defer h.remote.Gone()
	for {
		m, err := h.line.Receive()
		if err != nil {
			return
		}
		if m.Kind == handover.KindStored {
			var stored handover.Stored
			if m.Decode(&stored) == nil {
				h.remote.Answer(stored)
			}
			continue
		}
		select {
		case h.messages <- m:
		case <-h.over:
			m.Discard()
		}
	}
}

var errPausedTooLong = fmt.Errorf("the successor has not taken everything over within %v", pauseTimeout)

var errSuccessorGone = errors.New("the successor ended, or closed the line")

// expect waits for a message of a kind.
func (h *handing) expect(ctx context.Context, kind string, within time.Duration) (*handover.Message, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case m, ok := <-h.messages:
		switch {
		case !ok:
			return nil, errSuccessorGone
		case m.Kind == kindFailed:
			var why reasonBody
			_ = m.Decode(&why) // without a reason that is all there is to say
			return nil, fmt.Errorf("the successor gave up: %s", why.Reason)
		case m.Kind != kind:
			return nil, fmt.Errorf("the successor said %q, expected %q", m.Kind, kind)
		}
		return m, nil
	case <-timer.C:
		return nil, fmt.Errorf("the successor did not say %q within %v", kind, within)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// handOver is the handover as far as its last word.
func (h *handing) handOver(ctx context.Context) error {
	m, err := h.expect(ctx, kindHello, helloTimeout)
	if err != nil {
		return err
	}
	if err := m.Decode(&h.hello); err != nil {
		return err
	}
	if err := h.acceptable(); err != nil {
		return err
	}
	h.log.Info("a successor takes over", "successor", h.hello.Process, "version", h.hello.Version)
	if err := h.passSpool(ctx); err != nil {
		return err
	}
	if err := h.passSources(ctx); err != nil {
		return err
	}
	h.result.Process, h.result.Version = h.hello.Process, h.hello.Version
	return nil
}

// acceptable says what is wrong with the successor, or with the moment.
func (h *handing) acceptable() error {
	if h.hello.Protocol != handoverProtocol {
		return fmt.Errorf("the successor, version %s, speaks version %d of the handover, this process %d: restart the connector instead",
			h.hello.Version, h.hello.Protocol, handoverProtocol)
	}
	for _, s := range h.running.Load().Sources {
		if !slices.Contains(h.hello.Sources, helloSource{s.Name, s.Type}) {
			return fmt.Errorf("source %s of type %s is not in the successor's configuration: its sessions would end. Reload that configuration first", s.Name, s.Type)
		}
	}
	if status := h.spool.Status(); status.Phase != spool.Serving {
		return fmt.Errorf("the spool does not serve: %s: %s", status.Phase, status.Detail)
	}
	return nil
}

// sendListeners passes on what is listened on.
func (h *handing) sendListeners() error {
	c := h.config.HTTP // which no reload changes
	for _, l := range []struct {
		part, address string
		socket        *net.TCPListener
	}{
		{"http.health", c.Health, h.health.Socket()},
		{"http.public", c.Public, h.public.Socket()},
		{"http.admin", c.Admin, h.admin.Socket()},
	} {
		if l.socket != nil {
			if err := h.line.Send(kindListener, listenerBody{l.part, l.address}, l.socket); err != nil {
				return err
			}
		}
	}
	for _, s := range h.openSources() {
		listening, ok := s.source.(interface{ Socket() *net.TCPListener })
		if !ok || listening.Socket() == nil {
			continue
		}
		if err := h.line.Send(kindListener, listenerBody{sourcePart(s.name), listenAddress(h.running.Load(), s.name)}, listening.Socket()); err != nil {
			return err
		}
	}
	return nil
}

// takeBack undoes a handover that failed: the sockets first, since agents wait.
func (h *handing) takeBack(why error) {
	if h.paused {
		for _, s := range h.passables() {
			s.Unpause()
		}
	}
	_ = h.line.Send(kindFailed, reasonBody{why.Error()}) // it may be gone
	close(h.over)
	_ = h.line.Close() // which has the successor give up
	<-h.ended
	if h.opened {
		// What was under way to the successor fails now, and is stored again.
		if err := h.outlet.shut(context.Background()); err == nil {
			h.shut = true
		}
	}
	if h.suspended {
		h.reopen()
	}
	if h.shut {
		h.resumeSinks()
		h.outlet.open(h.observer.onEmit(h.spool.Emit))
	}
}
