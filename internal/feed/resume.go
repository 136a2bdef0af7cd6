package feed

import (
	"context"
	"encoding/json"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// resume says how a stream continues what its reader saw before.
type resume string

const (
	// resumeNow: from now on; nothing else was asked for.
	resumeNow resume = "now"
	// resumeExact: right after the position that was given.
	resumeExact resume = "exact"
	// resumeSince: from a time on.
	resumeSince resume = "since"
	// resumeIncomplete: after the position that was given, but the spool has let
	// events go that came after it, which may have been this agent's.
	resumeIncomplete resume = "incomplete"
	// resumeOtherSpool: the position is of another spool, or of an end that this
	// one lost. The stream begins when that spool was made, since its sequences mean
	// nothing here: an event may come a second time.
	resumeOtherSpool resume = "other_spool"
)

// begin answers the request and writes what is asked of the past. An error means
// that nothing was answered; whether the peer is still there, live finds out.
func (s *stream) begin(ctx context.Context, from start) error {
	f := s.feed
	ready := readyEvent{
		Server: s.queue.agent.server, Agent: s.queue.agent.agent, Resume: resumeNow,
		HeartbeatSeconds: f.config.Heartbeat.Seconds(), MaxAgeSeconds: f.config.MaxAge.Seconds(),
	}
	id := position{f.spool.ID(), s.last}.String()
	since := from.since
	if from.after != nil {
		var err error
		if ready.Resume, err = s.compare(ctx, *from.after); err != nil {
			return err
		}
		if ready.Resume == resumeOtherSpool {
			since = from.after.made()
			if earliest := time.Now().Add(-f.config.MaxSince); since.Before(earliest) {
				since = earliest
			}
		} else {
			s.last = from.after.sequence
			id = position{f.spool.ID(), s.last}.String()
		}
	} else if !since.IsZero() {
		ready.Resume = resumeSince
	}
	var past []spool.Record
	if !since.IsZero() {
		// Until the past is written, a peer that is cut off asks for it again: it
		// gets no position yet.
		id = ""
		ready.From = since.UTC().Format(time.RFC3339Nano)
		var err error
		if past, err = s.read(ctx, func() ([]spool.Record, error) {
			return f.spool.AgentEventsSince(ctx, s.line(schema.TypeCallPop), since)
		}); err != nil {
			return err
		}
		if len(past) > 0 {
			s.last = past[0].Sequence - 1
		}
	}
	var session spool.Record
	if _, err := s.read(ctx, func() (_ []spool.Record, err error) {
		session, _, err = f.spool.LatestOfAgent(ctx, s.line(schema.TypeSessionChanged))
		return nil, err
	}); err != nil {
		return err
	}

	// A stream lasts longer than any other request. An error means that the
	// listener has no such times.
	_ = s.control.SetReadDeadline(time.Time{})
	eventStream(s.w)
	data, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	s.buffer.WriteString("retry: " + retryMillis + "\n")
	s.event("ready", id, data)
	if len(session.Body) > 0 {
		s.pass(ctx, session)
	}
	if s.flush() != nil {
		return nil
	}
	if from.after == nil && since.IsZero() {
		return nil
	}
	for _, r := range past {
		s.pass(ctx, r)
	}
	if s.flush() == nil && s.catchUp(ctx) == nil {
		// All up to here is written: a peer that is cut off need not ask for it.
		s.last = max(s.last, s.joined)
		s.event("", position{f.spool.ID(), s.last}.String(), nil)
	}
	return nil
}

// compare says what a position means to this spool.
func (s *stream) compare(ctx context.Context, p position) (resume, error) {
	if p.spool != s.feed.spool.ID() {
		return resumeOtherSpool, nil
	}
	var state spool.State
	if _, err := s.read(ctx, func() (_ []spool.Record, err error) {
		state, err = s.feed.spool.State(ctx, schema.TypeCallPop)
		return nil, err
	}); err != nil {
		return "", err
	}
	switch {
	case p.sequence > state.Last:
		return resumeOtherSpool, nil
	case p.sequence+1 < state.First:
		return resumeIncomplete, nil
	default:
		return resumeExact, nil
	}
}
