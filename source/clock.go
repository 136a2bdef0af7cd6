package source

import (
	"iter"
	"maps"
	"sync"
	"time"
)

// clockHalf is half of the time that a clock looks back over.
const clockHalf = 5 * time.Minute

// clock compares ours with that of an LQ server by its pops. A pop tells when its
// call began, on the server's clock; we know when the pop came. The time between
// the two is the caller's time in the voice menu and the queue, and the difference
// of the clocks; the least of many is close to the difference alone. A pop that
// comes before its call began proves that the server's clock is ahead of ours; one
// that is behind shows as far as it exceeds the shortest way to an agent.
//
// It keeps the least of this half and of the half before: a single pop with a
// wrong time is forgotten in ten minutes.
type clock struct {
	mu            sync.Mutex
	from          time.Time // when this half began; zero before the first pop
	this, before  time.Duration
	some, earlier bool // there was a pop in this half, in the one before
}

// saw notes a pop that came at received of a call that began at began.
func (c *clock) saw(received, began time.Time) {
	difference := received.Sub(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(received)
	if !c.some || difference < c.this {
		c.this, c.some = difference, true
	}
}

// turn begins a new half where this one is over.
func (c *clock) turn(now time.Time) {
	switch age := now.Sub(c.from); {
	case age < clockHalf:
	case age < 2*clockHalf:
		c.before, c.earlier, c.some = c.this, c.some, false
		c.from = now
	default:
		c.earlier, c.some = false, false
		c.from = now
	}
}

// offset is our clock less the server's; ok is false where no pop of the last
// minutes told.
func (c *clock) offset(now time.Time) (d time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	switch {
	case c.some && c.earlier:
		return min(c.this, c.before), true
	case c.some:
		return c.this, true
	default:
		return c.before, c.earlier
	}
}

// clocks has one for each LQ server.
type clocks struct {
	mu     sync.Mutex
	byName map[string]*clock
}

func newClocks() *clocks { return &clocks{byName: map[string]*clock{}} }

// of gives the server's clock. Servers are those of the configuration.
func (c *clocks) of(server string) *clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName[server] == nil {
		c.byName[server] = &clock{}
	}
	return c.byName[server]
}

// offsets gives, in seconds, those that are known at now.
func (c *clocks) offsets(now time.Time) iter.Seq2[string, float64] {
	c.mu.Lock()
	all := maps.Clone(c.byName)
	c.mu.Unlock()
	return func(yield func(string, float64) bool) {
		for server, clock := range all {
			if d, ok := clock.offset(now); ok && !yield(server, d.Seconds()) {
				return
			}
		}
	}
}
