package feed

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

func TestMain(m *testing.M) {
	if isClients() {
		clients()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	patience  = time.Minute
	backToken = "the-token-of-a-back-end"
)

var signingKey = secret.New("a signing key of the tests, longer than it has to be")

// rig is a feed on a spool of its own, served by HTTP.
type rig struct {
	t     testing.TB
	dir   string
	spool *spool.Spool
	feed  *Feed
	http  *httptest.Server
	log   *outputtest.Output
	ran   chan struct{}
	once  sync.Once
}

func testConfig() Config {
	c := DefaultConfig()
	c.Token, c.SigningKey = secret.New(backToken), signingKey
	return c
}

// serve runs a feed on the spool in dir until the test ends.
func serve(t testing.TB, dir string, tweak func(*Config)) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := &rig{t: t, dir: dir, log: &outputtest.Output{}, ran: make(chan struct{})}
	sc := spool.DefaultConfig()
	sc.Dir, sc.MinFree = dir, 0
	var err error
	if r.spool, err = spool.Open(ctx, spool.Options{Config: sc}); err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	if tweak != nil {
		tweak(&c)
	}
	r.feed, err = New(ctx, Options{
		Config: c, Spool: r.spool, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
		KnownServer: func(name string) bool { return name == "hq" || name == "分机/2" },
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ran)
		r.feed.Run(context.Background())
	}()
	r.http = httptest.NewServer(r.feed.Handler())
	t.Cleanup(r.stop)
	return r
}

// stop ends the feed before its listener, as the daemon does.
func (r *rig) stop() {
	r.once.Do(func() {
		r.feed.Close()
		<-r.ran
		r.http.Close()
		r.http.Client().CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.spool.Close(ctx); err != nil {
			r.t.Error(err)
		}
	})
}

var made struct {
	sync.Mutex
	n int
}

// pop puts a pop of an agent into the spool and returns its id.
func (r *rig) pop(agent string, age time.Duration) string {
	r.t.Helper()
	made.Lock()
	made.n++
	n := made.n
	made.Unlock()
	now := time.Now().UTC().Add(-age)
	p := schema.CallPop{
		ID: schema.NewID(now), Version: 1, Key: fmt.Sprint("hq/", n), Server: "hq", Agent: schema.Agent{ID: agent},
		Call: schema.Call{SN: fmt.Sprint(n)}, Customer: schema.Customer{Number: "013812345678"}, Format: schema.T1V3,
		Raw: "H=t1v3,ph=013812345678;", ReceivedAt: now, Source: schema.Source{Type: "session", Name: "hq"},
	}
	r.emit(p.Event())
	return p.ID
}

// session puts a change of an agent's session into the spool.
func (r *rig) session(agent string, state schema.SessionState) {
	r.t.Helper()
	now := time.Now().UTC()
	s := schema.SessionChanged{
		ID: schema.NewID(now), Version: 1, Server: "hq", Agent: agent, State: state, OCXCode: state.OCXCode(), At: now,
		Source: schema.Source{Type: "session", Name: "hq"},
	}
	r.emit(s.Event())
}

func (r *rig) emit(e schema.Event) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.spool.Emit(ctx, e); err != nil {
		r.t.Fatal(err)
	}
}

// handedOut waits until the hub has handed out the pop of this sequence: a feed
// that is opened then begins after it.
func (r *rig) handedOut(sequence uint64) {
	r.t.Helper()
	eventually(r.t, "the pop is handed out", func() bool {
		r.feed.hub.mu.Lock()
		defer r.feed.hub.mu.Unlock()
		return r.feed.hub.pops >= sequence
	})
}

func (r *rig) token(agent string) string {
	r.t.Helper()
	token, err := Sign(signingKey, "hq", agent, time.Now().Add(time.Hour))
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

func (r *rig) line(agent string) string {
	return r.http.URL + "/v1/servers/hq/agents/" + agent + "/pops"
}

// request asks for a URL; header is pairs of names and values.
func (r *rig) request(method, url string, header ...string) *http.Response {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := r.http.Client().Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// answer is a whole answer.
func (r *rig) answer(method, url string, header ...string) (int, string) {
	r.t.Helper()
	response := r.request(method, url, header...)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(body))
}

// event is one Server-Sent Event, as a browser has it.
type event struct{ id, name, data string }

// events is a stream as its reader has it.
type events struct {
	t        testing.TB
	body     io.Closer
	lines    *bufio.Scanner
	comments int
	// last is the reader's last event id.
	last string
}

// open opens a stream and reads what it says first.
func (r *rig) open(agent string, header ...string) (*events, event) {
	r.t.Helper()
	return r.openURL(r.line(agent), append([]string{"Authorization", "Bearer " + r.token(agent)}, header...)...)
}

func (r *rig) openURL(url string, header ...string) (*events, event) {
	r.t.Helper()
	response := r.request(http.MethodGet, url, header...)
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(response.Body)
		r.t.Fatalf("%s: %s %s", url, response.Status, body)
	}
	s := &events{t: r.t, body: response.Body, lines: bufio.NewScanner(response.Body)}
	ready := s.next()
	if ready.name != "ready" {
		r.t.Fatalf("the first event is %+v", ready)
	}
	return s, ready
}

var errEnd = errors.New("the stream ended")

// read gives the next event that a listener would get.
func (s *events) read() (event, error) {
	var e event
	var data []string
	for s.lines.Scan() {
		line := s.lines.Text()
		if line == "" {
			s.last = cmp.Or(e.id, s.last)
			if data != nil {
				e.data = strings.Join(data, "\n")
				return e, nil
			}
			e = event{}
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch key {
		case "":
			s.comments++
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		}
	}
	return event{}, errors.Join(errEnd, s.lines.Err())
}

func (s *events) next() event {
	s.t.Helper()
	e, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// pops reads n pops and returns the ids of their bodies.
func (s *events) pops(n int) (ids []string) {
	s.t.Helper()
	for len(ids) < n {
		if e := s.next(); e.name == "pop" || e.name == "late" {
			ids = append(ids, bodyID(e.data))
		}
	}
	return ids
}

// bodyID is the id that a body begins with.
func bodyID(body string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(body, `{"id":"`), `"`)
	return id
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// line801 is the pops of agent 801.
var line801 = spool.AgentLine{Type: schema.TypeCallPop, Server: "hq", Agent: "801"}
