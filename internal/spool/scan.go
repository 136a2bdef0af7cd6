package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/schema"
)

// Item is one place of a stream as [Spool.Scan] finds it: a record, or what is
// left of one.
type Item struct {
	// Record is the event. Where Damage is set, only its Sequence is sure, and its
	// Body is what could be read of it.
	Record
	// Stored is when the log stored it; zero where that cannot be read.
	Stored time.Time
	// Damage says why there is no event; empty for a good one.
	Damage string
}

// Scan goes through what the stream of event type t holds with sequences greater
// than after, up to through, in their order, and ends there: it never waits for
// what comes. Unlike a [Reader] it shows damaged records, and it counts nothing as
// lost; sequences that the log no longer has are left out. It holds one batch in
// memory, and it goes on where it was when the embedded server is restarted.
//
// An error is the last thing that it yields.
func (s *Spool) Scan(ctx context.Context, t schema.Type, after, through uint64) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		st, err := streamOf(t)
		if err != nil {
			yield(Item{}, fmt.Errorf("scan the spool: %w", err))
			return
		}
		sc := scanner{spool: s, stream: st, last: after}
		defer sc.drop()
		for sc.last < through {
			items, err := sc.next(ctx)
			if err == nil {
				err = ctx.Err() // an answer may come all the same
			}
			switch {
			case errors.Is(err, ErrRestarted):
				continue // the next engine goes on
			case err != nil:
				yield(Item{}, fmt.Errorf("scan stream %s after %d: %w", st.name, sc.last, err))
				return
			case len(items) == 0:
				return // the stream ends before through
			}
			for _, item := range items {
				if item.Sequence > through || !yield(item, nil) {
					return
				}
			}
		}
	}
}

// scanner reads one stream with direct gets.
type scanner struct {
	spool  *Spool
	stream stream
	last   uint64 // the sequence up to which everything was yielded or is gone
	inbox  *inbox
}

func (sc *scanner) drop() {
	if sc.inbox != nil {
		// An error means that the connection is gone, and the inbox with it.
		_ = sc.inbox.sub.Unsubscribe()
		sc.inbox = nil
	}
}

// next returns the next items; none means that the stream has no more.
func (sc *scanner) next(ctx context.Context) ([]Item, error) {
	e, err := sc.spool.acquire(ctx, false, nil)
	if err != nil {
		return nil, err
	}
	items, err := sc.get(ctx, e)
	if err != nil {
		// The rest of the answer may still come: the next get has its own inbox.
		sc.drop()
		return nil, sc.spool.cut(e, err)
	}
	if len(items) > 0 {
		sc.last = items[len(items)-1].Sequence
		return items, nil
	}
	state, err := streamState(ctx, e, sc.stream)
	switch {
	case err != nil:
		return nil, sc.spool.cut(e, err)
	case state.Last <= sc.last || state.First > state.Last:
		return nil, nil
	case state.First > sc.last+1: // the limits were faster
		sc.last = state.First - 1
		return sc.next(ctx)
	}
	if gap, ok := sc.spool.gapAt(sc.stream, sc.last+1); ok {
		sc.last = gap.To
		return sc.next(ctx)
	}
	sc.last++
	return []Item{{Record: Record{Sequence: sc.last}, Damage: "the record cannot be read"}}, nil
}

// get asks for the items after sc.last.
func (sc *scanner) get(ctx context.Context, e *engine) ([]Item, error) {
	if sc.inbox == nil || sc.inbox.engine != e {
		sc.drop()
		in := &inbox{engine: e, prefix: e.reads.NewInbox() + ".", answers: make(chan *nats.Msg, maxGet+1)}
		var err error
		if in.sub, err = e.reads.ChanSubscribe(in.prefix+"*", in.answers); err != nil {
			return nil, err
		}
		sc.inbox = in
	}
	body, err := json.Marshal(server.JSApiMsgGetRequest{Seq: sc.last + 1, Batch: maxGet, MaxBytes: maxBatchBytes})
	if err != nil {
		return nil, err
	}
	sc.inbox.requests++
	reply := sc.inbox.prefix + strconv.FormatUint(sc.inbox.requests, 10)
	if err := e.reads.PublishRequest(apiPrefix+"DIRECT.GET."+sc.stream.name, reply, body); err != nil {
		return nil, err
	}
	return sc.collect(ctx)
}

// collect takes the messages that answer one get, up to its end.
func (sc *scanner) collect(ctx context.Context) ([]Item, error) {
	timer := time.NewTimer(readTimeout)
	defer timer.Stop()
	var items []Item
	for {
		var m *nats.Msg
		select {
		case m = <-sc.inbox.answers:
		case <-sc.inbox.engine.retired:
			return nil, ErrRestarted
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, fmt.Errorf("no answer within %v", readTimeout)
		}
		previous := uint64(0)
		if len(items) > 0 {
			previous = items[len(items)-1].Sequence
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "404":
			return nil, nil
		case "204": // the end
			if header(m, nats.JSLastSequence) != previous {
				return nil, errTorn
			}
			return items, nil
		default:
			return nil, fmt.Errorf("get: %s %s", status, m.Header.Get("Description"))
		}
		if header(m, nats.JSLastSequence) != previous || header(m, nats.JSSequence) <= sc.last {
			return nil, errTorn
		}
		items = append(items, sc.spool.item(m))
	}
}

// item makes an item of a message that the log gave.
func (s *Spool) item(m *nats.Msg) Item {
	sequence := header(m, nats.JSSequence)
	item := Item{Record: Record{Sequence: sequence, SpoolSequence: s.sequence(sequence)}}
	item.Stored, _ = time.Parse(time.RFC3339Nano, m.Header.Get(nats.JSTimeStamp)) // zero where it is none
	event, err := schema.FromNATSHeaders(m.Header.Get, m.Data)
	if err != nil {
		item.Body, item.Damage = m.Data, err.Error()
		return item
	}
	item.Event = event
	return item
}

// clockSlack is by how much a clock may have been set back without [Spool.Since]
// passing over an event.
const clockSlack = 5 * time.Minute

// Since returns a sequence before which no event of type t is that was received
// at or after the given time, for [Spool.Scan] to begin after: it saves reading
// what is older. An event is stored after it was received, so it goes by the time
// of storing, less five minutes for clocks that were set back.
func (s *Spool) Since(ctx context.Context, t schema.Type, at time.Time) (after uint64, err error) {
	st, err := streamOf(t)
	if err != nil {
		return 0, fmt.Errorf("find a time in the spool: %w", err)
	}
	e, err := s.acquire(ctx, false, nil)
	if err == nil {
		if after, err = since(ctx, e, st, at.Add(-clockSlack)); err != nil {
			err = s.cut(e, err)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("find a time in stream %s: %w", st.name, err)
	}
	return after, nil
}

func since(ctx context.Context, e *engine, st stream, at time.Time) (uint64, error) {
	js, err := e.js.Stream(ctx, st.name)
	if err != nil {
		return 0, err
	}
	switch state := js.CachedInfo().State; {
	case state.Msgs == 0, !at.After(state.FirstTime):
		return 0, nil
	case at.After(state.LastTime):
		return state.LastSeq, nil
	}
	body, err := json.Marshal(server.JSApiMsgGetRequest{StartTime: &at})
	if err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := e.reads.RequestWithContext(limited, apiPrefix+"DIRECT.GET."+st.name, body)
	switch {
	case err != nil:
		return 0, err
	case m.Header.Get("Status") != "": // it is damaged
		return 0, nil
	}
	return header(m, nats.JSSequence) - 1, nil
}
