package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Run measures what o says. Where pops were lost or out of order it returns the
// result with an error.
func Run(ctx context.Context, o Options) (_ *Result, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := raiseDescriptors(o.Sessions); err != nil {
		return nil, err
	}
	o.Seconds = o.Duration.Seconds()
	r := &Result{StartedAt: time.Now().UTC(), Machine: thisMachine(), Options: o, LatencyFrom: "due"}
	if o.Rate == 0 && !o.Burst {
		r.LatencyFrom = "read"
	}
	dir, err := os.MkdirTemp("", "callpop-bench-*")
	if err != nil {
		return nil, err
	}
	m := &measurement{o: o, dir: dir, run: fmt.Sprintf("%08x", rand.Uint32()), result: r}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Sink == SinkNATS && o.NATS == "" {
		o.tell("starting a NATS server of our own")
		broker, ready, err := startChild[natsReady](ctx, &o, roleNATS, natsOptions{Dir: filepath.Join(dir, "broker")})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, broker.stop()) }()
		m.o.NATS = ready.URL
	}
	defer func() { err = errors.Join(err, m.clean(ctx)) }()
	if err := m.connector(ctx); err != nil {
		return nil, err
	}
	if o.Compare && o.Backlog == 0 {
		if err := m.reader(ctx); err != nil {
			return nil, err
		}
	}
	if o.Compare && !o.Idle && o.Sink != SinkSpool {
		if err := m.publisher(ctx); err != nil {
			return nil, err
		}
	}
	r.compare()
	return r, r.Verified.Err()
}

// measurement is a run under way.
type measurement struct {
	o   Options
	dir string
	// run names what this run makes in a broker.
	run    string
	result *Result
}

// closedWindow is how many pops are on their way where there is no rate. It is below
// what the spool's readers find in memory: a rate is kept up only where the sink does
// not fall behind for good, and with much more the load would hold that up.
const closedWindow = 1500

// closedPops bounds the pops of a run without a rate.
const closedPops = 20_000_000

// plan is the load's.
func (m *measurement) plan() Plan {
	p := Plan{Sessions: m.o.Sessions, Rate: m.o.Rate, Format: m.o.Format}
	switch {
	case m.o.Burst:
		p.Rate, p.Count = 0, m.o.Sessions
	case m.o.Rate > 0:
		p.Count = max(1, int(m.o.Rate*m.o.Duration.Seconds()))
	}
	return p
}

func (p *Plan) places() int {
	if p.Count > 0 {
		return p.Count
	}
	return closedPops
}

// poll asks until done says so, every interval, and at most for limit without
// progress: of what it returns, more is progress.
func poll(ctx context.Context, interval, limit time.Duration, what string, look func() (progress int, done bool, err error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	best, since := -1, time.Now()
	for {
		progress, done, err := look()
		switch {
		case err != nil || done:
			return err
		case progress > best:
			best, since = progress, time.Now()
		case time.Since(since) > limit:
			return fmt.Errorf("waited %v in vain for %s: %w", limit, what, errStalled)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

var errStalled = errors.New("there was no progress")

// await waits until count, which grows, is want. What does not come in time is no
// error: it shows in the verification.
func await(ctx context.Context, interval time.Duration, what string, want int, count func() int) error {
	err := poll(ctx, interval, deliverLimit, what, func() (int, bool, error) {
		n := count()
		return n, n >= want, nil
	})
	if errors.Is(err, errStalled) {
		return nil
	}
	return err
}

// Times without progress after which something is amiss.
const (
	connectLimit = time.Minute
	deliverLimit = 20 * time.Second
)

// startDelay is from the order to start until the first pop is due.
const startDelay = 200 * time.Millisecond

// send has the load write its pops and returns once it has written them all, with
// the instant at which the first was due. arrived counts those of the pops sent that
// have come to where they are on their way to.
func (m *measurement) send(ctx context.Context, l *child, p Plan, what string, arrived func(sent int) (int, error)) (time.Time, loadState, error) {
	start := time.Now().Add(startDelay)
	var state loadState
	if err := l.ask("start", loadStart{At: start, Window: closedWindow}, nil); err != nil {
		return start, state, err
	}
	interval := 20 * time.Millisecond
	if p.Count == 0 {
		interval = 2 * time.Millisecond
	}
	told := time.Now()
	err := poll(ctx, interval, deliverLimit+m.o.Duration, "the load", func() (int, bool, error) {
		n, err := arrived(state.Sent)
		if err != nil {
			return 0, false, err
		}
		switch {
		case p.Count > 0:
			err = l.ask("state", nil, &state)
		case time.Since(start) >= m.o.Duration:
			err = l.ask("finish", nil, &state)
		default:
			err = l.ask("allow", n+closedWindow, &state)
		}
		if now := time.Now(); now.Sub(told) >= time.Second {
			told = now
			m.o.progress("%s: %3.0f s, %d pops written, %d %s", m.o.Sink, now.Sub(start).Seconds(), state.Sent, n, what)
		}
		return state.Sent, state.Done, err
	})
	if err != nil {
		return start, state, err
	}
	// The last word, after the last pop.
	err = l.ask("state", nil, &state)
	return start, state, err
}
