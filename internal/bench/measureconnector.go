package bench

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"
)

// ConnectorOptions are those of a child of [RoleConnector].
type ConnectorOptions struct {
	// Config is the configuration file.
	Config string `json:"config"`
	// Spooled and Acknowledged are the files of the instants; Count their places.
	Spooled      string `json:"spooled"`
	Acknowledged string `json:"acknowledged"`
	Count        int    `json:"count"`
	// Profile is a file for a CPU profile; empty: none.
	Profile string `json:"profile,omitempty"`
}

// ConnectorReady is what it says once it works.
type ConnectorReady struct {
	// Embedded is the address of the connector's own broker.
	Embedded string `json:"embedded"`
	// Before is what it used before the first session.
	Before Usage `json:"before"`
	// Dialling is when it began to dial.
	Dialling time.Time `json:"dialling"`
}

// ConnectorState is how far it has come.
type ConnectorState struct {
	// Up are the sessions that were heard; Queued the bytes that wait for the spool.
	Up     int   `json:"up"`
	Queued int64 `json:"queued"`
}

// sourceName is the LQ server's in the events of a run.
const sourceName = "bench"

// connector measures the connector.
func (m *measurement) connector(ctx context.Context) (err error) {
	o, f, p := &m.o, &m.result.Connector, m.plan()
	if o.Backlog > 0 {
		return m.backlog(ctx)
	}
	l, lq, err := startChild[loadReady](ctx, o, roleLoad, loadOptions{Plan: p, Heartbeat: o.Heartbeat})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	c, ready, err := m.startConnector(ctx, lq.Address, p, f)
	if err != nil {
		return err
	}
	var s *subscriber
	defer func() {
		if s != nil {
			err = errors.Join(err, s.end())
		}
		err = errors.Join(err, c.stop())
	}()
	if p.Count > 0 {
		if s, err = m.subscribe(ctx, ready); err != nil {
			return err
		}
	}

	o.tell("connecting %d sessions", o.Sessions)
	if err := m.connected(ctx, l, c, ready, f); err != nil {
		return err
	}
	before, err := c.usage(false)
	if err != nil {
		return err
	}
	if o.Idle {
		if err := m.idle(ctx, c, before, f); err != nil {
			return err
		}
		// By now what connecting took is given back.
		return m.sessionBytes(c, ready, f)
	}
	done, err := m.openProgress(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done.close()) }()
	start, state, err := m.send(ctx, l, p, "done with", func(sent int) (int, error) { return done.upTo(sent), nil })
	if err != nil {
		return err
	}
	if err := await(ctx, time.Millisecond, "the answers", state.Sent, func() int { return done.upTo(state.Sent) }); err != nil {
		return err
	}
	after, err := c.usage(false)
	if err != nil {
		return err
	}
	f.Pops = state.Sent
	f.SpoolBytesPerPop = float64(dirBytes(m.callpopDir())) / float64(max(1, state.Sent))
	f.WireBytesPerPop = float64(state.Bytes) / float64(max(1, state.Sent))
	if s == nil {
		// Where as many pops as can be are published, the broker has nobody else to
		// serve, as with the bare publisher.
		o.tell("reading what was published")
		if s, err = m.subscribe(ctx, ready); err != nil {
			return err
		}
	}
	if err := s.await(ctx, "the last pops", state.Sent); err != nil {
		return err
	}
	if err := m.settle(p, f, s, state, start, before, after); err != nil {
		return err
	}
	return m.lookAgain(ctx, p, state)
}

// lookAgain reads a Kafka topic once more, from its start, where the subscriber had
// less than was sent: kafka-go's reader can hang on one connection for longer than
// a run waits. What is in the topic is not lost.
func (m *measurement) lookAgain(ctx context.Context, p Plan, state loadState) error {
	v := &m.result.Verified
	if m.o.Sink != SinkKafka || v.Lost == 0 {
		return nil
	}
	m.o.tell("%d pops did not come to the subscriber in time: reading the topic once more", v.Lost)
	s := subscribeKafka(ctx, m.o.Kafka, m.topic(), m.o.Partitions)
	if err := s.await(ctx, "the topic's pops", state.Sent); err != nil {
		return errors.Join(err, s.end())
	}
	late := v.Lost
	*v, _ = ledger{plan: p, sent: state.Sent, missed: state.Missed}.verify(s.taken())
	v.Late = late - v.Lost
	return s.end()
}

// connected waits until all sessions are up, and measures them.
func (m *measurement) connected(ctx context.Context, l, c *child, ready ConnectorReady, f *Figures) error {
	var state ConnectorState
	// Not more often: for the answer the connector goes through all its sessions.
	err := poll(ctx, 20*time.Millisecond, connectLimit, "all sessions", func() (int, bool, error) {
		err := c.ask("state", nil, &state)
		return state.Up, state.Up >= m.o.Sessions, err
	})
	if err != nil {
		return err
	}
	f.ConnectSeconds = time.Since(ready.Dialling).Seconds()
	err = poll(ctx, 20*time.Millisecond, connectLimit, "the sessions' events", func() (int, bool, error) {
		err := c.ask("state", nil, &state)
		return -int(state.Queued), state.Queued == 0, err
	})
	if err != nil {
		return err
	}
	if err := m.sessionBytes(c, ready, f); err != nil {
		return err
	}
	var load loadState
	if err := l.ask("state", nil, &load); err != nil {
		return err
	}
	if load.Registered > m.o.Sessions {
		m.o.tell("%d sessions had to be opened again", load.Registered-m.o.Sessions)
	}
	return nil
}

// sessionBytes measures the memory that the sessions take now.
func (m *measurement) sessionBytes(c *child, ready ConnectorReady, f *Figures) error {
	up, err := c.usage(true)
	if err == nil && up.Resident > 0 {
		f.BytesPerSession = float64(up.Resident-ready.Before.Resident) / float64(m.o.Sessions)
	}
	return err
}

// idle measures what heartbeats alone cost.
func (m *measurement) idle(ctx context.Context, c *child, before Usage, f *Figures) error {
	begun := time.Now()
	err := poll(ctx, time.Second, m.o.Duration+time.Minute, "the time to be over", func() (int, bool, error) {
		m.o.progress("idle: %3.0f s", time.Since(begun).Seconds())
		return 0, time.Since(begun) >= m.o.Duration, nil
	})
	if err != nil {
		return err
	}
	after, err := c.usage(false)
	if err != nil {
		return err
	}
	return f.used(before, after, time.Since(begun))
}

// dirBytes adds up a directory's files.
func dirBytes(dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // a file that goes meanwhile counts nothing
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
