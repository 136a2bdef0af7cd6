package roster

import (
	"errors"
	"fmt"
	"slices"

	"github.com/callpop/connector/source"
)

// Edit is what was set of one source's roster. Its zero value changes nothing.
type Edit struct {
	// Replaced means that Agents are all of the roster, whatever is configured.
	Replaced bool `json:"replaced,omitempty"`
	// Agents are added to the configured ones, or stand in their place with another
	// channel.
	Agents source.Roster `json:"agents,omitempty"`
	// Removed are configured agents that do not count.
	Removed []string `json:"removed,omitempty"`
}

// Apply gives the roster of what is configured and e.
func (e Edit) Apply(configured source.Roster) source.Roster {
	if e.Replaced {
		return e.Agents
	}
	all := configured.With(e.Agents)
	if len(e.Removed) == 0 {
		return all
	}
	gone := make(map[string]bool, len(e.Removed))
	for _, id := range e.Removed {
		gone[id] = true
	}
	left := make(source.Roster, 0, len(all))
	for _, a := range all {
		if !gone[a.ID] {
			left = append(left, a)
		}
	}
	return left
}

// isZero reports that e changes nothing.
func (e Edit) isZero() bool { return !e.Replaced && len(e.Agents) == 0 && len(e.Removed) == 0 }

// Put gives e with an agent, whose entry a stands in the place of any other.
func (e Edit) Put(configured source.Roster, a source.Agent) Edit {
	e = e.without(a.ID)
	if !e.Replaced && slices.Contains(configured, a) {
		return e
	}
	e.Agents = append(e.Agents, a)
	return e
}

// Delete gives e without an agent.
func (e Edit) Delete(configured source.Roster, id string) Edit {
	e = e.without(id)
	if !e.Replaced && slices.ContainsFunc(configured, func(a source.Agent) bool { return a.ID == id }) {
		e.Removed = append(e.Removed, id)
	}
	return e
}

// without gives a copy of e that says nothing of an agent.
func (e Edit) without(id string) Edit {
	e.Agents = slices.DeleteFunc(slices.Clone(e.Agents), func(a source.Agent) bool { return a.ID == id })
	e.Removed = slices.DeleteFunc(slices.Clone(e.Removed), func(gone string) bool { return gone == id })
	return e
}

// maxEdited bounds the agents that one Edit adds, and those that it removes.
const maxEdited = 100_000

// check reports what no Edit that was made here would have.
func (e Edit) check() error {
	if n := max(len(e.Agents), len(e.Removed)); n > maxEdited {
		return fmt.Errorf("%d agents: expected at most %d", n, maxEdited)
	}
	seen := map[string]bool{}
	for _, a := range e.Agents {
		if err := a.Check(); err != nil {
			return err
		}
		if seen[a.ID] {
			return fmt.Errorf("agent %s is there twice", a.ID)
		}
		seen[a.ID] = true
	}
	if e.Replaced && len(e.Removed) > 0 {
		return errors.New("removed agents beside a whole list")
	}
	return nil
}
