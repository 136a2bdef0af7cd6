package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

// warnings say what about a template holds for some agents only: a template writes
// values as they are, and knows no lengths and no padding.
func warnings(t *Template, fits []fit) (all []string) {
	first, seat := fits[0].message, fits[0].seat
	at := agentAt(t, seat)
	size := fmt.Sprintf("agents of %s", plural(len(seat.Agent), "digit"))
	if t.hasChannel() {
		size += " and channels of " + plural(len(seat.Channel), "character")
	}
	if where, ok := lengthBefore(first, at); ok {
		all = append(all, fmt.Sprintf("%s is the length of what follows: the template holds for %s only", where, size))
	} else if at > 0 && first[at-1] < ' ' && int(first[at-1]) == len(seat.Agent) {
		all = append(all, fmt.Sprintf("byte %d (0x%02x) is the length of the agent's number: the template holds for %s only", at, first[at-1], size))
	}
	end := at + len(seat.Agent)
	if pad := run(first[end:]); pad >= 2 && (first[end] == ' ' || first[end] == 0) {
		all = append(all, fmt.Sprintf("the agent's number is padded to %d bytes: the template holds for %s only", len(seat.Agent)+pad, size))
	}
	if zeros := len(first[:at]) - len(bytes.TrimRight(first[:at], "0")); zeros >= 2 {
		all = append(all, fmt.Sprintf("the agent's number is padded with zeros to %d digits: the template holds for %s only", zeros+len(seat.Agent), size))
	}
	if len(occurrences(first, seat.Agent)) > 1 && len(t.Seats) == 1 {
		all = append(all, fmt.Sprintf("%s stands in it more than once; a registration of a second agent would show which of them is the agent",
			escaped([]byte(seat.Agent))))
	}
	for _, s := range fits {
		if s.answered {
			all = append(all, fmt.Sprintf("on connection %d the server spoke before the client had sent all of it: "+
				"there may be a step that a template cannot make", s.connections[0]))
			break
		}
	}
	return all
}

// agentAt is where the agent stands first in the message for a seat.
func agentAt(t *Template, seat Seat) (at int) {
	for _, p := range t.parts {
		switch p.placeholder {
		case "":
			at += len(p.literal)
		case agentPlaceholder:
			return at
		default:
			at += len(seat.Channel)
		}
	}
	return at
}

// run is how often the first byte of data is repeated from its start on.
func run(data []byte) (n int) {
	for n < len(data) && data[n] == data[0] {
		n++
	}
	return n
}

// lengthBefore looks for the message's length, or that of its rest, in front of the
// agent: in a byte, in two or four of either order, or in digits.
func lengthBefore(message []byte, agent int) (where string, ok bool) {
	is := func(n uint64, end int) bool { return n == uint64(len(message)) || n == uint64(len(message)-end) }
	for i := 0; i < min(agent, 8); i++ {
		rest := message[i:agent]
		for _, field := range []struct {
			size int
			read func([]byte) uint64
		}{
			{4, func(b []byte) uint64 { return uint64(binary.BigEndian.Uint32(b)) }},
			{4, func(b []byte) uint64 { return uint64(binary.LittleEndian.Uint32(b)) }},
			{2, func(b []byte) uint64 { return uint64(binary.BigEndian.Uint16(b)) }},
			{2, func(b []byte) uint64 { return uint64(binary.LittleEndian.Uint16(b)) }},
		} {
			if len(rest) >= field.size && is(field.read(rest), i+field.size) {
				return fmt.Sprintf("bytes %d to %d (% x)", i+1, i+field.size, rest[:field.size]), true
			}
		}
		if rest[0] < ' ' && rest[0] > 0 && is(uint64(rest[0]), i+1) {
			return fmt.Sprintf("byte %d (0x%02x)", i+1, rest[0]), true
		}
	}
	digits := 0
	for digits < agent && digits < 8 && message[digits]-'0' <= 9 {
		digits++
	}
	for n := 2; n <= digits; n++ {
		if value, err := strconv.ParseUint(string(message[:n]), 10, 32); err == nil && is(value, n) {
			return fmt.Sprintf("%q at the start", message[:n]), true
		}
	}
	return "", false
}

// differences say what is another one in the messages that a template does not
// explain, so that an operator sees why not.
func differences(t *Template, fits []fit, all []*sample) (texts []string) {
	seat := fits[0].seat
	for _, s := range all {
		if slices.ContainsFunc(fits, func(f fit) bool { return f.sample == s }) {
			continue
		}
		// The nearest thing to it: the same message with this one's agent.
		agent := seat.Agent
		if len(s.agents) > 0 {
			agent = s.agents[0]
		}
		nearest := t.registration.Append(nil, agent, seat.Channel)
		at, end, otherEnd := differing(nearest, s.message)
		what := fmt.Sprintf("connection %d registers agent %s with other bytes from byte %d on: %s in the place of %s",
			s.connections[0], escaped([]byte(agent)), at+1, shown(s.message[at:otherEnd]), shown(nearest[at:end]))
		if agent == seat.Agent {
			what += ": the same agent, so something changes with each registration, such as a time or a counter, which a template cannot make"
		}
		texts = append(texts, what)
		if len(texts) == maxTemplates {
			break
		}
	}
	return texts
}

