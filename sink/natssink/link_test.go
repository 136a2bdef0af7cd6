package natssink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/sink/sinktest"
)

// freePort returns the address of a port that nobody listens on.
func freePort(t *testing.T) (address string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port
}

func TestASinkStartsWithoutItsBrokerAndCatchesUp(t *testing.T) {
	address, port := freePort(t)
	c := natssink.DefaultConfig()
	c.URL, c.Create, c.PublishTimeout = "nats://"+address, true, 200*time.Millisecond
	begun := time.Now()
	s := openSink(t, c)
	if waited := time.Since(begun); waited > time.Second {
		t.Errorf("New took %v", waited)
	}
	wantFailure(t, s, natssink.ErrNotConnected, "connection refused")
	b := &broker{options: &server.Options{Host: "127.0.0.1", JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}, port: port}
	b.start(t)
	t.Cleanup(b.stop)
	eventually(t, func() error { return s.Publish(t.Context(), pops(3, 3)) })
}

// silentServer accepts connections and says nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); accepting.Wait() })
	return "nats://" + l.Addr().String()
}

func TestAServerThatAcceptsAndSaysNothingHoldsUpNothing(t *testing.T) {
	c := natssink.DefaultConfig()
	c.URL, c.PublishTimeout = silentServer(t), 50*time.Millisecond
	s, err := natssink.New(c, natssink.Options{Name: "events"})
	if err != nil {
		t.Fatal(err)
	}
	wantFailure(t, s, natssink.ErrNotConnected)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_ = s.Close(ctx) // with or without an error: it ends
	if waited := time.Since(begun); waited > 3*time.Second {
		t.Errorf("Close took %v", waited)
	}
	bounded, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Close(bounded); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestAnotherURLServesWhenOneIsAway(t *testing.T) {
	b := startBroker(t)
	address, _ := freePort(t)
	s := openSink(t, b.config(func(c *natssink.Config) { c.URL = "nats://" + address + ", " + b.url() }))
	mustPublish(t, s, pops(3, 3))
}

func TestASinkThatLeadsToOurselvesIsRefused(t *testing.T) {
	own := startBroker(t)
	options := natssink.Options{Name: "events", OwnServerID: own.server.ID}

	s := openSink(t, own.config(), options)
	wantRefused(t, s)
	findings := s.Check(t.Context())
	if len(findings) != 1 || !errors.Is(findings[0].Err, natssink.ErrOwnServer) {
		t.Errorf("findings %+v", findings)
	}
	_, js := own.client(t)
	if info, err := js.AccountInfo(t.Context()); err != nil || info.Streams != 0 {
		t.Errorf("streams were created: %+v, %v", info, err)
	}

	// Through a second URL, later.
	other := startBroker(t)
	s = openSink(t, other.config(func(c *natssink.Config) { c.URL = other.url() }), options)
	mustPublish(t, s, pops(1, 1))
	if s.Refused() != nil {
		t.Errorf("refused: %v", s.Refused())
	}
	both := other.config(func(c *natssink.Config) { c.URL = other.url() + "," + own.url() })
	// nats.go takes the URLs in an order of its own, so that it may begin with
	// ourselves.
	s = openSink(t, both, options)
	if err := s.Publish(t.Context(), pops(1, 1)); err == nil {
		other.stop()
		eventually(t, func() error {
			if errors.Is(s.Publish(t.Context(), pops(1, 1)), natssink.ErrOwnServer) {
				return nil
			}
			return errors.New("not refused yet")
		})
		other.start(t)
	}
	wantRefused(t, s)
	if n := len(streamsOf(t, own)); n != 0 {
		t.Errorf("%d streams were created on our own server", n)
	}
}

func streamsOf(t *testing.T, b *broker) []string {
	t.Helper()
	_, js := b.client(t)
	var names []string
	for name := range js.StreamNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

func wantRefused(t *testing.T, s *natssink.Sink) {
	t.Helper()
	for range 3 {
		err := s.Publish(t.Context(), pops(1, 1))
		if !errors.Is(err, natssink.ErrOwnServer) || sink.IsPermanent(err) {
			t.Errorf("Publish: %v", err)
		}
	}
	if err := s.Refused(); !errors.Is(err, natssink.ErrOwnServer) {
		t.Errorf("Refused: %v", err)
	}
}

func TestAConnectionThatNatsGivesUpForGoodIsMadeAgain(t *testing.T) {
	b := startBroker(t, func(o *server.Options) { o.MaxControlLine = 512 })
	s := openSink(t, b.config(func(c *natssink.Config) { c.PublishTimeout = 300 * time.Millisecond }))
	mustPublish(t, s, pops(1, 1))
	// The server ends the connection over this protocol line, and nats.go never
	// connects again by itself.
	long := pops(1, 1)
	long[0].Agent = strings.Repeat("x", 1000)
	if err := s.Publish(t.Context(), long); err == nil {
		t.Fatal("a line that is too long was taken")
	}
	eventually(t, func() error { return s.Publish(t.Context(), pops(1, 1)) })
}

func TestNothingIsLostOrReorderedWhileTheBrokerRestartsUnderLoad(t *testing.T) {
	b := startBroker(t)
	s := openSink(t, b.config())
	spool := sinktest.NewSpool()
	f, err := sink.New(sink.Options{Name: "events", Sink: s, Types: s.Types(), Spool: spool, Start: sink.StartAll})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()

	var all []schema.Event
	emit := func(n int) {
		for range n {
			e := sinktest.Event(schema.TypeCallPop, len(all), fmt.Sprintf("hq/%d", len(all)%25), fmt.Sprint(801+len(all)%3))
			all = append(all, e)
			if err := spool.Emit(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	delivered := func() uint64 { return f.Status(ctx)[0].Delivered }
	for round := range 4 {
		before := delivered()
		emit(1500)
		eventually(t, func() error { // in the middle of it
			if delivered() > before {
				return nil
			}
			return fmt.Errorf("round %d: nothing is delivered", round)
		})
		b.stop()
		emit(200)
		b.start(t)
	}
	bounded, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if err := f.WaitDrained(bounded); err != nil {
		t.Fatalf("%v: %+v", err, f.Status(ctx))
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_, js := b.client(t)
	if n := sinktest.CheckDelivered(t, all, stored(t, js, "CALLPOP")); n != 0 {
		t.Errorf("the stream holds %d duplicates", n)
	}
	t.Logf("%d events, %d of them recognised as duplicates", len(all), s.Duplicates(schema.TypeCallPop))
}
