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
// see a change within Delay of one another.
type Order struct {
	// Delay is how long after it saw a change a replica opens what it gains.
	Delay time.Duration
	// ConnectBeforeClose has a replica keep what it loses for twice the Delay: until
	// whoever gains it has surely opened it. Otherwise it lets go at once.
	//
	// Of two replicas that see a change less than a Delay apart, the one that gains
	// opens one Delay after it saw the change. By the time of the other that is between
	// 0 and 2: it knows of the overlap already, and has not closed yet. And what it
	// closes at 2 is closed before 3 by the time of the one that gains. At 3 a change is
	// through; the next one begins then at the earliest, so that all replicas begin
	// that, too, less than a Delay apart.
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
	// GainsAt is when what was not held is opened; zero: it is.
	GainsAt time.Time `json:"gains_at,omitzero"`

	// What follows is set where the change connects before it closes; there is one
	// Former part then. It is held until LosesAt; zero: it is not any more. At
	// OverlapsUntil no other replica holds what is this one's, and the change to Then
	// begins, if there is to be one.
	LosesAt       time.Time `json:"loses_at,omitzero"`
	OverlapsUntil time.Time `json:"overlaps_until,omitzero"`
	Then          *Part     `json:"then,omitempty"`
}

// To gives s with another part, at now. A change on the heels of one that connects
// before it closes waits until that one is through; on the heels of one that does
// not, it goes on in that one's order.
func (s Split) To(to Part, now time.Time, order Order) Split {
	s = s.At(now, order.Delay)
	switch {
	case s.overlapping() && to == s.Part:
		s.Then = nil
		return s
	case s.overlapping():
		s.Then = &to
		return s
	case to == s.Part:
		return Split{Part: s.Part, Former: s.Former, GainsAt: s.GainsAt}
	}
	former := slices.Clone(s.Former)
	if !slices.Contains(former, s.Part) {
		former = append(former, s.Part)
	}
	next := Split{Part: to, Former: former, GainsAt: now.Add(order.Delay)}
	if order.ConnectBeforeClose && len(s.Former) == 0 {
		next.LosesAt = now.Add(losesAfter * order.Delay)
		next.OverlapsUntil = now.Add(overlapsAfter * order.Delay)
	}
	return next
}

// At gives s as it is at now: nothing is waited for after its time, nor for longer
// than delay makes it, whatever the clock showed when that time was stored. Whether
// a change follows is for [Split.Advance].
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
	over(&s.LosesAt, losesAfter*delay)
	if over(&s.OverlapsUntil, overlapsAfter*delay) && gained {
		s.Former = nil
	}
	return s
}

// Advance gives s as it is at now, and begins the change that waited for its turn.
func (s Split) Advance(now time.Time, order Order) Split {
	s = s.At(now, order.Delay)
	if s.Then == nil || s.overlapping() {
		return s
	}
	return s.To(*s.Then, now, order)
}

// Next is when something else is to be done than now; zero: not before the next
// change.
func (s Split) Next() time.Time {
	var next time.Time
	for _, at := range []time.Time{s.GainsAt, s.LosesAt, s.OverlapsUntil} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
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
		return s.GainsAt.IsZero() && s.Part.Holds(server, agent) || !s.LosesAt.IsZero() && !s.none(server, agent)
	}
	return s.Part.Holds(server, agent) && s.all(server, agent)
}

// Overlap is until when another replica may have a session of an agent that is held
// here; zero: none has.
func (s Split) Overlap(server, agent string) time.Time {
	if s.Part.Holds(server, agent) && s.all(server, agent) {
		return time.Time{}
	}
	return s.OverlapsUntil
}

// all reports whether an agent was in all former parts, none whether in none of them.
func (s Split) all(server, agent string) bool {
	return !slices.ContainsFunc(s.Former, func(p Part) bool { return !p.Holds(server, agent) })
}

func (s Split) none(server, agent string) bool {
	return !slices.ContainsFunc(s.Former, func(p Part) bool { return p.Holds(server, agent) })
}

func (s Split) equal(other Split) bool {
	return s.Part == other.Part && slices.Equal(s.Former, other.Former) && s.GainsAt.Equal(other.GainsAt) &&
		s.LosesAt.Equal(other.LosesAt) && s.OverlapsUntil.Equal(other.OverlapsUntil) &&
		(s.Then == nil) == (other.Then == nil) && (s.Then == nil || *s.Then == *other.Then)
}

// check reports what no Split that was made here would have.
func (s Split) check() error {
	parts := append([]Part{s.Part}, s.Former...)
	if s.Then != nil {
		parts = append(parts, *s.Then)
	}
	for _, p := range parts {
		if p.Count < 1 || p.Count > source.MaxReplicas {
			return fmt.Errorf("replicas: a count of %d: expected 1 to %d", p.Count, source.MaxReplicas)
		}
	}
	return nil
}
