package natssink_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/sink/sinktest"
)

// patience bounds what takes milliseconds on an idle machine.
const patience = 30 * time.Second

// broker is a nats-server in this process.
type broker struct {
	options *server.Options
	server  *server.Server
	port    int
}

// startBroker starts a server with JetStream on a free port of loopback. change
// alters its options first.
func startBroker(t testing.TB, change ...func(*server.Options)) *broker {
	t.Helper()
	b := &broker{options: &server.Options{
		Host:               "127.0.0.1",
		Port:               -1,
		JetStream:          true,
		StoreDir:           t.TempDir(),
		JetStreamMaxMemory: 64 << 20,
		JetStreamMaxStore:  1 << 30,
		NoSigs:             true,
		NoLog:              true,
	}}
	for _, c := range change {
		c(b.options)
	}
	b.start(t)
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start(t testing.TB) {
	t.Helper()
	options := b.options.Clone()
	if b.port != 0 {
		options.Port = b.port
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not come up")
	}
	b.server = s
	b.port = s.Addr().(*net.TCPAddr).Port
}

func (b *broker) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *broker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.port) }

// config is a sink's configuration for the broker, impatient for tests.
func (b *broker) config(change ...func(*natssink.Config)) natssink.Config {
	c := natssink.DefaultConfig()
	c.URL = b.url()
	c.Create = true
	c.PublishTimeout = 2 * time.Second
	for _, ch := range change {
		ch(&c)
	}
	return c
}

func openSink(t testing.TB, c natssink.Config, o ...natssink.Options) *natssink.Sink {
	t.Helper()
	options := natssink.Options{Name: "events"}
	if len(o) > 0 {
		options = o[0]
	}
	s, err := natssink.New(c, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// client is a connection of its own to the broker.
func (b *broker) client(t testing.TB, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(b.url(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func (b *broker) createStream(t testing.TB, c jetstream.StreamConfig) {
	t.Helper()
	_, js := b.client(t)
	if _, err := js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// stored reads a whole stream.
func stored(t testing.TB, js jetstream.JetStream, stream string) []sinktest.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	left := st.CachedInfo().State.Msgs
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var messages []sinktest.Message
	for left > 0 {
		batch, err := consumer.FetchNoWait(int(min(left, 500)))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for msg := range batch.Messages() {
			n++
			left--
			headers := make(map[string]string)
			for name, values := range msg.Headers() {
				headers[name] = strings.Join(values, " AND ")
			}
			event, err := schema.FromNATSHeaders(msg.Headers().Get, msg.Data())
			if err != nil {
				t.Fatalf("message %s: %v", msg.Subject(), err)
			}
			if want := event.Subject(); msg.Subject() != want {
				t.Errorf("event %s is on subject %s, want %s", event.ID, msg.Subject(), want)
			}
			messages = append(messages, sinktest.Message{ID: event.ID, Key: event.Key, Headers: headers, Body: msg.Data()})
		}
		if err := batch.Error(); err != nil {
			t.Fatal(err)
		}
		if n == 0 && ctx.Err() != nil {
			t.Fatalf("stream %s: %d messages cannot be read", stream, left)
		}
	}
	return messages
}

func streamOf(t schema.Type) string {
	return map[schema.Type]string{
		schema.TypeCallPop:        "CALLPOP",
		schema.TypeSessionChanged: "CALLPOP_SESSION",
		schema.TypeDeadLetter:     "CALLPOP_DLQ",
	}[t]
}

// percentEncode writes a value as section 3.1.3.2 of CloudEvents' HTTP binding
// has it, in another way than the code under test.
func percentEncode(value string) string {
	escaped := strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	for c := byte('!'); c <= '~'; c++ {
		if c != '"' && c != '%' {
			escaped = strings.ReplaceAll(escaped, fmt.Sprintf("%%%02X", c), string(c))
		}
	}
	return escaped
}
