package pop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// Charset names the character set of a server's strings.
type Charset string

// The character sets.
const (
	// Auto takes bytes for GB18030 where they are not valid UTF-8 or decode to a
	// character between U+0080 and U+07FF, else for UTF-8. One or two characters of
	// GBK are often valid UTF-8 by chance, but then they are such characters, which
	// Chinese text has no use for. A character cut off at the end of a full pop
	// string does not count against UTF-8.
	Auto Charset = "auto"
	// UTF8 is UTF-8, each wrong byte becoming U+FFFD.
	UTF8 Charset = "utf-8"
	// GB18030 is GB18030 and with it GBK and GB2312.
	GB18030 Charset = "gb18030"
)

// Validate says whether c is one of the above; the empty one counts as Auto.
func (c Charset) Validate() error {
	switch c {
	case "", Auto, UTF8, GB18030:
		return nil
	}
	return fmt.Errorf("charset %q: expected %s, %s or %s", string(c), Auto, UTF8, GB18030)
}

// resolve says whether raw is GB18030, else it is UTF-8. cut says that raw may end
// inside a character.
func (c Charset) resolve(raw []byte, cut bool) (gb bool) {
	switch c {
	case GB18030:
		return true
	case UTF8:
		return false
	}
	if cut {
		raw = trimCutRune(raw)
	}
	if !utf8.Valid(raw) {
		return true
	}
	for _, b := range raw {
		if 0xC2 <= b && b <= 0xDF { // starts a character of two bytes
			return true
		}
	}
	return false
}

// trimCutRune returns raw without the start of a UTF-8 character at its end.
func trimCutRune(raw []byte) []byte {
	for i := len(raw) - 1; i >= 0 && i >= len(raw)-utf8.UTFMax; i-- {
		if utf8.RuneStart(raw[i]) {
			if !utf8.FullRune(raw[i:]) {
				return raw[:i]
			}
			break
		}
	}
	return raw
}

// isASCII reports whether no byte of b has its top bit set.
func isASCII(b []byte) bool {
	const top = 0x8080808080808080
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&top != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// maxGrowth is how many bytes of UTF-8 one byte can decode to: U+FFFD has three.
const maxGrowth = 3

// appendDecoded appends raw, decoded from GB18030 or checked as UTF-8, to dst,
// which has room for maxGrowth times as much.
func appendDecoded(dst, raw []byte, gb bool) (text []byte, lossy bool) {
	if !gb && utf8.Valid(raw) {
		return append(dst, raw...), false
	}
	start := len(dst)
	if gb {
		dst = appendGB18030(dst, raw)
	} else {
		for len(raw) > 0 {
			r, size := utf8.DecodeRune(raw)
			dst = utf8.AppendRune(dst, r)
			lossy = lossy || r == utf8.RuneError && size == 1
			raw = raw[size:]
		}
		return dst, lossy
	}
	return dst, bytes.Contains(dst[start:], replacement)
}

var replacement = []byte(string(utf8.RuneError))

// appendGB18030 decodes raw. The decoder of x/text takes any byte from 0x30 to
// 0x3F for the second of a four-byte character, where GB18030 has digits only: so
// it could swallow an "=" or ";" of the pop behind a broken character. None of
// 0x3A to 0x3F is ever a part of a character, so raw is cut there where it matters.
func appendGB18030(dst, raw []byte) []byte {
	for i := 1; i+2 < len(raw); i++ {
		if 0x3A <= raw[i] && raw[i] <= 0x3F && raw[i-1] > 0x80 && raw[i+1] > 0x80 {
			dst = append(transformGB18030(dst, raw[:i]), raw[i])
			raw = raw[i+1:]
			i = 0
		}
	}
	return transformGB18030(dst, raw)
}

func transformGB18030(dst, raw []byte) []byte {
	dst = slices.Grow(dst, maxGrowth*len(raw))
	// The decoder has no state, and with room and at the end of its input it has
	// no error: what is wrong becomes U+FFFD.
	n, _, _ := gb18030.Transform(dst[len(dst):cap(dst)], raw, true)
	return dst[:len(dst)+n]
}

// gb18030 is safe for concurrent use, having no state.
var gb18030 = simplifiedchinese.GB18030.NewDecoder().Transformer

// view returns b as a string without copying it. This is the one place of the
// package that uses unsafe. It is given two kinds of bytes: the decoder's own
// buffer, which does not change until the next Decode, as the documentation of
// Decoder says of every string it hands out; and, in KeyHash, the caller's bytes,
// of which nothing outlives the call.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
