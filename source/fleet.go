package source

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/time/rate"

	"github.com/callpop/connector/schema"
)

// Connect opens one session for the origin's agent: dial and register. Its error,
// and that of the Session, say why there is none, as an [Ended] wherever they can.
// When ctx is done it gives up; it is done once Connect has returned.
type Connect func(ctx context.Context, o *Origin) (Session, error)

// Session is one that was opened.
type Session interface {
	// Read takes what the server sends until the session breaks, and says why; it
	// never returns nil. It calls heard at the first byte. [ErrAgain] is no end: it is
	// to be called again at once, on a goroutine of its own.
	Read(heard func()) error
	// Leave tells the server that the session ends. Read then takes what was on its
	// way, and returns. It does not block, may be called at any time, before Read
	// and after it too, and more than once.
	Leave()
}

// ErrAgain is what a [Session]'s Read returns when its goroutine's stack has grown: one
// that waits never gets its first, small stack back, a new one has it.
var ErrAgain = errors.New("the session goes on")

// Ended is how a session ended.
type Ended struct {
	// State is what it is now: failed, expired, reconnecting or closed.
	State schema.SessionState
	// Reason is one of a small set of words, for a metric's label.
	Reason string
	// LastHeard is when the last byte came from the server; zero if none did.
	LastHeard time.Time
	Err       error
}

func (e *Ended) Error() string { return e.Err.Error() }
func (e *Ended) Unwrap() error { return e.Err }

// FleetOptions describe the sessions of one source.
type FleetOptions struct {
	// Origins has one entry for each agent, as [Fleet.Set] takes them later.
	Origins []*Origin
	Connect Connect
	// Report takes every change between up and down. It must not block.
	Report func(*Origin, SessionChange)
	// ReconnectInterval bounds the pause before another attempt.
	ReconnectInterval time.Duration
	// DialRate paces new connections to one server; sources on one server share
	// it, see [NewDialRate].
	DialRate *rate.Limiter
	// Absences say since when an agent has had no session, and are told of each
	// change: the first session's gap begins there, or when Run is called where
	// that is not known. nil remembers nothing beyond this run.
	Absences *Absences
	Logger   *slog.Logger
	Meter    metric.Meter
}

// NewDialRate paces new connections to one server: perSecond of them, in bursts
// of a tenth.
func NewDialRate(perSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), dialBurst(perSecond))
}

// SetDialRate changes what [NewDialRate] made.
func SetDialRate(l *rate.Limiter, perSecond int) {
	l.SetLimit(rate.Limit(perSecond))
	l.SetBurst(dialBurst(perSecond))
}

func dialBurst(perSecond int) int { return max(1, perSecond/10) }

// Fleet keeps one session up for each agent of a roster that may change. It owns
// dialling, back-off, pacing, reports and metrics; [Connect] and [Session] only
// try once. An agent never has two sessions: one that is to be opened anew is
// opened once the old one has ended.
type Fleet struct {
	o      FleetOptions
	agents sync.WaitGroup // the members that have not ended
	dials  metric.Int64Counter
	ends   metric.Int64Counter
	labels sourceLabels

	mu sync.Mutex // guards what follows, and what members hold
	// listed are the origins that were set last, members those that there are,
	// also while they leave, by agent.
	listed  []*Origin
	members map[string]*member
	// edit numbers the calls of Set.
	edit uint64
	// up counts the sessions over which the server was heard and that are not
	// leaving, wanted the members that are not; short says that a session is
	// missing for another reason than an edit.
	up, wanted int
	short      bool
	// due are the members to dial for, in order; some may have gone.
	due []*member
	// attempts holds a token for each attempt under way.
	attempts          chan struct{}
	reconnectInterval time.Duration
	phase             fleetPhase
	// paused: nothing is dialled, see Pause. parted: the sessions are another
	// process's, see Part. adopted are those that were another process's, until Run.
	paused, parted bool
	adopted        []Handed
	// wake holds a token when due may have grown.
	wake chan struct{}
}

type fleetPhase uint8

const (
	fleetIdle fleetPhase = iota // Run was not called yet
	fleetRunning
	fleetDrained // nothing is opened any more, see Drain
	fleetOver
)

