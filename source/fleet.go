package source

import (
	"context"
	"errors"
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

// Attempt runs one session for the origin's agent: dial, register, read until it
// breaks. It calls heard at the first byte from the server and returns why the
// session ended, an [Ended] wherever it can; it never returns nil.
type Attempt func(ctx context.Context, o *Origin, heard func()) error

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
	Attempt Attempt
	// Report takes every change between up and down. It must not block.
	Report func(*Origin, SessionChange)
	// ReconnectInterval bounds the pause before another attempt.
	ReconnectInterval time.Duration
	// DialRate paces new connections to one server; sources on one server share
	// it, see [NewDialRate].
	DialRate *rate.Limiter
	// DownSince is when the connector was last known to hold sessions, from
	// before it started: the first session's gap begins there. Zero where that is
	// not known: the gap then begins when Run is called.
	DownSince time.Time
	Logger    *slog.Logger
	Meter     metric.Meter
}

// NewDialRate paces new connections to one server: perSecond of them, in bursts
// of a tenth.
func NewDialRate(perSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/10))
}

// Fleet keeps one session up for each agent. Its loop owns dialling, back-off,
// pacing, reports and metrics; an [Attempt] only tries once.
type Fleet struct {
	o     FleetOptions
	up    atomic.Int64
	dials metric.Int64Counter
	ends  metric.Int64Counter
}

// NewFleet makes a Fleet. No connection is made until Run is called.
func NewFleet(o FleetOptions) (*Fleet, error) {
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	f := &Fleet{o: o}
	var errs [2]error
	f.dials, errs[0] = o.Meter.Int64Counter("callpop.session.dials",
		metric.WithDescription("Attempts to open a session."), metric.WithUnit("{attempt}"))
	f.ends, errs[1] = o.Meter.Int64Counter("callpop.session.ends",
		metric.WithDescription("Attempts and sessions that ended, by reason."), metric.WithUnit("{session}"))
	return f, errors.Join(errs[:]...)
}

// Up is the number of sessions over which the server has been heard.
func (f *Fleet) Up() int { return int(f.up.Load()) }

// Wanted is the number of agents.
func (f *Fleet) Wanted() int { return len(f.o.Origins) }

// Run keeps the sessions up until ctx is done; then it closes them and returns
// when all have ended.
func (f *Fleet) Run(ctx context.Context) {
	since := f.o.DownSince
	if since.IsZero() {
		since = time.Now()
	}
	var keepers sync.WaitGroup
	for _, o := range f.o.Origins {
		keepers.Go(func() { f.keep(ctx, &member{origin: o, downSince: since}) })
	}
	keepers.Wait()
}

// member is one agent's session between attempts. Only its keeper touches it.
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

// keep holds one agent's session up until ctx is done.
func (f *Fleet) keep(ctx context.Context, m *member) {
	f.report(m, SessionChange{State: schema.Connecting, At: time.Now()})
	for f.pause(ctx, m) {
		f.dials.Add(ctx, 1, f.labels(m.origin))
		err := f.o.Attempt(ctx, m.origin, func() { f.heard(m) })
		f.ended(ctx, m, err)
	}
	f.report(m, SessionChange{State: schema.Closed, At: time.Now(), Cause: "the connector stops"})
}

// pause waits before the next attempt: full jitter below a bound that doubles up
// to the reconnect interval and stays there, so that no two agents fall into
// step; then for the server's dial rate. False means that ctx is done.
func (f *Fleet) pause(ctx context.Context, m *member) bool {
	if m.failures > 0 {
		bound := min(f.o.ReconnectInterval, time.Second<<min(m.failures-1, 16))
		if bound > 0 {
			timer := time.NewTimer(rand.N(bound))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
	}
	return f.o.DialRate.Wait(ctx) == nil && ctx.Err() == nil
}

// heard notes the first byte over a new session.
func (f *Fleet) heard(m *member) {
	m.upAt = time.Now()
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
		// A server that answers and hangs up at once gets no quicker attempts.
		if now.Sub(m.upAt) > f.o.ReconnectInterval {
			m.failures = 0
		}
		m.upAt = time.Time{}
	}
	m.failures++
	if ctx.Err() != nil {
		return // keep reports that it is closed
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
