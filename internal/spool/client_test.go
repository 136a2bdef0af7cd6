package spool

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// listening opens a spool that serves clients on loopback, and connects one.
func listening(t *testing.T) (*Spool, *nats.Conn) {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Embedded.Listen = "127.0.0.1:0"
	s := openSpool(t, o)
	return s, client(t, s)
}

func client(t *testing.T, s *Spool, opts ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect("nats://"+s.Addr().String(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func jetStream(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestAClientSubscribesToEventsAsTheyAreStored(t *testing.T) {
	s, conn := listening(t)
	sub, err := conn.SubscribeSync("callpop.v1.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	e := newEvent(1)
	emit(t, s, e)
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Subject, e.Subject(); got != want {
		t.Errorf("subject = %q, want %q", got, want)
	}
	got, err := schema.FromNATSHeaders(m.Header.Get, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != e.ID || string(got.Body) != string(e.Body) {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

func TestAClientConsumesWithADurableConsumerAndAcks(t *testing.T) {
	s, conn := listening(t)
	want := emitN(t, s, 300)
	ctx := testContext(t)
	js := jetStream(t, conn)
	config := jetstream.ConsumerConfig{Durable: "crm", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "callpop.v1.hq.>"}
	consumer, err := js.CreateOrUpdateConsumer(ctx, "CALLPOP", config)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	batch, err := consumer.Fetch(100)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if !strings.HasPrefix(m.Subject(), "callpop.v1.hq.") {
			t.Fatalf("subject = %q", m.Subject())
		}
		got = append(got, m.Headers().Get("ce-id"))
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Error(); err != nil {
		t.Fatal(err)
	}
	ids := make(chan string)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		ids <- m.Headers().Get("ce-id")
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
	}, jetstream.PullMaxMessages(50))
	if err != nil {
		t.Fatal(err)
	}
	for len(got) < len(want) {
		select {
		case id := <-ids:
			got = append(got, id)
		case <-ctx.Done():
			t.Fatalf("got %d of %d events", len(got), len(want))
		}
	}
	if !slices.Equal(got, want) {
		t.Error("the events came in another order")
	}
	eventually(t, "all acks to arrive", func() bool {
		info, err := consumer.Info(ctx)
		return err == nil && info.NumAckPending == 0 && info.NumPending == 0
	})
	consuming.Stop()
	<-consuming.Closed()
	if err := js.DeleteConsumer(ctx, "CALLPOP", "crm"); err != nil {
		t.Error(err)
	}
}

func TestAClientReadsInOrderWithAnOrderedConsumer(t *testing.T) {
	s, conn := listening(t)
	want := emitN(t, s, 200)
	ctx := testContext(t)
	consumer, err := jetStream(t, conn).OrderedConsumer(ctx, "CALLPOP", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	var got []string
	for range want {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Headers().Get("ce-id"))
	}
	if !slices.Equal(got, want) {
		t.Error("the events came in another order")
	}
}

func TestAClientLooksAtStreamsAndConsumers(t *testing.T) {
	s, conn := listening(t)
	ids := emitN(t, s, 3)
	ctx := testContext(t)
	js := jetStream(t, conn)
	stream, err := js.Stream(ctx, "CALLPOP")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != 3 {
		t.Errorf("messages = %d, want 3", got)
	}
	m, err := stream.GetMsg(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("ce-id"); got != ids[1] {
		t.Errorf("message 2 is %s, want %s", got, ids[1])
	}
	if _, err := stream.GetLastMsgForSubject(ctx, "callpop.v1.hq.803"); err != nil {
		t.Errorf("get last message of a subject: %v", err)
	}
	if name, err := js.StreamNameBySubject(ctx, "callpop.dlq.v1.>"); err != nil || name != "CALLPOP_DLQ" {
		t.Errorf("stream of callpop.dlq.v1.> = %q, %v", name, err)
	}
	if _, err := js.AccountInfo(ctx); err != nil {
		t.Errorf("account info: %v", err)
	}
	if _, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Name: "temporary", InactiveThreshold: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range stream.ConsumerNames(ctx).Name() {
		names = append(names, name)
	}
	if want := []string{"temporary"}; !slices.Equal(names, want) {
		t.Errorf("consumers = %q, want %q", names, want)
	}
	if _, err := stream.PauseConsumer(ctx, "temporary", time.Now().Add(time.Hour)); err != nil {
		t.Errorf("pause: %v", err)
	}
	if _, err := stream.ResumeConsumer(ctx, "temporary"); err != nil {
		t.Errorf("resume: %v", err)
	}
}

func TestAnIdlePullGetsTheNextEventAtOnce(t *testing.T) {
	s, conn := listening(t)
	ctx := testContext(t)
	consumer, err := jetStream(t, conn).CreateConsumer(ctx, "CALLPOP", jetstream.ConsumerConfig{Durable: "idle", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for n := range 3 {
		e := newEvent(n)
		emit(t, s, e)
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Headers().Get("ce-id"); got != e.ID {
			t.Fatalf("got %s, want %s", got, e.ID)
		}
	}
}

func TestAConnectionWithinTheProcessHasAClientsRights(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	conn, err := s.Connect("tail")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sub, err := conn.SubscribeSync("callpop.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	emit(t, s, newEvent(1))
	if _, err := sub.NextMsg(patience); err != nil {
		t.Error(err)
	}
	if err := jetStream(t, conn).DeleteStream(testContext(t), "CALLPOP"); !forbidden(err) {
		t.Errorf("delete stream: %v", err)
	}
}

// Emit does not wait until a client that never reads its socket is cut off.
func TestAClientThatDoesNotReadDoesNotHoldUpEmit(t *testing.T) {
	s, _ := listening(t)
	deaf, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	if _, err := io.WriteString(deaf, "CONNECT {\"verbose\":false}\r\nSUB callpop.> 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	// The answer to PING is the last thing that it reads.
	for lines := bufio.NewScanner(deaf); lines.Text() != "PONG"; {
		if !lines.Scan() {
			t.Fatal("no answer to PING")
		}
	}
	const n, size = 300, 100 << 10 // 30 MB: more than all buffers on the way
	for i := range n {
		e := newEvent(i)
		e.Body = make([]byte, size)
		emit(t, s, e)
	}
	if got := s.current().server.NumSlowConsumers(); got != 0 {
		t.Errorf("%d clients were cut off before all was stored", got)
	}
}

func TestAClientSurvivesARestart(t *testing.T) {
	s, conn := listening(t)
	address := s.Addr().String()
	js := jetStream(t, conn)
	consumer, err := js.CreateConsumer(testContext(t), "CALLPOP", jetstream.ConsumerConfig{Durable: "crm", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	emitN(t, s, 10)
	restart(t, s)
	if got := s.Addr().String(); got != address {
		t.Errorf("address = %s, want %s", got, address)
	}
	eventually(t, "the client to be connected again", conn.IsConnected)
	var got int
	eventually(t, "all events to be fetched", func() bool {
		batch, err := consumer.FetchNoWait(10)
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			got++
			_ = m.Ack()
		}
		return got >= 10
	})
}

// restart has the supervisor restart the embedded server and waits for it.
func restart(tb testing.TB, s *Spool) {
	tb.Helper()
	e := s.current()
	s.fault(e, errors.New("the test wants it"))
	eventually(tb, "a new server", func() bool {
		now := s.current()
		return now != nil && now != e
	})
}
