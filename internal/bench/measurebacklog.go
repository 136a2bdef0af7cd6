package bench

import (
	"context"
	"errors"
	"time"
)

// backlog measures the start with a spool that holds events, and how fast a sink
// that has had none of them gets them.
func (m *measurement) backlog(ctx context.Context) (err error) {
	o, f := &m.o, &m.result.Connector
	p := Plan{Sessions: o.Sessions, Format: o.Format, Count: o.Backlog}
	l, lq, err := startChild[loadReady](ctx, o, roleLoad, loadOptions{Plan: p, Heartbeat: o.Heartbeat})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	o.tell("storing %d events", o.Backlog)
	filler, _, err := startChild[struct{}](ctx, o, roleFill, fillOptions{Dir: m.spoolDir(), Plan: p, Server: sourceName})
	if err != nil {
		return err
	}
	if err := filler.stop(); err != nil {
		return err
	}
	o.tell("starting the connector with them")
	c, ready, err := m.startConnector(ctx, lq.Address, p, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if o.Sink == SinkSpool {
		return nil
	}
	s, err := m.subscribe(ctx, ready)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := s.await(ctx, "the backlog", o.Backlog); err != nil {
		return err
	}
	after, err := c.usage(false)
	if err != nil {
		return err
	}
	f.Pops = int(s.count.Load())
	var delivered []int64
	m.result.Verified, delivered = ledger{plan: p, sent: o.Backlog}.verify(s.taken())
	return f.used(ready.Before, after, time.Unix(0, newest(delivered)).Sub(ready.Dialling))
}
