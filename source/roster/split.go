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

// Order is how agents go from one replica to another. Either way all replicas have to
// see a change within Delay of one another, and changes have to be that far apart.
type Order struct {
	// Delay is how long after it saw a change a replica opens what it gains.
	Delay time.Duration
	// ConnectBeforeClose has a replica keep what it loses for twice the Delay: until
	// whoever gains it has surely opened it. Otherwise it lets go at once.
	//
	// Of two replicas that see a change less than a Delay apart, the one that gains
	// opens one Delay after it saw the change. By the time of the other that is between
	// 0 and 2: it knows of the overlap already, and has not closed yet. And what it
	// closes at 2 is closed before 3 by the time of the one that gains.
	ConnectBeforeClose bool
}

// What happens after a change that connects before it closes, in delays.
const (
	losesAfter    = 2
	overlapsAfter = 3
)

// Split is how the rosters are split over replicas: what is this one's, and what is
// still to come of the change that made it so.
type Split struct {
	Part
	// Former are the parts from before, since the rosters were last at rest. What was
	// not in all of them may be another replica's too.
	Former []Part `json:"former,omitempty"`
	// GainsAt is when what was not held is opened.
	GainsAt time.Time `json:"gains_at,omitzero"`

	// What follows is set where the change connects before it closes. Kept are the
	// parts of Former that are held until LosesAt, and OverlapsUntil is when no other
	// replica holds any more what is this one's.
	Kept          []Part    `json:"kept,omitempty"`
	LosesAt       time.Time `json:"loses_at,omitzero"`
	OverlapsUntil time.Time `json:"overlaps_until,omitzero"`
}

// To gives s with another part, at now. A change on the heels of another one goes in
// the order of that one, whatever order says.
func (s Split) To(to Part, now time.Time, order Order) Split {
	s = s.At(now, order.Delay)
	if to == s.Part {
		return s
	}
	next := Split{Part: to, Former: with(s.Former, s.Part), GainsAt: now.Add(order.Delay)}
	if !s.overlapping() && (len(s.Former) > 0 || !order.ConnectBeforeClose) {
		return next
	}
	next.Kept = s.Kept
	if s.GainsAt.IsZero() { // else s.Part was not opened
		next.Kept = with(s.Kept, s.Part)
	}
	next.LosesAt = now.Add(losesAfter * order.Delay)
	next.OverlapsUntil = now.Add(overlapsAfter * order.Delay)
	return next
}

// with gives a copy of parts with p.
func with(parts []Part, p Part) []Part {
	parts = slices.Clone(parts)
	if !slices.Contains(parts, p) {
		parts = append(parts, p)
	}
	return parts
}

// At gives s as it is at now: nothing is waited for after its time, nor for longer
// than delay makes it, whatever the clock showed when that time was stored.
func (s Split) At(now time.Time, delay time.Duration) Split {
	over := func(at *time.Time, longest time.Duration) bool {
		if latest := now.Add(longest); at.After(latest) {
			*at = latest
		}
		if at.After(now) {
			return false
		}
		*at = time.Time{}
		return true
	}
	gained := over(&s.GainsAt, delay)
	if over(&s.LosesAt, losesAfter*delay) {
		s.Kept = nil
	}
	if over(&s.OverlapsUntil, overlapsAfter*delay) && gained {
		s.Former = nil
	}
	return s
}

// Next is when something else is held than now; zero: not before the next change.
func (s Split) Next() time.Time {
	if s.GainsAt.IsZero() || !s.LosesAt.IsZero() && s.LosesAt.Before(s.GainsAt) {
		return s.LosesAt
	}
	return s.GainsAt
}

// DownSince is since when nobody may have held what is gained at GainsAt: the earliest
// time at which another replica can have seen the change, and have let go. Zero where
// nothing is waited for, or where the change connects before it closes.
func (s Split) DownSince(delay time.Duration) time.Time {
	if s.GainsAt.IsZero() || s.overlapping() {
		return time.Time{}
	}
	return s.GainsAt.Add(-2 * delay)
}

// overlapping reports whether s is in a change that connects before it closes.
func (s Split) overlapping() bool { return !s.OverlapsUntil.IsZero() }

// Holds reports whether an agent of a server is held here now.
func (s Split) Holds(server, agent string) bool {
	if s.overlapping() {
		return s.GainsAt.IsZero() && s.Part.Holds(server, agent) || holds(s.Kept, true, server, agent)
	}
	return s.Part.Holds(server, agent) && !holds(s.Former, false, server, agent)
}

// Overlap is until when another replica may have a session of an agent that is held
// here; zero: none has.
func (s Split) Overlap(server, agent string) time.Time {
	if s.Part.Holds(server, agent) && !holds(s.Former, false, server, agent) {
		return time.Time{}
	}
	return s.OverlapsUntil
}

// holds reports whether one of the parts holds an agent; where want is false, whether
// one does not.
func holds(parts []Part, want bool, server, agent string) bool {
	return slices.ContainsFunc(parts, func(p Part) bool { return p.Holds(server, agent) == want })
}

func (s Split) equal(other Split) bool {
	return s.Part == other.Part && slices.Equal(s.Former, other.Former) && s.GainsAt.Equal(other.GainsAt) &&
		slices.Equal(s.Kept, other.Kept) && s.LosesAt.Equal(other.LosesAt) && s.OverlapsUntil.Equal(other.OverlapsUntil)
}

// check reports what no Split that was made here would have.
func (s Split) check() error {
	for _, p := range slices.Concat([]Part{s.Part}, s.Former, s.Kept) {
		if p.Count < 1 || p.Count > source.MaxReplicas {
			return fmt.Errorf("replicas: a count of %d: expected 1 to %d", p.Count, source.MaxReplicas)
		}
	}
	return nil
}
