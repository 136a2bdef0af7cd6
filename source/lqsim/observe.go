package lqsim

import (
	"cmp"
	"context"
	"slices"
)

// Totals returns the server's counts.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.totals
}

// Sessions returns the sessions that are up, by connection number.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := make([]Session, 0, s.totals.Live)
	for c := range s.sockets {
		if c.agent != nil && c.info.End == "" {
			live = append(live, c.info)
		}
	}
	slices.SortFunc(live, func(a, b Session) int { return cmp.Compare(a.Number, b.Number) })
	return live
}

// Session returns the agent's newest session, which takes its pops; false if it
// has none.
func (s *Server) Session(agent string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.newestLocked(agent); c != nil {
		return c.info, true
	}
	return Session{}, false
}

// Ended returns the last [Options.History] sockets that ended, sessions or not,
// in the order of their end.
func (s *Server) Ended() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Concat(s.ended[s.endedAt:], s.ended[:s.endedAt])
}

// Agent returns an agent's record; false if it was never seen.
func (s *Server) Agent(id string) (Agent, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.agents[id]; a != nil {
		return a.Agent, true
	}
	return Agent{}, false
}

// Agents returns every agent's record, by agent number.
func (s *Server) Agents() []Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Agent, 0, len(s.agents))
	for _, a := range s.agents {
		all = append(all, a.Agent)
	}
	slices.SortFunc(all, func(a, b Agent) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Sent returns every pop sent so far, by sequence; nothing unless
// [Options.Record].
func (s *Server) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// notifyLocked wakes those who wait for a change.
func (s *Server) notifyLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Wait blocks until ok, called with the totals at each change, says so. The error
// is the context's cause.
func (s *Server) Wait(ctx context.Context, ok func(Totals) bool) error {
	return s.wait(ctx, func() bool { return ok(s.totals) })
}

// WaitSessions blocks until at least n sessions are up.
func (s *Server) WaitSessions(ctx context.Context, n int) error {
	return s.Wait(ctx, func(t Totals) bool { return t.Live >= n })
}

// WaitAgent blocks until ok, called with the agent's record at each change, says
// so. An agent not seen yet has an empty record but for its ID.
func (s *Server) WaitAgent(ctx context.Context, agent string, ok func(Agent) bool) error {
	return s.wait(ctx, func() bool {
		if a := s.agents[agent]; a != nil {
			return ok(a.Agent)
		}
		return ok(Agent{ID: agent})
	})
}

// wait blocks until done, called with mu held, says so.
func (s *Server) wait(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		if done() {
			s.mu.Unlock()
			return nil
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}
