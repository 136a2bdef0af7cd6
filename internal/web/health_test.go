package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/outputtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// start serves on a free port until the test ends, and returns the address.
func start(t *testing.T, o Options, l limits) string {
	t.Helper()
	h, err := listenHealth(t.Context(), o, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h.Addr().String()
}

func listenHealth(ctx context.Context, o Options, l limits) (*Listener, error) {
	return listen(ctx, "http.health", "127.0.0.1:0", TLS{}, healthHandler(o), o.Logger, l)
}

// newClient keeps no connection that outlives the test.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func do(t *testing.T, client *http.Client, method, url string) (status int, header http.Header, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

func serving() Readiness { return Readiness{State: Serving, Spool: &Spool{State: SpoolServing}} }

func TestLivezAnswersWhateverTheReadiness(t *testing.T) {
	address := start(t, Options{Readiness: func() Readiness { return Readiness{State: Stopping} }}, healthLimits())
	status, header, body := do(t, newClient(t), http.MethodGet, "http://"+address+"/livez")
	if status != http.StatusOK || body != "ok\n" {
		t.Errorf("got %d %q, want 200 ok", status, body)
	}
	if header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers are %v", header)
	}
}

func TestReadyzFailsOnlyOnWhatIsOurOwn(t *testing.T) {
	away := serving()
	away.Servers = []Server{{Name: "hq", SessionsUp: new(0), SessionsWanted: new(20)}}
	away.Sinks = []Sink{{Name: "events", Type: "nats", Lines: []Line{{Type: "callpop.v1", Delivery: Delivery{State: Retrying}}}}}
	for _, c := range []struct {
		name       string
		readiness  Readiness
		want, full int
	}{
		{"all is well", serving(), 200, 200},
		{"brokers and servers are away", away, 200, 503},
		{"starting", Readiness{State: Starting}, 503, 503},
		{"nothing known", Readiness{}, 503, 503},
		{"serving without a spool", Readiness{State: Serving}, 503, 503},
		{"the spool failed", Readiness{State: Serving, Spool: &Spool{State: SpoolFailed}}, 503, 503},
		{"the spool restarts", Readiness{State: Serving, Spool: &Spool{State: SpoolRestarting}}, 503, 503},
		{"the disk is nearly full", Readiness{State: Serving, Spool: &Spool{State: SpoolLowSpace}}, 200, 503},
		{"stopping", Readiness{State: Stopping, Spool: &Spool{State: SpoolServing}}, 503, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := start(t, Options{Readiness: func() Readiness { return c.readiness }}, healthLimits())
			client := newClient(t)
			for _, q := range []struct {
				query string
				want  int
			}{
				{"", c.want}, {"?full=false", c.want}, {"?other=1", c.want},
				{"?full", c.full}, {"?full=", c.full}, {"?full=true", c.full}, {"?full=1", c.full},
			} {
				status, header, body := do(t, client, http.MethodGet, "http://"+address+"/readyz"+q.query)
				if status != q.want {
					t.Errorf("/readyz%s: got %d, want %d: %s", q.query, status, q.want, body)
				}
				var got struct {
					Ready *bool `json:"ready"`
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || got.Ready == nil || *got.Ready != (c.want == 200) {
					t.Errorf("/readyz%s: %v in %s", q.query, err, body)
				}
				if header.Get("Content-Type") != "application/json" {
					t.Errorf("/readyz%s: Content-Type is %q", q.query, header.Get("Content-Type"))
				}
			}
		})
	}
}

func TestAWrongQueryIsRefused(t *testing.T) {
	address := start(t, Options{Readiness: serving}, healthLimits())
	status, _, body := do(t, newClient(t), http.MethodGet, "http://"+address+"/readyz?full=perhaps")
	if status != http.StatusBadRequest || !strings.Contains(body, `full: "perhaps": expected true or false`) {
		t.Errorf("got %d %s", status, body)
	}
}

