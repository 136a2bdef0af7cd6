package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/schema"
)

// maxAgentBytes bounds one [Spool.AgentEvents]: some twenty pops. The last record
// may go beyond it.
const maxAgentBytes = 16 << 10

// AgentLine is the events of one type of one agent.
type AgentLine struct {
	Type          schema.Type
	Server, Agent string
}

func (l AgentLine) subject() string {
	return schema.Subject(string(l.Type), l.Server, l.Agent)
}

// AgentEvents returns the line's events that the log holds with sequences greater
// than after, in the order of their sequence: the first few of them, some 16 KiB.
// None means that there are no more now. Other agents' events are not read, however
// many lie between. It may be called from any goroutine, but each call under way
// keeps the stream from taking an event for a moment: bound them.
func (s *Spool) AgentEvents(ctx context.Context, l AgentLine, after uint64) ([]Record, error) {
	return s.agentEvents(ctx, l, server.JSApiMsgGetRequest{Seq: after + 1})
}

// AgentEventsSince is as [Spool.AgentEvents], for the events that were stored at
// since or later.
func (s *Spool) AgentEventsSince(ctx context.Context, l AgentLine, since time.Time) ([]Record, error) {
	return s.agentEvents(ctx, l, server.JSApiMsgGetRequest{StartTime: &since})
}

func (s *Spool) agentEvents(ctx context.Context, l AgentLine, request server.JSApiMsgGetRequest) ([]Record, error) {
	wrap := func(err error) error { return fmt.Errorf("read stream %s for one agent: %w", StreamName(l.Type), err) }
	if err := ctx.Err(); err != nil {
		return nil, wrap(err)
	}
	st, err := streamOf(l.Type)
	if err != nil {
		return nil, wrap(err)
	}
	e, err := s.acquire(ctx, false, nil)
	if err != nil {
		return nil, wrap(err)
	}
	r := &Reader{spool: s, stream: st, closed: make(chan struct{})}
	defer func() { _ = r.Close() }() // it only lets go
	in, err := r.open(e)
	if err != nil {
		return nil, wrap(s.cut(e, err))
	}
	request.NextFor, request.Batch, request.MaxBytes = l.subject(), maxGet, maxAgentBytes
	got, err := r.ask(ctx, in, request)
	if err != nil {
		return nil, wrap(s.cut(e, err))
	}
	return got.records, nil
}

// LatestOfAgent returns the line's newest event; false where the log holds none.
func (s *Spool) LatestOfAgent(ctx context.Context, l AgentLine) (Record, bool, error) {
	wrap := func(err error) error { return fmt.Errorf("read stream %s for one agent: %w", StreamName(l.Type), err) }
	st, err := streamOf(l.Type)
	if err != nil {
		return Record{}, false, wrap(err)
	}
	e, err := s.acquire(ctx, false, nil)
	if err != nil {
		return Record{}, false, wrap(err)
	}
	body, err := json.Marshal(server.JSApiMsgGetRequest{LastFor: l.subject()})
	if err != nil {
		return Record{}, false, wrap(err)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := e.reads.RequestMsgWithContext(ctx, &nats.Msg{Subject: apiPrefix + "DIRECT.GET." + st.name, Data: body})
	if err != nil {
		return Record{}, false, wrap(s.cut(e, err))
	}
	switch m.Header.Get("Status") {
	case "":
	case "404":
		return Record{}, false, nil
	default:
		return Record{}, false, wrap(errors.New(m.Header.Get("Description")))
	}
	event, err := schema.FromNATSHeaders(m.Header.Get, m.Data)
	if err != nil {
		return Record{}, false, wrap(err)
	}
	sequence := header(m, nats.JSSequence)
	return Record{Event: event, Sequence: sequence, SpoolSequence: s.sequence(sequence)}, true, nil
}
