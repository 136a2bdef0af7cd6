package source

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/time/rate"

	"github.com/callpop/connector/schema"
)

// Connect opens one session for the origin's agent: dial and register. Its error,
// and that of the Session, say why there is none, as an [Ended] wherever they can.
type Connect func(ctx context.Context, o *Origin) (Session, error)

// Session is one that was opened.
type Session interface {
	// Read takes what the server sends until the session breaks, and says why; it
	// never returns nil. It calls heard at the first byte. When ctx is done it
	// closes the session.
	Read(ctx context.Context, heard func()) error
}

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
	// Origins has one entry for each agent.
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
	return rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/10))
}

// Fleet keeps one session up for each agent. Its loop owns dialling, back-off,
// pacing, reports and metrics; [Connect] and [Session] only try once.
type Fleet struct {
	o      FleetOptions
	agents sync.WaitGroup
	up     atomic.Int64
	dials  metric.Int64Counter
	ends   metric.Int64Counter

	mu sync.Mutex // guards what follows
	// due are the agents to dial for, in order; waiting are those whose turn has
	// not come.
	due     []*member
	waiting map[*member]*time.Timer
	over    bool
	// wake holds a token when due may have grown.
	wake chan struct{}
}

// NewFleet makes a Fleet. No connection is made until Run is called.
func NewFleet(o FleetOptions) (*Fleet, error) {
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.Absences == nil {
		o.Absences = NoAbsences()
	}
	f := &Fleet{o: o, waiting: map[*member]*time.Timer{}, wake: make(chan struct{}, 1)}
	var errs [2]error
	f.dials, errs[0] = o.Meter.Int64Counter("callpop.session.dials",
		metric.WithDescription("Attempts to open a session."), metric.WithUnit("{attempt}"))
	f.ends, errs[1] = o.Meter.Int64Counter("callpop.session.ends",
		metric.WithDescription("Attempts and sessions that ended, by reason."), metric.WithUnit("{session}"))
	for _, origin := range o.Origins {
		// Before anybody saves them: a run that ends at once must not shorten a gap.
		if since := o.Absences.Since(origin); !since.IsZero() {
			o.Absences.Begin(origin, since)
		}
	}
	return f, errors.Join(errs[:]...)
}

// Up is the number of sessions over which the server has been heard.
func (f *Fleet) Up() int { return int(f.up.Load()) }

// Wanted is the number of agents.
func (f *Fleet) Wanted() int { return len(f.o.Origins) }

// Run keeps the sessions up until ctx is done; then it closes them and returns
// when all have ended.
func (f *Fleet) Run(ctx context.Context) {
	now := time.Now()
	for _, o := range f.o.Origins {
		m := &member{origin: o, downSince: cmp.Or(f.o.Absences.Since(o), now)}
		f.o.Absences.Begin(o, m.downSince)
		f.agents.Add(1)
		f.report(m, SessionChange{State: schema.Connecting, At: time.Now()})
		f.due = append(f.due, m)
	}
	for m := range f.dispatch(ctx) {
		go f.open(ctx, m)
	}
	f.giveUp()
	f.agents.Wait()
}

// member is one agent. Only one goroutine at a time has to do with it: who opens
// or holds its session, or who takes it from the waiting ones.
type member struct {
	origin *Origin
	// state is the last one reported.
	state schema.SessionState
	// downSince is when the last live session was last heard.
	downSince time.Time
	// failures counts attempts since a session last held.
	failures int
	upAt     time.Time
}

// dispatch gives the agents whose turn it is to dial, at the server's dial rate,
// until ctx is done.
func (f *Fleet) dispatch(ctx context.Context) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for {
			f.mu.Lock()
			var m *member
			if len(f.due) > 0 {
				m = f.due[0]
			}
			f.mu.Unlock()
			if m == nil {
				select {
				case <-f.wake:
					continue
				case <-ctx.Done():
					return
				}
			}
			if f.o.DialRate.Wait(ctx) != nil || ctx.Err() != nil {
				return
			}
			f.mu.Lock()
			f.due = f.due[1:]
			f.mu.Unlock()
			if !yield(m) {
				return
			}
		}
	}
}

