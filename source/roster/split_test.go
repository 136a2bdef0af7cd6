package roster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
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
		s = s.To(to, at, Order{Delay: delay})
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
	if s.At(at.Add(delay-1), delay).Next().IsZero() || !s.At(at.Add(delay), delay).Next().IsZero() {
		t.Error("the wait is not the delay")
	}
	// A clock that was set back since makes no wait longer than the delay.
	if got, want := s.At(start.Add(-time.Hour), delay).GainsAt, start.Add(-time.Hour+delay); !got.Equal(want) {
		t.Errorf("after the clock was set back it waits until %v, want %v", got, want)
	}
	// The same part again, as at a restart, changes nothing.
	if again := s.To(s.Part, at, Order{Delay: delay}); !again.equal(s) {
		t.Errorf("got %+v, want %+v", again, s)
	}
}

// replica is one of several in a test, whose clock is the test's.
type replica struct {
	split Split
	held  map[string]bool
	// overlap is what was declared of the agents that are held.
	overlap map[string]time.Time
}

// apply is what a daemon does after each change of the split.
func (r *replica) apply(agents []string) {
	r.held = map[string]bool{}
	for _, id := range agents {
		if r.split.Holds("hq", id) {
			r.held[id] = true
			r.overlap[id] = r.split.Overlap("hq", id)
		}
	}
}

// sighting is when a replica sees a change.
type sighting struct {
	at      time.Time
	replica int
	count   int
}

// TestReplicasThatSeeAChangeWithinTheDelay changes the count again and again, now and
// then before the change before is through, and has each replica see it at a time of
// its own. Without overlap no agent has two sessions at any time. With it each has at
// least one, and where it has two, both replicas have declared it.
func TestReplicasThatSeeAChangeWithinTheDelay(t *testing.T) {
	const delay, most, changes = 30 * time.Second, 5, 12
	agents := make([]string, 60)
	for i := range agents {
		agents[i] = fmt.Sprint(801 + i)
	}
	for _, order := range []Order{{Delay: delay}, {Delay: delay, ConnectBeforeClose: true}} {
		t.Run(fmt.Sprintf("connect_before_close=%v", order.ConnectBeforeClose), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			twice := 0
			for range 40 {
				start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
				count := 1 + random.IntN(most)
				replicas := make([]*replica, most)
				for i := range replicas {
					replicas[i] = &replica{split: Split{Part: Part{count, i}}, overlap: map[string]time.Time{}}
					replicas[i].apply(agents)
				}
				var sightings []sighting
				see := func(at time.Time) {
					count = 1 + random.IntN(most)
					for i := range replicas {
						sightings = append(sightings, sighting{at.Add(time.Duration(random.Int64N(int64(delay)))), i, count})
					}
				}
				for at, n := start, 0; n < changes; n++ {
					at = at.Add(3*delay + time.Duration(random.Int64N(int64(3*delay))))
					see(at)
					if random.IntN(2) == 0 { // on its heels, such that everybody sees it in time
						see(at.Add(delay + time.Duration(random.Int64N(int64(delay)))))
						at = at.Add(3 * delay)
					}
				}
				slices.SortFunc(sightings, func(a, b sighting) int { return a.at.Compare(b.at) })
				look := func(at time.Time) {
					t.Helper()
					for _, id := range agents {
						holders, undeclared := 0, 0
						for _, r := range replicas {
							if r.held[id] {
								holders++
								if r.overlap[id].Before(at) {
									undeclared++
								}
							}
						}
						if holders > 1 {
							twice++
						}
						if !order.ConnectBeforeClose && holders > 1 || order.ConnectBeforeClose && (holders == 0 || holders > 1 && undeclared > 0) {
							t.Fatalf("agent %s, %v after the start: %d replicas have a session, %d of them without having declared an overlap", id, at.Sub(start), holders, undeclared)
						}
					}
				}
				for {
					// What comes next: a sighting, or a step of a replica.
					var at time.Time
					var next *replica
					for _, r := range replicas {
						if due := r.split.Next(); !due.IsZero() && (next == nil || due.Before(at)) {
							at, next = due, r
						}
					}
					seen := len(sightings) > 0 && (next == nil || !at.Before(sightings[0].at))
					if !seen && next == nil {
						break
					}
					if seen {
						at = sightings[0].at
					}
					look(at)
					if seen {
						s := sightings[0]
						sightings = sightings[1:]
						next = replicas[s.replica]
						next.split = restarted(t, next.split.To(Part{s.count, s.replica}, at, order))
					} else {
						next.split = restarted(t, next.split.Advance(at, order))
					}
					next.apply(agents)
					look(at)
				}
				for i, r := range replicas {
					for _, id := range agents {
						if got, want := r.held[id], (Part{count, i}).Holds("hq", id); got != want {
							t.Fatalf("agent %s: replica %d of %d holds it at rest: %v, want %v", id, i, count, got, want)
						}
					}
				}
			}
			if order.ConnectBeforeClose && twice == 0 {
				t.Error("nothing ever overlapped")
			}
		})
	}
}

// restarted is a split as it comes back from the file.
func restarted(t *testing.T, s Split) (again Split) {
	t.Helper()
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err = cmp.Or(err, again.check()); err != nil || !again.equal(s) {
		t.Fatalf("%s came back as %+v, %v", text, again, err)
	}
	return again
}

// TestAChangeOnTheHeelsOfAnother waits for one that connects before it closes, and
// goes on in the order of one that does not, whatever is configured by then.
func TestAChangeOnTheHeelsOfAnother(t *testing.T) {
	const delay = 30 * time.Second
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	closing, connecting := Order{Delay: delay}, Order{Delay: delay, ConnectBeforeClose: true}

	s := Split{Part: Part{1, 0}}.To(Part{2, 0}, start, connecting).To(Part{3, 0}, start.Add(delay/2), closing)
	if s.Part != (Part{2, 0}) || !s.overlapping() {
		t.Errorf("it did not wait: %+v", s)
	}
	revoked := s.To(Part{2, 0}, start.Add(delay), closing).Advance(start.Add(3*delay), closing)
	if !revoked.equal(Split{Part: Part{2, 0}}) {
		t.Errorf("after it was revoked: %+v", revoked)
	}
	if s = s.Advance(start.Add(3*delay-1), closing); s.Part != (Part{2, 0}) {
		t.Errorf("it did not wait to the end: %+v", s)
	}
	s = s.Advance(start.Add(3*delay), closing)
	if want := (Split{Part: Part{3, 0}, Former: []Part{{2, 0}}, GainsAt: start.Add(4 * delay)}); !s.equal(want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
	s = s.To(Part{1, 0}, start.Add(4*delay-1), connecting)
	if want := (Split{Part: Part{1, 0}, Former: []Part{{2, 0}, {3, 0}}, GainsAt: start.Add(5*delay - 1)}); !s.equal(want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
	// A clock that was set back since makes no wait longer than it was to be.
	s = Split{Part: Part{1, 0}}.To(Part{2, 0}, start, connecting)
	early := start.Add(-time.Hour)
	s = s.At(early, delay)
	if !s.GainsAt.Equal(early.Add(delay)) || !s.LosesAt.Equal(early.Add(2*delay)) || !s.OverlapsUntil.Equal(early.Add(3*delay)) {
		t.Errorf("after the clock was set back: %+v", s)
	}
}
