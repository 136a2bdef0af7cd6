package spool

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds the waits of tests for things that take milliseconds.
const patience = 30 * time.Second

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func testOptions(dir string) Options {
	c := DefaultConfig()
	c.Dir, c.MinFree, c.MaxBytes = dir, 0, 64*bytesize.MiB
	return Options{Config: c}
}

// openSpool opens a spool that the test's end closes.
func openSpool(tb testing.TB, o Options, tweaks ...func(*Spool)) *Spool {
	tb.Helper()
	s, err := open(testContext(tb), o, func(s *Spool) {
		for _, tweak := range tweaks {
			tweak(s)
		}
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeSpool(tb, s) })
	return s
}

func closeSpool(tb testing.TB, s *Spool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		tb.Error(err)
	}
}

func newEvent(n int) schema.Event {
	now := time.Now().UTC()
	return schema.Event{
		Type: schema.TypeCallPop, ID: schema.NewID(now), Key: fmt.Sprint("hq/", n),
		Server: "hq", Agent: fmt.Sprint(801 + n%100), Time: now,
		Body: fmt.Appendf(nil, `{"n":%d,"raw":%q}`, n, strings.Repeat("x", 250)),
	}
}

func emit(tb testing.TB, s *Spool, events ...schema.Event) {
	tb.Helper()
	for _, e := range events {
		if err := s.Emit(testContext(tb), e); err != nil {
			tb.Fatal(err)
		}
	}
}

// emitN emits n new events and returns their ids.
func emitN(tb testing.TB, s *Spool, n int) []string {
	tb.Helper()
	ids := make([]string, n)
	for i := range ids {
		e := newEvent(i)
		ids[i] = e.ID
		emit(tb, s, e)
	}
	return ids
}

func read(tb testing.TB, s *Spool, t schema.Type, after uint64) *Reader {
	tb.Helper()
	r, err := s.Read(testContext(tb), t, after)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.Close() })
	return r
}

// take reads n records, in as many calls as it takes.
func take(tb testing.TB, r *Reader, n int) []Record {
	tb.Helper()
	ctx := testContext(tb)
	var all []Record
	for len(all) < n {
		records, err := r.Next(ctx, n-len(all))
		if err != nil {
			tb.Fatalf("after %d of %d records: %v", len(all), n, err)
		}
		all = append(all, records...)
	}
	return all
}

func idsOf(records []Record) []string {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids
}

// eventually waits until ok, which it asks again and again.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited %v in vain for: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// logLines is a log that a test can read.
type logLines struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