// await lets an agent wait before its next attempt: full jitter below a bound that
// doubles up to the reconnect interval and stays there, so that no two agents fall
// into step. An agent that waits is a timer and no goroutine.
func (f *Fleet) await(m *member) {
	bound := max(1, min(f.o.ReconnectInterval, time.Second<<min(m.failures-1, 16)))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		f.close(m)
		return
	}
	f.waiting[m] = time.AfterFunc(rand.N(bound), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.over {
			return // giveUp has closed it
		}
		delete(f.waiting, m)
		f.due = append(f.due, m)
		select {
		case f.wake <- struct{}{}:
		default:
		}
	})
}

// giveUp closes the agents that wait, and all that would begin to.
func (f *Fleet) giveUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	for m, timer := range f.waiting {
		timer.Stop()
		f.close(m)
	}
	for _, m := range f.due {
		f.close(m)
	}
	f.waiting, f.due = nil, nil
}

func (f *Fleet) close(m *member) {
	f.report(m, SessionChange{State: schema.Closed, At: time.Now(), Cause: "the connector stops"})
	f.agents.Done()
}

// open makes one attempt.
//
// Opening and holding are done on goroutines of their own, because a stack that
// has grown stays grown for as long as its goroutine waits: what needs depth, such
// as dialling and logging, is over when the session waits for its next byte, as
// ten thousand of them do nearly all the time.
func (f *Fleet) open(ctx context.Context, m *member) {
	f.dials.Add(ctx, 1, f.labels(m.origin))
	session, err := f.o.Connect(ctx, m.origin)
	if err != nil {
		f.ended(ctx, m, err)
		f.await(m)
		return
	}
	go f.hold(ctx, m, session)
}

// hold reads until the session breaks.
func (f *Fleet) hold(ctx context.Context, m *member, s Session) {
	err := s.Read(ctx, func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.heard(m)
		}()
		<-done
	})
	f.ended(ctx, m, err)
	f.await(m)
}

// heard notes the first byte over a new session.
func (f *Fleet) heard(m *member) {
	m.upAt = time.Now()
	f.o.Absences.End(m.origin)
	if f.up.Add(1) == int64(len(f.o.Origins)) {
		f.o.Logger.Info("all sessions are up", "server", m.origin.Server, "sessions", len(f.o.Origins))
	}
	f.report(m, SessionChange{
		State: schema.Connected, At: m.upAt,
		Gap: &schema.Gap{From: m.downSince.UTC(), To: m.upAt.UTC()},
	})
}

// ended notes why an attempt or a session ended.
func (f *Fleet) ended(ctx context.Context, m *member, err error) {
	now := time.Now()
	end := &Ended{State: schema.Failed, Reason: "other", Err: err}
	errors.As(err, &end)
	f.ends.Add(ctx, 1, f.labels(m.origin), metric.WithAttributes(attribute.String("reason", end.Reason)))
	wasUp := !m.upAt.IsZero()
	if wasUp {
		f.up.Add(-1)
		m.downSince = end.LastHeard
		f.o.Absences.Begin(m.origin, m.downSince)
		// A server that answers and hangs up at once gets no quicker attempts.
		if now.Sub(m.upAt) > f.o.ReconnectInterval {
			m.failures = 0
		}
		m.upAt = time.Time{}
	}
	m.failures++
	if ctx.Err() != nil {
		return // it is reported as closed
	}
	if wasUp || m.state == schema.Connecting {
		f.report(m, SessionChange{State: end.State, At: now, Cause: end.Err.Error()})
	}
}

func (f *Fleet) report(m *member, change SessionChange) {
	before := m.state
	m.state = change.State
	f.o.Report(m.origin, change)
	// What an operator must see is trouble and its end; thousands of sessions that
	// come up as they should are one line, see heard.
	level := slog.LevelDebug
	switch {
	case change.State == schema.Failed, change.State == schema.Expired, change.State == schema.Reconnecting:
		level = slog.LevelWarn
	case change.State == schema.Connected && before != schema.Connecting:
		level = slog.LevelInfo
	}
	attributes := []any{"server", m.origin.Server, "agent", m.origin.Agent}
	if change.Cause != "" {
		attributes = append(attributes, "cause", change.Cause)
	}
	f.o.Logger.Log(context.Background(), level, "session "+string(change.State), attributes...)
}

func (f *Fleet) labels(o *Origin) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("server", o.Server), attribute.String("source", o.Name))
}
