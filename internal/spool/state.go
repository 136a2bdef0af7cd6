package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/callpop/connector/schema"
)

// State is what a stream holds.
type State struct {
	// First is the sequence of the oldest event that still exists, Last that of
	// the newest that ever was. In a stream without events First is Last+1.
	First, Last uint64
	// Messages and Bytes are how much it holds, headers and bookkeeping included.
	Messages, Bytes uint64
	// FirstTime is when the oldest event was stored; zero in a stream without
	// events.
	FirstTime time.Time
}

// State returns what the stream of event type t holds.
func (s *Spool) State(ctx context.Context, t schema.Type) (State, error) {
	st, err := streamOf(t)
	if err != nil {
		return State{}, fmt.Errorf("state: %w", err)
	}
	e, err := s.acquire(ctx, false, nil)
	if err != nil {
		return State{}, fmt.Errorf("state of stream %s: %w", st.name, err)
	}
	state, err := streamState(ctx, e, st)
	if err != nil {
		return State{}, s.cut(e, err)
	}
	return state, nil
}

func streamState(ctx context.Context, e *engine, st stream) (State, error) {
	js, err := e.js.Stream(ctx, st.name)
	if err != nil {
		return State{}, fmt.Errorf("state of stream %s: %w", st.name, err)
	}
	in := js.CachedInfo().State
	out := State{First: in.FirstSeq, Last: in.LastSeq, Messages: in.Msgs, Bytes: in.Bytes}
	if in.Msgs == 0 {
		out.First = in.LastSeq + 1
	} else {
		out.FirstTime = in.FirstTime
	}
	return out, nil
}
