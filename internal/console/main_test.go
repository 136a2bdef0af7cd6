package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = time.Minute
	token    = "an-admin-token-of-the-tests"
)

// rig is a console on a spool of its own, behind the admin listener's guard.
type rig struct {
	t       testing.TB
	spool   *spool.Spool
	console *Console
	base    string
	client  *http.Client
	log     *outputtest.Output
	// asked counts the calls of readiness; guarded by mu.
	mu    sync.Mutex
	asked int
	stop  func()
}

// serve runs a console on the spool in dir until the test ends, or stop is called.
func serve(t testing.TB, dir, adminToken string) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := &rig{t: t, log: &outputtest.Output{}}
	sc := spool.DefaultConfig()
	sc.Dir, sc.MinFree = dir, 0
	var err error
	if r.spool, err = spool.Open(ctx, spool.Options{Config: sc}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.console, err = New(ctx, Options{
		Host: &control.Host{Spool: r.spool, Decode: decodeAgain}, Logger: log,
		Readiness: func() web.Readiness {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.asked++
			return web.Readiness{State: web.Serving}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := web.Config{Admin: "127.0.0.1:0", AdminToken: secret.New(adminToken)}
	l, err := web.ListenAdmin(ctx, c, r.console.Handler(), log)
	if err != nil {
		t.Fatal(err)
	}
	r.base = l.URL()
	jar, _ := cookiejar.New(nil)
	r.client = &http.Client{Jar: jar, Transport: &http.Transport{}, Timeout: patience}
	var parts sync.WaitGroup
	serving, end := context.WithCancel(context.Background())
	parts.Go(func() { r.console.Run(serving) })
	parts.Go(func() {
		if err := l.Serve(serving); err != nil {
			t.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		r.client.CloseIdleConnections()
		end()
		r.console.Close()
		parts.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.spool.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// decodeAgain is a source whose configuration was set right meanwhile.
func decodeAgain(letter *schema.DeadLetter) (schema.Event, error) {
	if !strings.HasPrefix(letter.Raw, "H=") {
		return schema.Event{}, fmt.Errorf("column 1: no")
	}
	p := popOf(letter.Agent, letter.Raw)
	p.ID = letter.ID
	return p.Event(), nil
}

func popOf(agent, raw string) *schema.CallPop {
	now := time.Now().UTC()
	return &schema.CallPop{
		ID: schema.NewID(now), Version: 1, Key: "hq/1", Server: "hq", Agent: schema.Agent{ID: agent}, Call: schema.Call{SN: "1"},
		Customer: schema.Customer{Number: "013812345678", E164: "+8613812345678"}, Format: schema.T1V3, Raw: raw, ReceivedAt: now,
		Source: schema.Source{Type: "session", Name: "hq"},
	}
}

func (r *rig) emit(events ...schema.Event) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, e := range events {
		if err := r.spool.Emit(ctx, e); err != nil {
			r.t.Fatal(err)
		}
	}
}

func sessionOf(agent string, state schema.SessionState) schema.Event {
	now := time.Now().UTC()
	s := schema.SessionChanged{
		ID: schema.NewID(now), Version: 1, Server: "hq", Agent: agent, State: state, OCXCode: state.OCXCode(), At: now,
		Source: schema.Source{Type: "session", Name: "hq"},
	}
	return s.Event()
}

func letterOf(raw string) schema.DeadLetter {
	now := time.Now().UTC()
	return schema.DeadLetter{
		ID: schema.NewID(now), Version: 1, Server: "hq", Agent: "801", Reason: schema.ReasonUndecodable, Detail: "column 1",
		Raw: raw, ReceivedAt: now, Source: schema.Source{Type: "session", Name: "hq"},
	}
}

// call asks the console and returns status and body.
func (r *rig) call(method, path, body string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, r.base+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := r.client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func (r *rig) logIn() {
	r.t.Helper()
	if status, body := r.call("POST", "/console/session", fmt.Sprintf(`{"token":%q}`, token)); status != http.StatusNoContent {
		r.t.Fatalf("log in: %d %s", status, body)
	}
}

// get asks for JSON.
func get[T any](r *rig, path string) (answer T) {
	r.t.Helper()
	status, body := r.call("GET", path, "")
	if status != http.StatusOK {
		r.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// until asks for everything until ok.
func (r *rig) until(what string, ok func(state) bool) state {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if s := get[state](r, "/console/api/state"); ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain for: %s", what)
		}
	}
}
