package frame

import "bytes"

// Size is the size of a decoder's buffer: one pop (1 + 255 bytes) and one
// heartbeat (7). No decision ever needs more.
const Size = maxFrame + len(Request)

const maxFrame = 1 + MaxPop

// Kind says what a frame is.
type Kind uint8

// The kinds of frame.
const (
	// Heartbeat is a TRY_REQ; the other side waits for its TRY_REP.
	Heartbeat Kind = iota + 1
	// Pop is a pop string of 1 to 255 bytes.
	Pop
	// Empty is a pop of no bytes (N = 0).
	Empty
	// Skipped is a piece of what lay between the loss of framing and the next
	// heartbeat, length bytes included.
	Skipped
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case Heartbeat:
		return "heartbeat"
	case Pop:
		return "pop"
	case Empty:
		return "empty"
	case Skipped:
		return "skipped"
	}
	return "unknown"
}

// Frame is one piece of the stream.
type Frame struct {
	Kind Kind
	// Data is the pop without its length byte, or the bytes that were skipped;
	// nil for Heartbeat and Empty. It points into the decoder's buffer and is
	// valid until the next call of Next or Buffer.
	Data []byte
}

// Decoder cuts one stream into frames. Its zero value is ready; it never
// allocates. Read into Buffer, say with Wrote how much came, and call Next until
// it returns false:
//
//	n, err := conn.Read(decoder.Buffer())
//	decoder.Wrote(n)
//	for f, ok := decoder.Next(); ok; f, ok = decoder.Next() { … }
//
// There is one for every session, tens of thousands in a process, so its size is
// that of its buffer and five bytes. It is not safe for concurrent use.
type Decoder struct {
	buf        [Size]byte
	state      state
	start, end uint16 // buf[start:end] was read and not yet handed out
}

type state uint8

const (
	framed  state = iota // the last frame that was not empty was well formed
	strayed              // the last frame that was not empty was a stray
	lost                 // looking for the next heartbeat
)

// Buffer returns the free space to read into. It is never empty once Next has
// returned false. It moves what is pending to the front, so that the Data of
// earlier frames is no longer valid.
func (d *Decoder) Buffer() []byte {
	if d.start > 0 {
		d.end = uint16(copy(d.buf[:], d.buf[d.start:d.end]))
		d.start = 0
	}
	return d.buf[d.end:]
}

// Wrote says that n bytes were read into the slice that Buffer returned. It
// panics if n is negative or more than there was room for: a reader that returns
// such a count is broken.
func (d *Decoder) Wrote(n int) {
	if n < 0 || n > Size-int(d.end) {
		panic("frame: Decoder.Wrote with a count beyond its buffer")
	}
	d.end += uint16(n)
}

// Pending returns the number of bytes of an unfinished frame; 0 means that the
// stream stands at a frame's edge. Ask when Next has returned false.
func (d *Decoder) Pending() int { return int(d.end - d.start) }

// Rest returns the bytes of the unfinished frame, for a stream that ended inside
// it. They are valid until the next call of Next or Buffer.
func (d *Decoder) Rest() []byte { return d.buf[d.start:d.end] }

// Lost reports whether framing is lost, that is whether everything before the
// next heartbeat will be skipped.
func (d *Decoder) Lost() bool { return d.state == lost }

// Next returns the next whole frame, or false when it needs more bytes to tell.
func (d *Decoder) Next() (Frame, bool) {
	b := d.buf[d.start:d.end]
	if len(b) == 0 {
		return Frame{}, false
	}
	if d.state == lost {
		return d.skip(b)
	}
	n := int(b[0])
	if n == 0 {
		d.start++
		return Frame{Kind: Empty}, true
	}
	if b[0] == Request[0] {
		switch k := commonPrefix(b); k {
		case len(Request):
			return d.heartbeat(), true
		case len(b):
			return Frame{}, false
		}
	}
	whole := len(b) > n
	switch judge(b) {
	case undecided:
		return Frame{}, false
	case wellFormed:
		if !whole {
			return Frame{}, false
		}
		d.state = framed
	case stray:
		if d.state == strayed || containsRequest(b, n) {
			d.state = lost
			return d.skip(b)
		}
		if !whole || mayContainRequest(b, n) {
			return Frame{}, false
		}
		d.state = strayed
	}
	d.start += uint16(1 + n)
	return Frame{Kind: Pop, Data: b[1 : 1+n : 1+n]}, true
}

func (d *Decoder) heartbeat() Frame {
	d.start += uint16(len(Request))
	d.state = framed
	return Frame{Kind: Heartbeat}
}

// skip hands out what comes before the next heartbeat, or that heartbeat. The
// pieces end at multiples of maxFrame or at the heartbeat, not where a read
// happened to end: so they are the same however the stream was split, and garbage
// that trickles in makes few pieces.
func (d *Decoder) skip(b []byte) (Frame, bool) {
	n := bytes.Index(b, request)
	switch {
	case n == 0:
		return d.heartbeat(), true
	case n > 0:
	case len(b) >= maxFrame+len(Request)-1:
		n = maxFrame // a heartbeat that begins before it would have been seen whole
	default:
		return Frame{}, false
	}
	d.start += uint16(n)
	return Frame{Kind: Skipped, Data: b[:n:n]}, true
}

type verdict uint8

const (
	undecided verdict = iota
	wellFormed
	stray
)

// judge looks at how the payload of the frame b starts; b[0] is its length, not 0.
func judge(b []byte) verdict {
	switch {
	case len(b) < 2:
		return undecided
	case '0' <= b[1] && b[1] <= '9':
		return wellFormed
	case b[1] != 'H' || b[0] == 1:
		return stray
	case len(b) < 3:
		return undecided
	case b[2] == '=':
		return wellFormed
	}
	return stray
}

// containsRequest reports whether a whole TRY_REQ begins in the payload of the
// frame b of n bytes, even if it ends beyond it.
func containsRequest(b []byte, n int) bool {
	return bytes.Contains(b[1:min(len(b), n+len(Request))], request)
}

// mayContainRequest reports whether b, which holds the whole frame of n bytes,
// ends within what may yet become a TRY_REQ that begins in the frame's payload.
func mayContainRequest(b []byte, n int) bool {
	for i := max(1, len(b)-len(Request)+1); i <= n && i < len(b); i++ {
		if commonPrefix(b[i:]) == len(b)-i {
			return true
		}
	}
	return false
}

// commonPrefix returns how many bytes b and TRY_REQ begin with alike.
func commonPrefix(b []byte) int {
	n := 0
	for n < len(b) && n < len(Request) && b[n] == Request[n] {
		n++
	}
	return n
}
