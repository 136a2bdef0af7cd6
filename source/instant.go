package source

import "time"

// instant is a time of what there is one of for each session, in a third of the
// memory of a [time.Time]: Unix nanoseconds; 0: none.
type instant int64

// instantOf is t without its clock reading, zero for a zero t.
func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixNano())
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i))
}