// differing returns where a and b begin to differ, and where in each that ends.
func differing(a, b []byte) (start, endA, endB int) {
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	endA, endB = len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA--
		endB--
	}
	return start, endA, endB
}

// shown is a piece of a message in words: its text, and what it reads in GB18030.
func shown(data []byte) string {
	if len(data) == 0 {
		return "nothing"
	}
	const most = 64
	more := ""
	if len(data) > most {
		data, more = data[:most], "…"
	}
	text := `"` + escaped(data) + more + `"`
	if decoded, ok := chinese(data); ok {
		text += " (" + decoded + ")"
	}
	return text
}

// chinese decodes text in GB18030, if that is what it is.
func chinese(data []byte) (text string, ok bool) {
	if utf8.Valid(data) {
		return "", false
	}
	text, lossy := pop.Text(data, pop.GB18030)
	return escaped([]byte(text)), !lossy
}

// agentPattern writes an expression by which a relay finds the agent, and proves it
// on every message.
func agentPattern(t *Template, fits []fit) string {
	at := slices.IndexFunc(t.parts, func(p part) bool { return p.placeholder == agentPlaceholder })
	agent, channel := `(?P<agent>[0-9]+)`, ""
	for _, s := range t.Seats {
		if len(bytes.Trim([]byte(s.Agent), "0123456789")) > 0 {
			agent = `(?P<agent>[0-9A-Za-z_-]+)`
		}
	}
	if at+2 < len(t.parts) && t.parts[at+2].placeholder == channelPlaceholder {
		if between := t.parts[at+1].literal; printable(between) == len(between) {
			channel = regexp.QuoteMeta(string(between)) + `(?P<channel>-?[0-9]+)`
		}
	}
	var tries []string
	if at == 0 {
		tries = append(tries, `^`+agent+channel, `^`+agent)
	} else if before := t.parts[at-1].literal; before != nil {
		if n := min(printable(before), 16); n > 0 {
			name := regexp.QuoteMeta(string(before[len(before)-n:]))
			tries = append(tries, name+agent+channel, name+agent)
		}
	}
	runes := utf8.RuneCount(fits[0].message[:agentAt(t, fits[0].seat)])
	tries = append(tries, fmt.Sprintf(`(?s)^.{%d}`, runes)+agent)
	for _, try := range tries {
		pattern, err := regexp.Compile(try)
		if err == nil && finds(pattern, fits) {
			return try
		}
	}
	return ""
}

// printable is how many bytes at the end of data are printed ASCII.
func printable(data []byte) (n int) {
	for n < len(data) && data[len(data)-1-n] >= ' ' && data[len(data)-1-n] < 0x7f {
		n++
	}
	return n
}

// finds says whether the pattern finds the seat in every message.
func finds(pattern *regexp.Regexp, fits []fit) bool {
	agent, channel := pattern.SubexpIndex("agent"), pattern.SubexpIndex("channel")
	for _, f := range fits {
		found := pattern.FindSubmatch(f.message)
		if found == nil || string(found[agent]) != f.seat.Agent || channel >= 0 && string(found[channel]) != f.seat.Channel {
			return false
		}
	}
	return true
}

// whyNot says why no template makes a message.
func whyNot(s *sample) string {
	if len(s.message) > frame.MaxTemplate {
		return fmt.Sprintf("it has %d bytes, and a template has at most %d: is this a client of an LQ server?", len(s.message), frame.MaxTemplate)
	}
	if len(s.absent) == 0 {
		return "nothing in it can be told for the agent's number: name the agent with --agent"
	}
	agent := s.absent[0]
	text := fmt.Sprintf("agent %s, whom its pops name, is not in it as text", escaped([]byte(agent)))
	if form, at, ok := otherForm(s.message, agent); ok {
		return fmt.Sprintf("%s, but as %s from byte %d on, which a template cannot write: use a relay source", text, form, at+1)
	}
	return text + ": it may be encrypted, or a log-in name: use a relay source, which needs no template"
}

// otherForm looks for a number in the forms that programs use beside text.
func otherForm(message []byte, agent string) (form string, at int, ok bool) {
	wide := make([]byte, 0, 2*len(agent))
	for i := range len(agent) {
		wide = append(wide, agent[i], 0)
	}
	type encoding struct {
		name  string
		bytes []byte
	}
	forms := []encoding{{"text in UTF-16", wide}}
	if n, err := strconv.ParseUint(agent, 10, 32); err == nil {
		forms = append(forms,
			encoding{"a number of 32 bits, lowest byte first", binary.LittleEndian.AppendUint32(nil, uint32(n))},
			encoding{"a number of 32 bits, highest byte first", binary.BigEndian.AppendUint32(nil, uint32(n))})
		if 0xFF < n && n <= 0xFFFF { // a single byte says nothing
			forms = append(forms,
				encoding{"a number of 16 bits, lowest byte first", binary.LittleEndian.AppendUint16(nil, uint16(n))},
				encoding{"a number of 16 bits, highest byte first", binary.BigEndian.AppendUint16(nil, uint16(n))})
		}
	}
	for _, f := range forms {
		if i := bytes.Index(message, f.bytes); i >= 0 {
			return f.name, i, true
		}
	}
	return "", 0, false
}
