package capture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// summary writes what a transcript tells, and the configuration to paste.
func (e *explainer) summary(s *Summary) {
	e.printf("Recorded %s of %s: %s", s.Started.UTC().Format("2006-01-02 15:04 UTC"), escaped([]byte(s.Upstream)), plural(s.Connections, "connection"))
	if s.Refused > 0 {
		e.printf(", %d of which did not reach the server", s.Refused)
	}
	e.printf(".\n")
	for _, note := range []struct {
		on   bool
		text string
	}{
		{s.Masked, "Customers' numbers are masked in it."},
		{s.Cut, "Its last line is cut off: the recorder was killed."},
		{s.Full, "It reached its limit: what came later was passed on, but is not in it."},
		{s.LostBytes > 0, fmt.Sprintf("%s were passed on, but not recorded: frames near them may be wrong.", plural(s.LostBytes, "byte"))},
	} {
		if note.on {
			e.printf("%s\n", note.text)
		}
	}
	e.popFindings(&s.Pops)
	e.heartbeatFindings(&s.Heartbeats)
	e.registrationFindings(s)
}

func (e *explainer) popFindings(p *Pops) {
	e.printf("\nPops: %d\n", p.Count)
	if p.Count > 0 {
		for _, format := range slices.Sorted(maps.Keys(p.Formats)) {
			e.printf("  %-12s %d of popVer %s\n", "format", p.Formats[format], format)
		}
		for _, declared := range slices.Sorted(maps.Keys(p.Declared)) {
			e.printf("  %-12s %d say %s, but their fields are those of another version\n", "", p.Declared[declared], escaped([]byte(declared)))
		}
		e.printf("  %-12s %s\n", "characters", characters(p))
	}
	for _, m := range p.Missing {
		e.printf("  %-12s %s is missing in %d: %s\n", "missing", m.Field, m.Without, m.Cost)
	}
	if p.NearLimit > 0 {
		e.printf("  %-12s %d of %d bytes or more, the longest of %d: the wire carries %d, and what is longer is cut off; shorten what the IVR attaches (da)\n",
			"long", p.NearLimit, nearLimit, p.Longest, maxPop)
	} else if p.Count > 0 {
		e.printf("  %-12s the longest has %d of the %d bytes that the wire carries\n", "long", p.Longest, maxPop)
	}
	for _, odd := range []struct {
		n    int
		what string
	}{
		{p.Undecodable, "with neither a number nor a call, which become dead letters"},
		{p.Empty, "of no bytes, which are counted and left out"},
	} {
		if odd.n > 0 {
			e.printf("  %-12s %d %s\n", "odd", odd.n, odd.what)
		}
	}
	if p.UnframedBytes > 0 {
		e.printf("  %-12s %s outside any whole frame, which become dead letters\n", "odd", plural(p.UnframedBytes, "byte"))
	}
	if advice := advise(p); advice != "" {
		e.printf("  %-12s %s\n", "advice", advice)
	}
}

func characters(p *Pops) string {
	switch {
	case p.GB18030 > 0 && p.UTF8 > 0:
		return fmt.Sprintf("%d in GB18030 and %d in UTF-8: charset: auto tells them apart", p.GB18030, p.UTF8)
	case p.GB18030 > 0:
		return fmt.Sprintf("%d in GB18030", p.GB18030)
	case p.UTF8 > 0:
		return fmt.Sprintf("%d in UTF-8", p.UTF8)
	default:
		return "ASCII alone: the character set does not show"
	}
}

// advise says which popVer brings what is missing (manual, chapter 8).
func advise(p *Pops) string {
	missing := func(field string) bool {
		return slices.ContainsFunc(p.Missing, func(m Missing) bool { return m.Field == field })
	}
	switch {
	case missing("op") || missing("sn"):
		return "set popVer to t1v3 in Sys_config.xml to have agent, sn and id in each pop, to t1v5 to have what kind of pop it is, but no id"
	case missing("ty"):
		return "popVer t1v5 says what kind of pop it is, but has no id, by which recordings are found"
	default:
		return ""
	}
}

