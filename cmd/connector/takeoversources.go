package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/callpop/connector/internal/handover"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

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
