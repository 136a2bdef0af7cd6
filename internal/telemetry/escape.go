package telemetry

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxText bounds one message or value, in bytes: a pop has at most 255, an error
// that quotes a broker a few hundred.
const maxText = 4096

// shorten cuts s to maxText bytes, between characters, and says how much is gone.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d more bytes)", s[:end], len(s)-end)
}

// plain reports whether r stands for itself in a log: it is printed, and is
// neither a control character (of C0, DEL, C1) nor one that turns the direction
// of the text around it.
func plain(r rune) bool { return unicode.IsPrint(r) }

// escape writes everything in s that is not plain as a Go escape.
func escape(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if broken(r, size) || !plain(r) {
			quoted := strconv.Quote(s[i : i+size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func broken(r rune, size int) bool { return r == utf8.RuneError && size == 1 }

func isPlain(s string) bool {
	for i, r := range s {
		if !plain(r) {
			return false
		}
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); broken(r, size) {
				return false
			}
		}
	}
	return true
}

// needsQuotes reports whether s, as a value of key=value text, must be quoted.
func needsQuotes(s string) bool {
	return s == "" || strings.ContainsAny(s, ` ="\`) || !isPlain(s)
}

// cleanKey keeps a key to what a name is made of.
func cleanKey(key string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./", r) {
			return r
		}
		return '_'
	}, key)
}

// jsonWriter escapes what encoding JSON leaves as it is though a terminal may act
// on it: DEL, the C1 controls, and what turns the direction of text. Outside
// strings JSON has none of these, and within them the escape means the same.
type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(line []byte) (int, error) {
	body, end := strings.CutSuffix(string(line), "\n")
	if isPlain(body) {
		return j.w.Write(line)
	}
	escaped := make([]byte, 0, len(line)+64)
	for _, r := range body {
		switch {
		case plain(r):
			escaped = utf8.AppendRune(escaped, r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	if end {
		escaped = append(escaped, '\n')
	}
	if _, err := j.w.Write(escaped); err != nil {
		return 0, err
	}
	return len(line), nil
}
