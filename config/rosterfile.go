package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/session"
)

// rosterFiles reads the files of agents.
func (d *decoder) rosterFiles(c *Config) {
	for i := range c.Sources {
		s, ok := c.Sources[i].Config.(*session.Config)
		if !ok || s.AgentsFile == "" {
			continue
		}
		p := (*path)(nil).at("sources").entry(i).at("agents_file")
		if d.mistakes.within(p) {
			continue
		}
		roster, err := source.ReadRosterFile(s.AgentsFile)
		if err != nil {
			// Most say the file's name themselves, in front of the line.
			said := strings.TrimPrefix(oneLine(err.Error()), "open ")
			d.mistakes.add(p, Error{Value: quote(s.AgentsFile), Err: err, message: fmt.Sprintf("%v: %s", p, said)})
			continue
		}
		if d.agents += len(roster); d.agents > maxAgents {
			d.mistakes.wrong(p, fmt.Sprintf("a list of %d agents", len(roster)), fmt.Sprintf("at most %d in all sources", maxAgents))
			return
		}
		s.Read = roster
	}
}

// Files are the files that may change while the connector runs: the one that c was
// read from, and those of agents, each once.
func (c *Config) Files() []string {
	seen := map[string]bool{}
	var files []string
	add := func(name string) {
		if name != "" && !seen[filepath.Clean(name)] {
			seen[filepath.Clean(name)] = true
			files = append(files, name)
		}
	}
	add(c.File)
	for _, s := range c.Sources {
		if held, ok := s.Config.(*session.Config); ok {
			add(held.AgentsFile)
		}
	}
	return files
}

// WithRoster is c with other content of a session source's file of agents. It is
// checked as a whole.
func (c *Config) WithRoster(name string, read source.Roster) (*Config, error) {
	next := *c
	next.Sources = slices.Clone(c.Sources)
	agents := 0
	for i, s := range next.Sources {
		held, ok := s.Config.(*session.Config)
		if !ok {
			continue
		}
		if s.Name == name {
			changed := *held
			changed.Read = read
			held, next.Sources[i].Config = &changed, &changed
		}
		agents += len(held.Agents) + len(held.Read)
	}
	if agents > maxAgents {
		return nil, fmt.Errorf("%d agents: expected at most %d in all sources", agents, maxAgents)
	}
	return &next, next.Validate()
}
