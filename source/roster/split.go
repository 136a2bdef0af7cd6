package roster

import (
	"fmt"
	"slices"
	"time"

	"github.com/callpop/connector/source"
)

// Part is what one of several replicas holds of all rosters. An Index outside of
// [0, Count) holds nothing.
type Part struct {
	Count int `json:"count"`
	Index int `json:"index"`
}

// Holds reports whether an agent of a server is p's.
func (p Part) Holds(server, agent string) bool {
	return source.Owner(server, agent, p.Count) == p.Index
}

// Split is how the rosters are split over replicas: what is this one's, and what
// is to be waited for before it is held.
type Split struct {
	Part
	// Former are the parts from before, since the rosters were last at rest: what was
	// not in all of them may be another replica's until GainsAt.
	Former  []Part    `json:"former,omitempty"`
	GainsAt time.Time `json:"gains_at,omitzero"`
}

// To gives s with another part, at now: what s does not hold is gained after delay.
func (s Split) To(to Part, now time.Time, delay time.Duration) Split {
	s = s.At(now, delay)
	if to == s.Part {
		return s
	}
	former := slices.Clone(s.Former)
	if !slices.Contains(former, s.Part) {
		former = append(former, s.Part)
	}
	return Split{Part: to, Former: former, GainsAt: now.Add(delay)}
}

// At gives s as it is at now: nothing is waited for after GainsAt, nor for longer
// than delay, whatever the clock showed when GainsAt was stored.
func (s Split) At(now time.Time, delay time.Duration) Split {
	if latest := now.Add(delay); s.GainsAt.After(latest) {
		s.GainsAt = latest
	}
	if !s.GainsAt.After(now) {
		s.Former, s.GainsAt = nil, time.Time{}
	}
	return s
}

// Waiting reports whether something is waited for.
func (s Split) Waiting() bool { return len(s.Former) > 0 }

// Holds reports whether an agent of a server is held here now.
func (s Split) Holds(server, agent string) bool {
	return s.Part.Holds(server, agent) && !slices.ContainsFunc(s.Former, func(p Part) bool { return !p.Holds(server, agent) })
}

func (s Split) equal(other Split) bool {
	return s.Part == other.Part && slices.Equal(s.Former, other.Former) && s.GainsAt.Equal(other.GainsAt)
}

// check reports what no Split that was made here would have.
func (s Split) check() error {
	for _, p := range append([]Part{s.Part}, s.Former...) {
		if p.Count < 1 || p.Count > source.MaxReplicas {
			return fmt.Errorf("replicas: a count of %d: expected 1 to %d", p.Count, source.MaxReplicas)
		}
	}
	return nil
}
