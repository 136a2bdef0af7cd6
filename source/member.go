package source

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/callpop/connector/schema"
)

// member is one agent of a fleet, whose mutex guards it. Its session lives here
// and nowhere else. There are as many as agents, whether they have sessions or not:
// it is kept small.
type member struct {
	// origin is changed only while there is neither session nor attempt.
	origin *Origin
	// cause is why the member leaves; empty while it does not. next is then whom to
	// open a session for once this one has ended; nil for nobody.
	cause string
	next  *Origin
	// edit is the last call of Set that had it in its list.
	edit uint64

	cancel  context.CancelFunc // of the attempt, while dialling
	session Session            // while held
	timer   *time.Timer        // while waiting

	// state is the last one reported, at since, because of detail.
	state  schema.SessionState
	since  instant
	detail string
	// downSince is when the last live session was last heard.
	downSince instant
	// upAt is when the session was first heard; zero while it was not.
	upAt instant
	// failures counts attempts since a session last held.
	failures int32
	phase    memberPhase
	again    bool // the attempt was cancelled by a pause: it is made again
}

type memberPhase uint8

const (
	memberDue      memberPhase = iota // in the fleet's due
	memberDialling                    // open has it
	memberHeld                        // hold has it
	memberEnding                      // ended has it
	memberWaiting                     // its timer has it
	memberGone                        // nobody has it
)

// add makes a member and has it dialled. mu is held.
func (f *Fleet) add(o *Origin, downSince time.Time) {
	m := &member{origin: o, downSince: instantOf(downSince), edit: f.edit}
	o.DownSince = time.Time{} // which says nothing about a session after the first
	f.members[o.Agent] = m
	f.o.Absences.Begin(o.Name, o.Agent, downSince)
	f.agents.Add(1)
	f.publish(m.origin, f.note(m, SessionChange{State: schema.Connecting, At: time.Now()}))
	f.queue(m)
}

// queue puts a member at the end of those to dial for. mu is held.
func (f *Fleet) queue(m *member) {
	m.phase = memberDue
	f.due = append(f.due, m)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// leave ends what a member has, in order; what follows is for next, or for nobody.
// mu is held. A member that is leaving must not be told again.
func (f *Fleet) leave(m *member, next *Origin, cause string) {
	if m.upAt != 0 {
		f.up--
	}
	m.cause, m.next = cause, next
	switch m.phase {
	case memberDialling:
		m.cancel()
	case memberHeld:
		m.session.Leave()
	case memberWaiting:
		m.timer.Stop()
		m.timer = nil
		f.left(m)
	case memberDue:
		f.left(m)
	case memberEnding, memberGone:
	}
}

// left is what becomes of a member that has left. mu is held.
func (f *Fleet) left(m *member) {
	f.publish(m.origin, f.note(m, SessionChange{State: schema.Closed, At: time.Now(), Cause: m.cause}))
	if next := m.next; next != nil {
		next.inherit(m.origin)
		m.origin, m.next, m.cause, m.failures = next, nil, "", 0
		f.publish(m.origin, f.note(m, SessionChange{State: schema.Connecting, At: time.Now()}))
		if m.phase != memberDue { // else it keeps its place
			f.queue(m)
		}
		return
	}
	m.phase = memberGone
	if m.cause != causeStop && m.cause != CauseDrain {
		// Somebody else's from now on, or nobody's. Of the others the next start says
		// since when they had no session.
		f.o.Absences.Forget(m.origin.Name, m.origin.Agent)
	}
	delete(f.members, m.origin.Agent)
	f.agents.Done()
}

// open makes one attempt, and takes its token from attempts.
//
// Opening and holding are done on goroutines of their own, because a stack that
// has grown stays grown for as long as its goroutine waits: what needs depth, such
// as dialling and logging, is over when the session waits for its next byte, as
// ten thousand of them do nearly all the time.
func (f *Fleet) open(ctx context.Context, m *member) {
	defer func() { <-f.attempts }()
	f.dials.Add(ctx, 1, f.labels.of(m.origin)...)
	session, err := f.o.Connect(ctx, m.origin)
	f.mu.Lock()
	m.cancel()
	m.cancel = nil
	leaving, again := m.cause != "", m.again
	m.again = false
	switch {
	case err == nil:
		m.phase, m.session = memberHeld, session
	case again && !leaving && f.phase != fleetOver:
		f.queue(m)
		f.mu.Unlock()
		return
	default:
		m.phase = memberEnding // from here on there is nothing to cancel
	}
	f.mu.Unlock()
	if err != nil {
		f.ended(m, err)
		return
	}
	if leaving {
		session.Leave()
	}
	go f.hold(m, session)
}

// hold reads until the session breaks, or has it read on with a small stack.
func (f *Fleet) hold(m *member, s Session) {
	err := s.Read(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.heard(m)
		}()
		<-done
	})
	if errors.Is(err, ErrAgain) {
		go f.hold(m, s)
		return
	}
	f.ended(m, err)
}

