package bench

import (
	"context"
	"fmt"
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

// startConnector starts the connector with a configuration of its own, after it has
// made what it publishes to.
func (m *measurement) startConnector(ctx context.Context, lq string, p Plan, f *Figures) (*child, ConnectorReady, error) {
	config, err := m.writeConfig(lq)
	if err != nil {
		return nil, ConnectorReady{}, err
	}
	switch m.o.Sink {
	case SinkNATS:
		err = m.createStream(ctx)
	case SinkKafka:
		err = createTopic(ctx, m.o.Kafka, m.topic(), m.o.Partitions)
	}
	if err != nil {
		return nil, ConnectorReady{}, err
	}
	began := time.Now()
	c, ready, err := startChild[ConnectorReady](ctx, &m.o, RoleConnector, ConnectorOptions{
		Config: config, Spooled: filepath.Join(m.dir, Spooled), Acknowledged: filepath.Join(m.dir, Acknowledged), Count: p.places(), Profile: m.o.Profile,
	})
	f.ReadySeconds = time.Since(began).Seconds()
	return c, ready, err
}

// subscribe takes what the connector publishes, from the first event on.
func (m *measurement) subscribe(ctx context.Context, ready ConnectorReady) (*subscriber, error) {
	switch m.o.Sink {
	case SinkNATS:
		return subscribeNATS(ctx, m.o.NATS, m.stream())
	case SinkKafka:
		return subscribeKafka(ctx, m.o.Kafka, m.topic(), m.o.Partitions), nil
	default:
		return subscribeNATS(ctx, "nats://"+ready.Embedded, spool.StreamName(schema.TypeCallPop))
	}
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

func (m *measurement) stream() string { return "CALLPOP_BENCH_" + m.run }

func (m *measurement) subject() string { return "callpop-bench." + m.run }

func (m *measurement) topic() string { return "callpop-bench-" + m.run }

// createStream makes the run's stream, as the sink would.
func (m *measurement) createStream(ctx context.Context) error {
	conn, js, err := m.jetStream()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: m.stream(), Subjects: []string{m.subject() + ".>"}, Storage: jetstream.FileStorage, Replicas: 1,
		Duplicates: 2 * time.Minute, MaxAge: 72 * time.Hour, AllowDirect: true,
	})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", m.stream(), err)
	}
	return nil
}

// jetStream connects to the run's NATS server; the connection is the caller's to close.
func (m *measurement) jetStream() (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect(m.o.NATS, nats.Name("callpop-bench"))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", m.o.NATS, err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, js, nil
}
