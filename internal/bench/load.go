package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// loadOptions make an LQ server that writes a plan's pops.
type loadOptions struct {
	Plan      Plan          `json:"plan"`
	Heartbeat time.Duration `json:"heartbeat"`
}

// loadReady is where it listens.
type loadReady struct {
	Address string `json:"address"`
}

// loadStart says when pop 1 is due.
type loadStart struct {
	At time.Time `json:"at"`
	// Window is how many pops may be on their way where the plan has no rate.
	Window int `json:"window"`
}

// loadState is how far the load has come.
type loadState struct {
	Live   int `json:"live"`
	Sent   int `json:"sent"`
	Missed int `json:"missed"`
	// Bytes were written, lengths included.
	Bytes int64 `json:"bytes"`
	// Heartbeats and Replies are the server's counts.
	Heartbeats int  `json:"heartbeats"`
	Replies    int  `json:"replies"`
	Done       bool `json:"done"`
	// Late is how long after they were due pops were written.
	Late *Latency `json:"late,omitempty"`
	// FirstAccepted and AllUp bound the time in which the sessions came up, as the
	// server saw it.
	FirstAccepted time.Time `json:"first_accepted"`
	AllUp         time.Time `json:"all_up"`
	// Registered is how often sessions registered: more than there are means that
	// some were lost on the way.
	Registered int `json:"registered"`
}

// load is the process that makes the load.
type load struct {
	o      loadOptions
	server *lqsim.Server
	cancel context.CancelFunc
	work   sync.WaitGroup
	ran    error

	sent, missed, bytes atomic.Int64
	// finish is set when no more are to be written, done once none is any more.
	finish, done atomic.Bool
	// allowed is the last pop that may be written where there is no rate; allow
	// holds a token when it has grown.
	allowed atomic.Int64
	allow   chan struct{}

	mu                   sync.Mutex // guards what follows
	late                 histogram
	firstAccepted, allUp time.Time
}

func startLoad(ctx context.Context, options json.RawMessage) (Part, any, error) {
	l := &load{allow: make(chan struct{}, 1), late: newHistogram()}
	if err := json.Unmarshal(options, &l.o); err != nil {
		return nil, nil, err
	}
	if err := raiseDescriptors(l.o.Plan.Sessions); err != nil {
		return nil, nil, err
	}
	var up atomic.Int64
	server, err := lqsim.New(lqsim.Options{
		Heartbeat: l.o.Heartbeat,
		OnSession: func(s lqsim.Session) {
			if s.End != "" {
				up.Add(-1)
				return
			}
			now := time.Now()
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.firstAccepted.IsZero() {
				l.firstAccepted = now
			}
			if up.Add(1) == int64(l.o.Plan.Sessions) && l.allUp.IsZero() {
				l.allUp = now
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	l.server = server
	ctx, l.cancel = context.WithCancel(ctx)
	l.work.Go(func() { l.ran = server.Run(ctx) })
	return l, loadReady{Address: server.Addr().String()}, nil
}

// Ask answers state, and takes start, allow and finish.
func (l *load) Ask(ctx context.Context, what string, with json.RawMessage) (any, error) {
	switch what {
	case "state":
		return l.state(), nil
	case "start":
		var s loadStart
		if err := json.Unmarshal(with, &s); err != nil {
			return nil, err
		}
		l.allowed.Store(int64(s.Window))
		l.work.Go(func() { l.write(ctx, s.At) })
		return nil, nil
	case "allow":
		var upTo int64
		if err := json.Unmarshal(with, &upTo); err != nil {
			return nil, err
		}
		l.allowed.Store(upTo)
		select {
		case l.allow <- struct{}{}:
		default:
		}
		return loadState{Sent: int(l.sent.Load())}, nil
	case "finish":
		l.finish.Store(true)
		return l.state(), nil
	default:
		return nil, unknown(what)
	}
}

func (l *load) state() loadState {
	totals := l.server.Totals()
	l.mu.Lock()
	defer l.mu.Unlock()
	return loadState{
		Live: totals.Live, Sent: int(l.sent.Load()), Missed: int(l.missed.Load()), Bytes: l.bytes.Load(),
		Heartbeats: totals.Heartbeats, Replies: totals.Replies, Done: l.done.Load(), Late: l.late.latency(),
		FirstAccepted: l.firstAccepted, AllUp: l.allUp, Registered: totals.Registered,
	}
}

// write writes pop after pop when it is due, and without a rate whenever it is
// allowed.
func (l *load) write(ctx context.Context, start time.Time) {
	defer l.done.Store(true)
	pace := newPacer()
	defer pace.stop()
	p := &l.o.Plan
	var buffer []byte
	for n := 1; p.Count == 0 || n <= p.Count; n++ {
		due := start.Add(p.Due(n))
		if !pace.until(ctx, due) {
			return
		}
		for p.Count == 0 && int64(n) > l.allowed.Load() && !l.finish.Load() {
			select {
			case <-ctx.Done():
				return
			case <-l.allow:
			case <-time.After(10 * time.Millisecond): // to see the end
			}
		}
		if l.finish.Load() {
			return
		}
		raw, session := p.Append(buffer[:0], n)
		buffer = raw
		if err := l.server.Send(Agent(session), raw); err != nil {
			l.missed.Add(1)
			continue
		}
		l.sent.Add(1)
		l.bytes.Add(int64(len(raw) + 1))
		l.mu.Lock()
		l.late.add(time.Since(due))
		l.mu.Unlock()
	}
}

// Close ends the server.
func (l *load) Close() error {
	l.cancel()
	l.work.Wait()
	if l.ran != nil {
		return fmt.Errorf("the LQ server: %w", l.ran)
	}
	return nil
}