// NewFleet makes a Fleet. No connection is made until Run is called.
func NewFleet(o FleetOptions) (*Fleet, error) {
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.Absences == nil {
		o.Absences = NoAbsences()
	}
	f := &Fleet{
		o: o, members: map[string]*member{}, short: true,
		reconnectInterval: o.ReconnectInterval, wake: make(chan struct{}, 1),
		attempts: make(chan struct{}, maxAttempts),
	}
	var errs [2]error
	f.dials, errs[0] = o.Meter.Int64Counter("callpop.session.dials",
		metric.WithDescription("Attempts to open a session."), metric.WithUnit("{attempt}"))
	f.ends, errs[1] = o.Meter.Int64Counter("callpop.session.ends",
		metric.WithDescription("Attempts and sessions that ended, by reason."), metric.WithUnit("{session}"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	f.Set(o.Origins, "")
	return f, nil
}

// expect prepares for the listed agents before the first dial. mu is held.
func (f *Fleet) expect() {
	for _, o := range f.listed[:min(1, len(f.listed))] {
		f.dials.Add(context.Background(), 0, f.labels.of(o)...) // from the start, for rates
	}
	// What is known of them is kept before anybody saves it: a run that ends at once
	// must not shorten a gap.
	for _, o := range f.listed {
		if since := f.o.Absences.Since(o.Name, o.Agent); !since.IsZero() {
			f.o.Absences.Begin(o.Name, o.Agent, since)
		}
	}
}

// Up is the number of sessions over which the server has been heard.
func (f *Fleet) Up() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up
}

// States counts the sessions that are to be held by state.
func (f *Fleet) States() map[schema.SessionState]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := map[schema.SessionState]int{}
	for _, m := range f.members {
		switch {
		case m.cause == "":
			states[m.state]++
		case m.next != nil: // it makes way for another that begins
			states[schema.Connecting]++
		}
	}
	return states
}

// Wanted is the number of agents whose sessions are to be held.
func (f *Fleet) Wanted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wanted
}

// causeStop is what is reported of sessions that end with the fleet.
const causeStop = "the connector stops"

// Run keeps the sessions up until ctx is done; then it closes them and returns
// when all have ended. It runs once.
func (f *Fleet) Run(ctx context.Context) {
	now := time.Now()
	f.mu.Lock()
	switch f.phase {
	case fleetIdle:
		f.phase = fleetRunning
		f.begin(now)
	case fleetDrained:
		f.begin(now)
	case fleetRunning, fleetOver:
	}
	f.mu.Unlock()
	for m, dial := range f.dispatch(ctx) {
		go f.open(dial, m)
	}
	f.stop()
	f.agents.Wait()
}

// stop has every member leave.
func (f *Fleet) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.phase = fleetOver
	if f.parted {
		return
	}
	for _, m := range f.members {
		if m.cause == "" {
			f.leave(m, nil, causeStop)
		}
		m.next = nil
	}
	f.due = nil
}

// maxAttempts is how many sessions may be opening at a time: what a server that answers
// within 25 ms has under way at 10,000 dials a second. Where more are, they wait for the
// processor or for one that does not answer, each on a stack that dialling has made
// large; and where most stacks are large, the runtime starts every goroutine with a
// large one, which those that hold sessions would keep for good.
const maxAttempts = 256

// dispatch gives the members whose turn it is to dial, at the server's dial rate,
// until ctx is done, each with the context of its attempt, for which it has put a
// token into attempts.
func (f *Fleet) dispatch(ctx context.Context) iter.Seq2[*member, context.Context] {
	return func(yield func(*member, context.Context) bool) {
		for {
			if !f.anyDue() {
				select {
				case <-f.wake:
					continue
				case <-ctx.Done():
					return
				}
			}
			select {
			case f.attempts <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if f.o.DialRate.Wait(ctx) != nil || ctx.Err() != nil {
				return
			}
			m, dial := f.takeDue(ctx)
			if m == nil {
				<-f.attempts
			} else if !yield(m, dial) {
				return
			}
		}
	}
}

// anyDue reports whether a member waits for its turn; it forgets those that went.
func (f *Fleet) anyDue() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.due) > 0 && f.due[0].phase != memberDue {
		f.due = f.due[1:]
	}
	if len(f.due) == 0 {
		f.due = nil // the memory of thousands that were due
	}
	return len(f.due) > 0 && !f.paused
}

func (f *Fleet) takeDue(ctx context.Context) (*member, context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.due) > 0 && !f.paused {
		m := f.due[0]
		f.due[0] = nil
		if f.due = f.due[1:]; m.phase == memberDue {
			var dial context.Context
			m.phase = memberDialling
			dial, m.cancel = context.WithCancel(ctx)
			return m, dial
		}
	}
	return nil, nil
}