func (e *explainer) heartbeatFindings(h *Heartbeats) {
	e.printf("\nHeartbeats: %d, %d answered", h.Count, h.Answered)
	if h.Interval > 0 {
		e.printf(", one every %v", h.Interval.Round(10*time.Millisecond))
	}
	if h.Answered > 0 {
		e.printf(", the slowest reply after %v", h.SlowestReply.Round(time.Microsecond))
	}
	e.printf("\n")
}

func (e *explainer) registrationFindings(s *Summary) {
	e.printf("\nRegistration\n")
	if len(s.Templates) == 0 {
		e.printf("  no template was found\n")
	}
	for i := range s.Templates {
		t := &s.Templates[i]
		e.printf("  %s, %s\n", t.Text, t.Certainty)
		for _, why := range t.Why {
			e.printf("    %s\n", why)
		}
		for _, warning := range t.Warnings {
			e.printf("    watch out: %s\n", warning)
		}
	}
	for _, u := range s.Unexplained {
		e.printf("  not explained, connection %s: %s\n", numbers(u.Connections), u.Reason)
	}
	if len(s.Templates) == 0 {
		return
	}
	e.printf("\nTo hold these agents' sessions with the connector, once their own clients do not:\n\n")
	e.printf("%s", Configuration(s))
	if pattern := s.Templates[0].AgentPattern; pattern != "" {
		e.printf("\nTo leave the clients as they are, and listen in between:\n\n%s", relayConfiguration(s, pattern))
	}
}

func numbers(all []int64) string {
	const shown = 8
	var words []string
	for _, n := range all[:min(len(all), shown)] {
		words = append(words, fmt.Sprint(n))
	}
	if len(all) > shown {
		words = append(words, "…")
	}
	return strings.Join(words, ", ")
}

// Configuration returns the session sources of a summary's templates as a part of a
// configuration file; empty where there is no template.
func Configuration(s *Summary) string {
	if len(s.Templates) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("sources:\n")
	for i := range s.Templates {
		t := &s.Templates[i]
		name := "hq"
		if i > 0 {
			name = fmt.Sprintf("hq-%d", i+1)
		}
		fmt.Fprintf(&b, "  - name: %s\n    type: session\n", name)
		if i > 0 {
			b.WriteString("    server: hq\n    allow_overlap: true # the same server, other agents\n")
		}
		fmt.Fprintf(&b, "    address: %s\n    agents: [%s]\n", yamlQuoted(s.Upstream), roster(t))
		if t.Binary {
			fmt.Fprintf(&b, "    registration_hex: %s\n", yamlQuoted(t.Hex))
		} else {
			fmt.Fprintf(&b, "    registration: %s\n", yamlQuoted(t.Text))
		}
		writeCharset(&b, s)
	}
	return b.String()
}

func relayConfiguration(s *Summary, pattern string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sources:\n  - name: hq\n    type: relay\n    listen: 0.0.0.0:7628\n    address: %s\n    agent_pattern: %s\n",
		yamlQuoted(s.Upstream), yamlQuoted(pattern))
	writeCharset(&b, s)
	return b.String()
}

func writeCharset(b *strings.Builder, s *Summary) {
	if s.Pops.GB18030 > 0 && s.Pops.UTF8 == 0 {
		b.WriteString("    charset: gb18030\n")
	}
}

// roster lists the agents as a configuration has them. The channel stays out where
// the server is to find it.
func roster(t *Template) string {
	var entries []string
	seen := map[string]bool{}
	for _, s := range t.Seats {
		if seen[s.Agent] {
			continue // once with each channel: the first one will do
		}
		seen[s.Agent] = true
		if s.Channel == "" || s.Channel == "-1" {
			entries = append(entries, yamlDouble(s.Agent))
		} else {
			entries = append(entries, fmt.Sprintf("{id: %s, channel: %s}", yamlDouble(s.Agent), yamlDouble(s.Channel)))
		}
	}
	return strings.Join(entries, ", ")
}

// yamlDouble quotes what is letters and digits, so that 0801 stays text.
func yamlDouble(text string) string { return `"` + text + `"` }