func TestOnlyGetAndHeadAreAnswered(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	address := start(t, Options{Readiness: serving, Metrics: metrics}, healthLimits())
	client := newClient(t)
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		for method, want := range map[string]int{
			http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodPut: 405,
			http.MethodDelete: 405, http.MethodPatch: 405, http.MethodOptions: 405, http.MethodTrace: 405, "PURGE": 405,
		} {
			status, header, body := do(t, client, method, "http://"+address+path)
			if status != want {
				t.Errorf("%s %s: got %d, want %d", method, path, status, want)
			}
			if want == 405 && header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: Allow is %q", method, path, header.Get("Allow"))
			}
			if method == http.MethodHead && body != "" {
				t.Errorf("HEAD %s has a body: %q", path, body)
			}
		}
	}
	for _, path := range []string{"/", "/livez/", "/debug/pprof/", "/metrics/x"} {
		if status, _, _ := do(t, client, http.MethodGet, "http://"+address+path); status != http.StatusNotFound {
			t.Errorf("GET %s: got %d, want 404", path, status)
		}
	}
}

func TestAQuestionAboutTheWholeServerIsNotAnswered(t *testing.T) {
	conn := dial(t, start(t, Options{Readiness: serving}, healthLimits()))
	if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 400 ") {
		t.Errorf("got %q, %v, want status 400", line, err)
	}
}

func TestMetricsAreLeftOutWhereThereAreNone(t *testing.T) {
	address := start(t, Options{Readiness: serving}, healthLimits())
	if status, _, _ := do(t, newClient(t), http.MethodGet, "http://"+address+"/metrics"); status != http.StatusNotFound {
		t.Errorf("got %d, want 404", status)
	}
}

func TestAPortInUseIsOneClearError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	address := taken.Addr().String()
	_, err = ListenHealth(t.Context(), Config{Health: address}, Options{Readiness: serving})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v, want an error that is EADDRINUSE", err)
	}
	if want := "http.health: listen on " + address + ": bind: address already in use"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestWithoutAnAddressNothingIsListenedOn(t *testing.T) {
	h, err := ListenHealth(t.Context(), Config{}, Options{Readiness: serving})
	if err != nil {
		t.Fatal(err)
	}
	if h.Addr() != nil {
		t.Errorf("listens on %v", h.Addr())
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := h.Serve(ctx); err != nil {
		t.Errorf("Serve: %v", err)
	}
	closeTwice(t, h)
	if err := h.Serve(t.Context()); err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
}

func closeTwice(t *testing.T, h *Listener) {
	t.Helper()
	for range 2 {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestCloseGivesTheAddressBackBeforeServeAndDuringIt(t *testing.T) {
	h, err := ListenHealth(t.Context(), Config{Health: "127.0.0.1:0"}, Options{Readiness: serving})
	if err != nil {
		t.Fatal(err)
	}
	address := h.Addr().String()
	closeTwice(t, h)

	h, err = ListenHealth(t.Context(), Config{Health: address}, Options{Readiness: serving})
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(t.Context()) }()
	if status, _, _ := do(t, newClient(t), http.MethodGet, "http://"+address+"/livez"); status != http.StatusOK {
		t.Errorf("got %d", status)
	}
	closeTwice(t, h)
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// dial opens a connection on which nothing takes longer than patience.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// request sends a GET over a connection of its own.
func request(t *testing.T, address, path string) net.Conn {
	t.Helper()
	conn := dial(t, address)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestAPanicCostsItsRequestAndIsLogged(t *testing.T) {
	var out outputtest.Output
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("broken collector") })
	address := start(t, Options{Readiness: serving, Metrics: broken, Logger: slog.New(slog.NewJSONHandler(&out, nil))}, healthLimits())
	if answer, _ := io.ReadAll(request(t, address, "/metrics")); len(answer) != 0 {
		t.Errorf("got %q, want a closed connection", answer)
	}
	if status, _, _ := do(t, newClient(t), http.MethodGet, "http://"+address+"/livez"); status != http.StatusOK {
		t.Errorf("afterwards: got %d", status)
	}
	if got := out.String(); !strings.Contains(got, "broken collector") || strings.Count(got, "\n") != 1 {
		t.Errorf("logged %q", got)
	}
}
