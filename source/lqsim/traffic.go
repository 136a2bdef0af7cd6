package lqsim

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/callpop/connector/source/pop"
)

// maxRate bounds a traffic's pops a second.
const maxRate = 1e6

// TrafficOptions configure a [Traffic].
type TrafficOptions struct {
	// Agents get the calls. At least one.
	Agents []string
	// Rate is the pops a second, over all agents; 0 for as fast as they are taken.
	Rate float64
	// Even spaces the pops evenly; otherwise they come as a Poisson process.
	Even bool
	// Count ends the traffic after so many pops; 0 for no end.
	Count int
	// Format is t1v1 to t1v5 or [Mixed]. Default t1v5.
	Format string
	// Charset is [UTF8] or [GB18030]. Default UTF8.
	Charset string
	// Seed makes the calls: the same seed, agents, format and rate give the same
	// agents, numbers, serial numbers, modes, IVR data and keys.
	Seed uint64
	// Start is the time of the first call; with the same Start too, the pops are
	// the same to the byte. Default: when the first pop is asked for.
	Start time.Time
	// FirstSN is the serial number of the first call. Default 1000.
	FirstSN uint64
	// Location is the server's zone for tm. Default UTC+8.
	Location *time.Location
}

// Offer is one screen-pop that the traffic offers to an agent.
type Offer struct {
	// Sequence counts from 1.
	Sequence int
	// Offset is when it is due, counted from the first call's time.
	Offset time.Duration
	Agent  string
	Format string
	// Pop is what Raw holds, as far as Format can carry it.
	Pop pop.Pop
	// Raw is the pop string, without the length in front.
	Raw []byte
	// RePop marks one that the agent asked for again; its bytes may be the same.
	RePop bool
}

// Traffic makes up what a call centre's server sends: calls that ring, are passed
// on, become conferences, and pop again. It is not safe for concurrent use.
type Traffic struct {
	opts     TrafficOptions
	exchange *exchange
	start    time.Time
	offset   time.Duration
	made     int
	pending  plans
}

// plan is what still comes of a call.
type plan struct {
	due   int // the number of pops made by then
	order int // the call's place, where several are due
	call  *call
	steps []planStep
}

type planStep uint8

const (
	stepTransfer planStep = iota
	stepThreeWay
	stepRePop
)

// plans is a heap by due, then order.
type plans []*plan

func (p plans) Len() int { return len(p) }
func (p plans) Less(i, j int) bool {
	return p[i].due < p[j].due || p[i].due == p[j].due && p[i].order < p[j].order
}
func (p plans) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *plans) Push(x any)   { *p = append(*p, x.(*plan)) }
func (p *plans) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// NewTraffic checks the options.
func NewTraffic(opts TrafficOptions) (*Traffic, error) {
	if opts.Format == "" {
		opts.Format = pop.T1V5
	}
	if opts.Charset == "" {
		opts.Charset = UTF8
	}
	switch {
	case len(opts.Agents) == 0:
		return nil, errors.New("traffic: no agents: expected at least one")
	case math.IsNaN(opts.Rate) || opts.Rate < 0 || opts.Rate > maxRate:
		return nil, fmt.Errorf("traffic: rate %g: expected pops a second, from 0 to %g", opts.Rate, float64(maxRate))
	case opts.Count < 0:
		return nil, fmt.Errorf("traffic: count %d: expected 0 or more", opts.Count)
	}
	if err := cmp.Or(checkAgents(opts.Agents), checkFormat(opts.Format), checkCharset(opts.Charset)); err != nil {
		return nil, fmt.Errorf("traffic: %w", err)
	}
	return &Traffic{
		opts:     opts,
		exchange: newExchange(opts.Seed, opts.FirstSN, opts.Location),
		start:    opts.Start,
	}, nil
}

