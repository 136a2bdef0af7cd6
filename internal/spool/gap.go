package spool

import (
	"maps"
	"slices"
	"time"
)

// Gap is a run of sequences without events, because of damage.
type Gap struct {
	// From and To are its first and last sequence.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// Lost is how many events were there: the first so many of the sequences. The
	// rest were never an event's; where damage took the end of a stream, it goes on
	// well beyond what may have been there.
	Lost uint64 `json:"lost"`
	// After and Before are when the events before and after the gap were stored;
	// zero where there is none.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
	// Loose is true for many gaps that were drawn together: there are events between.
	Loose bool `json:"loose,omitempty"`
	// Found is when the gap was reported; zero for one that is not yet.
	Found time.Time `json:"found,omitzero"`
	// Undelivered is how many of the lost events each sink had not had; a sink that
	// had them all is not in it.
	Undelivered map[string]uint64 `json:"undelivered,omitempty"`
}

// lostAfter is how many of the gap's lost events have sequences after one.
func (g *Gap) lostAfter(sequence uint64) uint64 {
	end := g.From + g.Lost // after the last lost one
	return end - min(end, max(g.From, sequence+1))
}

// neverGiven is how many of the sequences from one to another were no event's.
func (g *Gap) neverGiven(from, to uint64) uint64 {
	if g.Loose {
		return 0
	}
	from, end := max(from, g.From+g.Lost), min(to, g.To)+1
	return end - min(end, from)
}

// maxGaps bounds the gaps of a stream that are kept apart.
const maxGaps = 1000

// prune forgets gaps that are before the stream's first event and were reported
// long ago, and draws the oldest together where they are too many.
func (l *streamLedger) prune(old time.Time) {
	l.Gaps = slices.DeleteFunc(l.Gaps, func(g Gap) bool {
		return g.To < l.First && !g.Found.IsZero() && g.Found.Before(old)
	})
	for len(l.Gaps) > maxGaps {
		a, b := l.Gaps[0], l.Gaps[1]
		if a.To < l.First {
			l.Gaps = l.Gaps[1:]
			continue
		}
		a.Loose = true
		a.To, a.Lost, a.Before, a.Found = b.To, a.Lost+b.Lost, b.Before, b.Found
		undelivered := maps.Clone(a.Undelivered)
		for sink, n := range b.Undelivered {
			if undelivered == nil {
				undelivered = map[string]uint64{}
			}
			undelivered[sink] += n
		}
		a.Undelivered = undelivered
		l.Gaps[1] = a
		l.Gaps = l.Gaps[1:]
	}
}

// gaps returns the gaps of a stream.
func (s *Spool) gaps(st stream) []Gap {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return slices.Clone(s.books.ledger.Streams[st.name].Gaps)
}

// gapAt returns the gap that a sequence is in.
func (s *Spool) gapAt(st stream, sequence uint64) (Gap, bool) {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	for _, g := range s.books.ledger.Streams[st.name].Gaps {
		if g.From <= sequence && sequence <= g.To && !g.Loose {
			return g, true
		}
	}
	return Gap{}, false
}

// takenFrom is how many of the events from one sequence to another damage took.
func (g *Gap) takenFrom(from, to uint64) uint64 {
	from, end := max(from, g.From), min(to, g.To)+1
	if from >= end {
		return 0
	}
	return end - from - g.neverGiven(from, to)
}

// takenFrom is how many of a stream's events from one sequence to another damage
// took; where the gaps were drawn together, at most so many.
func (s *Spool) takenFrom(st stream, from, to uint64) (n uint64) {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	gaps := s.books.ledger.Streams[st.name].Gaps
	for i := range gaps {
		n += gaps[i].takenFrom(from, to)
	}
	return n
}

// neverGiven is how many of a stream's sequences from one to another were never an
// event's.
func (s *Spool) neverGiven(st stream, from, to uint64) (n uint64) {
	if from > to {
		return 0
	}
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	gaps := s.books.ledger.Streams[st.name].Gaps
	for i := range gaps {
		n += gaps[i].neverGiven(from, to)
	}
	return n
}
