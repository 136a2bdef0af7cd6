package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds the waits of tests for things that take milliseconds.
const patience = 30 * time.Second

func patient(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func spoolConfig(dir string) spool.Config {
	c := spool.DefaultConfig()
	c.Dir, c.MinFree, c.MaxBytes = dir, 0, 64*bytesize.MiB
	return c
}

func openSpool(tb testing.TB, dir string) *spool.Spool {
	tb.Helper()
	s, err := spool.Open(patient(tb), spool.Options{Config: spoolConfig(dir)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeSpool(tb, s) })
	return s
}

func closeSpool(tb testing.TB, s *spool.Spool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		tb.Error(err)
	}
}

// epoch is the time of the first event; each is a second after the one before.
var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// pop makes the n-th pop of a test: ten calls, three agents.
func pop(n int) schema.Event {
	at := epoch.Add(time.Duration(n) * time.Second)
	p := schema.CallPop{
		ID: schema.NewID(at), Version: schema.Version, Key: fmt.Sprint("hq/", n%10), Server: "hq",
		Agent: schema.Agent{ID: fmt.Sprint(801 + n%3)}, Customer: schema.Customer{Number: "13812345678"},
		Call: schema.Call{SN: fmt.Sprint(n % 10)}, Format: schema.T1V5, Raw: fmt.Sprint("sn=", n%10),
		Source: schema.Source{Type: "session", Name: "hq"}, ReceivedAt: at,
	}
	return p.Event()
}

func emit(tb testing.TB, s *spool.Spool, events ...schema.Event) {
	tb.Helper()
	for _, e := range events {
		if err := s.Emit(patient(tb), e); err != nil {
			tb.Fatal(err)
		}
	}
}

// emitPops emits n pops and returns them.
func emitPops(tb testing.TB, s *spool.Spool, n int) []schema.Event {
	tb.Helper()
	events := make([]schema.Event, n)
	for i := range events {
		events[i] = pop(i)
	}
	emit(tb, s, events...)
	return events
}

// letter makes the n-th dead letter of a test.
func letter(n int, change func(*schema.DeadLetter)) schema.Event {
	at := epoch.Add(time.Duration(n) * time.Second)
	d := schema.DeadLetter{
		ID: schema.NewID(at), Version: schema.Version, Server: "hq", Agent: "801", Reason: schema.ReasonUndecodable,
		Detail: "no number and no call", Raw: "x", RawBase64: "eA==", ReceivedAt: at, Source: schema.Source{Type: "session", Name: "hq"},
	}
	if change != nil {
		change(&d)
	}
	return d.Event()
}

// hostOf is a host with sinks in memory that take pops and dead letters.
func hostOf(s *spool.Spool, sinks map[string]sink.Sink) *Host {
	h := &Host{Spool: s, Sinks: func() []string { return slices.Collect(maps.Keys(sinks)) }}
	h.OpenSink = func(name string) (Target, error) {
		opened, ok := sinks[name]
		if !ok {
			return Target{}, Wrong(fmt.Errorf("sink %q is not in the configuration", name))
		}
		return Target{Sink: opened, Types: []schema.Type{schema.TypeCallPop, schema.TypeDeadLetter}, Release: func() {}}, nil
	}
	return h
}

// bothWays calls a test with a client in this process and with one that goes over
// the socket to the same host.
func bothWays(t *testing.T, h *Host, dir string, test func(t *testing.T, c Client)) {
	t.Helper()
	t.Run("directly", func(t *testing.T) { test(t, &Local{Host: h, Dir: dir}) })
	t.Run("over the socket", func(t *testing.T) { test(t, serve(t, h, dir)) })
}

// serve serves h and returns a client of it.
func serve(tb testing.TB, h *Host, dir string) *Remote {
	tb.Helper()
	s, err := Listen(patient(tb), dir, h, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	r := NewRemote(dir, "a test")
	tb.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			tb.Error(err)
		}
		cancel()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return r
}

// all collects the parts of an answer.
func all[P, M any](tb testing.TB, c Client, op Operation[P, M], request P) (parts []M, err error) {
	tb.Helper()
	err = Call(patient(tb), c, op, request, func(part M) error {
		parts = append(parts, part)
		return nil
	})
	return parts, err
}

// must is all without an error.
func must[P, M any](tb testing.TB, c Client, op Operation[P, M], request P) []M {
	tb.Helper()
	parts, err := all(tb, c, op, request)
	if err != nil {
		tb.Fatalf("%s: %v", op.name, err)
	}
	return parts
}

func ids(events []schema.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.ID
	}
	return out
}

// delivered checks that a sink has exactly these events, each once, those of a key
// in their order.
func delivered(tb testing.TB, want []schema.Event, stored []sink.Record) {
	tb.Helper()
	if n := sinktest.CheckDelivered(tb, want, sinktest.Messages(stored)); n > 0 {
		tb.Errorf("%d duplicates", n)
	}
}

// canned is a client of a process that answers what it is told to.
type canned map[string][]any

func (canned) Place() string               { return "nowhere" }
func (canned) Close(context.Context) error { return nil }
func (canned) host() *Host                 { return nil }
func (c canned) request(_ context.Context, name string, _ any, yield func(json.RawMessage) error) error {
	for _, part := range c[name] {
		text, err := json.Marshal(part)
		if err == nil {
			err = yield(text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changing is a canned client that does something before each answer.
type changing struct {
	canned
	ask func(name string)
}

func (c *changing) request(ctx context.Context, name string, request any, yield func(json.RawMessage) error) error {
	c.ask(name)
	return c.canned.request(ctx, name, request, yield)
}

var errTest = errors.New("a test's")

var pops = []schema.Type{schema.TypeCallPop}

func sequences(entries []Entry) (out []uint64) {
	for _, e := range entries {
		out = append(out, e.Sequence)
	}
	return slices.Clip(out)
}
