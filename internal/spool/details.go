package spool

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/callpop/connector/schema"
)

// Details is what a stream holds, with what an operator asks after beside it.
type Details struct {
	State
	// Stream is the stream's name.
	Stream string
	// LastTime is when the newest event was stored; zero in a stream that never
	// had one.
	LastTime time.Time
	// Missing is how many events between the oldest and the newest are gone. The
	// limits take the oldest events only, so that these are damage.
	Missing uint64
	// Gaps are the sequences that have no event because of damage, also before the
	// oldest event.
	Gaps []Gap
	// Lost are sequences that the embedded server found damaged when it opened the
	// store; it knows them until it is restarted.
	Lost []uint64
}

// Details returns what the stream of event type t holds.
func (s *Spool) Details(ctx context.Context, t schema.Type) (Details, error) {
	st, err := streamOf(t)
	if err != nil {
		return Details{}, fmt.Errorf("details: %w", err)
	}
	e, err := s.acquire(ctx, false, nil)
	if err != nil {
		return Details{}, fmt.Errorf("details of stream %s: %w", st.name, err)
	}
	var answer server.JSApiStreamInfoResponse
	if err := ask(ctx, e, "STREAM.INFO."+st.name, nil, &answer, &answer.ApiResponse); err != nil {
		return Details{}, fmt.Errorf("details of stream %s: %w", st.name, s.cut(e, err))
	}
	in := answer.State
	d := Details{Stream: st.name, Gaps: s.gaps(st), LastTime: in.LastTime, State: State{
		First: in.FirstSeq, Last: in.LastSeq, Messages: in.Msgs, Bytes: in.Bytes, FirstTime: in.FirstTime,
	}}
	if in.Msgs == 0 {
		d.First, d.FirstTime = in.LastSeq+1, time.Time{}
	}
	deleted := uint64(in.NumDeleted) //nolint:gosec // a count
	d.Missing = deleted - min(deleted, s.neverGiven(st, d.First, d.Last))
	if in.Lost != nil {
		d.Lost = in.Lost.Msgs
	}
	return d, nil
}

// Purge removes the events of type t with sequences up to and including through,
// and returns how many they were. Readers that had not come so far count them as
// lost.
func (s *Spool) Purge(ctx context.Context, t schema.Type, through uint64) (removed uint64, err error) {
	st, err := streamOf(t)
	if err != nil {
		return 0, fmt.Errorf("purge: %w", err)
	}
	e, err := s.acquire(ctx, false, nil)
	if err == nil {
		if removed, err = purge(ctx, e, st, through); err != nil {
			err = s.cut(e, err)
		} else {
			// What is gone on purpose is not to be missed.
			s.keepNow(ctx, e)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("purge stream %s up to %d: %w", st.name, through, err)
	}
	return removed, nil
}

func purge(ctx context.Context, e *engine, st stream, through uint64) (uint64, error) {
	state, err := streamState(ctx, e, st)
	if err != nil || through < state.First || state.First > state.Last {
		return 0, err
	}
	// One beyond the end would leave a gap in the sequences to come.
	request := server.JSApiStreamPurgeRequest{Sequence: min(through, state.Last) + 1}
	var answer server.JSApiStreamPurgeResponse
	err = ask(ctx, e, "STREAM.PURGE."+st.name, request, &answer, &answer.ApiResponse)
	return answer.Purged, err
}

// ask makes a request of the JetStream API; failure is the part of answer that
// has the API's own error.
func ask(ctx context.Context, e *engine, subject string, request, answer any, failure *server.ApiResponse) error {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := e.control.RequestWithContext(ctx, apiPrefix+subject, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("the log's answer is not understood: %w", err)
	}
	if failure.Error != nil {
		return failure.Error
	}
	return nil
}