// heard notes the first byte over a new session.
func (f *Fleet) heard(m *member) {
	now := time.Now()
	f.mu.Lock()
	m.upAt = instantOf(now)
	f.o.Absences.End(m.origin.Name, m.origin.Agent)
	if m.cause == "" {
		f.up++
	}
	complete := f.short && f.up == f.wanted
	if complete {
		f.short = false
	}
	up, change := f.up, f.note(m, SessionChange{
		State: schema.Connected, At: now,
		Gap: &schema.Gap{From: m.downSince.time().UTC(), To: now.UTC()},
	})
	f.mu.Unlock()
	f.publish(m.origin, change)
	if complete {
		f.o.Logger.Info("all sessions are up", "server", m.origin.Server, "sessions", up)
	}
}

// ended notes why an attempt or a session ended, and goes on from there.
func (f *Fleet) ended(m *member, err error) {
	if errors.Is(err, ErrParted) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.part(m)
		return
	}
	now := time.Now()
	end := &Ended{State: schema.Failed, Reason: "other", Err: err}
	errors.As(err, &end)
	f.ends.Add(context.Background(), 1, sourceOption(m.origin.Server, m.origin.Name), metric.WithAttributes(attribute.String("reason", end.Reason)))

	f.mu.Lock()
	m.phase, m.session = memberEnding, nil
	wasUp := m.upAt != 0
	if wasUp {
		m.downSince = instantOf(end.LastHeard)
		f.o.Absences.Begin(m.origin.Name, m.origin.Agent, end.LastHeard)
		// A server that answers and hangs up at once gets no quicker attempts.
		if now.Sub(m.upAt.time()) > f.reconnectInterval {
			m.failures = 0
		}
		m.upAt = 0
		if m.cause == "" {
			f.up--
			f.short = true
		}
	}
	m.failures++
	var change notice
	if m.cause == "" && (wasUp || m.state == schema.Connecting) {
		change = f.note(m, SessionChange{State: end.State, At: now, Cause: end.Err.Error()})
	}
	f.mu.Unlock()
	f.publish(m.origin, change) // which may write a line to the log, and that may take its time

	f.mu.Lock()
	defer f.mu.Unlock()
	if f.parted {
		f.part(m)
		return
	}
	if m.cause == "" && f.phase == fleetDrained {
		m.cause = CauseDrain
		f.wanted--
	}
	if m.cause == "" {
		f.await(m)
	} else {
		f.left(m)
	}
}

// await lets an agent wait before its next attempt: full jitter below a bound that
// doubles up to the reconnect interval and stays there, so that no two agents fall
// into step. An agent that waits is a timer and no goroutine. mu is held.
func (f *Fleet) await(m *member) {
	bound := max(1, min(f.reconnectInterval, time.Second<<min(m.failures-1, 16)))
	m.phase = memberWaiting
	var timer *time.Timer
	timer = time.AfterFunc(rand.N(bound), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if m.timer != timer {
			return // it has left, or was told to go on at once
		}
		m.timer = nil
		f.queue(m)
	})
	m.timer = timer
}

// notice is a change that was noted and is to be published; without a state there is
// none.
type notice struct {
	SessionChange
	before schema.SessionState
}

// note remembers a change for [Fleet.Agents]. mu is held.
func (f *Fleet) note(m *member, change SessionChange) notice {
	n := notice{change, m.state}
	m.state, m.since, m.detail = change.State, instantOf(change.At), change.Cause
	return n
}

// publish reports what was noted. Of one member only one caller at
// a time has a notice.
func (f *Fleet) publish(o *Origin, n notice) {
	if n.State == "" {
		return
	}
	f.o.Report(o, n.SessionChange)
	// What an operator must see is trouble and its end; thousands of sessions that
	// come up as they should are one line, see heard.
	level := slog.LevelDebug
	switch {
	case n.State == schema.Failed, n.State == schema.Expired, n.State == schema.Reconnecting:
		level = slog.LevelWarn
	case n.State == schema.Connected && n.before != schema.Connecting:
		level = slog.LevelInfo
	}
	ctx := context.Background()
	if !f.o.Logger.Enabled(ctx, level) {
		return
	}
	attributes := []any{"server", o.Server, "agent", o.Agent}
	if n.Cause != "" {
		attributes = append(attributes, "cause", n.Cause)
	}
	f.o.Logger.Log(ctx, level, "session "+string(n.State), attributes...)
}
