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
		if got, ok := appendUTC([]byte("x"), at); !ok || string(got) != "x"+want {
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
	for _, other := range []int64{year2000 - 1, year2200, 0, -1} {
		if _, ok := appendUTC(nil, time.Unix(other, 0).UTC()); ok {
			t.Errorf("%d was written", other)
		}
	}
}
