package capture

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/callpop/connector/source/frame"
)

// Certainty says how far a template is to be trusted.
type Certainty string

// The degrees of certainty.
const (
	// Sure: it reproduces the registrations of two agents at least, whom their pops
	// or the operator named, and nothing speaks against it.
	Sure Certainty = "sure"
	// Likely: it reproduces the registrations of one agent, who was named, or
	// something is to be watched.
	Likely Certainty = "likely"
	// Guess: nothing says which agent registered; what looks like a number is taken
	// for it.
	Guess Certainty = "a guess"
)

// Seat is an agent and its channel, as they stand in a registration; Channel is
// empty where the template has none.
type Seat struct {
	Agent   string `json:"agent"`
	Channel string `json:"channel,omitempty"`
}

// Template is how registrations are made.
type Template struct {
	// Text is for registration, Hex for registration_hex; both mean the same. Binary
	// says that hex is the better one to read.
	Text      string    `json:"registration"`
	Hex       string    `json:"registration_hex"`
	Binary    bool      `json:"binary"`
	Certainty Certainty `json:"certainty"`
	// Why says what the certainty rests on; Warnings what may be wrong with it.
	Why      []string `json:"why"`
	Warnings []string `json:"warnings,omitempty"`
	// Seats are those whose registrations it reproduces, each once, and Connections
	// the connections on which these were seen.
	Seats       []Seat  `json:"seats"`
	Connections []int64 `json:"connections"`
	// AgentPattern finds the agent, and the channel where there is one, for a relay;
	// empty where no simple expression does.
	AgentPattern string `json:"agent_pattern,omitempty"`

	parts        []part
	registration frame.Registration
}

// Hints are what the operator knows: agents and channels that registered.
type Hints struct{ Agents, Channels []string }

// maxTemplates bounds how many different ways of registering are looked for, and
// maxSamples how many different messages.
const (
	maxTemplates = 4
	maxSamples   = 64
	// A file from elsewhere may name agents and hold numbers without end.
	maxNamed = 4
	maxTried = 2000
)

// sample is one message as it was seen, on one connection or more.
type sample struct {
	message []byte
	// agents are those who may have sent it; absent those whom pops name, but whose
	// number is not in it as text.
	agents, absent []string
	connections    []int64
	answered       bool
}

// fit is a message that a template makes for a seat.
type fit struct {
	*sample
	seat Seat
}

// Unexplained is a registration that no template makes.
type Unexplained struct {
	Connections []int64 `json:"connections"`
	Reason      string  `json:"reason"`
}

// Infer finds the templates by which the registrations of a transcript were made,
// the one that explains most of them first, and says which it cannot explain.
func Infer(t *Transcript, hints Hints) ([]Template, []Unexplained) {
	dialogues := make([]*dialogue, len(t.Connections))
	for i, c := range t.Connections {
		dialogues[i] = takeApart(c)
	}
	return infer(dialogues, hints)
}

func infer(dialogues []*dialogue, hints Hints) (templates []Template, unexplained []Unexplained) {
	all := samples(dialogues, hints)
	left := slices.Clone(all)
	for len(left) > 0 && len(templates) < maxTemplates {
		best, ok := bestTemplate(left, hints)
		if !ok {
			break
		}
		var fits []fit
		left = slices.DeleteFunc(left, func(s *sample) bool {
			seat, ok := best.match(s, hints)
			if ok {
				fits = append(fits, fit{s, seat})
			}
			return ok
		})
		finish(&best, fits, all)
		templates = append(templates, best)
	}
	for _, s := range left {
		unexplained = append(unexplained, Unexplained{s.connections, whyNot(s)})
	}
	return templates, unexplained
}

// samples gathers the registrations, each different one once.
func samples(dialogues []*dialogue, hints Hints) (all []*sample) {
	byMessage := map[string]*sample{}
	for _, d := range dialogues {
		if len(d.registration) == 0 {
			continue
		}
		s := byMessage[string(d.registration)]
		if s == nil {
			if len(all) == maxSamples {
				continue
			}
			s = &sample{message: d.registration}
			byMessage[string(d.registration)] = s
			all = append(all, s)
		}
		s.connections = append(s.connections, d.connection.Number)
		s.answered = s.answered || d.answered
		for i, agent := range slices.Concat(d.agents, hints.Agents) {
			switch inText := agent != "" && bytes.Contains(s.message, []byte(agent)); {
			case inText && len(s.agents) < maxNamed && !slices.Contains(s.agents, agent):
				s.agents = append(s.agents, agent)
			case !inText && i < len(d.agents) && len(s.absent) < maxNamed && !slices.Contains(s.absent, agent):
				s.absent = append(s.absent, agent)
			}
		}
	}
	return all
}

