package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
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
	s, c, ready, err := m.startConnector(ctx, lq.Address, p, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end(), c.stop()) }()

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
	delivered := func() (int, error) { return int(s.count.Load()), nil }
	start, state, err := m.send(ctx, l, p, "delivered", delivered)
	if err != nil {
		return err
	}
	err = poll(ctx, 5*time.Millisecond, deliverLimit, "the last pops", func() (int, bool, error) {
		n := int(s.count.Load())
		return n, n >= state.Sent, nil
	})
	if err != nil && !errors.Is(err, errStalled) {
		return err // what is lost shows in the verification
	}
	if err := m.awaitSettled(ctx, p, state.Sent); err != nil {
		return err
	}
	after, err := c.usage(false)
	if err != nil {
		return err
	}
	f.Pops = state.Sent
	f.SpoolBytesPerPop = float64(dirBytes(m.callpopDir())) / float64(max(1, state.Sent))
	f.WireBytesPerPop = float64(state.Bytes) / float64(max(1, state.Sent))
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
	err := poll(ctx, 20*time.Millisecond, deliverLimit, "the topic's pops", func() (int, bool, error) {
		n := int(s.count.Load())
		return n, n >= state.Sent, nil
	})
	if err != nil && !errors.Is(err, errStalled) {
		return errors.Join(err, s.end())
	}
	late := v.Lost
	*v, _ = ledger{plan: p, sent: state.Sent, missed: state.Missed}.verify(s.taken())
	v.Late = late - v.Lost
	return s.end()
}

// awaitSettled waits until the connector has the answers for all pops: a subscriber
// can have one before the call that published it has returned.
func (m *measurement) awaitSettled(ctx context.Context, p Plan, sent int) error {
	instants := []string{Spooled}
	if m.o.Sink != SinkSpool {
		instants = append(instants, Acknowledged)
	}
	for _, instant := range instants {
		s, err := OpenStamps(filepath.Join(m.dir, instant), p.places())
		if err != nil {
			return err
		}
		next := 1
		err = poll(ctx, time.Millisecond, deliverLimit, "the answers", func() (int, bool, error) {
			for next <= sent && s.At(next) != 0 {
				next++
			}
			return next, next > sent, nil
		})
		if errors.Is(err, errStalled) {
			err = nil // it shows in the counts
		}
		if err = errors.Join(err, s.Close()); err != nil {
			return err
		}
	}
	return nil
}

// settle verifies and makes the figures of what was observed.
func (m *measurement) settle(p Plan, f *Figures, s *subscriber, state loadState, start time.Time, before, after Usage) error {
	var delivered []int64
	arrivals := s.taken()
	m.result.Verified, delivered = ledger{plan: p, sent: state.Sent, missed: state.Missed}.verify(arrivals)
	read := make([]int64, len(delivered))
	bytes := 0
	for _, a := range arrivals {
		if a.n < int64(len(read)) {
			read[a.n] = a.read
		}
		bytes += a.bytes
	}
	f.BodyBytesPerPop = float64(bytes) / float64(max(1, len(arrivals)))
	from := func(n int) int64 { return start.Add(p.Due(n)).UnixNano() }
	f.Latency = map[string]*Latency{Read: spread(read, from)}
	if m.result.LatencyFrom == "read" {
		from = func(n int) int64 { return read[n] }
		delete(f.Latency, Read)
	} else {
		f.Latency[Written] = state.Late
	}
	stamps := map[string][]int64{Delivered: delivered}
	for _, instant := range []string{Spooled, Acknowledged} {
		places, err := m.stamps(instant, len(delivered)-1, p.places())
		if err != nil {
			return err
		}
		stamps[instant] = places
	}
	last := start
	for instant, places := range stamps {
		if l := spread(places, from); l != nil { // without a sink nothing is acknowledged
			f.Latency[instant] = l
		}
		if t := newest(places); t > 0 {
			if m.o.Burst {
				if f.UntilSeconds == nil {
					f.UntilSeconds = map[string]float64{}
				}
				f.UntilSeconds[instant] = time.Unix(0, t).Sub(start).Seconds()
			}
			if at := time.Unix(0, t); at.After(last) {
				last = at
			}
		}
	}
	return f.used(before, after, last.Sub(start))
}

// stamps copies the instants of pops 1 to n.
func (m *measurement) stamps(instant string, n, places int) ([]int64, error) {
	s, err := OpenStamps(filepath.Join(m.dir, instant), places)
	if err != nil {
		return nil, err
	}
	copied := make([]int64, n+1)
	for i := 1; i <= n; i++ {
		copied[i] = s.At(i)
	}
	return copied, s.Close()
}

func newest(places []int64) (t int64) {
	for _, at := range places {
		t = max(t, at)
	}
	return t
}

// spread is how long after from pops came.
func spread(places []int64, from func(n int) int64) *Latency {
	h := newHistogram()
	for n := 1; n < len(places); n++ {
		if since := from(n); places[n] != 0 && since != 0 {
			h.add(time.Duration(places[n] - since))
		}
	}
	return h.latency()
}

