package pop

import "strings"

// positional is a t1v1 pop. Only its first count fields were there.
type positional struct {
	line, number, spare, start, keys string
	count                            int
	ms                               int64 // start, 0 where it is no time
}

const (
	maxLine = 6
	// minNumber is the length of the shortest number that can be dialled, 110.
	minNumber = 3
	// minAlone is that of a number which, with nothing but a line before it, makes
	// a pop: 10086.
	minAlone  = 5
	maxNumber = 32
	// minStart is the first start that is taken for one without a number beside it,
	// 1973-03-03: the first of 12 digits.
	minStart = 100_000_000_000
)

// parsePositional parses s, trimmed and without its closing semicolon, if it has
// the shape of t1v1. Else wrong is the index of the first field that has not; it
// is -1 for a t1v1 pop.
func parsePositional(s string) (f positional, wrong int) {
	if !beginsPositional(s) {
		return f, 0
	}
	more := true
	for _, field := range [...]*string{&f.line, &f.number, &f.spare, &f.start} {
		if more {
			*field, s, more = cutPart(s)
			*field = trim(*field)
			f.count++
		}
	}
	if more {
		f.keys = trim(s)
		f.count++
	}
	if len(f.line) > maxLine || f.count < 2 || !all(f.line, isDigit) {
		return f, 0
	}
	f.ms, _ = parseMillis(f.start)
	shortest := minNumber
	if f.count < 4 {
		shortest = minAlone
	}
	dialable := shortest <= len(f.number) && len(f.number) <= maxNumber && all(f.number, isDialled)
	if !dialable && (f.ms < minStart || strings.IndexByte(f.number, '=') >= 0) {
		return f, 1
	}
	return f, -1
}

// beginsPositional reports whether s, trimmed, begins as t1v1 does; key=value strings
// do not.
func beginsPositional(s string) bool { return s != "" && (s[0] == ',' || isDigit(s[0])) }

func (d *Decoder) positional(f *positional, p *Pop) {
	p.Format = T1V1
	p.Line, p.Number, p.Spare, p.Keys = f.line, f.number, f.spare, orAbsent(f.keys)
	if f.ms == 0 {
		d.addExtra("startTime", f.start)
		return
	}
	p.StartedAt = milli(d.Location, f.ms)
	p.ID, p.IDDerived = d.deriveID(f.ms, f.line), true
}

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isDialled(c byte) bool { return c-'0' <= 9 || c == '*' || c == '#' || c == '+' }
