package exampletest

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/segmentio/kafka-go"

	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
)

// Patience bounds what takes seconds on an idle machine.
const Patience = 2 * time.Minute

// Broker is a real broker, with the streams or topics that the connector makes.
type Broker struct {
	// Flags lead a consumer there.
	Flags []string
	send  func(t testing.TB, events []schema.Event)
}

// EachBroker runs a test with a NATS server and with an Apache Kafka, each empty: a
// package can do so once, since its tests share the Kafka and its topics.
func EachBroker(t *testing.T, shared *kafkatest.Shared, test func(t *testing.T, b *Broker)) {
	t.Run("NATS", func(t *testing.T) { test(t, startNATS(t)) })
	t.Run("Kafka", func(t *testing.T) { test(t, startKafka(t, shared)) })
}

// Send publishes the events in their order. Where repeat is more than 0, that
// share of them is published again a little later, as a connector does that lost
// an answer; seed chooses which.
func (b *Broker) Send(t testing.TB, events []schema.Event, repeat float64, seed uint64) {
	t.Helper()
	begun := time.Now()
	defer func() { t.Logf("%v to send %d", time.Since(begun).Round(time.Millisecond), len(events)) }()
	rng := rand.New(rand.NewPCG(seed, 0))
	const later = 20
	var again []schema.Event
	all := make([]schema.Event, 0, len(events))
	for i, e := range events {
		all = append(all, e)
		if rng.Float64() < repeat {
			again = append(again, e)
		}
		if i%later == later-1 {
			all = append(all, again...)
			again = again[:0]
		}
	}
	b.send(t, append(all, again...))
}

func startNATS(t *testing.T) *Broker {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(Patience) {
		t.Fatal("the NATS server is not ready")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]schema.Type{"CALLPOP": schema.TypeCallPop, "CALLPOP_SESSION": schema.TypeSessionChanged} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{string(kind) + ".>"}}); err != nil {
			t.Fatal(err)
		}
	}
	return &Broker{Flags: []string{"-nats", s.ClientURL()}, send: func(t testing.TB, events []schema.Event) {
		t.Helper()
		for _, e := range events {
			// Without Nats-Msg-Id: the server would drop the repeats within its window.
			m := nats.NewMsg(e.Subject())
			m.Data = e.Body
			for name, value := range e.NATSHeaders() {
				m.Header[name] = []string{value}
			}
			if _, err := js.PublishMsgAsync(m); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-time.After(Patience):
			t.Fatal("the NATS server does not take the events")
		}
	}}
}

func startKafka(t *testing.T, shared *kafkatest.Shared) *Broker {
	cluster := shared.Cluster(t)
	for _, kind := range schema.Types[:2] {
		cluster.CreateTopic(t, string(kind), 3, 1, nil)
	}
	transport := &kafka.Transport{}
	client := &kafka.Writer{
		Addr: kafka.TCP(cluster.Addresses()...), Transport: transport, Balancer: &kafka.Murmur2Balancer{},
		BatchSize: 500, BatchTimeout: 5 * time.Millisecond, RequiredAcks: kafka.RequireAll,
	}
	t.Cleanup(func() { _ = client.Close(); transport.CloseIdleConnections() })
	return &Broker{Flags: []string{"-kafka", strings.Join(cluster.Addresses(), ",")}, send: func(t testing.TB, events []schema.Event) {
		t.Helper()
		messages := make([]kafka.Message, len(events))
		for i, e := range events {
			messages[i] = kafka.Message{Topic: string(e.Type), Key: []byte(e.Key), Value: e.Body}
			for name, value := range e.KafkaHeaders() {
				messages[i].Headers = append(messages[i].Headers, kafka.Header{Key: name, Value: []byte(value)})
			}
		}
		if err := client.WriteMessages(t.Context(), messages...); err != nil {
			t.Fatal(err)
		}
	}}
}
