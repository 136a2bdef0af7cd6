package frame

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

const (
	// MaxTemplate is the length in bytes of the longest registration template.
	MaxTemplate = 4096
	// MaxValue is the length in bytes of the longest agent or channel that
	// [Registration.Match] reads back.
	MaxValue = 64
)

// Registration is the message that a client sends first, to say which agent it
// is for. The vendor publishes its existence (manual, chapter 7) and what it has
// to carry (chapter 5, LClientStart: agent number and channel), but not its
// bytes: so it is a template from the configuration. The zero value is an empty
// message.
type Registration struct {
	parts []part
}

// part is literal text, or a placeholder where field is not 0.
type part struct {
	literal []byte
	field   field
}

type field uint8

const (
	agentField field = 1 + iota
	channelField
	fieldEnd
)

// ParseRegistration parses a template of literal text, in which the placeholders
// {{.Agent}} and {{.Channel}} stand for the agent's number and channel and the
// escapes \r \n \t \0 \\ and \xHH for bytes (a literal {{ is written \x7b{).
// {{.Agent}} must occur. Errors give the byte position, counted from 1.
func ParseRegistration(template string) (Registration, error) {
	return parseRegistration(template, appendEscaped)
}

// ParseRegistrationHex parses a template of two hex digits for each byte, with
// white space between bytes where it helps, and the same placeholders, which
// stand for their text.
func ParseRegistrationHex(template string) (Registration, error) {
	return parseRegistration(template, appendHex)
}

// A reader appends what the first byte or bytes of template[at:] mean to dst and
// returns the position after them.
type reader func(dst []byte, template string, at int) ([]byte, int, error)

func parseRegistration(template string, read reader) (Registration, error) {
	if len(template) > MaxTemplate {
		return Registration{}, fmt.Errorf("registration template: %d bytes, at most %d are allowed", len(template), MaxTemplate)
	}
	var r Registration
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			r.parts = append(r.parts, part{literal: literal})
			literal = nil
		}
	}
	hasAgent := false
	for at := 0; at < len(template); {
		if !strings.HasPrefix(template[at:], "{{") {
			var err error
			if literal, at, err = read(literal, template, at); err != nil {
				return Registration{}, err
			}
			continue
		}
		f, length, err := parsePlaceholder(template[at:])
		if err != nil {
			return Registration{}, fmt.Errorf("registration template: %w at byte %d", err, at+1)
		}
		flush()
		r.parts = append(r.parts, part{field: f})
		hasAgent = hasAgent || f == agentField
		at += length
	}
	flush()
	if !hasAgent {
		return Registration{}, errors.New("registration template: the placeholder {{.Agent}} is missing, so every session would register alike")
	}
	return r, nil
}

// parsePlaceholder reads the placeholder that s starts with.
func parsePlaceholder(s string) (f field, length int, err error) {
	end := strings.Index(s, "}}")
	if end < 0 {
		return 0, 0, errors.New("placeholder without its closing }}")
	}
	name := strings.TrimSpace(s[2:end])
	switch name {
	case ".Agent":
		f = agentField
	case ".Channel":
		f = channelField
	default:
		return 0, 0, fmt.Errorf("unknown placeholder %q (known: {{.Agent}}, {{.Channel}})", name)
	}
	return f, end + 2, nil
}

func appendEscaped(dst []byte, template string, at int) ([]byte, int, error) {
	c := template[at]
	if c != '\\' {
		return append(dst, c), at + 1, nil
	}
	if at+1 == len(template) {
		return nil, 0, fmt.Errorf(`registration template: lone \ at byte %d (write \\ for one)`, at+1)
	}
	switch e := template[at+1]; e {
	case 'r':
		return append(dst, '\r'), at + 2, nil
	case 'n':
		return append(dst, '\n'), at + 2, nil
	case 't':
		return append(dst, '\t'), at + 2, nil
	case '0':
		return append(dst, 0), at + 2, nil
	case '\\':
		return append(dst, '\\'), at + 2, nil
	case 'x':
		if b, ok := hexByte(template, at+2); ok {
			return append(dst, b), at + 4, nil
		}
		return nil, 0, fmt.Errorf(`registration template: \x without two hex digits at byte %d`, at+1)
	default:
		return nil, 0, fmt.Errorf(`registration template: unknown escape %q at byte %d (known: \r \n \t \0 \\ \xHH)`, template[at:at+2], at+1)
	}
}

