package capture

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// span is a piece of a message.
type span struct{ start, end int }

// Bounds of the search: a message that holds the agent or numbers more often is
// looked at in part.
const (
	maxOccurrences = 4
	maxChannels    = 12
	maxGuesses     = 8
	// A channel has few digits; an agent's number has some more.
	maxChannelLen = 7
	maxAgentLen   = 12
)

var (
	number = regexp.MustCompile(`-?[0-9]+`)
	// The names that stand before an agent's number or a channel, as in op=801,
	// <agent>801, "ch":"-1".
	agentName   = regexp.MustCompile(`(?i)(^|[^a-z])(op|oper|operator|opno|agent|agentid|user|userid|uid|login|logon|reg|register|worker|workno|gh|code_?oper|name|seat)[^0-9a-z]{1,4}$`)
	channelName = regexp.MustCompile(`(?i)(^|[^a-z])(ch|chan|channel|chno|line|ext|port|trunk)[^0-9a-z]{1,4}$`)
	channelText = regexp.MustCompile(`^-?[0-9]{1,6}$`)
	agentText   = regexp.MustCompile(`^[0-9A-Za-z_-]{1,32}$`)
)

// occurrences finds text in message, without overlaps.
func occurrences(message []byte, text string) (found []span) {
	for at := 0; len(found) < maxOccurrences; {
		i := bytes.Index(message[at:], []byte(text))
		if i < 0 {
			break
		}
		found = append(found, span{at + i, at + i + len(text)})
		at += i + len(text)
	}
	return found
}

// bounded says whether a piece is no part of a longer number.
func bounded(message []byte, s span) bool {
	return (s.start == 0 || message[s.start-1]-'0' > 9) && (s.end == len(message) || message[s.end]-'0' > 9)
}

// before is what stands right before a piece: as much as a name needs.
func before(message []byte, s span) []byte { return message[max(0, s.start-24):s.start] }

// subsets are all choices of at least one of the occurrences.
func subsets(all []span) (chosen [][]span) {
	for bits := 1; bits < 1<<len(all); bits++ {
		var some []span
		for i, s := range all {
			if bits&(1<<i) != 0 {
				some = append(some, s)
			}
		}
		chosen = append(chosen, some)
	}
	return chosen
}

// channelSpans are the pieces of a message that could be the channel, where the
// agent stands in the given ones. One that touches the agent could not be told from
// it.
func channelSpans(message []byte, agents []span) (found []span) {
	free := func(s span) bool {
		for _, a := range agents {
			if s.start <= a.end && a.start <= s.end {
				return false
			}
		}
		return true
	}
	for _, at := range number.FindAllIndex(message, 2*maxChannels) {
		s := span{at[0], at[1]}
		if s.end-s.start > maxChannelLen {
			continue
		}
		if free(s) {
			found = append(found, s)
		}
		// The dash may as well be what parts two values.
		if message[s.start] == '-' && free(span{s.start + 1, s.end}) {
			found = append(found, span{s.start + 1, s.end})
		}
	}
	return found[:min(len(found), maxChannels)]
}

// cut makes the parts of a message with the agent and the channel in these places.
func cut(message []byte, agents, channels []span) []part {
	type place struct {
		span
		placeholder string
	}
	var places []place
	for _, s := range agents {
		places = append(places, place{s, agentPlaceholder})
	}
	for _, s := range channels {
		places = append(places, place{s, channelPlaceholder})
	}
	slices.SortFunc(places, func(a, b place) int { return a.start - b.start })
	var parts []part
	at := 0
	for _, p := range places {
		if p.start > at {
			parts = append(parts, part{literal: message[at:p.start]})
		}
		parts = append(parts, part{placeholder: p.placeholder})
		at = p.end
	}
	if at < len(message) {
		parts = append(parts, part{literal: message[at:]})
	}
	return parts
}

// candidate is a template that reproduces at least the message it was made of.
type candidate struct {
	parts []part
	text  string
	// named says that a name such as op= stands before the agent, channelNamed the
	// same of the channel.
	named, channelNamed bool
	// loose counts the agents that are a part of a longer number.
	loose int
	// channel is the channel in the message it was made of; empty: none.
	channel string
}

// candidates are the templates that a message could have been made by, for this
// agent. channels are the operator's hints.
func candidates(message []byte, agent string, channels []string) (all []candidate) {
	for _, agents := range subsets(occurrences(message, agent)) {
		base := candidate{}
		for _, a := range agents {
			base.named = base.named || agentName.Match(before(message, a))
			if !bounded(message, a) {
				base.loose++
			}
		}
		add := func(c candidate, channel []span) {
			c.parts = cut(message, agents, channel)
			c.text = text(c.parts)
			if len(channel) > 0 {
				c.channel = string(message[channel[0].start:channel[0].end])
				c.channelNamed = channelName.Match(before(message, channel[0]))
			}
			all = append(all, c)
		}
		add(base, nil)
		spans := channelSpans(message, agents)
		for _, s := range spans {
			add(base, []span{s})
		}
		for _, hint := range channels {
			same := slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return string(message[s.start:s.end]) != hint })
			if len(same) > 1 {
				add(base, same)
			}
		}
	}
	return all
}

// guesses are the numbers in a message that could be an agent's, where nothing says
// which agent it is.
func guesses(message []byte) (agents []string) {
	for _, at := range number.FindAllIndex(message, -1) {
		text := strings.TrimPrefix(string(message[at[0]:at[1]]), "-")
		if len(text) >= 2 && len(text) <= maxAgentLen && !slices.Contains(agents, text) {
			agents = append(agents, text)
		}
	}
	return agents[:min(len(agents), maxGuesses)]
}
