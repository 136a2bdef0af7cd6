package schema

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
	"unicode/utf8"
)

// The encoder below writes what encoding/json writes with SetEscapeHTML(false),
// byte for byte, without reflection and without allocation: it runs once for
// every pop. The types define no MarshalJSON, so that encoding/json stays an
// independent check of it.

const lowerHex = "0123456789abcdef"

// plain is true for the bytes that stand for themselves inside a JSON string:
// ASCII but for control characters, the double quote and the backslash.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// Masks for looking at eight bytes at once.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has a high bit set for each of the eight bytes of w that is not plain.
// It may set further ones, but only above the lowest that it sets rightly: a
// borrow runs upward.
func special(w uint64) uint64 {
	quoteOrControl := (w ^ ones*('"'^0x20)) - ones*0x21 // with the bit flipped, " is 0x20 and below it are the controls
	backslash := (w ^ ones*'\\') - ones
	return (quoteOrControl | backslash | w) & highs
}

// appendString appends s as a JSON string, without its opening quote: that one is
// part of what the caller wrote before it.
//
// Nearly every string is plain, and most are short: they are looked at and copied
// in one pass, in words of eight or four bytes of which the last may overlap the
// one before.
func appendString(dst []byte, s string) []byte {
	n := len(dst)
	if cap(dst)-n <= len(s) {
		dst = slices.Grow(dst, len(s)+1)
	}
	out := dst[n : n+len(s)+1]
	switch {
	case len(s) >= 8:
		if !copyPlain(out, s) {
			return appendEscaped(dst, s)
		}
	case len(s) >= 4:
		first, last := load32(s), load32(s[len(s)-4:])
		if special(uint64(first)|uint64(last)<<32) != 0 {
			return appendEscaped(dst, s)
		}
		binary.LittleEndian.PutUint32(out, first)
		binary.LittleEndian.PutUint32(out[len(s)-4:], last)
	default:
		for i := range len(s) {
			if !plain[s[i]] {
				return appendEscaped(dst, s)
			}
			out[i] = s[i]
		}
	}
	out[len(s)] = '"'
	return dst[:n+len(s)+1]
}

// copyPlain copies s, of eight bytes at least, to out, which is longer, and reports
// whether all of it is plain.
func copyPlain(out []byte, s string) bool {
	last := load64(s[len(s)-8:])
	binary.LittleEndian.PutUint64(out[len(s)-8:], last)
	found := special(last)
	for len(s) > 8 && len(out) > 8 { // the latter always: it spares the compiler's checks
		w := load64(s)
		found |= special(w)
		binary.LittleEndian.PutUint64(out, w)
		s, out = s[8:], out[8:]
	}
	return found == 0
}

// load64 returns the first eight bytes of s, the first one lowest.
func load64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// load32 returns the first four bytes of s, the first one lowest.
func load32(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// appendEscaped appends s and the closing quote, with escapes where they are needed. Bytes that are not
// UTF-8 become U+FFFD each; U+2028 and U+2029 are escaped, since they would end a
// line of JavaScript.
func appendEscaped(dst []byte, s string) []byte {
	start := 0 // what precedes it is in dst
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i = skipPlain(s, i+1)
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendControl(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, lowerHex[r&0xF])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// skipPlain returns where from i on the first byte is that is not plain, or the last
// seven bytes begin.
func skipPlain(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		if found := special(load64(s[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	return i
}

// appendControl appends the escape of an ASCII byte that is not plain.
func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	default:
		return append(dst, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&0xF])
	}
}

// appendTime appends t as a JSON string without its opening quote, RFC 3339 with
// the fraction it has. ok is false for a time that RFC 3339 cannot say: one whose
// year has not four digits, or whose zone is a day or more from UTC. Nothing is
// appended then.
func appendTime(dst []byte, t time.Time) (_ []byte, ok bool) {
	if b, ok := appendRFC3339(dst, t); ok {
		return append(b, '"'), true
	}
	b, err := t.AppendText(dst)
	if err != nil {
		return dst, false
	}
	return append(b, '"'), true
}

// appendRequiredTime is as appendTime, but gives the zero time for one that RFC
// 3339 cannot say.
func appendRequiredTime(dst []byte, t time.Time) []byte {
	b, ok := appendTime(dst, t)
	if !ok {
		b, _ = appendTime(dst, time.Time{})
	}
	return b
}

// appendMap appends m as a JSON object, its keys sorted by their bytes.
func appendMap(dst []byte, m map[string]string) []byte {
	var stack [16]string
	keys := stack[:0]
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	dst = append(dst, '{')
	for _, key := range keys {
		dst = append(dst, '"')
		dst = appendString(dst, key)
		dst = append(dst, `:"`...)
		dst = appendString(dst, m[key])
		dst = append(dst, ',')
	}
	return appendEnd(dst)
}

// appendEnd ends an object whose fields, if it has any, are each followed by a
// comma: the last one becomes the brace.
func appendEnd(dst []byte) []byte {
	if last := len(dst) - 1; dst[last] == ',' {
		dst[last] = '}'
		return dst
	}
	return append(dst, '}')
}

// appendKnown appends a field of an object and a comma, unless value is empty.
// name is the field's, with quotes, colon and the value's opening quote.
func appendKnown(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, name...)
	dst = appendString(dst, value)
	return append(dst, ',')
}
