package bench

import (
	"context"
	"errors"
	"path/filepath"
	"time"
)

// reader measures a program that only reads the sessions.
func (m *measurement) reader(ctx context.Context) (err error) {
	p, f := m.plan(), &Figures{}
	l, lq, err := startChild[loadReady](ctx, &m.o, roleLoad, loadOptions{Plan: p, Heartbeat: m.o.Heartbeat})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	m.o.tell("the same with a program that only reads")
	file := filepath.Join(m.dir, "bare")
	began := time.Now()
	r, empty, err := startChild[Usage](ctx, &m.o, roleReader, readerOptions{Address: lq.Address, Sessions: m.o.Sessions, Read: file, Count: p.places()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	var state readerState
	if err := poll(ctx, 5*time.Millisecond, connectLimit, "all sessions", func() (int, bool, error) {
		err := r.ask("state", nil, &state)
		return state.Up, state.Up >= m.o.Sessions, err
	}); err != nil {
		return err
	}
	f.ConnectSeconds = time.Since(began).Seconds()
	before, err := r.usage(true)
	if err != nil {
		return err
	}
	if before.Resident > 0 {
		f.BytesPerSession = float64(before.Resident-empty.Resident) / float64(m.o.Sessions)
	}
	m.result.Reader = f
	if m.o.Idle {
		return m.idle(ctx, r, before, f)
	}
	read := func(int) (int, error) {
		err := r.ask("state", nil, &state)
		return state.Read, err
	}
	start, load, err := m.send(ctx, l, p, "read", read)
	if err != nil {
		return err
	}
	if err := poll(ctx, 5*time.Millisecond, deliverLimit, "the last pops", func() (int, bool, error) {
		n, err := read(load.Sent)
		return n, n >= load.Sent, err
	}); err != nil {
		return err
	}
	after, err := r.usage(false)
	if err != nil {
		return err
	}
	s, err := OpenStamps(file, p.places())
	if err != nil {
		return err
	}
	places := make([]int64, load.Sent+1)
	for n := 1; n <= load.Sent; n++ {
		places[n] = s.At(n)
	}
	f.Pops = load.Sent
	if m.result.LatencyFrom == "due" {
		f.Latency = map[string]*Latency{Written: load.Late, Read: spread(places, func(n int) int64 { return start.Add(p.Due(n)).UnixNano() })}
	}
	if m.o.Burst {
		f.UntilSeconds = map[string]float64{Read: time.Unix(0, newest(places)).Sub(start).Seconds()}
	}
	return errors.Join(s.Close(), f.used(before, after, time.Unix(0, newest(places)).Sub(start)))
}

// The sinks' own windows, see natssink's max_in_flight and the forwarder's window.
const (
	natsWindow  = 512
	kafkaWindow = 1024
)

// publisher measures a program that only publishes.
func (m *measurement) publisher(ctx context.Context) (err error) {
	p, f := m.plan(), &Figures{}
	if m.o.Backlog > 0 {
		p = Plan{Sessions: m.o.Sessions, Format: m.o.Format, Count: m.o.Backlog}
	}
	window := natsWindow
	if m.o.Sink == SinkKafka {
		window = kafkaWindow
	}
	c, _, err := startChild[struct{}](ctx, &m.o, rolePublisher, publisherOptions{
		Sink: m.o.Sink, NATS: m.o.NATS, Kafka: m.o.Kafka, Partitions: m.o.Partitions, Window: window, Plan: p,
		Duration: m.o.Duration, Run: m.run,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	m.o.tell("the same with a program that only publishes")
	before, err := c.usage(true)
	if err != nil {
		return err
	}
	var done published
	if err := c.ask("publish", p.Rate, &done); err != nil {
		return err
	}
	after, err := c.usage(false)
	if err != nil {
		return err
	}
	f.Pops = done.Messages
	f.Latency = map[string]*Latency{Acknowledged: done.Latency}
	if m.o.Burst {
		f.UntilSeconds = map[string]float64{Acknowledged: done.Elapsed.Seconds()}
	}
	m.result.Publisher = f
	return f.used(before, after, done.Elapsed)
}
