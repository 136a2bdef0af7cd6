package source

import "sync/atomic"

// mobiles remembers which beginnings of mobile numbers are assigned. Whether
// eleven digits are a valid Chinese mobile number depends on no more than their
// first five (libphonenumber's pattern for CN; a test holds the library to it), so
// that the library is asked once for each beginning: callers who were never seen
// before are most callers, and the library takes twenty times as long for one as
// everything else that is done for a pop. Safe for concurrent use.
type mobiles struct {
	// known is by the four digits after the 1.
	known [10_000]atomic.Uint32
}

const (
	mobileUnknown = iota
	mobileValid
	mobileInvalid
)

// mobileLen is the length of a mobile number without its leading 0.
const mobileLen = 11

// isMobile reports whether number has a mobile number's form, as the manual writes
// them, and gives it without the leading 0 of one from elsewhere.
func isMobile(number string) (digits string, ok bool) {
	if len(number) == mobileLen+1 && number[0] == '0' {
		number = number[1:]
	}
	return number, len(number) == mobileLen && number[0] == '1' && allDigits(number)
}

// append appends the international form of a number of a mobile's form, or nothing
// where none such is assigned.
func (m *mobiles) append(dst []byte, digits string) []byte {
	beginning := 0
	for i := 1; i < 5; i++ {
		beginning = beginning*10 + int(digits[i]-'0')
	}
	known := &m.known[beginning]
	state := known.Load()
	if state == mobileUnknown {
		state = mobileInvalid
		if formatNumber(digits) != "" {
			state = mobileValid
		}
		known.Store(state)
	}
	if state == mobileInvalid {
		return dst
	}
	return append(append(dst, "+86"...), digits...)
}