func appendHex(dst []byte, template string, at int) ([]byte, int, error) {
	switch template[at] {
	case ' ', '\t', '\r', '\n':
		return dst, at + 1, nil
	}
	b, ok := hexByte(template, at)
	if !ok {
		return nil, 0, fmt.Errorf("registration template: no pair of hex digits at byte %d", at+1)
	}
	return append(dst, b), at + 2, nil
}

// hexByte reads two hex digits at s[at:].
func hexByte(s string, at int) (byte, bool) {
	if len(s) < at+2 {
		return 0, false
	}
	high, low := hexDigit(s[at]), hexDigit(s[at+1])
	return high<<4 | low, high < 16 && low < 16
}

// hexDigit returns the value of c, or 16 if c is no hex digit.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// Append appends the message for an agent and its channel and returns the
// extended slice. The values go out as they are.
func (r Registration) Append(dst []byte, agent, channel string) []byte {
	for _, p := range r.parts {
		switch p.field {
		case agentField:
			dst = append(dst, agent...)
		case channelField:
			dst = append(dst, channel...)
		default:
			dst = append(dst, p.literal...)
		}
	}
	return dst
}

// Match reads agent and channel back from the start of a received message, for a
// server's side. ok means that the first n bytes are a message; more means that
// a longer input may be one, or a longer one. Both are true where the template
// ends with a placeholder: nothing on the wire then says where the value ends, so
// the caller takes what came once nothing more comes.
//
// A value reaches to the first place where the rest of the template fits. An
// agent has 1 to [MaxValue] bytes, a channel may be empty, and a placeholder that
// occurs again stands for the same value. Two different placeholders that touch
// cannot be told apart: such a template renders but never matches.
func (r Registration) Match(received []byte) (agent, channel string, n int, ok, more bool) {
	for i := 1; i < len(r.parts); i++ {
		if a, b := r.parts[i-1].field, r.parts[i].field; a != 0 && b != 0 && a != b {
			return "", "", 0, false, false
		}
	}
	m := matcher{received: received}
	n, ok = m.match(r.parts, 0)
	if !ok {
		return "", "", 0, false, m.more
	}
	// What ran out of input before the match was found says nothing: every value
	// ends where it first can.
	return string(m.value[agentField]), string(m.value[channelField]), n, true, m.open
}

// matcher tries every way in which the values could end; with two values of at
// most MaxValue bytes there are few.
type matcher struct {
	received []byte
	value    [fieldEnd][]byte
	bound    [fieldEnd]bool
	more     bool // some attempt ran out of input
	open     bool // the match ends with a value that more input would lengthen
}

func (m *matcher) match(parts []part, at int) (end int, ok bool) {
	rest := m.received[at:]
	if len(parts) == 0 {
		return at, true
	}
	p := parts[0]
	literal := p.literal
	if p.field != 0 {
		if !m.bound[p.field] {
			return m.bind(p.field, parts[1:], at)
		}
		literal = m.value[p.field]
	}
	if !bytes.HasPrefix(rest, literal) {
		m.more = m.more || bytes.HasPrefix(literal, rest)
		return 0, false
	}
	return m.match(parts[1:], at+len(literal))
}

// bind tries every value for f, the shortest first.
func (m *matcher) bind(f field, parts []part, at int) (end int, ok bool) {
	shortest := 0
	if f == agentField {
		shortest = 1
	}
	longest := min(MaxValue, len(m.received)-at)
	m.bound[f] = true
	if len(parts) == 0 && longest >= shortest {
		m.value[f] = m.received[at : at+longest]
		m.open = longest < MaxValue
		return at + longest, true
	}
	for n := shortest; n <= longest; n++ {
		m.value[f] = m.received[at : at+n]
		if end, ok = m.match(parts, at+n); ok {
			return end, true
		}
	}
	m.bound[f] = false
	m.more = m.more || longest < MaxValue
	return 0, false
}
