package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	m := s.messages.Get().(*message)
	defer s.release(m)
	if err := m.fill(e); err != nil {
		return err
	}
	engine, err := s.acquire(ctx, true, nil)
	if err != nil {
		return err
	}
	acks := &s.acks[st.index]
	before := acks.Load()
	sequence, err := s.publish(ctx, engine, &m.Msg)
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

// message is the memory for one event's way into the log. The connection has
// written it by the time that the answer is awaited, so that it can be used again:
// a new one for each event was a sixth of all that was allocated.
type message struct {
	nats.Msg
	values []string
}

func newMessage() any {
	const some = 16
	return &message{Msg: nats.Msg{Header: make(nats.Header, some)}, values: make([]string, 0, some)}
}

// release gives m back, without the event's body.
func (s *Spool) release(m *message) {
	m.Data = nil
	s.messages.Put(m)
}

// fill makes the NATS message of e: the body as it is, CloudEvents headers, and
// the id by which the log knows a repeated event.
func (m *message) fill(e *schema.Event) error {
	if e.ID == "" {
		return errors.New("the event has no id")
	}
	clear(m.Header)
	m.values = m.values[:0]
	m.Subject, m.Data = e.Subject(), e.Body
	size := len(e.Body)
	add := func(name, value string) {
		m.values = append(m.values, value)
		m.Header[name] = m.values[len(m.values)-1 : len(m.values) : len(m.values)]
		size += len(name) + len(value) + len(": \r\n")
	}
	for name, value := range e.NATSHeaders() {
		add(name, value)
	}
	add(jetstream.MsgIDHeader, e.ID)
	if size > maxPayload-headerSlack {
		return ErrTooLarge
	}
	return nil
}

// headerSlack is room for the status line of the headers and for those that the
// server adds when it hands an event out.
const headerSlack = 1 << 10

// publish sends m, waits for the server's answer and returns the sequence. It is a
// plain request: beside nats.go's own synchronous and asynchronous publishing, with
// 64 callers it was a fifth faster than either, which were equal.
func (s *Spool) publish(ctx context.Context, e *engine, m *nats.Msg) (uint64, error) {
	limited, cancel := context.WithTimeout(ctx, s.ackTimeout)
	defer cancel()
	answer, err := e.emits.RequestMsgWithContext(limited, m)
	switch {
	case err == nil:
		return readAck(answer.Data)
	case ctx.Err() != nil:
		return 0, fmt.Errorf("wait for the log's answer: %w", ctx.Err())
	case limited.Err() != nil:
		return 0, s.cut(e, fmt.Errorf("%w within %v", errNoAck, s.ackTimeout))
	default:
		return 0, s.cut(e, err)
	}
}

var (
	errNoAck  = errors.New("no answer from the log")
	errBadAck = errors.New("the log's answer is not understood")
)

// readAck reads the server's answer to a publish. That of a stored message, or of
// one it knew already, names a sequence and no error.
func readAck(answer []byte) (uint64, error) {
	// What the server writes all the time is read without package json.
	if rest, ok := bytes.CutPrefix(answer, []byte(`{"stream":"`)); ok {
		if _, rest, ok = bytes.Cut(rest, []byte(`","seq":`)); ok {
			digits := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
			if n, err := strconv.ParseUint(string(rest[:max(digits, 0)]), 10, 64); err == nil && n > 0 {
				return n, nil
			}
		}
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil || (ack.Error == nil && ack.Sequence == 0) {
		return 0, errBadAck
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	return ack.Sequence, nil
}

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
