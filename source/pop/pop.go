package pop

import "time"

const (
	// MaxLength is the length in bytes of the longest pop string: on the wire its
	// length is one byte.
	MaxLength = 255
	// MaxQuery is the length in bytes of the longest callback query.
	MaxQuery = 8 << 10
	// MaxFields is how many entries Pop.Fields and Pop.Extra each have at most. No
	// pop string reaches it; what a longer callback has beyond them is in Text.
	MaxFields = 100
)

// The formats of a Pop.
const (
	T1V1     = "t1v1"
	T1V2     = "t1v2"
	T1V3     = "t1v3"
	T1V4     = "t1v4"
	T1V5     = "t1v5"
	Callback = "callback"
)

// Pop is what a pop string or a callback said. An empty string means that it said
// nothing. See [Decoder] for how long the strings are valid.
type Pop struct {
	// Format is the newer of what H says and what the keys show: da or mb make it
	// t1v5, ty or so t1v4, op or sn t1v3, any other t1v2. A positional string is
	// t1v1, a callback callback. It is one of the constants and stays valid.
	Format string
	// Declared is H's own word, only where it differs from Format.
	Declared string
	// Truncated says that the string has the full 255 bytes and does not end the
	// way its format ends: with a semicolon, or for t1v1 with five fields and no
	// keys (NA or 0). Its last value may be a part of the real one. A callback is
	// never truncated.
	Truncated bool

	// Line is the channel of the outside line (ch; a callback's outch).
	Line string
	// Number is the customer's number (ph; a callback's phone).
	Number string
	// ID is the call's id. IDDerived says that the string had none and it was made
	// the way the server makes it, from the start in epoch milliseconds followed by
	// the line (for a callback without outch, by ch).
	ID        string
	IDDerived bool
	// StartedAt is in the decoder's zone; the zero time means unknown. It is exact
	// to the millisecond where t1v1's start, a callback's startTime or the id gives
	// it so, else to the second.
	StartedAt time.Time
	// Agent is the agent's number (op; a callback's oper).
	Agent string
	// SN is the serial number of the call.
	SN string
	// Mode is the pop mode, ty, a number from 1 to 999; 0 means absent.
	Mode int
	// From is so, the agent who began a transfer. It means that only in modes 5 and
	// 6; it is kept as received in all.
	From string
	// Channel is the channel of the agent's extension, a callback's ch.
	Channel string
	// Member is the member number, mb.
	Member string
	// Data is what the IVR's programmer attached, da.
	Data string
	// Keys is what the customer pressed (dm; a callback's dtmf), without the one
	// semicolon that closes the string: 1;2.
	Keys string
	// Spare is t1v1's third field. The DLL's demo puts the agent there.
	Spare string

	// Fields are the name:value pairs of Data between bars, trimmed. The first of a
	// name wins; pieces without a colon, a name or a value are left out.
	Fields []Field
	// Extra is what has no place above, in the order it came, each name once: keys
	// that are not known; the later occurrences of one that is; ty, tm, startTime
	// and datetime where they are not what they should be (for t1v1's start too the
	// name is startTime), and a datetime that disagrees with startTime. Parts
	// without a key are under the name unparsed. What has the same name is joined
	// by commas, which no value of a pop string can hold.
	Extra []Field

	// Text is the whole string decoded to UTF-8, byte for byte what came if that
	// was UTF-8. A callback's is its query, still percent-encoded.
	Text string
	// Lossy says that Text holds U+FFFD where bytes could not be decoded, so that
	// the bytes cannot be had back from it.
	Lossy bool
}

// Field is a name and a value, neither of them empty.
type Field struct{ Name, Value string }
