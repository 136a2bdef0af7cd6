package bench

import (
	"path/filepath"
	"time"
)

// settle verifies and makes the figures of what was observed.
func (m *measurement) settle(p Plan, f *Figures, s *subscriber, state loadState, start time.Time, before, after Usage) error {
	var delivered []int64
	arrivals := s.taken()
	m.result.Verified, delivered = ledger{plan: p, sent: state.Sent, missed: state.Missed}.verify(arrivals)
	read := make([]int64, len(delivered))
	bytes := 0
	for _, a := range arrivals {
		if a.n < int64(len(read)) {
			read[a.n] = a.read
		}
		bytes += a.bytes
	}
	f.BodyBytesPerPop = float64(bytes) / float64(max(1, len(arrivals)))
	from := func(n int) int64 { return start.Add(p.Due(n)).UnixNano() }
	f.Latency = map[string]*Latency{Read: spread(read, from)}
	if m.result.LatencyFrom == "read" {
		from = func(n int) int64 { return read[n] }
		delete(f.Latency, Read)
	} else {
		f.Latency[Written] = state.Late
	}
	stamps := map[string][]int64{}
	if p.Count > 0 { // else it was read afterwards
		stamps[Delivered] = delivered
	}
	for _, instant := range []string{Spooled, Acknowledged} {
		places, err := m.stamps(instant, len(delivered)-1, p.places())
		if err != nil {
			return err
		}
		stamps[instant] = places
	}
	last := start
	for instant, places := range stamps {
		if l := spread(places, from); l != nil { // without a sink nothing is acknowledged
			f.Latency[instant] = l
		}
		if t := newest(places); t > 0 {
			if m.o.Burst {
				if f.UntilSeconds == nil {
					f.UntilSeconds = map[string]float64{}
				}
				f.UntilSeconds[instant] = time.Unix(0, t).Sub(start).Seconds()
			}
			if at := time.Unix(0, t); at.After(last) {
				last = at
			}
		}
	}
	return f.used(before, after, last.Sub(start))
}

// stamps copies the instants of pops 1 to n.
func (m *measurement) stamps(instant string, n, places int) ([]int64, error) {
	s, err := OpenStamps(filepath.Join(m.dir, instant), places)
	if err != nil {
		return nil, err
	}
	copied := make([]int64, n+1)
	for i := 1; i <= n; i++ {
		copied[i] = s.At(i)
	}
	return copied, s.Close()
}

func newest(places []int64) (t int64) {
	for _, at := range places {
		t = max(t, at)
	}
	return t
}

// spread is how long after from pops came.
func spread(places []int64, from func(n int) int64) *Latency {
	h := newHistogram()
	for n := 1; n < len(places); n++ {
		if since := from(n); places[n] != 0 && since != 0 {
			h.add(time.Duration(places[n] - since))
		}
	}
	return h.latency()
}
