package callback

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waiting is how long a test waits for what should come at once.
const waiting = 20 * time.Second

const theSecret = "s3cr3t-of-the-site"

// manualsExample is the query of the manual's chapter 3.
const manualsExample = "phone=02586307627&oper=801&ch=8&datetime=080201153059&startTime=564646465266&id=5646464652668&dtmf=1;2;"

// store is a log in memory.
type store struct {
	mu      sync.Mutex
	events  []schema.Event
	changed chan struct{}
	// before may hold an event up.
	before func(context.Context) error
}

func newStore() *store { return &store{changed: make(chan struct{})} }

func (s *store) emit(ctx context.Context, e schema.Event) error {
	if s.before != nil {
		if err := s.before(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// await blocks until n events are stored.
func (s *store) await(t testing.TB, n int) []schema.Event {
	t.Helper()
	deadline := time.After(waiting)
	for {
		s.mu.Lock()
		events, changed := append([]schema.Event(nil), s.events...), s.changed
		s.mu.Unlock()
		if len(events) >= n {
			return events
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d events stored after %v, want %d", len(events), waiting, n)
		}
	}
}

// logged is a log of lines that a test can look through.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func testConfig(change func(*Config)) Config {
	c := DefaultConfig()
	c.Name, c.Server, c.Listen, c.AreaCode = "pages", "hq", "127.0.0.1:0", "025"
	if change != nil {
		change(&c)
	}
	return c
}

func withSecret(c *Config) { c.Secret = secret.New(theSecret) }

// rig is a source that runs, and the log that it stores to.
type rig struct {
	*store
	source *Source
	log    *logged
	url    string
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	c := testConfig(change)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	r := &rig{store: newStore(), log: &logged{}}
	in := startIntake(t, r.emit, r.log)
	s, err := New(c, Options{Intake: in, Logger: slog.New(slog.NewTextHandler(r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.source, r.url = s, "http://"+s.Addr().String()+c.Path
	run(t, s)
	return r
}

// run runs a source until the test ends.
func run(t testing.TB, s *Source) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
}

func startIntake(t testing.TB, emit source.Emit, log io.Writer) *source.Intake {
	t.Helper()
	in, err := source.NewIntake(source.IntakeOptions{Emit: emit, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = in.Run(ctx)
	}()
	t.Cleanup(func() {
		in.Close()
		cancel()
		<-done
	})
	return in
}

// client asks without following redirects, and keeps no connection.
func client() *http.Client {
	return &http.Client{
		Timeout:       waiting,
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get asks for an address as it is written; the body is read and closed.
func get(t testing.TB, url string) *http.Response {
	t.Helper()
	return do(t, http.MethodGet, url, "", nil)
}

func do(t testing.TB, method, url, kind string, body []byte) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(text))
	return response
}

// raw sends bytes as a browser or a simpler client would, and returns the status
// line and headers.
func raw(t testing.TB, address, request string) *http.Response {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, waiting)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(waiting))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return readResponse(t, conn)
}

// direct hands a request to a source without a network.
func direct(s *Source, method, target string, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, target, body)
	s.ServeHTTP(w, r)
	return w
}

func decodePop(t testing.TB, e schema.Event) (p schema.CallPop) {
	t.Helper()
	if e.Type != schema.TypeCallPop {
		t.Fatalf("got a %s: %s", e.Type, e.Body)
	}
	if err := json.Unmarshal(e.Body, &p); err != nil {
		t.Fatal(err)
	}
	return p
}