// Next returns the next pop; false once Count were made.
func (t *Traffic) Next() (Offer, bool) {
	if t.opts.Count > 0 && t.made >= t.opts.Count {
		return Offer{}, false
	}
	if t.start.IsZero() {
		t.start = time.Now()
	}
	if t.made > 0 {
		t.offset += t.gap()
	}
	t.made++
	offer := Offer{Sequence: t.made, Offset: t.offset}
	var c *call
	if len(t.pending) > 0 && t.pending[0].due <= t.made {
		p := heap.Pop(&t.pending).(*plan)
		c = p.call
		offer.Pop, offer.RePop = t.follow(c, p.steps[0])
		t.plan(c, p.order, p.steps[1:])
	} else {
		c = t.exchange.begin(t.start.Add(t.offset), t.mode(), t.opts.Format, t.opts.Charset)
		offer.Pop = c.ring(t.agent(""), c.mode)
		t.plan(c, t.made, t.steps())
	}
	offer.Agent = offer.Pop.Agent
	offer.Format = c.format
	raw, err := encode(&offer.Pop, c.format, c.charset)
	if err != nil {
		panic("lqsim: a pop made up by the traffic does not encode: " + err.Error())
	}
	offer.Raw = raw
	return offer, true
}

// gap is the time from one pop to the next. Without a rate they are due at once.
func (t *Traffic) gap() time.Duration {
	if t.opts.Rate == 0 {
		return 0
	}
	even := float64(time.Second) / t.opts.Rate
	if t.opts.Even {
		return time.Duration(even)
	}
	return time.Duration(t.exchange.rng.ExpFloat64() * even)
}

// mode is a new call's.
func (t *Traffic) mode() int {
	switch at := t.exchange.rng.IntN(100); {
	case at < 80:
		return modeInbound
	case at < 90:
		return modeManualOutbound
	case at < 98:
		return modeAutoOutbound
	case at < 99:
		return modeTest
	default:
		return modeReserved
	}
}

// agent picks one, another than not if there is another.
func (t *Traffic) agent(not string) string {
	agents := t.opts.Agents
	i := t.exchange.rng.IntN(len(agents))
	for range agents {
		if agents[i] != not {
			break
		}
		i = (i + 1) % len(agents)
	}
	return agents[i]
}

// steps is what happens to a new call after it has rung.
func (t *Traffic) steps() []planStep {
	switch at := t.exchange.rng.IntN(100); {
	case at < 66:
		return nil
	case at < 78:
		return []planStep{stepTransfer}
	case at < 84:
		return []planStep{stepThreeWay}
	case at < 94:
		return []planStep{stepRePop}
	default:
		return []planStep{stepTransfer, stepThreeWay, stepRePop}
	}
}

// plan sets when the next of a call's steps is due: two to twelve seconds of this
// rate's pops on, counted in pops so that the seed alone decides, and at most a
// thousand so that few calls are kept.
func (t *Traffic) plan(c *call, order int, steps []planStep) {
	if len(steps) == 0 {
		return
	}
	wait := 1 + t.exchange.rng.IntN(50)
	if t.opts.Rate > 0 {
		seconds := 2 + 10*t.exchange.rng.Float64()
		wait = min(max(1, int(seconds*t.opts.Rate)), 1000)
	}
	heap.Push(&t.pending, &plan{due: t.made + wait, order: order, call: c, steps: steps})
}

// follow takes one of a call's steps. With one agent alone, nobody is there to
// pass a call on to: it pops again.
func (t *Traffic) follow(c *call, step planStep) (p pop.Pop, rePop bool) {
	other := t.agent(c.holder)
	switch {
	case step == stepRePop || other == c.holder:
		if t.exchange.rng.IntN(2) == 0 {
			// The IVR has more data by now; otherwise the bytes are the same.
			c.pop.Data = ivrData(t.exchange.rng)
		}
		return c.rePop(c.holder), true
	case step == stepTransfer:
		return c.transfer(other), false
	default:
		return c.threeWay(other), false
	}
}

// Tally counts what a traffic did.
type Tally struct {
	// Sent were taken by send; Missed is those for which it gave an error.
	Sent, Missed int
}

// Run offers each pop to send when it is due, until Count are done, and returns
// nil, or until ctx is done, and returns its cause. A traffic that falls behind
// catches up at once. What send refuses is counted and gone, as with the real
// server.
func (t *Traffic) Run(ctx context.Context, send func(agent string, raw []byte) error) (Tally, error) {
	var tally Tally
	begun := time.Now()
	first := time.Duration(-1)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return tally, context.Cause(ctx)
		}
		offer, ok := t.Next()
		if !ok {
			return tally, nil
		}
		if first < 0 {
			first = offer.Offset
		}
		if wait := offer.Offset - first - time.Since(begun); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return tally, context.Cause(ctx)
			case <-timer.C:
			}
		}
		if send(offer.Agent, offer.Raw) == nil {
			tally.Sent++
		} else {
			tally.Missed++
		}
	}
}