// startConnector starts the connector with a configuration of its own, and a
// subscriber of the broker that it publishes to.
func (m *measurement) startConnector(ctx context.Context, lq string, p Plan, f *Figures) (_ *subscriber, _ *child, ready ConnectorReady, err error) {
	config, err := m.writeConfig(lq)
	if err != nil {
		return nil, nil, ready, err
	}
	var s *subscriber
	switch m.o.Sink {
	case SinkNATS:
		if err := m.createStream(ctx); err != nil {
			return nil, nil, ready, err
		}
		s, err = subscribeNATS(ctx, m.o.NATS, m.stream())
	case SinkKafka:
		if err := createTopic(ctx, m.o.Kafka, m.topic(), m.o.Partitions); err != nil {
			return nil, nil, ready, err
		}
		s = subscribeKafka(ctx, m.o.Kafka, m.topic(), m.o.Partitions)
	}
	if err != nil {
		return nil, nil, ready, err
	}
	began := time.Now()
	c, ready, err := startChild[ConnectorReady](ctx, &m.o, RoleConnector, ConnectorOptions{
		Config: config, Spooled: filepath.Join(m.dir, Spooled), Acknowledged: filepath.Join(m.dir, Acknowledged), Count: p.places(), Profile: m.o.Profile,
	})
	f.ReadySeconds = time.Since(began).Seconds()
	if err == nil && s == nil {
		if s, err = subscribeNATS(ctx, "nats://"+ready.Embedded, spool.StreamName(schema.TypeCallPop)); err != nil {
			err = errors.Join(err, c.stop())
		}
	}
	if err != nil {
		if s != nil {
			err = errors.Join(err, s.end())
		}
		return nil, nil, ready, err
	}
	return s, c, ready, nil
}

// connected waits until all sessions are up, and measures them.
func (m *measurement) connected(ctx context.Context, l, c *child, ready ConnectorReady, f *Figures) error {
	var state ConnectorState
	err := poll(ctx, 5*time.Millisecond, connectLimit, "all sessions", func() (int, bool, error) {
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

// writeConfig writes what a user of the same would write.
func (m *measurement) writeConfig(lq string) (string, error) {
	agents := strconv.Quote(Agent(0) + "-" + Agent(m.o.Sessions-1))
	if m.o.Sessions == 1 {
		agents = strconv.Quote(Agent(0))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "sources:\n  - {name: %s, type: session, address: %q, agents: [%s], registration: %q, area_code: %q, dial_rate: 10000}\n",
		sourceName, lq, agents, lqsim.DefaultRegistration, areaCode)
	start := ""
	if m.o.Backlog > 0 {
		start = ", start: all"
	}
	switch m.o.Sink {
	case SinkNATS:
		fmt.Fprintf(&b, "sinks:\n  - {name: nats, type: nats, url: %q, stream: %s, subject: %s, session_stream: \"\", dead_letter_stream: \"\"%s}\n",
			m.o.NATS, m.stream(), m.subject(), start)
	case SinkKafka:
		quoted := make([]string, len(m.o.Kafka))
		for i, address := range m.o.Kafka {
			quoted[i] = strconv.Quote(address)
		}
		fmt.Fprintf(&b, "sinks:\n  - {name: kafka, type: kafka, brokers: [%s], topic: %s, session_topic: \"\", dead_letter_topic: \"\"%s}\n",
			strings.Join(quoted, ", "), m.topic(), start)
	}
	sync := ""
	if m.o.Sync != "" {
		sync = fmt.Sprintf(", sync: %s", m.o.Sync)
	}
	fmt.Fprintf(&b, "spool: {dir: %q, min_free: 0%s}\nembedded: {listen: \"127.0.0.1:0\"}\nhttp: {health: \"127.0.0.1:0\"}\nlog: {level: warn}\nshutdown_timeout: 5s\n",
		m.spoolDir(), sync)
	file := filepath.Join(m.dir, "connector.yaml")
	return file, os.WriteFile(file, []byte(b.String()), 0o600)
}

func (m *measurement) spoolDir() string { return filepath.Join(m.dir, "spool") }

// callpopDir is where the spool keeps the pops.
func (m *measurement) callpopDir() string {
	return filepath.Join(m.spoolDir(), "jetstream", "SPOOL", "streams", spool.StreamName(schema.TypeCallPop), "msgs")
}

func (m *measurement) stream() string  { return "CALLPOP_BENCH_" + m.run }
func (m *measurement) subject() string { return "callpop-bench." + m.run }
func (m *measurement) topic() string   { return "callpop-bench-" + m.run }

// createStream makes the run's stream, as the sink would.
func (m *measurement) createStream(ctx context.Context) error {
	conn, err := nats.Connect(m.o.NATS, nats.Name("callpop-bench"))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", m.o.NATS, err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: m.stream(), Subjects: []string{m.subject() + ".>"}, Storage: jetstream.FileStorage, Replicas: 1,
		Duplicates: 2 * time.Minute, MaxAge: 72 * time.Hour, AllowDirect: true,
	})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", m.stream(), err)
	}
	return nil
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
