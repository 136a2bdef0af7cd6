package natssink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/sink"
)

// Publish publishes records and waits for their acknowledgements; see
// [sink.Sink]. It waits up to the publish time-out for a connection, and as long
// for each acknowledgement. Once ctx is done it returns at once, or within the
// publish time-out if the server does not take what is being written.
func (s *Sink) Publish(ctx context.Context, records []sink.Record) error {
	if len(records) == 0 {
		return nil
	}
	r := s.routes[records[0].Type]
	if r == nil {
		return fmt.Errorf("nats: event type %s is switched off", records[0].Type)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("nats: publish: %w", context.Cause(ctx))
	}
	connecting, cancel := context.WithTimeout(ctx, s.config.PublishTimeout)
	defer cancel()
	session, err := s.link.get(connecting)
	if err != nil {
		return fmt.Errorf("nats: publish: %w", err)
	}
	if err := s.ensure(ctx, session, r); err != nil {
		return fmt.Errorf("nats: publish: %w", err)
	}
	a := newAttempt(s, session, r, records)
	a.run(ctx)
	return a.result(ctx)
}

// attempt is one call to Publish on its way. The records of a key form a chain:
// each goes out when the one before it is acknowledged. A wave is the next record
// of every chain that still goes.
type attempt struct {
	sink    *Sink
	session *session
	route   *route
	records []sink.Record
	next    []int // the next record of the same key; 0: none
	errs    sink.BatchError
	failed  bool
	wave    []int
}

// pending is a message whose acknowledgement is awaited.
type pending struct {
	index  int
	sent   time.Time
	future jetstream.PubAckFuture
}

func newAttempt(s *Sink, session *session, r *route, records []sink.Record) *attempt {
	a := &attempt{
		sink:    s,
		session: session,
		route:   r,
		records: records,
		next:    make([]int, len(records)),
		errs:    make(sink.BatchError, len(records)),
		wave:    make([]int, 0, len(records)),
	}
	last := make(map[string]int, len(records)) // the last record of each key so far
	for i := range records {
		if before, ok := last[records[i].Key]; ok {
			a.next[before] = i
		} else {
			a.wave = append(a.wave, i)
		}
		last[records[i].Key] = i
	}
	return a
}

// run sends wave after wave. It keeps as many messages under way as may be, and
// leaves none behind but those whose context is done.
func (a *attempt) run(ctx context.Context) {
	window := make([]pending, 0, min(len(a.wave), a.sink.config.MaxInFlight))
	for len(a.wave) > 0 {
		following := make([]int, 0, len(a.wave))
		settle := func(p pending) {
			if err := a.sink.await(ctx, p, a.taken); err != nil {
				a.fail(p.index, err)
			} else if next := a.next[p.index]; next != 0 {
				following = append(following, next)
			}
		}
		for _, i := range a.wave {
			if len(window) == cap(window) {
				settle(window[0])
				window = append(window[:0], window[1:]...)
			}
			p, err := a.send(ctx, i)
			if err != nil {
				a.fail(i, err)
				continue
			}
			window = append(window, p)
		}
		for _, p := range window {
			settle(p)
		}
		window = window[:0]
		slices.Sort(following) // in the order of the spool, for the eye
		a.wave = following
	}
}

// taken is called with each acknowledgement.
func (a *attempt) taken(ack *jetstream.PubAck) {
	if ack.Duplicate {
		a.route.duplicates.Add(1)
	}
}

// fail gives a record its error, and holds back those after it in its chain.
func (a *attempt) fail(index int, err error) {
	a.failed = true
	a.errs[index] = err
	for i := a.next[index]; i != 0; i = a.next[i] {
		a.errs[i] = sink.ErrNotAttempted
	}
}

// send hands one message to the connection.
func (a *attempt) send(ctx context.Context, index int) (pending, error) {
	if ctx.Err() != nil {
		return pending{}, context.Cause(ctx)
	}
	if a.session.ctx.Err() != nil {
		return pending{}, nats.ErrDisconnected
	}
	msg, err := a.route.message(&a.records[index])
	if err != nil {
		return pending{}, err
	}
	a.trace(&a.records[index])
	p := pending{index: index, sent: time.Now()}
	p.future, err = a.session.js.PublishMsgAsync(msg,
		jetstream.WithRetryAttempts(0), // the forwarder retries, in order
		jetstream.WithStallWait(a.sink.config.PublishTimeout),
	)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		err = sink.Permanent(fmt.Errorf("a body of %d bytes and its headers are more than the server takes (%d): %w",
			len(msg.Data), a.session.nc.MaxPayload(), err))
	case errors.Is(err, nats.ErrReconnectBufExceeded): // we have no such buffer
		err = ErrNotConnected
	}
	return p, err
}

// await waits for a message's acknowledgement; taken is called with it.
func (s *Sink) await(ctx context.Context, p pending, taken func(*jetstream.PubAck)) error {
	subject := p.future.Msg().Subject
	for {
		denied, denial := s.link.denial(subject, p.sent)
		if denial != nil {
			return denial
		}
		select {
		case ack := <-p.future.Ok():
			if taken != nil {
				taken(ack)
			}
			return nil
		case err := <-p.future.Err():
			return answer(err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-denied:
		}
	}
}

// Error codes of JetStream that nats.go has no names for.
const (
	codeHeaderTooLarge = 10097
	codeOtherStream    = 10060
)

// answer reads the error in place of an acknowledgement.
func answer(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		return ErrNoAnswer
	case errors.As(err, &api):
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamMessageExceedsMaximum, codeHeaderTooLarge:
			return sink.Permanent(err)
		case codeOtherStream:
			return fmt.Errorf("%w: %w", ErrOtherStream, err)
		}
	}
	return err
}

// result returns the errors of the call, with the causes of "no responders"
// looked up.
func (a *attempt) result(ctx context.Context) error {
	if !a.failed {
		return nil
	}
	var unanswered error // looked up once a call
	for i, err := range a.errs {
		switch {
		case err == nil || errors.Is(err, sink.ErrNotAttempted):
			continue
		case errors.Is(err, jetstream.ErrNoStreamResponse):
			if unanswered == nil {
				a.route.exists.Store(false) // created again, where we may
				unanswered = a.sink.explain(ctx, a.session, a.route, a.records[i].SubjectUnder(a.route.subject))
			}
			err = unanswered
		}
		a.errs[i] = a.name(&a.records[i], err)
	}
	return a.errs
}

// name says what the error of a record is about: its id, and where it was to go.
// It names no agent: the errors of a call should read alike.
func (a *attempt) name(r *sink.Record, err error) error {
	named := fmt.Errorf("nats: publish event %s to stream %s, subject %s.>: %w", r.ID, a.route.stream, a.route.subject, err)
	if sink.IsPermanent(err) {
		return sink.Permanent(named)
	}
	return named
}
