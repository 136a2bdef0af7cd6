package source

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Agent is one entry of a roster.
type Agent struct {
	// ID is the operator number (工号), such as 801.
	ID string `json:"id"`
	// Channel is the channel of the agent's extension, -1 where the server is to
	// find it by the agent's number (manual, chapter 5, LClientStart).
	Channel string `json:"channel"`
}

// FindChannel asks the server to find the agent's channel by itself.
const FindChannel = "-1"

// Limits of a roster: what one process can hold by far, so that a slip of the
// finger such as 1-10000000 is an error and not an outage.
const (
	maxAgents   = 100_000
	maxAgentLen = 32
)

// Roster is the list of agents whose sessions a source holds.
type Roster []Agent

// With is r with the agents of more, whose entries count where both have one.
func (r Roster) With(more Roster) Roster {
	if len(more) == 0 {
		return r
	}
	at := make(map[string]int, len(r))
	all := slices.Clone(r)
	for i, a := range r {
		at[a.ID] = i
	}
	for _, a := range more {
		if i, ok := at[a.ID]; ok {
			all[i] = a
		} else {
			all = append(all, a)
		}
	}
	return all
}

// Runs gives the agents that follow one another by their numbers, such that a range
// can name them, as the first and the last of them; an agent alone is both.
func (r Roster) Runs() iter.Seq2[Agent, Agent] {
	return func(yield func(first, last Agent) bool) {
		for i := 0; i < len(r); {
			end := i + 1
			for end < len(r) && follows(r[end-1], r[end]) {
				end++
			}
			if !yield(r[i], r[end-1]) {
				return
			}
			i = end
		}
	}
}

// Ranges names the agents for people: numbers and ranges.
func (r Roster) Ranges() []string {
	names := []string{}
	for first, last := range r.Runs() {
		if first.ID == last.ID {
			names = append(names, first.ID)
		} else {
			names = append(names, first.ID+"-"+last.ID)
		}
	}
	return names
}

// follows says whether b is the agent after a, such that a range can name both.
func follows(a, b Agent) bool {
	if a.Channel != FindChannel || b.Channel != FindChannel || len(a.ID) != len(b.ID) || !allDigits(a.ID) {
		return false
	}
	n, err := strconv.Atoi(a.ID)
	return err == nil && fmt.Sprintf("%0*d", len(a.ID), n+1) == b.ID
}

// ParseRoster reads the agents key of the configuration: a list of numbers ("801"
// or 801), ranges ("810-829", both ends included, leading zeros kept) and
// mappings ({id: "901", channel: "12"}). The error names the entry that is wrong.
func ParseRoster(entries []any) (Roster, error) {
	b := rosterBuilder{first: map[string]string{}}
	for i, entry := range entries {
		if err := b.add(fmt.Sprintf("entry %d", i+1), entry); err != nil {
			return nil, err
		}
	}
	return b.roster, nil
}

// rosterBuilder puts a roster together from entries, each at a place of which its
// errors speak.
type rosterBuilder struct {
	roster Roster
	first  map[string]string // the place of each agent
}

func (b *rosterBuilder) add(place string, entry any) error {
	agents, err := parseEntry(entry)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	for _, a := range agents {
		if at, ok := b.first[a.ID]; ok {
			return fmt.Errorf("%s: agent %s is in the list already, by %s", place, a.ID, at)
		}
		b.first[a.ID] = place
	}
	if b.roster = append(b.roster, agents...); len(b.roster) > maxAgents {
		return fmt.Errorf("%s: more than %d agents", place, maxAgents)
	}
	return nil
}

const entryForms = `expected an agent such as "801", a range such as "810-829", or {id: "901", channel: "12"}`

func parseEntry(entry any) (Roster, error) {
	switch e := entry.(type) {
	case string:
		return parseRange(strings.TrimSpace(e))
	case int:
		return parseRange(strconv.Itoa(e))
	case map[string]any:
		return parseMapping(e)
	default:
		return nil, fmt.Errorf("%v: %s", entry, entryForms)
	}
}

func parseMapping(entry map[string]any) (Roster, error) {
	a := Agent{Channel: FindChannel}
	for name, value := range entry {
		var text string
		switch v := value.(type) {
		case string:
			text = v
		case int:
			text = strconv.Itoa(v)
		default:
			return nil, fmt.Errorf("%s is %v: expected text", name, value)
		}
		switch name {
		case "id":
			a.ID = text
		case "channel":
			a.Channel = text
		default:
			return nil, fmt.Errorf("unknown key %q: %s", name, entryForms)
		}
	}
	if a.Channel == "" {
		return nil, fmt.Errorf("agent %q: channel is empty: leave it out, or give a channel such as \"12\"", a.ID)
	}
	return Roster{a}, a.Check()
}

func parseRange(text string) (Roster, error) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange || !allDigits(from) || !allDigits(to) {
		a := Agent{ID: text, Channel: FindChannel}
		return Roster{a}, a.Check()
	}
	low, errLow := strconv.Atoi(from)
	high, errHigh := strconv.Atoi(to)
	if errLow != nil || errHigh != nil || low > high {
		return nil, fmt.Errorf("range %q: expected the lower number first, such as \"810-829\"", text)
	}
	if high-low >= maxAgents {
		return nil, fmt.Errorf("range %q: more than %d agents", text, maxAgents)
	}
	roster := make(Roster, 0, high-low+1)
	for n := low; n <= high; n++ {
		roster = append(roster, Agent{ID: fmt.Sprintf("%0*d", len(from), n), Channel: FindChannel})
	}
	return roster, nil
}

// Check returns what is wrong with a.
func (a Agent) Check() error {
	if a.ID == "" {
		return fmt.Errorf("an agent without a number: %s", entryForms)
	}
	if len(a.ID) > maxAgentLen || len(a.Channel) > maxAgentLen {
		return fmt.Errorf("agent %q: longer than %d bytes", a.ID, maxAgentLen)
	}
	for _, s := range []string{a.ID, a.Channel} {
		if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ',' || r == ';' || r == '=' }); i >= 0 {
			return fmt.Errorf("agent %q: %q cannot be part of a number or channel", s, s[i])
		}
	}
	return nil
}
