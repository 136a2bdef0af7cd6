package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema/consume"
)

func testLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func newStore(t *testing.T, keep time.Duration) *store {
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "calls.db"), 2*time.Hour, keep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	return s
}

func TestWhatCannotBeAnsweredIsSaidInJSON(t *testing.T) {
	const secret = "13812345678"
	for _, test := range []struct {
		name, method, target, host, token string
		status                            int
		want                              problem
	}{
		{name: "no question", status: 400, target: "/calls", want: problem{Name: "key, number", Value: "neither"}},
		{name: "two questions", status: 400, target: "/calls?key=a&number=1", want: problem{Name: "key, number", Value: "both"}},
		{name: "empty key", status: 400, target: "/calls?key=", want: problem{Name: "key", Value: "0 bytes"}},
		{name: "long key", status: 400, target: "/calls?key=" + strings.Repeat("k", 513), want: problem{Name: "key", Value: "513 bytes"}},
		{name: "number of nothing", status: 400, target: "/calls?number=+-()", want: problem{Name: "number", Value: "4 bytes"}},
		{name: "long number", status: 400, target: "/calls?number=" + secret + strings.Repeat("0", 60), want: problem{Name: "number", Value: "71 bytes"}},
		{name: "broken UTF-8", status: 400, target: "/calls?number=%ff" + secret, want: problem{Name: "number", Value: "12 bytes"}},
		{name: "two numbers", status: 400, target: "/calls?number=1&number=" + secret, want: problem{Name: "number", Value: "2 of them"}},
		{name: "another question", status: 400, target: "/calls?agent=801", want: problem{Name: "parameter", Value: "agent"}},
		{name: "bad encoding", status: 400, target: "/calls?number=%zz" + secret, want: problem{Name: "query", Value: "not URL-encoded"}},
		{name: "limit of none", status: 400, target: "/calls?key=a&limit=0", want: problem{Name: "limit", Value: "0"}},
		{name: "limit too great", status: 400, target: "/calls?key=a&limit=1001", want: problem{Name: "limit", Value: "1001"}},
		{name: "limit of words", status: 400, target: "/calls?key=a&limit=" + strings.Repeat("x", 100), want: problem{Name: "limit", Value: strings.Repeat("x", 64) + "…"}},
		{name: "before nothing", status: 400, target: "/calls?key=a&before=b", want: problem{Name: "before", Value: "b"}},
		{name: "another path", status: 404, target: "/recordings", want: problem{Name: "path", Value: "/recordings"}},
		{name: "another method", status: 405, method: "DELETE", target: "/calls?key=a", want: problem{Name: "method", Value: "DELETE"}},
		{name: "another site's name", status: 403, host: "evil.example:8090", target: "/calls?number=" + secret, want: problem{Name: "Host", Value: "evil.example"}},
		{name: "no token", status: 401, token: "right", target: "/calls?number=" + secret, want: problem{Name: "Authorization", Value: "not shown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log outputtest.Output
			a := &api{store: newStore(t, 0), token: test.token, log: testLogger(&log)}
			if test.method == "" {
				test.method = http.MethodGet
			}
			r := httptest.NewRequestWithContext(t.Context(), test.method, test.target, nil)
			r.Host = "127.0.0.1:8090"
			if test.host != "" {
				r.Host = test.host
			}
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			text := w.Body.String() + log.String()
			var got struct{ Error problem }
			if err := json.NewDecoder(bytes.NewReader(w.Body.Bytes())).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if got.Error.Expected == "" {
				t.Error("does not say what was expected")
			}
			got.Error.Expected = ""
			if w.Code != test.status || got.Error != test.want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %d %+v, want %d %+v", w.Code, got.Error, test.status, test.want)
			}
			if strings.Contains(text, secret) {
				t.Error("the answer or the log quotes the number")
			}
		})
	}
}

func TestAnUnreadableDatabaseIsSaidWithoutTheNumber(t *testing.T) {
	var log outputtest.Output
	a := &api{store: newStore(t, 0), token: "right", log: testLogger(&log)}
	if err := a.store.close(); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/calls?number=13812345678", nil)
	r.Header.Set("Authorization", "Bearer right")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || strings.Count(log.String(), "calls could not be read") != 1 {
		t.Errorf("got %d and the log %q", w.Code, log.String())
	}
	if strings.Contains(w.Body.String()+log.String(), "13812345678") {
		t.Error("the answer or the log quotes the number")
	}
}

func TestOldPopsAreForgotten(t *testing.T) {
	pops := exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 10, Start: time.Now().Add(-48 * time.Hour)})
	pops = append(pops, exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 5, Seed: 1, Start: time.Now()})...)
	add := func(s *store) {
		for _, p := range pops {
			d := &consume.Delivery{Event: p.Event, CallPop: &p.CallPop}
			if err := s.add(t.Context(), []*consume.Delivery{d}); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(s *store) (n int) {
		if err := s.db.QueryRowContext(t.Context(), `SELECT count(*) FROM hops`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	s := newStore(t, 0)
	if add(s); count(s) != 15 {
		t.Fatalf("%d pops are kept, want 15", count(s))
	}
	s.keep = 24 * time.Hour
	stop := exampletest.Start(t, s.forget)
	exampletest.Until(t, "the old ones are gone", func() bool { return count(s) == 5 })
	stop()
	if add(s); count(s) != 5 {
		t.Errorf("%d pops are kept after the old ones came again, want 5", count(s))
	}
}

func TestWrongUseIsSaid(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"now"}, `argument "now"`},
		{[]string{"-idle", "0s"}, "-idle is 0s"},
		{[]string{"-keep", "1h"}, "-keep is 1h0m0s: expected 0, or no less than -idle, which is 2h0m0s"},
		{[]string{"-listen", "8090"}, `-listen is "8090": expected host:port`},
		{[]string{"-listen", ":8090"}, "expected a loopback address, or a token"},
		{[]string{"-db", filepath.Join(t.TempDir(), "no", "where.db")}, "no such file"},
	} {
		var out, log outputtest.Output
		err := run(t.Context(), test.args, noEnvironment, &out, &log)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v, want %q", test.args, err, test.want)
		}
	}
}

func TestItAnswersThoseWithTheToken(t *testing.T) {
	withServer(t, "right", func(c *client) {
		for token, want := range map[string]int{"right": http.StatusOK, "wrong": http.StatusUnauthorized, "": http.StatusUnauthorized} {
			c.token = token
			if _, got := c.get(t, "key="+url.QueryEscape("sim/1000")); got != want {
				t.Errorf("token %q: got %d, want %d", token, got, want)
			}
		}
	})
}

// withServer serves an empty store.
func withServer(t *testing.T, token string, test func(*client)) {
	var log outputtest.Output
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &api{store: newStore(t, 0), token: token, log: testLogger(&log)}
	stop := exampletest.Start(t, func(ctx context.Context) error { return serve(ctx, listener, a) })
	test(&client{url: "http://" + listener.Addr().String()})
	http.DefaultClient.CloseIdleConnections()
	stop()
}
