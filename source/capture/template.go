package capture

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/callpop/connector/source/frame"
)

// part is a part of a template: literal bytes, or a placeholder.
type part struct {
	literal     []byte
	placeholder string // empty for a literal
}

// The placeholders of package frame.
const (
	agentPlaceholder   = "{{.Agent}}"
	channelPlaceholder = "{{.Channel}}"
)

// text writes parts as [frame.ParseRegistration] reads them.
func text(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.placeholder != "" {
			b.WriteString(p.placeholder)
			continue
		}
		writeEscaped(&b, p.literal)
	}
	return b.String()
}

// writeEscaped writes bytes as text, with the escapes of package frame for what is
// not printed.
func writeEscaped(b *strings.Builder, literal []byte) {
	readable := utf8.Valid(literal)
	for i := 0; i < len(literal); {
		r, size := utf8.DecodeRune(literal[i:])
		switch {
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\\':
			b.WriteString(`\\`)
		case r == '{' && bytes.HasPrefix(literal[i:], []byte("{{")):
			b.WriteString(`\x7b`)
		case r == 0:
			b.WriteString(`\0`)
		case r >= utf8.RuneSelf && readable && unicode.IsPrint(r), ' ' <= r && r < 0x7f:
			b.Write(literal[i : i+size])
		default:
			for _, c := range literal[i : i+size] {
				fmt.Fprintf(b, `\x%02x`, c)
			}
		}
		i += size
	}
}

// escaped is bytes as text for people, with line ends and the like to be seen.
func escaped(data []byte) string {
	var b strings.Builder
	writeEscaped(&b, data)
	return b.String()
}

// hexText writes parts as [frame.ParseRegistrationHex] reads them.
func hexText(parts []part) string {
	words := make([]string, 0, len(parts))
	for _, p := range parts {
		if p.placeholder != "" {
			words = append(words, p.placeholder)
		} else {
			words = append(words, fmt.Sprintf("% x", p.literal))
		}
	}
	return strings.Join(words, " ")
}

// isBinary says whether hex digits show parts better than text: three of ten bytes
// are not printed. Text in GBK is not binary by this measure unless there is hardly
// anything else.
func isBinary(parts []part) bool {
	strange, all := 0, 0
	for _, p := range parts {
		for _, c := range p.literal {
			all++
			if c < ' ' && c != '\r' && c != '\n' && c != '\t' || c == 0x7f {
				strange++
			}
		}
	}
	return strange*10 > all*3
}

// parse makes a registration of parts. The error is that of a template too long.
func parse(parts []part) (frame.Registration, error) { return frame.ParseRegistration(text(parts)) }

// yamlQuoted writes text as a value of a configuration file: single quotes, in
// which nothing has a meaning but they themselves, and ${, which would name a
// variable of the environment.
func yamlQuoted(text string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(text, "'", "''"), "${", "$${") + "'"
}
