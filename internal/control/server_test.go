package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// raw makes a request of the socket as anybody might.
func raw(t *testing.T, dir, method, path, body string) (status int, text string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "control.sock"))
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(patient(t), method, "http://any"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

func TestTheSocketIsItsOwnersAloneAndGoesWhenTheServerEnds(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the socket's own permissions are the test
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control.sock")
	// What a killed process left.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, dir)
	server, err := Listen(patient(t), dir, hostOf(s, nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".control")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory in which it was made: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	if status, text := raw(t, dir, "POST", "/v1/stat", "{}"); status != http.StatusOK || !strings.Contains(text, `"end":true`) {
		t.Errorf("%d %s", status, text)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Errorf("closed after Serve: %v", err)
	}
	unused, err := Listen(patient(t), dir, hostOf(s, nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := unused.Close(); err != nil {
			t.Errorf("closed without Serve: %v", err)
		}
	}
	if _, err := Listen(patient(t), filepath.Join(dir, "none"), hostOf(s, nil), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a socket in a directory that does not exist")
	}
}

func TestALongPathIsServedAndReached(t *testing.T) {
	dir := t.TempDir()
	for len(dir) < 150 {
		dir = filepath.Join(dir, strings.Repeat("long", 10))
	}
	s := openSpool(t, dir)
	emitPops(t, s, 3)
	c := serve(t, hostOf(s, nil), dir)
	if got := must(t, c, Read, ReadRequest{}); len(got) != 3 {
		t.Errorf("%d events", len(got))
	}
	if _, err := os.Stat(filepath.Join(dir, "control.sock")); err != nil {
		t.Error(err)
	}
	tooLong := filepath.Join(t.TempDir(), strings.Repeat("x", maxSocketPath))
	if err := os.Mkdir(tooLong, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tooLong)
	_, err := Listen(patient(t), dir, hostOf(s, nil), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "bytes, more than 103") {
		t.Errorf("no short path to be had: %v", err)
	}
}

func TestAMalformedRequestIsAnError(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	serve(t, hostOf(s, nil), dir)
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"no JSON":            {"POST", "/v1/read", "{", 400, `"wrong":true`},
		"nothing":            {"POST", "/v1/read", "", 400, `"wrong":true`},
		"an unknown field":   {"POST", "/v1/read", `{"filtr":{}}`, 400, "filtr"},
		"a wrong type":       {"POST", "/v1/read", `{"limit":"many"}`, 400, "limit"},
		"two values":         {"POST", "/v1/read", `{}{}`, 400, "more than one"},
		"too large":          {"POST", "/v1/read", `{"filter":{"key":"` + strings.Repeat("x", maxRequest) + `"}}`, 400, "too large"},
		"a wrong filter":     {"POST", "/v1/read", `{"filter":{"types":["x"]}}`, 400, `"wrong":true`},
		"an unknown request": {"POST", "/v1/format", `{}`, 404, "not found"},
		"another method":     {"GET", "/v1/stat", ``, 405, "Not Allowed"},
		"another path":       {"GET", "/", ``, 404, "not found"},
	} {
		status, text := raw(t, dir, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d %s", name, status, text, c.status, c.want)
		}
		if len(text) > 1000 {
			t.Errorf("%s: an answer of %d bytes", name, len(text))
		}
	}
}

func TestNoMoreOperationsRunAtATimeThanMay(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 1)
	leave := make(chan struct{})
	var entered sync.WaitGroup
	entered.Add(maxOperations)
	h := hostOf(s, nil)
	h.OpenSink = func(string) (Target, error) {
		entered.Done()
		<-leave
		return Target{}, Wrong(errTest)
	}
	c := serve(t, h, dir)
	request := ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}}
	var calls sync.WaitGroup
	for range maxOperations {
		calls.Go(func() {
			if _, err := all(t, c, Replay, request); !IsWrong(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	entered.Wait()
	if _, err := all(t, c, Stat, StatRequest{}); err == nil || !strings.Contains(err.Error(), "8 operations are under way") {
		t.Errorf("one too many: %v", err)
	}
	close(leave)
	calls.Wait()
	must(t, c, Stat, StatRequest{})
}

func TestAServerThatStopsEndsAReplayWhichSaysHowFarItCame(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 3000)
	entered := make(chan struct{})
	calls := 0 // for one type they take turns
	memory := &sinktest.Memory{Before: func(ctx context.Context, _ []sink.Record) error {
		if calls++; calls == 3 {
			close(entered)
			<-ctx.Done()
		}
		return ctx.Err()
	}}
	server, err := Listen(patient(t), dir, hostOf(s, map[string]sink.Sink{"lake": memory}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	c := NewRemote(dir, "a test")
	defer func() { _ = c.Close(context.Background()) }()
	go func() {
		<-entered
		cancel()
	}()
	last, err := CallOne(patient(t), c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}})
	if err == nil || !strings.Contains(err.Error(), "stopping") || IsWrong(err) {
		t.Errorf("error %v", err)
	}
	if got := uint64(len(memory.Stored(schema.TypeCallPop))); last.Done || last.Sequence == 0 || last.Sequence != got || last.Sent != got {
		t.Errorf("it came to %+v, %d are stored", last, got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestASpoolIsOpenedOrAskedForNeverBoth(t *testing.T) {
	dir := t.TempDir()
	o := OpenOptions{Spool: spool.Options{Config: spoolConfig(dir)}, Host: func(s *spool.Spool) *Host { return hostOf(s, nil) }}
	if _, err := Open(patient(t), o); !errors.Is(err, spool.ErrNoSpool) {
		t.Errorf("an empty directory: %v", err)
	}
	s := openSpool(t, dir)
	emitPops(t, s, 7)
	held, err := Open(patient(t), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close(context.Background()) }()
	_, err = all(t, held, Stat, StatRequest{})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("held by a process that serves nothing: %v", err)
	}
	serve(t, hostOf(s, nil), dir)
	if got := must(t, held, Read, ReadRequest{}); len(got) != 7 || !strings.Contains(held.Place(), "through process") {
		t.Errorf("%d events from %s", len(got), held.Place())
	}
	closeSpool(t, s)
	free, err := Open(patient(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := must(t, free, Read, ReadRequest{}); len(got) != 7 || !strings.Contains(free.Place(), "directly") {
		t.Errorf("%d events from %s", len(got), free.Place())
	}
	if _, err := spool.Open(patient(t), o.Spool); err == nil {
		t.Error("the spool was opened a second time")
	}
	if err := free.Close(patient(t)); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerThatIsCutOffIsAnError(t *testing.T) {
	dir := t.TempDir()
	answers := map[string]string{
		"/v1/read":   `{"item":{"sequence":1}}` + "\n",
		"/v1/stat":   `{"item":{"streams":7}}` + "\n" + `{"end":true}`,
		"/v1/count":  `{"item":`,
		"/v1/purge":  `{"error":"no","wrong":true}`,
		"/v1/replay": "",
	}
	listener, err := listen(patient(t), filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // a test's
		if text := answers[r.URL.Path]; text != "" {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, text)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	c := NewRemote(dir, "a test")
	defer func() { _ = c.Close(context.Background()) }()
	if got, err := all(t, c, Read, ReadRequest{}); err == nil || !strings.Contains(err.Error(), "ends too early") || len(got) != 1 {
		t.Errorf("cut after a part: %v", err)
	}
	if _, err := all(t, c, Count, Filter{}); err == nil || !strings.Contains(err.Error(), "ends too early") {
		t.Errorf("cut inside a part: %v", err)
	}
	if _, err := all(t, c, Stat, StatRequest{}); err == nil || !strings.Contains(err.Error(), "not understood") {
		t.Errorf("a part of another kind: %v", err)
	}
	if _, err := all(t, c, Purge, PurgeRequest{}); !IsWrong(err) || err.Error() != "no" {
		t.Errorf("an error: %v", err)
	}
	if _, err := all(t, c, Replay, ReplayRequest{}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("another server: %v", err)
	}
	var syntax *json.SyntaxError
	if Wrong(nil) != nil || IsWrong(errTest) || errors.As(Wrong(errTest), &syntax) {
		t.Error("Wrong marks what it is given")
	}
}
