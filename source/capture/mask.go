package capture

import (
	"bytes"
	"slices"
	"strings"

	"github.com/callpop/connector/source/frame"
)

// The shortest runs of digits that are masked: in a number, in bytes that could not
// be told apart and may hold one, and in text that hardly does.
const (
	anyRun  = 1
	someRun = 3
	longRun = 7
)

// maskPop puts stars in the place of what tells who the customer is, and changes no
// length: most digits of the number, and runs of digits as long as a number in what
// the IVR and the customer added. Keys that hold the call's own numbers stay.
func maskPop(pop []byte) []byte {
	masked := slices.Clone(pop)
	positional := true
	start := 0
	for i := 0; ; i++ {
		part := masked[start:]
		if comma := bytes.IndexByte(part, ','); comma >= 0 {
			part = part[:comma]
		}
		name, value, named := bytes.Cut(part, []byte("="))
		positional = positional && !named
		switch {
		case named:
			switch string(bytes.TrimSpace(name)) {
			case "ph":
				maskRuns(value, anyRun)
			case "H", "ch", "id", "tm", "op", "sn", "ty", "so":
			default:
				maskRuns(value, longRun)
			}
		case !positional:
			maskRuns(part, longRun)
		case i == 1: // the number of t1v1
			maskRuns(part, anyRun)
		case i == 3 && isStart(part):
		default:
			maskRuns(part, longRun)
		}
		if start += len(part) + 1; start > len(masked) {
			break
		}
	}
	// The first byte is how a pop is known on the wire.
	if len(pop) > 0 {
		masked[0] = pop[0]
	}
	return masked
}

// isStart tells a start in epoch milliseconds, of 12 or 13 digits, from a number:
// one from elsewhere, which is as long, begins with 0.
func isStart(part []byte) bool {
	digits := bytes.TrimSpace(part)
	return (len(digits) == 12 || len(digits) == 13) && digits[0] != '0' && len(bytes.Trim(digits, "0123456789")) == 0
}

// maskRuns masks, in place, each run of at least shortest digits.
func maskRuns(text []byte, shortest int) {
	for i := 0; i < len(text); {
		n := 0
		for i+n < len(text) && text[i+n]-'0' <= 9 {
			n++
		}
		if n >= shortest {
			// As everywhere in this program: four digits at least are hidden, and
			// of six or fewer all.
			shown := 0
			if n > 6 {
				shown = n - 4
			}
			last := min(4, shown)
			first := min(3, shown-last)
			copy(text[i+first:i+n-last], strings.Repeat("*", n-first-last))
		}
		i += n + 1
	}
}

// masker masks what a server sends, frame by frame.
type masker struct {
	decoder frame.Decoder
	frames  []byte // of the last call
}

// take returns the frames that data completes, masked, as they are on the wire. They
// are valid until the next call.
func (m *masker) take(data []byte) []byte {
	m.frames = m.frames[:0]
	for len(data) > 0 {
		n := copy(m.decoder.Buffer(), data)
		m.decoder.Wrote(n)
		data = data[n:]
		for f, ok := m.decoder.Next(); ok; f, ok = m.decoder.Next() {
			m.add(f)
		}
	}
	return m.frames
}

func (m *masker) add(f frame.Frame) {
	switch f.Kind {
	case frame.Heartbeat:
		m.frames = append(m.frames, frame.Request...)
	case frame.Empty:
		m.frames = append(m.frames, 0)
	case frame.Pop:
		m.frames = append(m.frames, byte(len(f.Data)))
		m.frames = append(m.frames, maskPop(f.Data)...)
	case frame.Skipped:
		m.addUnframed(f.Data)
	}
}

func (m *masker) addUnframed(data []byte) {
	at := len(m.frames)
	m.frames = append(m.frames, data...)
	maskRuns(m.frames[at:], someRun)
}

// rest returns what is left of an unfinished frame, masked.
func (m *masker) rest() []byte {
	m.frames = m.frames[:0]
	m.addUnframed(m.decoder.Rest())
	return m.frames
}
