package relay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(playRole(role))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what should come at once.
const patience = 30 * time.Second

// rig is a relay and the log it stores to.
type rig struct {
	t      testing.TB
	source *Source
	reader *sdkmetric.ManualReader
	logs   *logBuffer
	// stop ends the relay; stopped is closed when it and the intake have ended.
	stop    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	events  []schema.Event
	changed chan struct{}
}

// rigOptions change what a rig is made of; each may be nil.
type rigOptions struct {
	config func(*Config)
	// source changes the relay before it runs.
	source   func(*Source)
	absences *source.Absences
}

// newRig starts a relay in front of the server at address.
func newRig(t testing.TB, address string, o rigOptions) *rig {
	t.Helper()
	r := &rig{
		t: t, reader: sdkmetric.NewManualReader(), logs: &logBuffer{},
		changed: make(chan struct{}), stopped: make(chan struct{}),
	}
	logger := slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(r.reader)).Meter("test")
	in, err := source.NewIntake(source.IntakeOptions{Emit: r.emit, Logger: logger, Meter: meter})
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig(address)
	if o.config != nil {
		o.config(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if r.source, err = New(c, Options{Intake: in, Logger: logger, Meter: meter, Absences: o.absences}); err != nil {
		t.Fatal(err)
	}
	if o.source != nil {
		o.source(r.source)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	var storing sync.WaitGroup
	storing.Go(func() { _ = in.Run(context.Background()) })
	go func() {
		if err := r.source.Run(ctx); err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
		in.Close()
		storing.Wait()
		close(r.stopped)
	}()
	t.Cleanup(func() { cancel(); <-r.stopped })
	return r
}

func testConfig(address string) Config {
	c := DefaultConfig()
	c.Name, c.Server, c.Listen, c.Address, c.AreaCode = "desktops", "hq", "127.0.0.1:0", address, "025"
	return c
}

func (r *rig) address() string { return r.source.Addr().String() }

func (r *rig) emit(_ context.Context, e schema.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// matching returns the stored events that match, and what is closed at the next.
func (r *rig) matching(match func(schema.Event) bool) (found []schema.Event, changed chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if match(e) {
			found = append(found, e)
		}
	}
	return found, r.changed
}

// await blocks until the log holds n events that match.
func (r *rig) await(what string, n int, match func(schema.Event) bool) []schema.Event {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		found, changed := r.matching(match)
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("%d of %d %s after %v; log: %s", len(found), n, what, patience, r.logs)
		}
	}
}

// changes decodes the session events of an agent, in order.
func (r *rig) changes(agent string) (all []schema.SessionChanged) {
	r.t.Helper()
	found, _ := r.matching(func(e schema.Event) bool { return e.Type == schema.TypeSessionChanged && e.Agent == agent })
	for _, e := range found {
		all = append(all, decode[schema.SessionChanged](r.t, e))
	}
	return all
}

// counter is the sum of a counter, of one reason where reason is not empty.
func (r *rig) counter(t testing.TB, name, reason string) (sum int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	must(t, r.reader.Collect(context.Background(), &all))
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			data, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != name {
				continue
			}
			for _, p := range data.DataPoints {
				if value, _ := p.Attributes.Value(attribute.Key("reason")); reason == "" || value.AsString() == reason {
					sum += p.Value
				}
			}
		}
	}
	return sum
}

// eventually waits until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isState(agent string, state schema.SessionState) func(schema.Event) bool {
	return func(e schema.Event) bool {
		var c schema.SessionChanged
		return e.Type == schema.TypeSessionChanged && json.Unmarshal(e.Body, &c) == nil && c.State == state && c.Agent == agent
	}
}

func isType(t schema.Type) func(schema.Event) bool {
	return func(e schema.Event) bool { return e.Type == t }
}

func decode[T any](t testing.TB, e schema.Event) (v T) {
	t.Helper()
	must(t, json.Unmarshal(e.Body, &v))
	return v
}

// logBuffer is what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

// connect opens a connection that the test's end closes.
func connect(t testing.TB, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn.(*net.TCPConn)
}

// plainServer accepts connections and leaves what is done with them to the test.
type plainServer struct {
	listener net.Listener
	accepted chan *net.TCPConn
}

func newPlainServer(t testing.TB) *plainServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &plainServer{listener: listener, accepted: make(chan *net.TCPConn, 1024)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.accepted <- conn.(*net.TCPConn)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		for {
			select {
			case conn := <-p.accepted:
				_ = conn.Close()
			default:
				return
			}
		}
	})
	return p
}

func (p *plainServer) address() string { return p.listener.Addr().String() }

func (p *plainServer) next(t testing.TB) *net.TCPConn {
	t.Helper()
	select {
	case conn := <-p.accepted:
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		return conn
	case <-time.After(patience):
		t.Fatalf("no connection came after %v", patience)
		return nil
	}
}

func write(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// wantRead reads exactly want.
func wantRead(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// end reads until the connection ends and says how: "EOF", "reset" or the error.
func end(conn net.Conn) string {
	_, err := io.Copy(io.Discard, conn)
	return kind(err)
}

func kind(err error) string {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return "EOF"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	return err.Error()
}

// aliveUntil are the absences of a connector that ran until then.
func aliveUntil(t testing.TB, at time.Time) *source.Absences {
	t.Helper()
	a, err := source.NewAbsences(nil, at)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
