package schema

import "crypto/sha256"

// fingerprintStack is what [AppendFingerprint] hashes without allocating: a pop
// of the longest kind, 255 bytes, with two long names.
const fingerprintStack = 512

// Fingerprint returns the fingerprint of a pop: 32 lower-case hex digits, the
// first 16 bytes of SHA-256 over the server's name, a zero byte, the event's
// agent, a zero byte, and the raw bytes as received. It is equal for a re-pop
// with the same bytes and for a copy seen over a second connection.
func Fingerprint(server, agent string, raw []byte) string {
	var b [32]byte
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

// AppendFingerprint appends what [Fingerprint] returns.
func AppendFingerprint(dst []byte, server, agent string, raw []byte) []byte {
	// One buffer and Sum256: a hash.Hash would have to live on the heap.
	var stack [fingerprintStack]byte
	b := append(stack[:0], server...)
	b = append(b, 0)
	b = append(b, agent...)
	b = append(b, 0)
	b = append(b, raw...)
	sum := sha256.Sum256(b)
	for _, b := range sum[:16] {
		dst = append(dst, hexPairs[b][:]...)
	}
	return dst
}
