package bench

import (
	"errors"
	"path/filepath"
)

// settled counts the pops that the connector has done with: they are stored and, where
// there is a sink, the call that published them has returned. A subscriber can have
// one before that.
type settled struct {
	instants []*counter
}

func (m *measurement) openSettled(p Plan) (*settled, error) {
	names := []string{Spooled}
	if m.o.Sink != SinkSpool {
		names = append(names, Acknowledged)
	}
	s := &settled{}
	for _, name := range names {
		stamps, err := OpenStamps(filepath.Join(m.dir, name), p.places())
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.instants = append(s.instants, &counter{stamps: stamps, next: 1})
	}
	return s, nil
}

// upTo counts those of pops 1 to last.
func (s *settled) upTo(last int) int {
	n := last
	for _, c := range s.instants {
		n = min(n, c.upTo(last))
	}
	return n
}

func (s *settled) close() (err error) {
	for _, c := range s.instants {
		err = errors.Join(err, c.stamps.Close())
	}
	return err
}

// counter counts the pops that have come to an instant.
type counter struct {
	stamps *Stamps
	next   int // all pops before it have come
}

// upTo counts those of pops 1 to last.
func (c *counter) upTo(last int) int {
	for c.next <= last && c.stamps.At(c.next) != 0 {
		c.next++
	}
	n := c.next - 1
	for i := c.next + 1; i <= last; i++ {
		if c.stamps.At(i) != 0 {
			n++
		}
	}
	return n
}
