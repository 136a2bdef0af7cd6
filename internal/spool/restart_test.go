package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// quick makes restarts follow one another without waiting long.
func quick(s *Spool) {
	s.minBackoff = 10 * time.Millisecond
	s.spaceInterval = 10 * time.Millisecond
}

// load emits from several callers, each event until Emit returns nil, and
// returns a function that ends it and gives the ids of all events.
func load(t *testing.T, s *Spool, callers int) (acked *atomic.Int64, stop func() []string) {
	t.Helper()
	var mu sync.Mutex
	var ids []string
	var ending atomic.Bool
	var wg sync.WaitGroup
	acked = new(atomic.Int64)
	ctx := testContext(t)
	for range callers {
		wg.Go(func() {
			for n := 0; !ending.Load(); n++ {
				e := newEvent(n)
				for {
					err := s.Emit(ctx, e)
					if err == nil {
						break
					}
					if ctx.Err() != nil {
						t.Errorf("emit: %v", err)
						return
					}
				}
				acked.Add(1)
				mu.Lock()
				ids = append(ids, e.ID)
				mu.Unlock()
			}
		})
	}
	return acked, func() []string {
		ending.Store(true)
		wg.Wait()
		return ids
	}
}

func TestARestartUnderLoadLosesAndDoublesNothing(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), quick)
	if err := s.SetCursor(testContext(t), "lake", schema.TypeCallPop, 0); err != nil {
		t.Fatal(err)
	}
	r := read(t, s, schema.TypeCallPop, 0)
	got := make(map[string]int)
	var restarts int
	reading, stopReading := context.WithCancel(testContext(t))
	var readers sync.WaitGroup
	var last uint64
	readers.Go(func() {
		for {
			records, err := r.Next(reading, 100)
			switch {
			case reading.Err() != nil:
				return
			case errors.Is(err, ErrRestarted):
				restarts++
			case err != nil:
				t.Errorf("next: %v", err)
			}
			for _, record := range records {
				if record.Sequence != last+1 {
					t.Errorf("sequence %d after %d", record.Sequence, last)
				}
				last = record.Sequence
				got[record.ID]++
			}
		}
	})
	acked, stop := load(t, s, 16)
	for range 3 {
		target := acked.Load() + 200
		eventually(t, "events to be acknowledged", func() bool { return acked.Load() >= target })
		restart(t, s)
	}
	want := stop()
	state, err := s.State(testContext(t), schema.TypeCallPop)
	if err != nil {
		t.Fatal(err)
	}
	if state.Messages != uint64(len(want)) {
		t.Errorf("%d messages in the log, want %d", state.Messages, len(want))
	}
	stopReading()
	readers.Wait()
	for rest := int(state.Messages) - len(got); rest > 0; rest = int(state.Messages) - len(got) {
		for _, record := range take(t, r, rest) {
			got[record.ID]++
		}
	}
	for _, id := range want {
		if got[id] != 1 {
			t.Fatalf("%d copies of event %s", got[id], id)
		}
	}
	if r.Lost() != 0 {
		t.Errorf("lost = %d", r.Lost())
	}
	if _, ok, err := s.Cursor(testContext(t), "lake", schema.TypeCallPop); !ok || err != nil {
		t.Errorf("cursor: %v, %v", ok, err)
	}
}

func TestAWaitingReaderIsToldOfARestartAndReadsOn(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), quick)
	r := read(t, s, schema.TypeCallPop, 0)
	failed := make(chan error)
	go func() {
		_, err := r.Next(context.Background(), 1)
		failed <- err
	}()
	waits(t, s)
	restart(t, s)
	if err := <-failed; !errors.Is(err, ErrRestarted) {
		t.Errorf("error = %v", err)
	}
	want := emitN(t, s, 1)
	if got := take(t, r, 1)[0]; got.ID != want[0] {
		t.Errorf("got %s, want %s", got.ID, want[0])
	}
	again := read(t, s, schema.TypeCallPop, 0)
	if got := take(t, again, 1)[0]; got.ID != want[0] {
		t.Errorf("got %s, want %s", got.ID, want[0])
	}
}

func TestALostConnectionRestartsTheServer(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), quick)
	before := s.current()
	if err := before.writer.conn.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new server", func() bool { e := s.current(); return e != nil && e != before })
	emitN(t, s, 1)
}

func TestAServerThatDoesNotStartIsTriedUntilItDoes(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir), quick)
	want := emitN(t, s, 3)
	// A file in the place of the store's directory keeps the server from starting.
	store, aside := filepath.Join(dir, "jetstream"), filepath.Join(dir, "aside")
	e := s.current()
	e.stop()
	if err := os.Rename(store, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.faults <- fault{e, errors.New("the test wants it")}
	eventually(t, "the start to fail", func() bool { return s.Status().Phase == Failed })
	if got := s.Status().Detail; !strings.Contains(got, "embedded server") {
		t.Errorf("detail = %q", got)
	}
	if got := s.ServerID(); got != "" {
		t.Errorf("server id = %q while none runs", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Emit(ctx, newEvent(4)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), string(Failed)) {
		t.Errorf("emit while no server runs: %v", err)
	}
	if err := errors.Join(os.Remove(store), os.Rename(aside, store)); err != nil {
		t.Fatal(err)
	}
	last := newEvent(5)
	emit(t, s, last)
	if got := s.Status().Phase; got != Serving {
		t.Errorf("phase = %s", got)
	}
	if got := idsOf(take(t, read(t, s, schema.TypeCallPop, 0), 4)); !slices.Equal(got, append(want, last.ID)) {
		t.Errorf("events = %q, want %q", got, append(want, last.ID))
	}
}

func TestASpoolIsClosedWhileItsServerDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir), quick)
	e := s.current()
	e.stop()
	store := filepath.Join(dir, "jetstream")
	if err := errors.Join(os.RemoveAll(store), os.WriteFile(store, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.faults <- fault{e, errors.New("the test wants it")}
	eventually(t, "the start to fail", func() bool { return s.Status().Phase == Failed })
	waiting := make(chan error)
	go func() { waiting <- s.Emit(context.Background(), newEvent(1)) }()
	closeSpool(t, s)
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("emit: %v", err)
	}
}
