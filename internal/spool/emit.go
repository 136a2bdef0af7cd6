package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// ackTimeout bounds the wait for the log's answer. Half a second is a bad day on
// a healthy disk.
const ackTimeout = 5 * time.Second

// ErrTooLarge means that an event with its headers is larger than the log takes.
// It will never be taken.
var ErrTooLarge = fmt.Errorf("larger than %d bytes with its headers", maxPayload)

// Emit stores e and returns nil once it is in the log. While disk space is low or
// the embedded server restarts, it waits. Calls may overlap; of two calls that do
// not, the first one's event comes first in its stream.
//
// An error says nothing about whether e was stored, but [ErrTooLarge] and an
// unknown type, which mean that it never will be: emit the same event again. The
// log knows it by its ID for 20 seconds and makes no second copy.
func (s *Spool) Emit(ctx context.Context, e schema.Event) error {
	began := time.Now()
	st, err := streamOf(e.Type)
	if err != nil {
		return fmt.Errorf("emit event %s: %w", e.ID, err)
	}
	err = s.emit(ctx, st, &e)
	s.metrics.emitted(ctx, st, time.Since(began), err)
	if err != nil {
		return fmt.Errorf("emit event %s: %w", e.ID, err)
	}
	return nil
}

func (s *Spool) emit(ctx context.Context, st stream, e *schema.Event) error {
	engine, err := s.acquire(ctx, true, nil)
	if err != nil {
		return err
	}
	acks := &s.acks[st.index]
	before := acks.Load()
	sequence, err := engine.writer.publish(ctx, e, s.ackTimeout)
	if err != nil && ctx.Err() == nil {
		err = s.cut(engine, err)
	}
	if err == nil {
		if y := engine.syncers[st.index]; y != nil {
			err = y.wait(ctx)
		}
	}
	if err != nil {
		// It may be stored all the same: let readers look.
		s.tails[st.index].wake(0)
		// A slow answer is no fault while others get theirs.
		if errors.Is(err, errSync) || isFault(err) && acks.Load() == before {
			s.fault(engine, fmt.Errorf("write to stream %s: %w", st.name, err))
		}
		return err
	}
	acks.Add(1)
	engine.recents[st.index].put(sequence, e)
	s.tails[st.index].wake(sequence)
	return nil
}

var (
	errNoAck  = errors.New("no answer from the log")
	errBadAck = errors.New("the log's answer is not understood")
)

// cut turns an error of a call to e into what it means when e is being stopped.
func (s *Spool) cut(e *engine, err error) error {
	select {
	case <-e.retired:
	default:
		return err
	}
	if s.life.Err() != nil {
		return ErrClosed
	}
	return ErrRestarted
}

// isFault reports whether err says that the log does not work, rather than that
// the caller or the moment is wrong.
func isFault(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500
	}
	return errors.Is(err, errNoAck) || errors.Is(err, errBadAck) || errors.Is(err, nats.ErrNoResponders)
}
