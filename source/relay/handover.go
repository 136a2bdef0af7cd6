package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

// Handed is a source on its way to another process: what is not in its
// configuration.
type Handed struct {
	// Longest is the longest interval seen between heartbeats.
	Longest time.Duration `json:"longest"`
	// Forgetful says that agents were forgotten, for want of room.
	Forgetful bool                   `json:"forgetful,omitempty"`
	Agents    map[string]HandedAgent `json:"agents"`
	Desktops  []HandedDesktop        `json:"-"`
}

// HandedAgent is what is known of an agent.
type HandedAgent struct {
	Live      int                 `json:"live"`
	State     schema.SessionState `json:"state"`
	LastHeard time.Time           `json:"last_heard"`
}

// HandedDesktop is one desktop.
type HandedDesktop struct {
	Address netip.Addr `json:"address"`
	// ToServer and ToClient were read, and are still to be passed on.
	ToServer []byte `json:"to_server,omitempty"`
	ToClient []byte `json:"to_client,omitempty"`
	// Named says that it is known whose connection it is: Agent's.
	Named   bool      `json:"named,omitempty"`
	Agent   string    `json:"agent,omitempty"`
	Channel string    `json:"channel,omitempty"`
	Said    []byte    `json:"said,omitempty"`
	Spoke   time.Time `json:"spoke"`
	Looks   int       `json:"looks,omitempty"`
	// Frame is the state of the decoder, with the half-read frame.
	Frame   []byte      `json:"frame,omitempty"`
	Opened  time.Time   `json:"opened"`
	Heard   time.Time   `json:"heard"`
	Risen   time.Time   `json:"risen"`
	Beat    time.Time   `json:"beat"`
	Beats   int         `json:"beats,omitempty"`
	Up      bool        `json:"up,omitempty"`
	Silent  bool        `json:"silent,omitempty"`
	Over    bool        `json:"over,omitempty"`
	Skipped int         `json:"skipped,omitempty"`
	Lost    *HandedLoss `json:"lost,omitempty"`
	// Dialled says that there is a connection to the server.
	Dialled bool         `json:"dialled,omitempty"`
	Client  *net.TCPConn `json:"-"`
	Server  *net.TCPConn `json:"-"`
}

// HandedLoss is what the tap did not see.
type HandedLoss struct {
	Bytes int       `json:"bytes"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
}

// HandOver has all desktops wait, during a Pause, and returns their state, with what
// the tap had taken handed to the intake. From then on nothing is read and nothing
// written, until Unpause or Part. On an error they wait all the same.
func (s *Source) HandOver(ctx context.Context) (*Handed, error) {
	p := &pause{over: make(chan struct{})}
	s.pausing.Store(p)
	var desktops []*desktop
	err := poll(ctx, func() error {
		s.interrupt(p)
		var err error
		desktops, err = s.waiting(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	handed := make(chan *Handed, 1)
	select {
	case s.tap.asks <- func() { handed <- s.tap.handOver(desktops) }: // with an empty queue: nothing fills it
		return <-handed, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("source %s: the tap does not come to an end: %w", s.config.Name, context.Cause(ctx))
	}
}

// waiting gives all desktops, or says that one does not wait yet.
func (s *Source) waiting(p *pause) (all []*desktop, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.desktops {
		if _, later := s.dialled.waiting[d]; later {
			all = append(all, d)
			continue
		}
		d.mu.Lock()
		dialled, closed := d.server != nil, d.closed
		d.mu.Unlock()
		over := 0
		for i := range d.ways {
			switch w := &d.ways[i]; {
			case w.over.Load():
				over++
			case w.parked.Load() != p:
				dialled = false
			}
		}
		if !dialled || closed || over == len(d.ways) {
			return nil, fmt.Errorf("source %s: the connection of the desktop at %s does not pause", s.config.Name, d.address)
		}
		all = append(all, d)
	}
	return all, nil
}

// handOver gives the state of desktops that all wait. The tap's goroutine calls it.
func (t *tap) handOver(desktops []*desktop) *Handed {
	h := &Handed{Longest: t.longest, Forgetful: t.agents.forgetful, Agents: map[string]HandedAgent{}}
	for id, a := range t.agents.known {
		h.Agents[id] = HandedAgent{a.live, a.state, a.lastHeard}
	}
	for _, d := range desktops {
		hd := HandedDesktop{
			Address: d.address, ToServer: d.ways[client].rest, ToClient: d.ways[lqServer].rest,
			Said: d.said, Spoke: d.spoke, Looks: d.looks, Frame: d.decoder.State(),
			Opened: d.opened, Heard: d.heard, Risen: d.risen, Beat: d.beat, Beats: d.beats,
			Up: d.up, Silent: d.silent, Over: d.over, Skipped: d.skipped,
			Dialled: d.server != nil, Client: d.client, Server: d.server,
		}
		t.mu.Lock()
		l := d.lost.merge(d.unseen)
		t.mu.Unlock()
		if l != nil {
			hd.Lost = &HandedLoss{l.bytes, l.from, l.to}
		}
		if d.origin != nil {
			hd.Named, hd.Agent, hd.Channel = true, d.origin.Agent, d.origin.Channel
		}
		h.Desktops = append(h.Desktops, hd)
	}
	return h
}

// Adopt takes what another process handed over, before Run. The connections are the
// source's from then on, whatever it returns: an error is about one desktop.
func (s *Source) Adopt(h *Handed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tap
	t.longest, t.agents.forgetful = h.Longest, h.Forgetful
	for id, a := range h.Agents {
		t.agents.known[id] = &agentState{a.Live, a.State, a.LastHeard}
		if a.Live > 0 {
			t.agents.absences.End(t.agents.source, id)
		} else if !a.LastHeard.IsZero() {
			t.agents.absences.Begin(t.agents.source, id, a.LastHeard)
		}
	}
	var errs []error
	for i := range h.Desktops {
		hd := &h.Desktops[i]
		d := &desktop{source: s, address: hd.Address, client: hd.Client, server: hd.Server}
		d.ways[client].rest, d.ways[lqServer].rest = hd.ToServer, hd.ToClient
		d.said, d.spoke, d.looks = hd.Said, hd.Spoke, hd.Looks
		d.opened, d.heard, d.risen, d.beat, d.beats = hd.Opened, hd.Heard, hd.Risen, hd.Beat, hd.Beats
		d.up, d.silent, d.over, d.skipped = hd.Up, hd.Silent, hd.Over, hd.Skipped
		err := d.decoder.Restore(hd.Frame)
		for _, conn := range []*net.TCPConn{hd.Client, hd.Server} {
			if conn != nil { // the system forgets this with the file
				err = errors.Join(err, conn.SetKeepAliveConfig(keepAlive))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the desktop at %s: %w", hd.Address, err))
		}
		if hd.Lost != nil {
			d.resync(&loss{hd.Lost.Bytes, hd.Lost.From, hd.Lost.To})
		}
		if hd.Named {
			of := t.o.origin
			d.origin = &source.Origin{
				Type: of.Type, Name: of.Name, Server: of.Server, Decoding: of.Decoding, Agent: hd.Agent, Channel: hd.Channel,
			}
			d.named.Store(true)
		}
		if hd.Dialled && !hd.Over {
			t.live[d] = struct{}{}
		}
		if hd.Up {
			t.up.Add(1)
		}
		s.door.take(hd.Address)
		s.metrics.client(1)
		s.desktops[d] = struct{}{}
		s.adopted = append(s.adopted, d)
	}
	return errors.Join(errs...)
}
