package pop

import (
	"math/bits"
	"strings"
)

// key is a known key of a key=value string.
type key uint8

const (
	keyH key = iota
	keyCh
	keyPh
	keyID
	keyTm
	keyOp
	keySn
	keyTy
	keySo
	keyMb
	keyDa
	keyDm
	keys // how many there are; no known key
)

func keyOf(name string) key {
	switch len(name) {
	case 1:
		if name[0] == 'H' {
			return keyH
		}
	case 2:
		switch uint16(name[0])<<8 | uint16(name[1]) {
		case 'c'<<8 | 'h':
			return keyCh
		case 'p'<<8 | 'h':
			return keyPh
		case 'i'<<8 | 'd':
			return keyID
		case 't'<<8 | 'm':
			return keyTm
		case 'o'<<8 | 'p':
			return keyOp
		case 's'<<8 | 'n':
			return keySn
		case 't'<<8 | 'y':
			return keyTy
		case 's'<<8 | 'o':
			return keySo
		case 'm'<<8 | 'b':
			return keyMb
		case 'd'<<8 | 'a':
			return keyDa
		case 'd'<<8 | 'm':
			return keyDm
		}
	}
	return keys
}

// cutPart splits off what is before the first comma. Most parts have less than
// eight bytes, for which strings.IndexByte is a call too many.
func cutPart(s string) (part, rest string, more bool) {
	i := 0
	for ; i < len(s)-7; i += 8 {
		if found := commas(load64(s[i:])); found != 0 {
			i += bits.TrailingZeros64(found) / 8
			return s[:i], s[i+1:], true
		}
	}
	for ; i < len(s); i++ {
		if s[i] == ',' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// commas has the top bit set of each of the eight bytes of w that is a comma; and
// perhaps of some above the lowest one.
func commas(w uint64) uint64 {
	w ^= ones * ','
	return (w - ones) &^ w & tops
}

// load64 returns the first eight bytes of s, the first one lowest.
func load64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// cutPair splits a part name=value at its first "="; a part without one, or
// without a name, is all value. Both are trimmed.
func cutPair(part string) (name, value string, ok bool) {
	if i := strings.IndexByte(part, '='); i > 0 {
		if name = trim(part[:i]); name != "" {
			return name, trim(part[i+1:]), true
		}
	}
	return "", trim(part), false
}

// isUsual reports whether a part is a name of two letters, "=" and a value, with
// nothing to trim: what nearly every part is, for which cutPair is a call too many.
func isUsual(part string) bool {
	return len(part) > 3 && part[2] == '=' && part[0] > '=' && part[1] > '=' && part[3] > ' ' && part[len(part)-1] > ' '
}

// pairs reads the key=value parts of s, trimmed and without its closing
// semicolon. It returns false if there is no known key.
func (d *Decoder) pairs(s string, p *Pop) bool {
	var values [keys]string
	var seen uint16
	for more := true; more; {
		var part string
		part, s, more = cutPart(s)
		var name, value string
		if isUsual(part) {
			name, value = part[:2], part[3:]
		} else {
			var ok bool
			if name, value, ok = cutPair(part); !ok {
				d.addExtra(unparsed, value)
				continue
			}
		}
		k := keyOf(name)
		if k == keys || seen&(1<<k) != 0 {
			d.addExtra(name, value)
			continue
		}
		seen |= 1 << k
		values[k] = value
	}
	if seen == 0 {
		return false
	}

	p.Format = shown(seen)
	if h := values[keyH]; h != p.Format && h != "" {
		for _, format := range [...]string{T1V3, T1V4, T1V5} {
			if h == format { // not h itself, which goes with the buffer: the format is a label
				p.Format = max(p.Format, format)
			}
		}
		if h != p.Format {
			p.Declared = h
		}
	}
	p.Line, p.Number = values[keyCh], values[keyPh]
	p.ID, p.SN = orAbsent(values[keyID]), orAbsent(values[keySn])
	p.Agent, p.From, p.Member = values[keyOp], orAbsent(values[keySo]), values[keyMb]
	p.Keys = orAbsent(values[keyDm])
	if p.Data = orAbsent(values[keyDa]); p.Data != "" {
		d.splitData(p.Data)
	}
	if ty := values[keyTy]; ty != "" {
		if p.Mode = parseMode(ty); p.Mode == 0 {
			d.addExtra("ty", ty)
		}
	}
	if tm := values[keyTm]; tm != "" {
		if clock, ok := parseClock(tm); ok {
			p.StartedAt = d.startedAt(clock, p.ID, p.Line)
		} else {
			d.addExtra("tm", tm)
		}
	}
	return true
}

// shown returns the oldest format that has all the keys that were seen.
func shown(seen uint16) string {
	switch {
	case seen&(1<<keyDa|1<<keyMb) != 0:
		return T1V5
	case seen&(1<<keyTy|1<<keySo) != 0:
		return T1V4
	case seen&(1<<keyOp|1<<keySn) != 0:
		return T1V3
	}
	return T1V2
}

// parseMode reads 1 to 999; anything else gives 0.
func parseMode(s string) int {
	if len(s) > 3 {
		return 0
	}
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0
		}
		n = n*10 + int(c)
	}
	return n
}
