package subscribe_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

// patience bounds what takes seconds on an idle machine.
const patience = 2 * time.Minute

// pop makes the n-th event of a test.
func pop(n int) schema.Event {
	at := time.Date(2026, 11, 23, 1, 0, 0, n, time.UTC)
	p := schema.CallPop{
		ID: schema.NewID(at), Version: schema.Version, Server: "hq", Key: fmt.Sprintf("hq/%d", n%7), Agent: schema.Agent{ID: "801"},
		Fingerprint: schema.Fingerprint("hq", "801", nil), Format: schema.T1V2, Raw: "x",
		Source: schema.Source{Type: "session", Name: "hq"}, ReceivedAt: at,
	}
	return p.Event()
}

// broker takes events for a consumer to read.
type broker struct {
	options subscribe.Options
	publish func(t *testing.T, e *schema.Event, spoil bool)
}

func natsBroker(t *testing.T) broker {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
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
	for name, subject := range map[string]string{"CALLPOP": "callpop.v1.>", "CALLPOP_SESSION": "callpop.session.v1.>"} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	return broker{subscribe.Options{NATS: s.ClientURL()}, func(t *testing.T, e *schema.Event, spoil bool) {
		t.Helper()
		m := nats.NewMsg(e.Subject())
		m.Data = e.Body
		for name, value := range e.NATSHeaders() {
			m.Header[name] = []string{value}
		}
		if spoil {
			m.Data = []byte("no event")
		}
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}}
}

func kafkaBroker(t *testing.T) broker {
	cluster := shared.Cluster(t)
	for _, kind := range schema.Types[:2] {
		cluster.CreateTopic(t, string(kind), 3, 1, nil)
	}
	transport := &kafka.Transport{}
	writer := &kafka.Writer{Transport: transport, Addr: kafka.TCP(cluster.Addresses()...), Balancer: &kafka.Murmur2Balancer{}, BatchSize: 1, RequiredAcks: kafka.RequireAll}
	t.Cleanup(func() { _ = writer.Close(); transport.CloseIdleConnections() })
	return broker{subscribe.Options{Kafka: strings.Join(cluster.Addresses(), ",")}, func(t *testing.T, e *schema.Event, spoil bool) {
		t.Helper()
		m := kafka.Message{Topic: string(e.Type), Key: []byte(e.Key), Value: e.Body}
		for name, value := range e.KafkaHeaders() {
			m.Headers = append(m.Headers, kafka.Header{Key: name, Value: []byte(value)})
		}
		if spoil {
			m.Value = []byte("no event")
		}
		if err := writer.WriteMessages(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}}
}

func TestEveryEventIsHandledThroughFailuresAndRestarts(t *testing.T) {
	for name, start := range map[string]func(*testing.T) broker{"NATS": natsBroker, "Kafka": kafkaBroker} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			b.options.Name = "test"
			b.options.Types = schema.Types[:2]
			want := map[string]bool{}
			for n := range 60 {
				e := pop(n)
				if n%20 == 7 {
					b.publish(t, &e, true) // and again, whole, below
				}
				b.publish(t, &e, false)
				want[e.ID] = true
			}
			change := schema.SessionChanged{ID: schema.NewID(time.Now()), Version: schema.Version, Server: "hq", Agent: "801",
				State: schema.Connected, OCXCode: 7, At: time.Now().UTC(), Source: schema.Source{Type: "session", Name: "hq"}}
			e := change.Event()
			b.publish(t, &e, false)
			want[e.ID] = true

			handled := map[string]bool{}
			failed := 0
			for run := 0; len(handled) < len(want); run++ {
				ctx, stop := context.WithTimeout(t.Context(), patience)
				var inside sync.Mutex
				before := len(handled)
				err := b.options.Run(ctx, func(_ context.Context, d *consume.Delivery) error {
					if !inside.TryLock() {
						t.Error("two calls overlap")
					}
					defer inside.Unlock()
					if failed < 3 {
						failed++
						return errors.New("not now")
					}
					if (d.CallPop != nil) == (d.SessionChanged != nil) {
						t.Errorf("a delivery without its body: %+v", d)
					}
					handled[d.Event.ID] = true
					if run == 0 && len(handled)-before == 20 || len(handled) == len(want) {
						stop() // in the middle, and at the end
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if ctx.Err() == context.DeadlineExceeded {
					t.Fatalf("%d of %d events came", len(handled), len(want))
				}
				stop()
			}
			if !maps.Equal(handled, want) || failed != 3 {
				t.Errorf("handled %d events, want %d", len(handled), len(want))
			}
		})
	}
}

func TestABrokerThatIsAwayAtTheStartIsAnError(t *testing.T) {
	o := subscribe.Options{NATS: "nats://127.0.0.1:1", Name: "test", Types: schema.Types[:1]}
	if err := o.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "connect to NATS at nats://127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
}
