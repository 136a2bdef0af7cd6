package schema

import (
	"crypto/sha256"
	"encoding/binary"
)

// fingerprintRoom is for a pop of the longest kind, 255 bytes, with two long names.
const fingerprintRoom = 512

// Fingerprint returns the fingerprint of a pop: 32 lower-case hex digits, the
// first 16 bytes of SHA-256 over the server's name, a zero byte, the event's
// agent, a zero byte, and the raw bytes as received. It is equal for a re-pop
// with the same bytes and for a copy seen over a second connection.
func Fingerprint(server, agent string, raw []byte) string {
	var b [fingerprintRoom]byte
	return string(AppendFingerprint(b[:0], server, agent, raw))
}

// isFingerprint reports whether s has the form that [Fingerprint] returns.
func isFingerprint(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 32
}

// AppendFingerprint appends what [Fingerprint] returns. What is hashed stands in dst
// meanwhile: with room there for the names and raw, nothing is allocated.
func AppendFingerprint(dst []byte, server, agent string, raw []byte) []byte {
	n := len(dst)
	dst = append(dst, server...)
	dst = append(dst, 0)
	dst = append(dst, agent...)
	dst = append(dst, 0)
	dst = append(dst, raw...)
	sum := sha256.Sum256(dst[n:])
	dst = append(dst[:n], "00000000000000000000000000000000"...)
	text := dst[n:]
	for i := range 4 {
		binary.BigEndian.PutUint64(text[8*i:], hexDigits(binary.BigEndian.Uint32(sum[4*i:])))
	}
	return dst
}
