package roster

import (
	"fmt"
	"testing"
	"time"
)

// TestWhatIsGainedIsHeldOnceTheOthersHaveLetGo takes a replica through changes that
// follow one another faster than the delay, and through restarts.
func TestWhatIsGainedIsHeldOnceTheOthersHaveLetGo(t *testing.T) {
	const delay = 30 * time.Second
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	parts := []Part{{1, 0}, {2, 0}, {3, 2}, {2, 1}}
	s, at := Split{Part: parts[0]}, start
	for _, to := range parts[1:] {
		at = at.Add(10 * time.Second)
		s = s.To(to, at, delay)
	}
	gained := 0
	for i := range 1000 {
		agent, all := fmt.Sprint(i), true
		for _, p := range parts {
			all = all && p.Holds("hq", agent)
		}
		if got := s.Holds("hq", agent); got != all {
			t.Fatalf("agent %s: held is %v while others may hold it; want %v", agent, got, all)
		}
		after := s.At(at.Add(delay), delay)
		if got, want := after.Holds("hq", agent), parts[3].Holds("hq", agent); got != want {
			t.Fatalf("agent %s: held is %v after the delay; want %v", agent, got, want)
		}
		if after.Holds("hq", agent) {
			gained++
		}
	}
	if gained == 0 {
		t.Error("nothing was gained")
	}
	if !s.At(at.Add(delay-1), delay).Waiting() || s.At(at.Add(delay), delay).Waiting() {
		t.Error("the wait is not the delay")
	}
	// A clock that was set back since makes no wait longer than the delay.
	if got, want := s.At(start.Add(-time.Hour), delay).GainsAt, start.Add(-time.Hour+delay); !got.Equal(want) {
		t.Errorf("after the clock was set back it waits until %v, want %v", got, want)
	}
	// The same part again, as at a restart, changes nothing.
	if again := s.To(s.Part, at, delay); !again.equal(s) {
		t.Errorf("got %+v, want %+v", again, s)
	}
}
