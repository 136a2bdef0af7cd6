package source

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/callpop/connector/schema"
)

const (
	// silentPops is how many pops the average session of a server gets before one
	// that got none counts as silent. If calls were dealt at random, a session
	// would miss that many by chance once in half a billion times.
	silentPops = 20
	// silentAfter is how long a session is given at the least: a burst of calls
	// proves nothing.
	silentAfter = 15 * time.Minute
	// silenceInterval is how often the sessions are looked at.
	silenceInterval = 30 * time.Second
)

// silence finds sessions that are up and get no pops while their server's other
// sessions do: the server holds the socket and has lost the agent behind it, which
// neither heartbeats nor the broker show.
//
// A server's share is how many pops an average session of it has had so far: each
// pop adds one part in as many as there are sessions up. A session remembers the
// share at its last pop, so that counting is one addition a pop, and finding the
// silent ones one subtraction a session, now and then.
type silence struct {
	mu      sync.Mutex // guards what follows
	servers map[string]*peers
	// sources has the sessions that are up of each source, by agent. An agent's
	// connections through one source are one session: a relay reports them so.
	sources map[string]map[string]listener
}

// peers are the sessions of one server.
type peers struct {
	up     int
	share  float64
	silent int
}

// listener is a session that is up. It is small, and part of its map: there are as
// many as sessions.
type listener struct {
	peers *peers
	// since and share are the time and the server's share when it came up, or at
	// its last pop.
	since  instant
	share  float64
	silent bool
}

func newSilence() *silence {
	return &silence{servers: map[string]*peers{}, sources: map[string]map[string]listener{}}
}

// session notes what state the session of an origin is in from at on.
func (s *silence) session(o *Origin, state schema.SessionState, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, up := s.sources[o.Name][o.Agent]
	switch {
	case state == schema.Connected && !up:
		p := s.servers[o.Server]
		if p == nil {
			p = &peers{}
			s.servers[o.Server] = p
		}
		p.up++
		agents := s.sources[o.Name]
		if agents == nil {
			agents = map[string]listener{}
			s.sources[o.Name] = agents
		}
		agents[o.Agent] = listener{peers: p, since: instantOf(at), share: p.share}
	case state != schema.Connected && up:
		l.peers.up--
		l.speak()
		delete(s.sources[o.Name], o.Agent)
		if len(s.sources[o.Name]) == 0 {
			delete(s.sources, o.Name)
		}
	}
}

// popped notes a pop over an origin's session.
func (s *silence) popped(o *Origin, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, up := s.sources[o.Name][o.Agent]
	if !up {
		return // a callback, or a session that has just ended
	}
	l.peers.share += 1 / float64(l.peers.up)
	l.since, l.share = instantOf(at), l.peers.share
	l.speak()
	s.sources[o.Name][o.Agent] = l
}

// speak ends a session's silence.
func (l *listener) speak() {
	if l.silent {
		l.silent = false
		l.peers.silent--
	}
}

// counts gives the number of silent sessions of each server that has had any
// session.
func (s *silence) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int, len(s.servers))
	for server, p := range s.servers {
		counts[server] = p.silent
	}
	return counts
}

// Silent gives, for each server that has had any session, how many are up and get no
// pops while the others do: twenty pops for the average session, and a quarter of an
// hour.
func (in *Intake) Silent() map[string]int { return in.silence.counts() }

// look finds the sessions that are silent at now, and returns the agents of those
// that were not before, by server's peers.
func (s *silence) look(now time.Time) map[*peers][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[*peers][]string{}
	for _, agents := range s.sources {
		for agent, l := range agents {
			if l.silent || now.Sub(l.since.time()) < silentAfter || l.peers.share-l.share < silentPops {
				continue
			}
			l.silent = true
			l.peers.silent++
			agents[agent] = l
			found[l.peers] = append(found[l.peers], agent)
		}
	}
	return found
}

// maxNamed bounds the agents that one line of the log names.
const maxNamed = 20

// watch looks now and then until ctx is done, and logs what it finds.
func (s *silence) watch(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(silenceInterval)
	defer ticker.Stop()
	before := map[string]int{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.report(s.look(now), before, log)
		}
	}
}

func (s *silence) report(found map[*peers][]string, before map[string]int, log *slog.Logger) {
	s.mu.Lock()
	servers := maps.Clone(s.servers)
	s.mu.Unlock()
	counts := s.counts()
	for _, server := range slices.Sorted(maps.Keys(servers)) {
		if agents := found[servers[server]]; len(agents) > 0 {
			slices.Sort(agents)
			log.Warn("sessions are up but get no pops while others of their server do",
				"server", server, "sessions", counts[server], "agents", strings.Join(agents[:min(len(agents), maxNamed)], " "))
		}
		if before[server] > 0 && counts[server] == 0 {
			log.Info("no session is silent any more", "server", server)
		}
		before[server] = counts[server]
	}
}
