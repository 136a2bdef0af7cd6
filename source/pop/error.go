package pop

import "fmt"

// Reason says why there is no Pop, in a word that stays the same.
type Reason string

// The reasons.
const (
	// Empty: nothing but spaces.
	Empty Reason = "empty"
	// TooLong: more than MaxLength or MaxQuery bytes, or more than 256 parameters.
	TooLong Reason = "too_long"
	// Unrecognised: neither the shape of t1v1 nor a known key.
	Unrecognised Reason = "unrecognised"
	// NoCall: neither a number nor anything that tells one call from another.
	NoCall Reason = "no_call"
)

// Error says why bytes are no pop. It holds nothing of the bytes themselves, so
// that it may be logged.
type Error struct {
	Reason Reason
	// Column is the place of the trouble in bytes, counted from 1: the first that is
	// too many, the start of the part that does not fit, or 1 for the whole.
	Column int
}

// Error says what is wrong and where, in words for people.
func (e *Error) Error() string {
	return fmt.Sprintf("decode pop: column %d: %s", e.Column, e.Reason.Explain())
}

// Explain says what the reason means, in words for people.
func (r Reason) Explain() string {
	switch r {
	case Empty:
		return "there is nothing but spaces"
	case TooLong:
		return "it is longer than any pop"
	case Unrecognised:
		return "this is neither a t1v1 pop nor anything with a known key"
	case NoCall:
		return "there is no number, no sn, no id and no start time to tell the call by"
	}
	return string(r)
}
