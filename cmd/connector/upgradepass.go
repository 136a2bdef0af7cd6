package main

import (
	"context"
	"net"
	"os"
	"syscall"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/handover"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// deliver sends a message and waits until it was received: descriptors that are
// under way count against a limit of the system's.
func (h *handing) deliver(ctx context.Context, kind string, body any, sockets ...syscall.Conn) error {
	if err := h.line.Send(kind, body, sockets...); err != nil {
		return err
	}
	_, err := h.expect(ctx, kindGot, pauseTimeout)
	return err
}

// sendAgents passes the agents of a source on.
func (h *handing) sendAgents(ctx context.Context, s *session.Handed) error {
	if s == nil {
		return nil
	}
	var batch agentsBody
	var sockets []syscall.Conn
	flush := func() error {
		if len(batch.Agents) == 0 {
			return nil
		}
		err := h.deliver(ctx, kindAgents, batch, sockets...)
		batch, sockets = agentsBody{}, nil
		return err
	}
	for _, a := range s.Agents {
		batch.Agents = append(batch.Agents, a)
		if a.Held {
			sockets = append(sockets, a.Conn)
			h.result.Sessions++
		}
		if len(sockets) == handover.MaxFiles || len(batch.Agents) == handoverBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// sendDesktops passes the desktops of a source on, each with one or two sockets.
func (h *handing) sendDesktops(ctx context.Context, s *relay.Handed) error {
	if s == nil {
		return nil
	}
	var batch desktopsBody
	var sockets []syscall.Conn
	flush := func() error {
		if len(batch.Desktops) == 0 {
			return nil
		}
		err := h.deliver(ctx, kindDesktops, batch, sockets...)
		batch, sockets = desktopsBody{}, nil
		return err
	}
	for _, d := range s.Desktops {
		if len(sockets)+2 > handover.MaxFiles {
			if err := flush(); err != nil {
				return err
			}
		}
		batch.Desktops = append(batch.Desktops, d)
		sockets = append(sockets, d.Client)
		if d.Dialled {
			sockets = append(sockets, d.Server)
		}
		h.result.Desktops++
	}
	return flush()
}

// sourcePart is a source's name among the parts that listen.
func sourcePart(name string) string { return "source " + name }

// listenAddress is what a source listens on, as configured.
func listenAddress(c *config.Config, name string) string {
	for _, s := range c.Sources {
		if s.Name != name {
			continue
		}
		switch kind := s.Config.(type) {
		case *relay.Config:
			return kind.Listen
		case *callback.Config:
			return kind.Listen
		}
	}
	return ""
}

// startOf is where a sink without a cursor begins.
func (d *daemon) startOf(name string) sink.Start {
	for _, s := range d.running.Load().Sinks {
		if s.Name == name {
			return s.Start
		}
	}
	return ""
}

func ownProcess() int { return os.Getpid() }

// given is l as a listener, nil for none.
func given(l *net.TCPListener) net.Listener {
	if l == nil {
		return nil
	}
	return l
}

// isHanded reports whether everything is a successor's.
func (d *daemon) isHanded() bool {
	select {
	case <-d.handed:
		return true
	default:
		return false
	}
}

// close ends the line to the successor.
func (h *handing) close() {
	close(h.over)
	_ = h.line.Close() // nothing more goes over it
	<-h.ended
}

// rewrite writes the rosters' file as it is known here.
func (k *desk) rewrite() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.store.SetSplit(k.split)
}
