//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// call is a call as one agent has it: its pops share the key with those of the
// agents that it was passed on to, and n counts them.
type call struct{ agent, sn string }

// pop makes the n-th pop of a call.
func (c call) pop(n int) []byte {
	return fmt.Appendf(nil, "H=t1v4,ch=2,ph=86307627,ty=5,tm=080711175931,op=%s,sn=%s,so=800,da=n:%d,dm=0;", c.agent, c.sn, n)
}

// parse reads such a pop back.
func parse(raw string) (c call, n int, ok bool) {
	field := func(name string) string {
		_, rest, _ := strings.Cut(raw, name)
		value, _, _ := strings.Cut(rest, ",")
		return value
	}
	n, err := strconv.Atoi(field(",da=n:"))
	c = call{field(",op="), field(",sn=")}
	return c, n, err == nil && c.agent != "" && c.sn != ""
}

// caller sends pops to all agents of a setup: a few calls for each, some of which
// the next agent has too, many pops to a call, each with the next number.
type caller struct {
	t     testing.TB
	lq    *lqsim.Server
	calls []call
	next  []int
	turn  int
	// repeat is the chance of a pop to be sent twice, as when an agent asks for it
	// again: the same bytes, two events.
	repeat float64

	tries  atomic.Int64
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// callsOfAgent is how many calls each agent has: few, so that an order can show.
const callsOfAgent = 3

func newCaller(s *setup, lq *lqsim.Server) *caller {
	c := &caller{t: s.t, lq: lq}
	for k := range callsOfAgent {
		for i := range s.agents {
			// The last call of an agent is the first of the one before.
			owner := i
			if k == callsOfAgent-1 {
				owner = (i + len(s.agents) - 1) % len(s.agents)
			}
			sn := 1000 + owner*callsOfAgent + k%(callsOfAgent-1)
			c.calls = append(c.calls, call{strings.Trim(s.agents[i], `"`), fmt.Sprint(sn)})
		}
	}
	c.next = make([]int, len(c.calls))
	s.t.Cleanup(c.stop)
	return c
}

// one sends the next pop, and reports whether it went out.
func (c *caller) one() bool {
	i := c.turn % len(c.calls)
	c.turn++
	raw := c.calls[i].pop(c.next[i])
	c.next[i]++
	c.tries.Add(1)
	if c.lq.Send(c.calls[i].agent, raw) != nil {
		return false
	}
	if c.repeat > 0 && rand.Float64() < c.repeat {
		_ = c.lq.Send(c.calls[i].agent, raw)
	}
	return true
}

// send sends n pops, at so many a second; 0 for as fast as they are taken. Those
// of agents without a session do not count.
func (c *caller) send(ctx context.Context, n, rate int) error {
	began := time.Now()
	for sent := 0; sent < n; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if rate > 0 {
			if due := began.Add(time.Duration(sent) * time.Second / time.Duration(rate)); time.Until(due) > 0 {
				pause(time.Until(due))
			}
		}
		if c.one() {
			sent++
		} else if rate == 0 && c.lq.Totals().Live == 0 {
			pause(time.Millisecond)
		} else if rate > 0 {
			pause(time.Second / time.Duration(rate))
		}
	}
	return nil
}

// sendAll sends n pops or fails the test.
func (c *caller) sendAll(n, rate int) {
	c.t.Helper()
	if err := c.send(patient(c.t), n, rate); err != nil {
		c.t.Fatal(err)
	}
}

// start sends at a rate until stop.
func (c *caller) start(rate int) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() {
		if err := c.send(ctx, 1<<60, rate); !errors.Is(err, context.Canceled) {
			c.t.Error(err)
		}
	})
}

// stop returns once nothing more is sent.
func (c *caller) stop() {
	if c.cancel != nil {
		c.cancel()
	}
	c.done.Wait()
}
