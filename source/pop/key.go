package pop

import "unicode/utf8"

// KeyHash returns a hash of what tells the call of a pop string from others, its
// sn, else its id, else the id that can be derived; ok is false where it has none
// of them. It looks at the raw bytes, so that a reader can hand a pop to the
// worker of its call before it is decoded: any two strings from which Decode gets
// the same sn, or else the same id, have the same hash, whatever their character
// set, and so has the [Pop.KeyHash] of what it makes of them. For garbage any
// answer may come.
//
// The hash is FNV-1a. A value with bytes beyond ASCII could be written in several
// character sets, of which the reader knows nothing, so all such share one hash;
// real ones are digits.
func KeyHash(raw []byte) (hash uint64, ok bool) {
	if len(raw) > MaxLength {
		return 0, false
	}
	s, _ := trimClosing(view(raw))
	if beginsPositional(s) {
		if f, wrong := parsePositional(s); wrong < 0 {
			if f.ms == 0 {
				return 0, false
			}
			start := f.start
			for start[0] == '0' { // as a number the start has no leading zeros
				start = start[1:]
			}
			return hashKey(start, f.line), true
		}
	}
	var id, sn string
	var seenID, seenSN bool
	for more := true; more; {
		var part string
		part, s, more = cutPart(s)
		var name, value string
		if isUsual(part) {
			name, value = part[:2], part[3:]
		} else {
			name, value, _ = cutPair(part)
		}
		switch keyOf(name) {
		case keyID:
			if !seenID {
				id, seenID = value, true
			}
		case keySn:
			if !seenSN {
				sn, seenSN = value, true
			}
		}
		if seenSN && !absent(sn) {
			return hashKey(sn, ""), true
		}
	}
	if absent(id) {
		return 0, false
	}
	return hashKey(id, ""), true
}

// KeyHash returns what the function of that name returns for the string that p
// was decoded from, for what is decoded before it is handed on.
func (p *Pop) KeyHash() (hash uint64, ok bool) {
	switch {
	case p.SN != "":
		return hashKey(p.SN, ""), true
	case p.ID != "":
		return hashKey(p.ID, ""), true
	}
	return 0, false
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// hashKey hashes a and b as if they were one string.
func hashKey(a, b string) uint64 {
	h := uint64(fnvOffset)
	for _, s := range [...]string{a, b} {
		for i := range len(s) {
			if s[i] >= utf8.RuneSelf {
				return fnvOffset
			}
			h = (h ^ uint64(s[i])) * fnvPrime
		}
	}
	return h
}
