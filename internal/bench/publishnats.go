package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// natsPublishing is nats.go's asynchronous JetStream publisher.
type natsPublishing struct {
	conn     *nats.Conn
	js       jetstream.JetStream
	window   int
	run      string
	messages []nats.Msg
}

// stallWait is longer than any answer takes.
const stallWait = time.Minute

func newNATSPublishing(ctx context.Context, o *publisherOptions, m *maker) (_ *natsPublishing, err error) {
	p := &natsPublishing{window: o.Window, run: o.Run}
	if p.conn, err = nats.Connect(o.NATS, nats.Name("callpop-bench-publisher")); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.NATS, err)
	}
	defer func() {
		if err != nil {
			p.conn.Close()
		}
	}()
	if p.js, err = jetstream.New(p.conn, jetstream.WithPublishAsyncMaxPending(o.Window)); err != nil {
		return nil, err
	}
	stream := "BENCH_" + o.Run
	prefix := "bench." + o.Run
	// As the sink creates its streams.
	if _, err = p.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{prefix + ".>"}, Storage: jetstream.FileStorage, Replicas: 1,
		Duplicates: 2 * time.Minute, MaxAge: 72 * time.Hour, AllowDirect: true,
	}); err != nil {
		return nil, fmt.Errorf("create stream %s: %w", stream, err)
	}
	for n := range readyMessages {
		e := m.event(n+1, time.Now())
		header := make(nats.Header, 16)
		for name, value := range e.NATSHeaders() {
			header.Set(name, value)
		}
		header.Set(schema.NATSSpoolSequence, fmt.Sprintf("0123456789abcdef0123-%020d", n))
		header.Set(jetstream.ExpectedStreamHeader, stream)
		p.messages = append(p.messages, nats.Msg{Subject: e.SubjectUnder(prefix), Header: header, Data: e.Body})
	}
	return p, nil
}

func (p *natsPublishing) publish(ctx context.Context, next func(bool) (int, bool), acked func(int)) error {
	type sent struct {
		n      int
		future jetstream.PubAckFuture
	}
	waiting := make(chan sent, p.window)
	failed := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range waiting {
			select {
			case <-s.future.Ok():
				acked(s.n)
			case err := <-s.future.Err():
				select {
				case failed <- err:
				default:
				}
			}
		}
	}()
	err := func() error {
		defer close(waiting)
		for n, ok := next(false); ok; n, ok = next(false) {
			m := &p.messages[n%len(p.messages)]
			// Set in place: what nats.go has taken is written already.
			m.Header[jetstream.MsgIDHeader] = []string{fmt.Sprintf("%s-%030d", p.run[:min(5, len(p.run))], n)}
			future, err := p.js.PublishMsgAsync(m, jetstream.WithStallWait(stallWait), jetstream.WithRetryAttempts(0))
			if err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			waiting <- sent{n, future}
		}
		return ctx.Err()
	}()
	<-done
	select {
	case failure := <-failed:
		return fmt.Errorf("publish: %w", failure)
	default:
		return err
	}
}

func (p *natsPublishing) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stallWait)
	defer cancel()
	err := p.js.DeleteStream(ctx, "BENCH_"+p.run)
	p.conn.Close()
	return err
}
