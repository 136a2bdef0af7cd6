package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// childVariable makes a run of the test's binary the connector itself, so that a
// test can kill it.
const childVariable = "CALLPOP_TEST_CHILD"

// TestMain is the connector where a test starts this program again, and a process of
// bench where that command does.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" || slices.Contains(os.Environ(), benchEnvironment) {
		os.Exit(mainWithSignals())
	}
	goleak.VerifyTestMain(m)
}

const patience = time.Minute

func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// result is a command that has ended.
type result struct {
	code           int
	stdout, stderr string
}

// connector runs a command to its end.
func connector(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	return connectorIn(t, nil, stdin, args...)
}

func connectorIn(t testing.TB, environ []string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr outputtest.Output
	code := run(patient(t), world{
		args: args, environ: environ, stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr, stop: make(chan struct{}),
	})
	return result{code, stdout.String(), stderr.String()}
}

// startSimulator runs an LQ server for the test's time.
func startSimulator(t testing.TB, o lqsim.Options) *lqsim.Server {
	t.Helper()
	o.Record = true
	s, err := lqsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// writeConfig writes a configuration file; the LQ server's address and a spool
// directory are filled in for {LQ} and {DIR}.
func writeConfig(t testing.TB, text string, lq *lqsim.Server) string {
	t.Helper()
	dir := t.TempDir()
	address := "127.0.0.1:1"
	if lq != nil {
		address = lq.Addr().String()
	}
	text = strings.NewReplacer("{LQ}", address, "{DIR}", filepath.Join(dir, "spool")).Replace(text)
	file := filepath.Join(dir, "connector.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// running is a daemon at work.
type running struct {
	*daemon
	t      testing.TB
	stop   chan struct{}
	cut    context.CancelFunc
	stderr *outputtest.Output
	once   sync.Once
	ended  chan error
	err    error
}

// start starts the whole daemon in this process.
func start(t testing.TB, file string) *running {
	t.Helper()
	c, err := config.Load(config.Input{File: file})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, stop: make(chan struct{}), stderr: &outputtest.Output{}, ended: make(chan error, 1)}
	ctx, cut := context.WithCancel(context.Background())
	r.cut = cut
	w := &world{stdout: &outputtest.Output{}, stderr: r.stderr, stop: r.stop}
	if r.daemon, err = newDaemon(ctx, w, c); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() { r.ended <- r.run(ctx, r.stop, func(*daemon) { close(ready) }) }()
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the daemon is not ready")
	}
	t.Cleanup(func() { _ = r.end(); cut() })
	return r
}

// end drains and waits.
func (r *running) end() error {
	r.once.Do(func() {
		close(r.stop)
		select {
		case r.err = <-r.ended:
		case <-time.After(patience):
			r.t.Error("the daemon does not end")
		}
		if r.t.Failed() {
			r.t.Log(r.stderr)
		}
	})
	return r.err
}

// natsServer runs a real NATS server with JetStream; stop and start keep its
// port and its data.
type natsServer struct {
	t    testing.TB
	dir  string
	port int
	s    *server.Server
}

func startNATS(t testing.TB) *natsServer {
	t.Helper()
	n := &natsServer{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n.port, JetStream: true, StoreDir: n.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		n.t.Fatal("the NATS server does not start")
	}
	n.s = s
	if _, err := fmt.Sscanf(s.Addr().String(), "127.0.0.1:%d", &n.port); err != nil {
		n.t.Fatal(err)
	}
}

func (n *natsServer) stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

func (n *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }

// jetStream connects to a broker's JetStream until the test ends.
func jetStream(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// received reads a stream from its start until it has n events, in its order.
func received(t testing.TB, url, stream string, n int) []schema.Event {
	t.Helper()
	ctx := patient(t)
	js := jetStream(t, url)
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	for errors.Is(err, jetstream.ErrStreamNotFound) { // the sink makes it
		consumer, err = js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	}
	if err != nil {
		t.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	var events []schema.Event
	for len(events) < n {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatalf("%d of %d events of %s: %v", len(events), n, stream, err)
		}
		e, err := schema.FromNATSHeaders(m.Headers().Get, m.Data())
		if err != nil {
			t.Fatal(err)
		}
		if id := m.Headers().Get("Nats-Msg-Id"); id != e.ID {
			t.Errorf("Nats-Msg-Id %s of event %s", id, e.ID)
		}
		events = append(events, e)
	}
	return events
}

// sameAsSent compares what arrived with what the simulator sent: every pop once,
// each session's pops of a call in the order of the wire, and all pops of a call
// in the order in which they were received.
func sameAsSent(t testing.TB, sent []lqsim.Sent, events []schema.Event) {
	t.Helper()
	if len(events) != len(sent) {
		t.Errorf("%d events of %d pops", len(events), len(sent))
	}
	type line struct{ agent, key string }
	ids, newest := map[string]bool{}, map[string]time.Time{}
	keys := map[string]string{} // by the pop string
	got, want := map[line][]string{}, map[line][]string{}
	for _, e := range events {
		var p schema.CallPop
		if err := json.Unmarshal(e.Body, &p); err != nil {
			t.Fatal(err)
		}
		if ids[p.ID] {
			t.Errorf("id %s twice", p.ID)
		}
		ids[p.ID] = true
		if !p.ReceivedAt.After(newest[p.Key]) {
			t.Errorf("key %s: %v came after %v", p.Key, p.ReceivedAt, newest[p.Key])
		}
		newest[p.Key] = p.ReceivedAt
		keys[p.Raw] = p.Key
		socket := cmp.Or(p.Source.Agent, p.Agent.ID)
		got[line{socket, p.Key}] = append(got[line{socket, p.Key}], p.Raw)
	}
	for _, s := range sent {
		key, ok := keys[string(s.Raw)]
		if !ok {
			t.Errorf("sent to %s, but not received: %q", s.Agent, s.Raw)
			continue
		}
		want[line{s.Agent, key}] = append(want[line{s.Agent, key}], string(s.Raw))
	}
	for l, raws := range want {
		if !slices.Equal(got[l], raws) {
			t.Errorf("agent %s, key %s: received %q, sent %q", l.agent, l.key, got[l], raws)
		}
	}
}
