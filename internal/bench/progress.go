package bench

import (
	"errors"
	"path/filepath"
)

// progress counts the pops that the connector has done with: they are stored and, where
// there is a sink, the call that published them has returned. A subscriber can have
// one before that.
type progress struct {
	instants []*counter
}

func (m *measurement) openProgress(p Plan) (*progress, error) {
	names := []string{Spooled}
	if m.o.Sink != SinkSpool {
		names = append(names, Acknowledged)
	}
	counts := &progress{}
	for _, name := range names {
		stamps, err := OpenStamps(filepath.Join(m.dir, name), p.places())
		if err != nil {
			return nil, errors.Join(err, counts.close())
		}
		counts.instants = append(counts.instants, &counter{stamps: stamps, next: 1})
	}
	return counts, nil
}

// upTo counts those of pops 1 to last.
func (p *progress) upTo(last int) int {
	n := last
	for _, c := range p.instants {
		n = min(n, c.upTo(last))
	}
	return n
}

func (p *progress) close() (err error) {
	for _, c := range p.instants {
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
