package pop

import (
	"math"
	"time"
)

// maxMillis is the end of the year 2199 in epoch milliseconds. What is later is
// not a time of a call.
const maxMillis = 7258118400000 - 1

// parseMillis reads epoch milliseconds from 1 to maxMillis.
func parseMillis(s string) (ms int64, ok bool) {
	if len(s) == 0 || len(s) > 32 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		if ms = ms*10 + int64(c); ms > maxMillis {
			return 0, false
		}
	}
	return ms, ms > 0
}

// epoch2000 is 2000-01-01 00:00:00 in epoch seconds.
const epoch2000 = 946684800

// daysBefore is the number of days of a year before each month, February with 28.
var daysBefore = [...]int64{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}

// parseClock reads YYMMDDHHMMSS of the years 2000 to 2099, as the epoch seconds at
// which a clock in UTC shows it.
func parseClock(s string) (seconds int64, ok bool) {
	if len(s) != 12 {
		return 0, false
	}
	// Two digits to a lane of 16 bits: YY MM DD HH, and 00 00 MM SS.
	first, last := load64(s), load64(s[4:])&^0xFFFFFFFF|'0'*(ones>>32)
	if !areDigits(first) || !areDigits(last) {
		return 0, false
	}
	first, last = twoDigits(first), twoDigits(last)
	year, month, day, hour := lane(first, 0), lane(first, 1), lane(first, 2), lane(first, 3)
	minute, second := lane(last, 2), lane(last, 3)
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	leap := int64(0)
	if year%4 == 0 { // 2000 is a leap year too
		leap = 1
	}
	length := daysBefore[month] - daysBefore[month-1]
	if month == 2 {
		length += leap
	}
	if day > length {
		return 0, false
	}
	days := year*365 + (year+3)/4 + daysBefore[month-1] + day - 1
	if month > 2 {
		days += leap
	}
	return epoch2000 + days*86400 + hour*3600 + minute*60 + second, true
}

// areDigits reports whether each of the eight bytes of w is a digit.
func areDigits(w uint64) bool {
	w ^= ones * '0' // digits are below 10 then, all others not
	return (w|(w&^tops+ones*(0x80-10)))&tops == 0
}

// twoDigits gives the numbers that the eight digits of w say two by two, each in 16
// bits, the first lowest.
func twoDigits(w uint64) uint64 {
	w &= ones * 0x0F
	return (w*10 + w>>8) & 0x00FF00FF00FF00FF
}

// lane returns the i-th 16 bits of w.
func lane(w uint64, i int) int64 { return int64(w >> (16 * i) & 0xFFFF) }

// zone turns clock readings of one location into times. time.Date looks the
// offset up each time, twice where the zone is not UTC; zone remembers it with the
// instants between which it holds.
type zone struct {
	location *time.Location
	offset   int64
	// from and to bound the instants, in epoch seconds, that are at least a day
	// away from any change of the offset. A clock reading whose instant by this
	// offset lies between them has no other: no offset reaches a day.
	from, to int64
}

const day = 24 * 60 * 60

// at returns the time at which a clock in location shows what a clock in UTC shows
// at the given epoch seconds, as time.Date has it where there are two or none.
func (z *zone) at(location *time.Location, clock int64) time.Time {
	if location == nil {
		location = time.UTC
	}
	if unix := clock - z.offset; z.location == location && z.from <= unix && unix < z.to {
		return time.Unix(unix, 0).In(location)
	}
	u := time.Unix(clock, 0).UTC()
	t := time.Date(u.Year(), u.Month(), u.Day(), u.Hour(), u.Minute(), u.Second(), 0, location)
	z.remember(t)
	return t
}

// clock returns the epoch seconds at which a clock in UTC shows what a clock in
// location shows at ms, a fraction of a second cut off.
func (z *zone) clock(location *time.Location, ms int64) int64 {
	if location == nil {
		location = time.UTC
	}
	unix := ms / 1000
	if z.location != location || unix < z.from || unix >= z.to {
		_, offset := time.Unix(unix, 0).In(location).Zone()
		return unix + int64(offset)
	}
	return unix + z.offset
}

func (z *zone) remember(t time.Time) {
	_, offset := t.Zone()
	start, end := t.ZoneBounds()
	*z = zone{location: t.Location(), offset: int64(offset), from: math.MinInt64, to: math.MaxInt64}
	if !start.IsZero() {
		z.from = start.Unix() + day
	}
	if !end.IsZero() {
		z.to = end.Unix() - day
	}
}

// milli returns the time of ms in location.
func milli(location *time.Location, ms int64) time.Time {
	if location == nil {
		location = time.UTC
	}
	return time.UnixMilli(ms).In(location)
}
