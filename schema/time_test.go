package schema

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestTimesAreWrittenAsPackageTimeWritesThem(t *testing.T) {
	check := func(at time.Time) {
		t.Helper()
		want := at.Format(time.RFC3339Nano)
		if got, ok := appendRFC3339([]byte("x"), at); !ok || string(got) != "x"+want {
			t.Fatalf("got %q, %v, want %q", got, ok, want)
		}
	}
	for day := time.Unix(year2000, 0).UTC(); day.Year() < 2200; day = day.AddDate(0, 0, 1) {
		check(day)
		check(day.Add(secondsPerDay*time.Second - time.Nanosecond))
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		nanos := random.Int64N(int64(time.Second))
		for range random.IntN(9) {
			nanos = nanos / 10 * 10 // zeros at the end
			nanos -= nanos % 100
		}
		check(time.Unix(year2000+random.Int64N(year2200-year2000), nanos).UTC())
	}
	for range 10_000 {
		minutes := random.IntN(2*24*60-1) - 24*60 + 1 // more than -24:00, less than +24:00
		zone := time.FixedZone("", minutes*60)
		check(time.Unix(year2000+random.Int64N(year2200-year2000), random.Int64N(2)).In(zone))
	}
	for _, minutes := range []int{-24*60 + 1, -1, 0, 1, 8 * 60, 24*60 - 1} {
		zone := time.FixedZone("somewhere", minutes*60)
		check(time.Date(2000, 1, 1, 0, 0, 0, 0, zone))
		check(time.Date(2199, 12, 31, 23, 59, 59, 999_999_999, zone))
		for _, other := range []time.Time{time.Date(1999, 12, 31, 23, 59, 59, 0, zone), time.Date(2200, 1, 1, 0, 0, 0, 0, zone)} {
			if _, ok := appendRFC3339(nil, other); ok {
				t.Errorf("%v was written", other)
			}
		}
	}
	for _, seconds := range []int{-24 * 60 * 60, 24 * 60 * 60, 8*60*60 + 1, -1, 59, 1 << 30} {
		if _, ok := appendRFC3339(nil, time.Unix(year2000+1<<31, 0).In(time.FixedZone("", seconds))); ok {
			t.Errorf("a zone %d seconds from UTC was written", seconds)
		}
	}
	for _, other := range []int64{year2000 - 1, year2200, 0, -1} {
		if _, ok := appendRFC3339(nil, time.Unix(other, 0).UTC()); ok {
			t.Errorf("%d was written", other)
		}
	}
}
