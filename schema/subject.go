package schema

import (
	"fmt"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// emptyToken stands for the empty name. No other name gives it, since every
// other percent sign has two hex digits after it.
const emptyToken = "%"

// tokenSafe reports whether c stands for itself in a token.
func tokenSafe(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Token returns name as one legal token of a NATS subject, no wildcard. Letters A
// to Z and a to z, digits, hyphen and underscore stand for themselves; every other
// byte becomes a percent sign and two upper-case hex digits; the empty name
// becomes a lone percent sign. No two names give the same token, and [ParseToken]
// gives the name back.
func Token(name string) string {
	if name == "" {
		return emptyToken
	}
	for i := range len(name) {
		if !tokenSafe(name[i]) {
			return string(AppendToken(make([]byte, 0, len(name)+8), name))
		}
	}
	return name
}

// AppendToken appends what [Token] returns.
func AppendToken(dst []byte, name string) []byte {
	if name == "" {
		return append(dst, emptyToken...)
	}
	for i := range len(name) {
		if c := name[i]; tokenSafe(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&0xF])
		}
	}
	return dst
}

// ParseToken returns the name whose token this is. A string that [Token] never
// gives is an error: one with other bytes, a broken or lower-case escape, or an
// escape of a byte that stands for itself.
func ParseToken(token string) (string, error) {
	switch token {
	case "":
		return "", fmt.Errorf("parse subject token: it is empty")
	case emptyToken:
		return "", nil
	}
	var b strings.Builder
	b.Grow(len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		switch {
		case tokenSafe(c):
			b.WriteByte(c)
		case c == '%':
			if len(token)-i < 3 {
				return "", fmt.Errorf("parse subject token: escape cut short at byte %d", i)
			}
			high, low := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
			if high < 0 || low < 0 {
				return "", fmt.Errorf("parse subject token: no upper-case hex digits after the percent sign at byte %d", i)
			}
			escaped := byte(high<<4 | low)
			if tokenSafe(escaped) {
				return "", fmt.Errorf("parse subject token: needless escape at byte %d", i)
			}
			b.WriteByte(escaped)
			i += 2
		default:
			return "", fmt.Errorf("parse subject token: byte %d must be escaped", i)
		}
	}
	return b.String(), nil
}

// Subject returns prefix, the server's token and the agent's token, joined by
// dots, such as callpop.v1.hq.801. An agent that is not known has the token %.
func Subject(prefix, server, agent string) string {
	return string(AppendSubject(make([]byte, 0, len(prefix)+len(server)+len(agent)+8), prefix, server, agent))
}

// AppendSubject appends what [Subject] returns.
func AppendSubject(dst []byte, prefix, server, agent string) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, '.')
	dst = AppendToken(dst, server)
	dst = append(dst, '.')
	return AppendToken(dst, agent)
}

// Subject returns the NATS subject of the event under its type's default prefix:
// see [Event.SubjectUnder].
func (e *Event) Subject() string { return e.SubjectUnder(string(e.Type)) }

// AppendSubject appends what [Event.Subject] returns.
func (e *Event) AppendSubject(dst []byte) []byte { return e.appendSubject(dst, string(e.Type)) }

// SubjectUnder returns the NATS subject of the event under prefix:
// <prefix>.<server>.<agent>, and <prefix>.<server> for a dead letter. Server and
// agent are tokens, see [Token].
func (e *Event) SubjectUnder(prefix string) string {
	return string(e.appendSubject(make([]byte, 0, len(prefix)+len(e.Server)+len(e.Agent)+8), prefix))
}

func (e *Event) appendSubject(dst []byte, prefix string) []byte {
	if e.Type != TypeDeadLetter {
		return AppendSubject(dst, prefix, e.Server, e.Agent)
	}
	dst = append(dst, prefix...)
	dst = append(dst, '.')
	return AppendToken(dst, e.Server)
}
