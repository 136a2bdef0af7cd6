package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/callpop/connector/sink"
)

// ReplayRequest says what to send once more, and where to.
type ReplayRequest struct {
	// Filter means events of one type.
	Filter Filter `json:"filter"`
	Sink   string `json:"sink"`
}

// ReplayProgress tells how far a replay is.
type ReplayProgress struct {
	// Run names the replay, in the header callpop-replay and in Nats-Msg-Id.
	Run string `json:"run"`
	// Sequence is the one up to which every event was sent or refused: to go on
	// after it repeats and leaves out nothing but what was under way.
	Sequence uint64 `json:"sequence"`
	// Sent events the sink has taken, Refused ones it will never take.
	Sent    uint64 `json:"sent"`
	Refused uint64 `json:"refused"`
	// Trouble is why it is not going on at present; it goes on by itself.
	Trouble string `json:"trouble,omitempty"`
	// Refusal is why the first of the refused was.
	Refusal string `json:"refusal,omitempty"`
	// Done is true once everything was sent or refused.
	Done bool `json:"done"`
}

// Replay sends events to a sink once more, as a replay: with the ids they had, and
// so that a broker does not take them for duplicates. Events of a key keep their
// order, what fails is tried again until it succeeds, and a bounded part of them is
// in memory, all as on the first way ([sink.Forwarder]). What the sink refuses is
// counted and makes no further dead letter. Cursors stay where they are.
//
// The events are those that the spool holds when it begins. Where it is ended
// early, what it has told last is how far it came.
var Replay = Operation[ReplayRequest, ReplayProgress]{name: "replay", live: true, run: replay}

func replay(ctx context.Context, h *Host, r ReplayRequest, yield func(ReplayProgress) error) error {
	f := r.Filter
	if err := f.Validate(); err != nil {
		return err
	}
	if len(f.Types) != 1 {
		return Wrong(errors.New("replay: expected one event type"))
	}
	target, err := h.openSink(r.Sink, f.Types[0])
	if err != nil {
		return err
	}
	defer target.Release()
	after, through, err := h.bounds(ctx, f.Types[0], &f)
	if err != nil {
		return err
	}
	line := &replayLine{host: h, filter: &f, run: newRun(), after: after, through: max(after, through), cursor: after, last: after}
	forwarder, err := sink.New(sink.Options{Name: r.Sink, Sink: target.Sink, Types: f.Types, Spool: line})
	if err != nil {
		return fmt.Errorf("replay to %s: %w", r.Sink, err)
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	var parts sync.WaitGroup
	var runError error
	parts.Go(func() { runError = forwarder.Run(running) })
	drained := make(chan error, 1)
	parts.Go(func() { drained <- forwarder.WaitDrained(running) })
	ended := tell(ctx, yield, drained, func() ReplayProgress { return line.progress(forwarder) })
	stop()
	parts.Wait()
	last := line.progress(forwarder)
	// The last of the events may be beyond the last that fits.
	if ended == nil && runError == nil {
		last.Done, last.Sequence = true, line.through
	}
	// Also where it was ended early: the caller may still be there.
	if err := yield(last); err != nil {
		ended = errors.Join(ended, err)
	}
	return errors.Join(ended, runError, line.failure())
}

// tell yields progress from time to time until the work is done, or ctx is.
func tell(ctx context.Context, yield func(ReplayProgress) error, done <-chan error, progress func() ReplayProgress) error {
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			if err := yield(progress()); err != nil {
				return err
			}
		}
	}
}

// newRun names a replay.
func newRun() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail
	return hex.EncodeToString(b[:])
}
