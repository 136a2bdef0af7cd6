package main

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/internal/outputtest"
)

// quickHook is a hook that does not wait between its tries.
func quickHook(t *testing.T, url string) *hook {
	h := newHook(url, "")
	h.client.RetryWaitMin, h.client.RetryWaitMax = time.Millisecond, 5*time.Millisecond
	t.Cleanup(h.close)
	return h
}

func TestTheAnswerSaysWhatBecomesOfACall(t *testing.T) {
	for _, test := range []struct {
		status, tries int
		want          state
	}{
		{http.StatusOK, 1, done},
		{http.StatusAccepted, 1, done},
		{http.StatusFound, 1, waiting}, // not followed: it would become a GET
		{http.StatusBadRequest, 1, refused},
		{http.StatusUnauthorized, 1, waiting}, // a token is mended
		{http.StatusNotFound, 1, waiting},
		{http.StatusRequestEntityTooLarge, 1, refused},
		{http.StatusUnprocessableEntity, 1, refused},
		{http.StatusTooManyRequests, 1 + hookRetries, waiting},
		{http.StatusServiceUnavailable, 1 + hookRetries, waiting},
	} {
		var tries atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || r.Header.Get("Idempotency-Key") != "the event" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("got a %s with %v", r.Method, r.Header)
			}
			tries.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "86400") // a day is not to be slept through
			w.WriteHeader(test.status)
		}))
		got, why := quickHook(t, server.URL).post(t.Context(), "the event", []byte(`{}`))
		server.Close()
		if got != test.want || int(tries.Load()) != test.tries || (why == "") != (got == done) {
			t.Errorf("%d: got %s (%s) after %d tries, want %s after %d", test.status, got, why, tries.Load(), test.want, test.tries)
		}
	}
}

func TestAHookThatIsNotThereKeepsItsSecret(t *testing.T) {
	got, why := quickHook(t, "http://user:hush@127.0.0.1:1/calls?token=hush").post(t.Context(), "e", []byte(`{}`))
	if got != waiting || !strings.Contains(why, "refused") || strings.Contains(why, "hush") {
		t.Errorf("got %s: %s", got, why)
	}
}

func newOutbox(t *testing.T) *outbox {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "crm.db"), customersTable+outboxTable)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &outbox{db: db, filled: make(chan struct{}, 1)}
}

func fill(t *testing.T, o *outbox, events ...string) {
	err := sqlite.InTx(t.Context(), o.db, func(ctx context.Context, tx *sql.Tx) error {
		for _, event := range events {
			if fresh, err := put(ctx, tx, event, &call{Event: event, Number: "13812345678"}, waiting); !fresh || err != nil {
				t.Errorf("event %s: %t, %v", event, fresh, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneCallThatFailsHoldsUpNoOther(t *testing.T) {
	var posted, mended atomic.Int32
	var poisoned atomic.Bool
	poisoned.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Idempotency-Key") != "poison":
			posted.Add(1)
		case poisoned.Load():
			w.WriteHeader(http.StatusInternalServerError)
		default:
			mended.Add(1)
		}
	}))
	defer server.Close()
	o := newOutbox(t)
	fill(t, o, "poison")
	var log outputtest.Output
	p := &poster{outbox: o, hook: quickHook(t, server.URL), log: slog.New(slog.NewTextHandler(&log, nil))}
	stop := exampletest.Start(t, p.run)
	exampletest.Until(t, "the log says it", func() bool { return strings.Count(log.String(), "the CRM does not take calls") == 1 })
	fill(t, o, "a", "b", "c")
	o.filled <- struct{}{}
	exampletest.Until(t, "the others are posted", func() bool { return posted.Load() == 3 })
	poisoned.Store(false)
	exampletest.Until(t, "it is posted at last", func() bool { return mended.Load() == 1 })
	exampletest.Until(t, "nothing waits", func() bool { n, _ := o.count(t.Context()); return n == 0 })
	stop()
	var left int
	if err := o.db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox WHERE call <> ''`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d posted calls are still kept with their number (%v)", left, err)
	}
	if strings.Contains(log.String(), "13812345678") {
		t.Error("the log has a number")
	}
}

func TestACallThatIsCutShortIsNoAttempt(t *testing.T) {
	arrived := make(chan struct{})
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the client go
		close(arrived)
		<-r.Context().Done()
		close(ended)
	}))
	defer server.Close()
	o := newOutbox(t)
	fill(t, o, "e")
	p := &poster{outbox: o, hook: quickHook(t, server.URL), log: slog.New(slog.DiscardHandler)}
	stop := exampletest.Start(t, p.run)
	<-arrived
	stop()
	<-ended
	letters, _, err := o.due(t.Context(), time.Now(), 10)
	if err != nil || len(letters) != 1 || letters[0].tries != 0 {
		t.Errorf("got %+v, %v, want the call, not tried yet", letters, err)
	}
}

func TestOldEventsAreForgottenButNotThoseThatWait(t *testing.T) {
	o := newOutbox(t)
	fill(t, o, "done", "waiting", "refused")
	if err := o.settle(t.Context(), []outcome{{"done", done, time.Now()}, {"refused", refused, time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if err := o.prune(t.Context(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	letters, _, err := o.due(t.Context(), time.Now(), 10)
	var n int
	_ = o.db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox`).Scan(&n)
	if err != nil || n != 1 || len(letters) != 1 || letters[0].event != "waiting" {
		t.Errorf("%d are left, %+v are due (%v): want the one that waits", n, letters, err)
	}
}

func TestThePauseDoublesUpToItsLimit(t *testing.T) {
	for tries := range 100 {
		longest := lastPause
		if tries < 9 {
			longest = min(lastPause, time.Second<<tries)
		}
		if got := pause(tries); got < longest/2 || got > longest {
			t.Errorf("after %d tries: got %v, want %v to %v", tries, got, longest/2, longest)
		}
	}
}
