package schema

import (
	"encoding/binary"
	"time"
)

// Bounds of the times that appendRFC3339 writes, in epoch seconds of the clock that
// they show: the years 2000 to 2199, in which every fourth year but 2100 is a leap
// year.
const (
	year2000 = 946684800
	year2200 = 7258118400
)

const secondsPerDay = 24 * 60 * 60

// appendRFC3339 appends a time as RFC 3339 has it, with nanoseconds where there
// are any, three times as fast as package time: it is written for each pop, twice
// into its body and once into its headers. ok is false for times of other
// centuries, and for zones that are not whole minutes and less than a day from
// UTC; both are left to package time.
func appendRFC3339(dst []byte, t time.Time) (_ []byte, ok bool) {
	offset := 0
	if t.Location() != time.UTC {
		_, offset = t.Zone()
	}
	shown := t.Unix() + int64(offset)
	if shown < year2000 || shown >= year2200 || offset%60 != 0 || offset <= -secondsPerDay || offset >= secondsPerDay {
		return dst, false
	}
	days, second := uint32((shown-year2000)/secondsPerDay), uint32((shown-year2000)%secondsPerDay)
	year, month, day := civil(days)
	dst = append(dst, "2000-00-00T00:00:00"...)
	b := dst[len(dst)-len("2000-00-00T00:00:00"):]
	b[1] = byte('0' + year/100)
	binary.LittleEndian.PutUint64(b[2:], pairs(year%100, month, day)|dashes)
	binary.LittleEndian.PutUint64(b[11:], pairs(second/3600, second/60%60, second%60)|colons)
	if nanos := uint32(t.Nanosecond()); nanos != 0 {
		dst = appendFraction(dst, nanos)
	}
	return appendOffset(dst, offset), true
}

// appendOffset appends a zone's offset from UTC in seconds, which are whole minutes
// of less than a day.
func appendOffset(dst []byte, offset int) []byte {
	if offset == 0 {
		return append(dst, 'Z')
	}
	dst = append(dst, "+00:00"...)
	b := dst[len(dst)-len("+00:00"):]
	if offset < 0 {
		b[0], offset = '-', -offset
	}
	two(b[1:], uint32(offset)/3600)
	two(b[4:], uint32(offset)/60%60)
	return dst
}

// civil turns days since 2000-01-01 into a date; year counts from 2000. It is the
// algorithm of C. Neri and L. Schneider, "Euclidean affine functions and their
// application to calendar algorithms" (2022): years end behind February, so that
// leap days come last.
func civil(days uint32) (year, month, day uint32) {
	const (
		since1996 = 306 + 3*365     // days before 2000-01-01 since 1996-03-01, which begins four years
		day2100   = 36525 + 31 + 28 // 2100-03-01, the day after the leap day that is not
	)
	if days >= day2100 {
		days++ // as if 2100 had one
	}
	quarters := 4*(days+since1996) + 3
	year = quarters/1461 - 4
	inYear := quarters % 1461 / 4
	months := 2141*inYear + 197913 // in units of 1/65536
	month, day = months>>16, months&0xFFFF/2141+1
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, day
}

// What stands between the pairs of a date and of a time of day.
const (
	dashes = '-'<<16 | '-'<<40
	colons = ':'<<16 | ':'<<40
)

// pairs gives three numbers below 100 as pairs of digits, each a byte, the first
// lowest, with a zero byte between the pairs. All are divided by ten at once: 103/1024
// is near enough to a tenth.
func pairs(a, b, c uint32) uint64 {
	n := uint64(a) | uint64(b)<<24 | uint64(c)<<48
	tens := n * 103 >> 10 & 0x0F00000F00000F
	return tens | (n-tens*10)<<8 | '0'*0x0101_00_0101_00_0101
}

// two writes n, of two digits, to the start of b.
func two(b []byte, n uint32) {
	_ = b[1]
	b[0], b[1] = byte('0'+n/10), byte('0'+n%10)
}

// appendFraction appends a point and nanoseconds without the zeros at their end.
func appendFraction(dst []byte, nanos uint32) []byte {
	dst = append(dst, ".000000000"...)
	b := dst[len(dst)-len(".000000000"):]
	two(b[8:], nanos%100)
	two(b[6:], nanos/100%100)
	two(b[4:], nanos/10_000%100)
	two(b[2:], nanos/1_000_000%100)
	b[1] = byte('0' + nanos/100_000_000)
	n := len(dst)
	for dst[n-1] == '0' {
		n--
	}
	return dst[:n]
}
