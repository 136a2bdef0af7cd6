package source

import (
	"maps"
	"testing"
	"time"
)

func TestTheClocksDifferByTheLeastTimeFromACallsStartToItsPop(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	type seen struct{ received, began int } // seconds since start
	for _, c := range []struct {
		name string
		pops []seen
		now  int
		want time.Duration
		ok   bool
	}{
		{"no pop", nil, 0, 0, false},
		{"calls that waited in the menu", []seen{{100, 40}, {101, 99}, {102, -600}}, 103, 2 * time.Second, true},
		{"a server that is ahead", []seen{{100, 107}, {101, 90}}, 103, -7 * time.Second, true},
		{"a server that is behind", []seen{{100, -500}, {101, -510}}, 103, 10 * time.Minute, true},
		{"the half before counts too", []seen{{0, -1}, {310, 200}}, 320, time.Second, true},
		{"what is old does not", []seen{{0, -1}, {310, 200}, {640, 600}}, 650, 40 * time.Second, true},
		{"a while without pops", []seen{{0, -1}}, 299, time.Second, true},
		{"in the second half", []seen{{0, -1}}, 599, time.Second, true},
		{"long without pops", []seen{{0, -1}}, 601, 0, false},
		{"a call from another century", []seen{{0, -1}, {1, 3_000_000_000}}, 2, -2_999_999_999 * time.Second, true},
	} {
		var k clock
		for _, p := range c.pops {
			k.saw(at(p.received), at(p.began))
		}
		if got, ok := k.offset(at(c.now)); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %t, want %v, %t", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestEachServerHasAClockOfItsOwn(t *testing.T) {
	c, now := newClocks(), time.Now()
	c.of("hq").saw(now, now.Add(-time.Second))
	c.of("branch").saw(now, now.Add(time.Minute))
	c.of("quiet")
	want := map[string]float64{"hq": 1, "branch": -60}
	if got := maps.Collect(c.offsets(now)); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
