package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/session"
)

// changesOf describes a plan and what it does to sessions. old and next are the
// rosters before and after it, by source.
func changesOf(from *config.Config, p *config.Plan, old, next map[string]source.Roster) control.Changes {
	changes := control.Changes{Keys: []control.Change{}, Sessions: []control.Sessions{}, Pending: []string{}}
	for _, c := range p.Changes {
		changes.Keys = append(changes.Keys, control.Change{Key: c.Key, Old: c.Old, New: c.New, Effect: string(c.Effect), Detail: c.Detail})
	}
	for _, c := range p.Pending() {
		changes.Pending = append(changes.Pending, c.Key)
	}
	before, after := sessionsOf(from), sessionsOf(p.Next)
	named := func(all []*session.Config, name string) *session.Config {
		if i := slices.IndexFunc(all, func(s *session.Config) bool { return s.Name == name }); i >= 0 {
			return all[i]
		}
		return nil
	}
	for _, s := range after {
		if c, concerned := sessionChanges(named(before, s.Name), s, old[s.Name], next[s.Name]); concerned {
			changes.Sessions = append(changes.Sessions, c)
		}
	}
	for _, s := range before {
		if named(after, s.Name) == nil {
			if c, concerned := sessionChanges(s, nil, old[s.Name], nil); concerned {
				changes.Sessions = append(changes.Sessions, c)
			}
		}
	}
	return changes
}

// sessionChanges compares one source's sessions; from is nil for a source that
// comes, to for one that goes. concerned is false where nothing is to be said.
func sessionChanges(from, to *session.Config, old, next source.Roster) (c control.Sessions, concerned bool) {
	s := to
	if s == nil {
		s = from
	}
	channels := make(map[string]string, len(old))
	for _, a := range old {
		channels[a.ID] = a.Channel
	}
	var closed, opened, reopened source.Roster
	for _, a := range next {
		channel, had := channels[a.ID]
		delete(channels, a.ID)
		switch {
		case !had:
			opened = append(opened, a)
		case channel != a.Channel || !from.SameSession(to, a):
			reopened = append(reopened, a)
		default:
			c.Kept++
		}
	}
	for _, a := range old {
		if _, left := channels[a.ID]; left {
			closed = append(closed, a)
		}
	}
	c.Source, c.Server = s.Name, s.Server
	c.Closed, c.Opened, c.Reopened = agentsOf(closed), agentsOf(opened), agentsOf(reopened)
	return c, len(closed)+len(opened)+len(reopened) > 0
}

// agentsOf names agents for people.
func agentsOf(r source.Roster) control.Agents {
	return control.Agents{Count: len(r), Agents: r.Ranges()}
}

// planText is a plan for people, one fact on each line.
func planText(c control.Changes) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, s := range c.Sessions {
		for _, of := range []struct {
			what string
			a    control.Agents
		}{{"closes", s.Closed}, {"reopens", s.Reopened}, {"opens", s.Opened}} {
			if of.a.Count > 0 {
				line("%-10s %s: %s: %s", of.what, s.Source, plural(of.a.Count, "session"), strings.Join(of.a.Agents, ", "))
			}
		}
		if s.Kept > 0 {
			line("%-10s %s: %s", "keeps", s.Source, plural(s.Kept, "session"))
		}
	}
	for _, k := range c.Keys {
		line("%-10s %s", k.Effect, keyText(k))
	}
	if b.Len() == 0 {
		return "nothing changes\n"
	}
	if len(c.Sessions) == 0 {
		return "no session is closed or opened\n" + b.String()
	}
	return b.String()
}

func keyText(k control.Change) string {
	text := config.Change{Key: k.Key, Old: k.Old, New: k.New, Detail: k.Detail}.String()
	if k.Effect == string(config.Restart) {
		text += " (stays as it is until then)"
	}
	return printable(text)
}

// summary is a plan in one sentence, for logs.
func summary(c control.Changes) string {
	closed, opened, reopened := 0, 0, 0
	for _, s := range c.Sessions {
		closed, opened, reopened = closed+s.Closed.Count, opened+s.Opened.Count, reopened+s.Reopened.Count
	}
	var keys []string
	for _, k := range c.Keys {
		if k.Effect != string(config.Restart) {
			keys = append(keys, k.Key)
		}
	}
	parts := []string{fmt.Sprintf("sessions closed %d, opened %d, reopened %d", closed, opened, reopened)}
	if len(keys) > 0 {
		parts = append(parts, "in force: "+strings.Join(keys, ", "))
	}
	if len(c.Pending) > 0 {
		parts = append(parts, "needs a restart: "+strings.Join(c.Pending, ", "))
	}
	return strings.Join(parts, "; ")
}
