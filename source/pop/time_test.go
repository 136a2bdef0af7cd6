package pop

import (
	"math/rand/v2"
	"testing"
	"time"
)

// zones have one offset for ever, changes long ago, changes twice a year, offsets
// of odd seconds, and a day that never was.
var zones = []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "Africa/Monrovia", "Africa/Casablanca"}

func TestClockReadingsBecomeTheTimesThatTimeDateMakes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, name := range zones {
		t.Run(name, func(t *testing.T) {
			location, err := time.LoadLocation(name)
			if err != nil {
				t.Fatal(err)
			}
			var z zone
			compare := func(clock int64) {
				u := time.Unix(clock, 0).UTC()
				want := time.Date(u.Year(), u.Month(), u.Day(), u.Hour(), u.Minute(), u.Second(), 0, location)
				got := z.at(location, clock)
				if !got.Equal(want) || got.Location() != want.Location() {
					t.Fatalf("%v: got %v, want %v", u, got, want)
				}
				_, offset := want.Zone()
				if got, want := z.clock(location, want.UnixMilli()+999), want.Unix()+int64(offset); got != want {
					t.Fatalf("%v: clock: got %d, want %d", u, got, want)
				}
			}
			// Every half an hour of years with changes, in order, so that the
			// remembered offset is met at each of them; then here and there.
			for clock := time.Date(2007, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); clock < time.Date(2012, 3, 1, 0, 0, 0, 0, time.UTC).Unix(); clock += 1800 {
				compare(clock)
			}
			for range 5000 {
				compare(epoch2000 + r.Int64N(100*365*day))
			}
		})
	}
}

func TestAZoneRemembersOneLocationAtATime(t *testing.T) {
	shanghai := shanghai(t)
	var z zone
	clock := epoch2000 + int64(day)
	for range 3 {
		for _, location := range []*time.Location{shanghai, nil, time.UTC, shanghai} {
			want := location
			if want == nil {
				want = time.UTC
			}
			if got, want := z.at(location, clock), time.Date(2000, 1, 2, 0, 0, 0, 0, want); !got.Equal(want) {
				t.Fatalf("%v: got %v, want %v", location, got, want)
			}
		}
	}
}

func TestClockDigits(t *testing.T) {
	for start := time.Date(2000, 1, 1, 3, 4, 5, 0, time.UTC); start.Year() < 2100; start = start.AddDate(0, 0, 1) {
		got, ok := parseClock(start.Format("060102150405"))
		if !ok || got != start.Unix() {
			t.Fatalf("%v: got %d, %v, want %d", start, got, ok, start.Unix())
		}
	}
	for _, s := range []string{
		"", "08071117593", "0807111759311", "080711 75931", "08071117593x", "-80711175931",
		"080011000000", "081311000000", "080100000000", "080132000000", "080431000000", "090229000000", "080230000000",
		"080101240000", "080101006000", "080101000060",
	} {
		if got, ok := parseClock(s); ok {
			t.Errorf("%q: got %d, want none", s, got)
		}
	}
}

func TestAClockReadingHasDigitsOnly(t *testing.T) {
	for at := range 12 {
		for c := range 256 {
			s := []byte("000101000000")
			s[at] = byte(c)
			_, ok := parseClock(string(s))
			// What the others make of it: months to 11, days to 31, hours to 20.
			limit := [...]byte{9, 9, 1, 9, 3, 9, 2, 9, 5, 9, 5, 9}[at]
			want := c >= '0' && c <= '0'+int(limit)
			if c == '0' && (at == 3 || at == 5) {
				want = false // no month, no day is zero
			}
			if ok != want {
				t.Errorf("%q: got %v, want %v", s, ok, want)
			}
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "564646465266": 564646465266, "7258118399999": 7258118399999, "0000000000001": 1,
		"0": 0, "": 0, "7258118400000": 0, "99999999999999999999999999": 0, "-5": 0, "1.5": 0, "12a": 0, "1\t": 0,
	} {
		got, ok := parseMillis(s)
		if ok != (want > 0) || ok && got != want {
			t.Errorf("%q: got %d, %v, want %d", s, got, ok, want)
		}
	}
	if got, want := time.UnixMilli(maxMillis).UTC().Year(), 2199; got != want {
		t.Errorf("the last is of the year %d, want %d", got, want)
	}
}
