package main

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/callpop/connector/internal/admin"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/roster"
	"github.com/callpop/connector/source/session"
)

// rosterDesk is the daemon's rosters for the admin API.
type rosterDesk struct{ *daemon }

var _ admin.Desk = rosterDesk{}

// Servers implements [admin.Desk].
func (r rosterDesk) Servers() []admin.Server {
	servers := []admin.Server{}
	for _, s := range r.openSources() {
		status := s.source.Status()
		i := slices.IndexFunc(servers, func(known admin.Server) bool { return known.Name == status.Server })
		if i < 0 {
			i = len(servers)
			servers = append(servers, admin.Server{Name: status.Server})
		}
		of := admin.Source{Name: status.Name, Type: status.Type, Wanted: status.Wanted, Up: status.Up}
		if e := r.desk.store.Edit(status.Name); e.Replaced || len(e.Agents)+len(e.Removed) > 0 {
			of.Edit = &admin.Edit{Replaced: e.Replaced, Added: e.Agents.Ranges(), Removed: append([]string{}, e.Removed...)}
		}
		servers[i].Sources = append(servers[i].Sources, of)
	}
	return servers
}

// Roster implements [admin.Desk].
func (r rosterDesk) Roster(server string) (admin.Roster, error) {
	sources, err := r.sourcesOf(server)
	if err != nil {
		return admin.Roster{}, err
	}
	all := admin.Roster{Server: server, Agents: []admin.Agent{}}
	whole, held := r.desk.whole(r.running.Load()), r.held()
	for _, s := range sources {
		statuses := map[string]source.AgentStatus{}
		if running := held[s.Name]; running != nil {
			for _, status := range running.Fleet().Agents() {
				statuses[status.ID] = status
			}
		}
		for _, a := range whole[s.Name] {
			status, here := statuses[a.ID]
			all.Agents = append(all.Agents, r.view(s, a, status, here))
		}
	}
	slices.SortFunc(all.Agents, func(a, b admin.Agent) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// Agent implements [admin.Desk].
func (r rosterDesk) Agent(server, id string) (admin.Agent, error) {
	sources, err := r.sourcesOf(server)
	if err != nil {
		return admin.Agent{}, err
	}
	whole, held := r.desk.whole(r.running.Load()), r.held()
	for _, s := range sources {
		if a, ok := find(whole[s.Name], id); ok {
			var status source.AgentStatus
			here := false
			if running := held[s.Name]; running != nil {
				status, here = running.Fleet().Agent(id)
			}
			return r.view(s, a, status, here), nil
		}
	}
	return admin.Agent{}, unknownAgent(server, id)
}

func unknownAgent(server, id string) error {
	return admin.Errorf(http.StatusNotFound, "agent %q is not in the roster of server %s", id, server)
}

func find(r source.Roster, id string) (source.Agent, bool) {
	if i := slices.IndexFunc(r, func(a source.Agent) bool { return a.ID == id }); i >= 0 {
		return r[i], true
	}
	return source.Agent{}, false
}

// view is what there is to say of an agent.
func (r rosterDesk) view(s *session.Config, a source.Agent, status source.AgentStatus, here bool) admin.Agent {
	v := admin.Agent{ID: a.ID, Channel: a.Channel, Server: s.Server, Source: s.Name}
	replicas := r.running.Load().Replicas
	if replicas.Count > 1 {
		v.Replica = new(source.Owner(s.Server, a.ID, replicas.Count))
	}
	switch {
	case here:
		v.State, v.Since, v.Cause, v.LastPopAt = string(status.State), status.Since, status.Cause, status.LastPop
	case !replicas.Holds(s.Server, a.ID):
		v.State = admin.Elsewhere
	case !r.desk.drained().IsZero():
		v.State = admin.Drained
	default:
		v.State = admin.Waiting
	}
	return v
}

// sourcesOf are the session sources of a server.
func (r rosterDesk) sourcesOf(server string) (all []*session.Config, err error) {
	names := map[string]bool{}
	for _, s := range sessionsOf(r.running.Load()) {
		if names[s.Server] = true; s.Server == server {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, admin.Errorf(http.StatusNotFound, "server %q has no source of type session", server)
	}
	return all, nil
}

// theOne is the session source that a request means: the one that it names, or
// the one that has the agent, or the only one there is.
func (r rosterDesk) theOne(server, name, id string) (*session.Config, error) {
	sources, err := r.sourcesOf(server)
	if err != nil {
		return nil, err
	}
	var names []string
	whole := r.desk.whole(r.running.Load())
	for _, s := range sources {
		names = append(names, s.Name)
		_, has := find(whole[s.Name], id)
		switch {
		case has && (name == "" || name == s.Name):
			return s, nil
		case has:
			return nil, admin.Errorf(http.StatusConflict, "agent %s is in the roster of source %s: remove it there first", id, s.Name)
		}
	}
	for _, s := range sources {
		if s.Name == name || name == "" && len(sources) == 1 {
			return s, nil
		}
	}
	if name == "" {
		return nil, admin.Errorf(http.StatusBadRequest, "server %s has several sources: expected ?source= with one of %s", server, strings.Join(names, ", "))
	}
	return nil, admin.Errorf(http.StatusNotFound, "server %s has no session source %q: expected one of %s", server, name, strings.Join(names, ", "))
}

// Put implements [admin.Desk].
func (r rosterDesk) Put(server, name, id, channel string) (admin.Agent, bool, error) {
	a := source.Agent{ID: id, Channel: cmp.Or(channel, source.FindChannel)}
	if err := a.Check(); err != nil {
		return admin.Agent{}, false, admin.Errorf(http.StatusBadRequest, "%v", err)
	}
	r.desk.turn.Lock()
	defer r.desk.turn.Unlock()
	s, err := r.theOne(server, name, id)
	if err != nil {
		return admin.Agent{}, false, err
	}
	whole := r.desk.whole(r.running.Load())
	_, was := find(whole[s.Name], id)
	if !was && r.agents(whole) >= maxHeld {
		return admin.Agent{}, false, admin.Errorf(http.StatusConflict, "there are %d agents: no more are taken", maxHeld)
	}
	if _, err := r.edit(s, r.desk.store.Edit(s.Name).Put(s.Configured(), a)); err != nil {
		return admin.Agent{}, false, err
	}
	agent, err := r.Agent(server, id)
	return agent, !was, err
}

// Delete implements [admin.Desk].
func (r rosterDesk) Delete(server, name, id string) error {
	r.desk.turn.Lock()
	defer r.desk.turn.Unlock()
	s, err := r.theOne(server, name, id)
	if err != nil {
		return err
	}
	if _, ok := find(r.desk.whole(r.running.Load())[s.Name], id); !ok {
		return unknownAgent(server, id)
	}
	_, err = r.edit(s, r.desk.store.Edit(s.Name).Delete(s.Configured(), id))
	return err
}

// Replace implements [admin.Desk].
func (r rosterDesk) Replace(server, name string, entries []any) (admin.Changed, error) {
	list, err := source.ParseRoster(entries)
	if err != nil {
		return admin.Changed{}, admin.Errorf(http.StatusBadRequest, "%v", err)
	}
	r.desk.turn.Lock()
	defer r.desk.turn.Unlock()
	s, err := r.theOne(server, name, "")
	if err != nil {
		return admin.Changed{}, err
	}
	whole := r.desk.whole(r.running.Load())
	if r.agents(whole)-len(whole[s.Name])+len(list) > maxHeld {
		return admin.Changed{}, admin.Errorf(http.StatusConflict, "more than %d agents", maxHeld)
	}
	listed := make(map[string]bool, len(list))
	for _, a := range list {
		listed[a.ID] = true
	}
	for _, other := range sessionsOf(r.running.Load()) {
		for _, a := range whole[other.Name] {
			if listed[a.ID] && other.Server == s.Server && other.Name != s.Name {
				return admin.Changed{}, admin.Errorf(http.StatusConflict, "agent %s is in the roster of source %s: remove it there first", a.ID, other.Name)
			}
		}
	}
	return r.edit(s, roster.Edit{Replaced: true, Agents: list})
}

// Restore implements [admin.Desk].
func (r rosterDesk) Restore(server, name string) (admin.Changed, error) {
	r.desk.turn.Lock()
	defer r.desk.turn.Unlock()
	s, err := r.theOne(server, name, "")
	if err != nil {
		return admin.Changed{}, err
	}
	return r.edit(s, roster.Edit{})
}

// maxHeld is the most agents that all rosters may have.
const maxHeld = 100_000

func (r rosterDesk) agents(whole map[string]source.Roster) (n int) {
	for _, of := range whole {
		n += len(of)
	}
	return n
}

// edit stores an edit, then puts it in force. The desk's turn is held.
func (r rosterDesk) edit(s *session.Config, e roster.Edit) (admin.Changed, error) {
	if r.reloading.sources == nil {
		return admin.Changed{}, admin.Errorf(http.StatusServiceUnavailable, "%v", errNotRunning)
	}
	if err := r.desk.store.Set(s.Name, e); err != nil {
		return admin.Changed{}, err
	}
	done := r.applyRosters(r.running.Load(), source.CauseRoster)
	r.log.Info("the roster was edited by HTTP", "source", s.Name, "opened", done.Opened, "closed", done.Closed, "reopened", done.Reopened)
	return admin.Changed{
		Opened: done.Opened, Closed: done.Closed, Reopened: done.Reopened,
		Agents: len(r.desk.whole(r.running.Load())[s.Name]),
	}, nil
}