// match reads the seat of a message back; ok says that the template made it whole.
func (t *Template) match(s *sample, hints Hints) (Seat, bool) {
	agent, channel, n, ok, _ := t.registration.Match(s.message)
	switch {
	case !ok || n != len(s.message) || !agentText.MatchString(agent):
		return Seat{}, false
	case len(s.agents)+len(s.absent) > 0 && !slices.Contains(s.agents, agent):
		return Seat{}, false
	case t.hasChannel() && !channelText.MatchString(channel) && !slices.Contains(hints.Channels, channel):
		return Seat{}, false
	}
	return Seat{agent, channel}, bytes.Equal(t.registration.Append(nil, agent, channel), s.message)
}

func (t *Template) hasChannel() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.placeholder == channelPlaceholder })
}

// bestTemplate tries every template that one of the messages could have been made
// by on all of them.
func bestTemplate(all []*sample, hints Hints) (best Template, ok bool) {
	tried := map[string]bool{}
	var bestScore score
	for _, s := range all {
		if len(s.message) > frame.MaxTemplate {
			continue
		}
		agents, guessed := s.agents, false
		if len(agents)+len(s.absent) == 0 {
			agents, guessed = guesses(s.message), true
		}
		for _, agent := range agents {
			for _, c := range candidates(s.message, agent, hints.Channels) {
				if tried[c.text] || len(tried) == maxTried {
					continue
				}
				tried[c.text] = true
				t := Template{Text: c.text, parts: c.parts}
				var err error
				if t.registration, err = parse(c.parts); err != nil {
					continue // longer than any template
				}
				got, explains := judge(&t, &c, all, hints, guessed)
				if explains && (!ok || got.better(bestScore)) {
					best, bestScore, ok = t, got, true
				}
			}
		}
	}
	return best, ok
}

// score says how good a template is, what counts most first.
type score [6]int

func (s score) better(than score) bool { return slices.Compare(s[:], than[:]) > 0 }

func judge(t *Template, c *candidate, all []*sample, hints Hints, guessed bool) (got score, explains bool) {
	agents, channels := map[string]bool{}, map[string]bool{}
	reproduced := 0
	for _, s := range all {
		seat, ok := t.match(s, hints)
		if !ok {
			continue
		}
		reproduced++
		agents[seat.Agent], channels[seat.Channel] = true, true
	}
	if reproduced == 0 {
		return score{}, false
	}
	// A number that nobody named and no name stands before is no agent, unless it
	// is the one thing that is another one each time.
	if guessed && !c.named && (len(agents) < 2 || len(agents) < reproduced) && len(guesses(all[0].message)) > 1 {
		return score{}, false
	}
	channel := 0
	switch {
	case c.channel == "":
	case slices.Contains(hints.Channels, c.channel), c.channelNamed:
		channel = 3
	case len(channels) > 1:
		channel = 2
	case c.channel == "-1":
		channel = 1
	default:
		channel = -1
	}
	named := 0
	if c.named {
		named = 1
	}
	return score{reproduced, len(agents), -c.loose, channel, named, -len(t.parts)}, true
}

// finish says whom the template serves, and how sure that is.
func finish(t *Template, fits []fit, all []*sample) {
	t.Hex, t.Binary = hexText(t.parts), isBinary(t.parts)
	agents := map[string]bool{}
	named := true
	for _, f := range fits {
		t.Connections = append(t.Connections, f.connections...)
		named = named && len(f.agents) > 0
		agents[f.seat.Agent] = true
		if !slices.Contains(t.Seats, f.seat) {
			t.Seats = append(t.Seats, f.seat)
		}
	}
	slices.Sort(t.Connections)
	slices.SortFunc(t.Seats, func(a, b Seat) int { return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Channel, b.Channel)) })
	t.Warnings = slices.Concat(warnings(t, fits), differences(t, fits, all))
	t.AgentPattern = agentPattern(t, fits)

	t.Why = append(t.Why, fmt.Sprintf("it makes the registrations of %s, byte for byte: %s",
		plural(len(t.Connections), "connection"), list("agent", slices.Sorted(maps.Keys(agents)))))
	switch {
	case !named:
		t.Certainty = Guess
		t.Why = append(t.Why, "no pop and no hint says which agent it was: "+
			"record until a pop of format t1v3 or later came, or name the agent with --agent")
	case len(agents) > 1 && len(t.Warnings) == 0 && len(fits) == len(all):
		t.Certainty = Sure
		t.Why = append(t.Why, "the agents are those whom the pops on these connections, or you, named")
	default:
		t.Certainty = Likely
		if len(agents) == 1 {
			t.Why = append(t.Why, "it was seen of one agent only: record a second one to be sure")
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// list names a few of many.
func list(what string, names []string) string {
	const shown = 8
	more := ""
	if len(names) > shown {
		names, more = names[:shown], fmt.Sprintf(" and %d more", len(names)-shown)
	}
	if len(names) != 1 {
		what += "s"
	}
	text := what
	for i, name := range names {
		if i > 0 {
			text += ","
		}
		text += " " + escaped([]byte(name))
	}
	return text + more
}
