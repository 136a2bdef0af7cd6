package schema

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// idLen is the length of a UUID in its text form.
const idLen = 36

// NewID returns a new event id: a UUIDv7 in its lower-case text form, 36
// characters. See [AppendID].
func NewID(now time.Time) string {
	var b [idLen]byte
	return string(AppendID(b[:0], now))
}

// AppendID appends a new event id for an event accepted at now: a UUIDv7 as RFC
// 9562 has it in section 5.7, the twelve bits of rand_a holding the fraction of
// the millisecond (section 6.2, method 3). So ids sort as text in the order of
// their times, to about a quarter of a microsecond; ids of one such instant are
// in no order. Times before 1970 count as 1970.
//
// The other 62 bits come from math/rand/v2, whose top-level functions are ChaCha8
// generators seeded by the operating system in each process. That is enough: an
// id must not meet another one, and it is no secret, since it opens nothing. It
// also takes no lock and no system call.
func AppendID(dst []byte, now time.Time) []byte {
	milli := max(now.UnixMilli(), 0)
	fraction := uint64(now.Nanosecond()%int(time.Millisecond)) << 12 / uint64(time.Millisecond)

	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(milli)<<16|7<<12|fraction)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|rand.Uint64()>>2)

	var text [idLen]byte
	hex.Encode(text[0:8], id[0:4])
	text[8] = '-'
	hex.Encode(text[9:13], id[4:6])
	text[13] = '-'
	hex.Encode(text[14:18], id[6:8])
	text[18] = '-'
	hex.Encode(text[19:23], id[8:10])
	text[23] = '-'
	hex.Encode(text[24:36], id[10:16])
	return append(dst, text[:]...)
}
