package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/callpop/connector/source"
)

// Handed is a source on its way to another process: what is not in its
// configuration.
type Handed struct {
	Server  string `json:"server"`
	Address string `json:"address"`
	// Longest is the longest interval seen between heartbeats.
	Longest time.Duration `json:"longest"`
	Agents  []HandedAgent `json:"-"`
}

// HandedAgent is one agent of it.
type HandedAgent struct {
	source.Handed
	// Registration is what the session registered with.
	Registration []byte `json:"registration,omitempty"`
	// Frame is the state of the decoder, with the half-read frame.
	Frame     []byte    `json:"frame,omitempty"`
	LastHeard time.Time `json:"last_heard"`
	LastBeat  time.Time `json:"last_beat"`
	Skipped   int       `json:"skipped,omitempty"`
	// Held says that there is a session, Conn its socket.
	Held bool         `json:"held,omitempty"`
	Conn *net.TCPConn `json:"-"`
}

// pause has sessions wait between two reads, each with its frames handled and its
// heartbeats answered.
type pause struct {
	// over is closed when they go on.
	over chan struct{}
}

// Pause keeps the source from opening sessions until Unpause; see [source.Fleet.Pause].
func (s *Source) Pause(ctx context.Context) error { return s.fleet.Pause(ctx) }

// Unpause ends Pause and HandOver.
func (s *Source) Unpause() {
	s.goOn()
	s.fleet.Unpause()
}

// goOn ends the wait of the sessions.
func (s *Source) goOn() {
	if p := s.sessions.pausing.Swap(nil); p != nil {
		close(p.over)
	}
}

// HandOver has all sessions wait between two reads, during a Pause, and returns
// their state. From then on nothing is read and no heartbeat is answered: until
// Unpause, with which they go on as if nothing had been, or Part. On an error they
// wait all the same.
func (s *Source) HandOver(ctx context.Context) (*Handed, error) {
	p := &pause{over: make(chan struct{})}
	s.sessions.pausing.Store(p)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		handed, waiting := s.handOver(p)
		if waiting == "" {
			return handed, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("source %s: %s does not pause: %w", s.config.Name, waiting, context.Cause(ctx))
		}
	}
}

// handOver gives the state of all, or says who does not wait yet.
func (s *Source) handOver(p *pause) (handed *Handed, waiting string) {
	s.sessions.interrupt(p)
	all, quiet := s.fleet.HandOver()
	if !quiet {
		return nil, "a session that ends"
	}
	to := s.sessions.target.Load()
	handed = &Handed{
		Server: s.config.Server, Address: to.address, Longest: time.Duration(s.sessions.expiry.longest.Load()),
		Agents: make([]HandedAgent, len(all)),
	}
	for i, h := range all {
		a := &handed.Agents[i]
		a.Handed = h
		r, held := h.Session.(*reader)
		if !held {
			continue
		}
		if r.parked.Load() != p {
			return nil, "the session of agent " + h.Agent
		}
		a.Registration = to.registration.Append(nil, h.Agent, h.Channel)
		a.Frame, a.LastHeard, a.LastBeat, a.Skipped = r.decoder.State(), r.lastHeard, r.lastBeat, r.skipped
		a.Held, a.Conn = true, r.conn
	}
	return handed, ""
}

// Part says that all sessions are another process's: they end here without anybody's
// noticing, and so does Run once it is told to. It follows HandOver.
func (s *Source) Part() {
	s.fleet.Part()
	s.sessions.mu.Lock()
	for r := range s.sessions.live {
		r.parted.Store(true)
	}
	s.sessions.mu.Unlock()
	s.goOn()
}

// Adopt takes what another process handed over, before Run. The connections are the
// source's from then on, whatever it returns: an error is about one agent, who is
// dialled anew.
func (s *Source) Adopt(h *Handed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions.expiry.Saw(h.Longest)
	to := s.sessions.target.Load()
	all := make([]source.Handed, 0, len(h.Agents))
	var errs []error
	for i := range h.Agents {
		a := &h.Agents[i]
		o := s.origins[a.Agent]
		if o == nil || o.Channel != a.Channel || h.Server != s.config.Server || a.Conn != nil && !a.same(h, to) {
			o = &source.Origin{
				Type: s.config.Type, Name: s.config.Name, Server: h.Server,
				Agent: a.Agent, Channel: a.Channel, Decoding: s.decoding,
			}
		}
		a.Origin = o
		if a.Conn != nil {
			r := &reader{
				sessions: s.sessions, origin: o, conn: a.Conn,
				lastHeard: a.LastHeard, lastBeat: a.LastBeat, skipped: a.Skipped,
			}
			// The system forgets these with the file; the user time-out it keeps.
			err := errors.Join(r.decoder.Restore(a.Frame), a.Conn.SetKeepAliveConfig(keepAlive))
			if err != nil {
				errs = append(errs, fmt.Errorf("agent %s: %w", a.Agent, err))
			}
			s.sessions.join(r)
			a.Session = r
		}
		all = append(all, a.Handed)
	}
	s.fleet.Adopt(all)
	return errors.Join(errs...)
}

// same reports whether the session is the one that to would make.
func (a *HandedAgent) same(h *Handed, to *target) bool {
	return h.Address == to.address && bytes.Equal(a.Registration, to.registration.Append(nil, a.Agent, a.Channel))
}

// interrupt has the sessions that do not wait in p look for it.
func (s *sessions) interrupt(p *pause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.live {
		if r.parked.Load() != p && !r.leaving.Load() {
			r.interrupted.Store(true)
			_ = r.conn.SetReadDeadline(longAgo) // fails for one that has ended
		}
	}
}

// paused reports whether a read ended with err because sessions are to wait, or were
// to a moment ago; it returns when they may go on.
func (r *reader) paused(err error) bool {
	if r.leaving.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || !r.interrupted.Load() {
		return false
	}
	if p := r.pausing.Load(); p != nil {
		r.parked.Store(p)
		<-p.over
		r.parked.Store(nil)
		if r.parted.Load() {
			return false
		}
	}
	r.interrupted.Store(false)
	_ = r.conn.SetDeadline(time.Time{}) // one that has expired meanwhile is found again
	if r.leaving.Load() {
		_ = r.conn.SetReadDeadline(time.Now().Add(leaveTime))
	}
	return true
}
