package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

var testStart = time.Now()

func TestAnEventComesOutAsItWentIn(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	for _, typ := range schema.Types {
		want := newEvent(7)
		want.Type, want.Server, want.Agent = typ, "总机 1", "8.0 1"
		want.TraceParent, want.TraceState = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b"
		if typ == schema.TypeDeadLetter {
			want.Agent = ""
		}
		emit(t, s, want)
		got := take(t, read(t, s, typ, 0), 1)[0]
		if got.Sequence != 1 {
			t.Errorf("%s: sequence = %d, want 1", typ, got.Sequence)
		}
		if want := s.ID() + "-00000000000000000001"; got.SpoolSequence != want {
			t.Errorf("%s: spool sequence = %q, want %q", typ, got.SpoolSequence, want)
		}
		if !got.Time.Equal(want.Time) {
			t.Errorf("%s: time = %v, want %v", typ, got.Time, want.Time)
		}
		got.Time, want.Time = time.Time{}, time.Time{}
		if fmt.Sprintf("%+v", got.Event) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: got %+v, want %+v", typ, got.Event, want)
		}
	}
}

func TestEventsComeOutInTheOrderTheyWentIn(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	want := emitN(t, s, 700)
	for _, batch := range []int{1, 100, 128, 129, 10000} {
		r := read(t, s, schema.TypeCallPop, 0)
		var got []string
		for len(got) < len(want) {
			records, err := r.Next(testContext(t), batch)
			if err != nil {
				t.Fatal(err)
			}
			if len(records) == 0 || len(records) > batch {
				t.Fatalf("a batch of %d, want 1 to %d", len(records), batch)
			}
			got = append(got, idsOf(records)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in batches of %d: another order", batch)
		}
	}
	if got := idsOf(take(t, read(t, s, schema.TypeCallPop, 690), 10)); !slices.Equal(got, want[690:]) {
		t.Errorf("after 690: %q, want %q", got, want[690:])
	}
}

func TestManyCallersEmitAtOnce(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	const callers, each = 64, 50
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n := range each {
				e := newEvent(n)
				e.Agent = fmt.Sprint(c)
				if err := s.Emit(testContext(t), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := make(map[string]int)
	for _, r := range take(t, read(t, s, schema.TypeCallPop, 0), callers*each) {
		var n int
		if _, err := fmt.Sscanf(string(r.Body), `{"n":%d`, &n); err != nil {
			t.Fatal(err)
		}
		if n != next[r.Agent] {
			t.Fatalf("caller %s: event %d, want %d", r.Agent, n, next[r.Agent])
		}
		next[r.Agent]++
	}
}

func TestARepeatedEmitMakesNoSecondCopy(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	e := newEvent(1)
	emit(t, s, e, e, newEvent(2), e)
	closeSpool(t, s)
	s = openSpool(t, testOptions(dir))
	emit(t, s, e)
	if state, err := s.State(testContext(t), e.Type); err != nil || state.Messages != 2 {
		t.Errorf("state = %+v, %v; want 2 messages", state, err)
	}
}

func TestALoneEventIsDeliveredWhileItsReaderWaits(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	r := read(t, s, schema.TypeCallPop, 0)
	got := make(chan string)
	go func() {
		for range 3 {
			records, err := r.Next(testContext(t), 100)
			if err != nil {
				t.Error(err)
				close(got)
				return
			}
			got <- records[0].ID
		}
	}()
	for n := range 3 {
		waits(t, s)
		e := newEvent(n)
		emit(t, s, e)
		if id := <-got; id != e.ID {
			t.Errorf("got %s, want %s", id, e.ID)
		}
	}
}

// waits returns once a reader waits for the next pop.
func waits(t *testing.T, s *Spool) {
	t.Helper()
	eventually(t, "the reader to wait", func() bool {
		s.tails[0].mu.Lock()
		defer s.tails[0].mu.Unlock()
		return s.tails[0].grown != nil
	})
}

func TestAReaderCountsWhatTheLimitsTookAway(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Config.MaxBytes = bytesize.MiB
	s := openSpool(t, o)
	r := read(t, s, schema.TypeCallPop, 0)
	emit(t, s, newEvent(0))
	take(t, r, 1)
	const n = 4000 // of some 700 bytes
	ids := emitN(t, s, n)
	state, err := s.State(testContext(t), schema.TypeCallPop)
	if err != nil {
		t.Fatal(err)
	}
	if state.Last != n+1 || state.Messages >= n/2 || state.Bytes > uint64(bytesize.MiB) {
		t.Fatalf("state = %+v: expected a full stream", state)
	}
	got := idsOf(take(t, r, int(state.Messages)))
	if want := ids[n-len(got):]; !slices.Equal(got, want) {
		t.Error("the reader got other events than the newest")
	}
	if got, want := r.Lost(), state.First-2; got != want || r.Damaged() != 0 {
		t.Errorf("lost = %d, damaged = %d, want %d and 0", got, r.Damaged(), want)
	}
}

func TestAFullStreamCrowdsOutNoOther(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Config.MaxBytes = bytesize.MiB
	s := openSpool(t, o)
	session := newEvent(1)
	session.Type = schema.TypeSessionChanged
	emit(t, s, session)
	emitN(t, s, 3000)
	if got := take(t, read(t, s, session.Type, 0), 1)[0]; got.ID != session.ID {
		t.Errorf("got %s, want %s", got.ID, session.ID)
	}
}

func TestWhatADirectoryHoldsSurvivesClosingAndNewLimits(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	s := openSpool(t, o)
	id := s.ID()
	want := emitN(t, s, 3000)
	closeSpool(t, s)
	for _, limits := range []struct {
		age   time.Duration
		bytes bytesize.Size
	}{{time.Hour, 4 * bytesize.GiB}, {time.Hour, bytesize.MiB}, {time.Minute, bytesize.GiB}} {
		o.Config.MaxAge, o.Config.MaxBytes = limits.age, limits.bytes
		s = openSpool(t, o)
		for _, st := range streams {
			info, err := s.current().js.Stream(testContext(t), st.name)
			if err != nil {
				t.Fatal(err)
			}
			c := info.CachedInfo().Config
			if c.MaxAge != limits.age || c.MaxBytes != int64(limits.bytes) {
				t.Errorf("%s: limits %v, %d; want %v, %d", st.name, c.MaxAge, c.MaxBytes, limits.age, limits.bytes)
			}
		}
		state, err := s.State(testContext(t), schema.TypeCallPop)
		if err != nil {
			t.Fatal(err)
		}
		if state.Last != uint64(len(want)) || state.Messages == 0 {
			t.Fatalf("state = %+v", state)
		}
		got := idsOf(take(t, read(t, s, schema.TypeCallPop, 0), int(state.Messages)))
		if !slices.Equal(got, want[len(want)-len(got):]) {
			t.Error("other events than before")
		}
		if got := s.ID(); got != id {
			t.Errorf("id = %s, want %s", got, id)
		}
		closeSpool(t, s)
	}
}

func TestTwoSpoolsHaveTwoIDsThatSortByTheirTime(t *testing.T) {
	first := openSpool(t, testOptions(t.TempDir()))
	made := time.Now().UnixMilli()
	eventually(t, "the next millisecond", func() bool { return time.Now().UnixMilli() > made })
	second := openSpool(t, testOptions(t.TempDir()))
	if first.ID() >= second.ID() {
		t.Errorf("%s is not before %s", first.ID(), second.ID())
	}
	if first.ServerID() == second.ServerID() || first.ServerID() == "" {
		t.Errorf("server ids %q and %q", first.ServerID(), second.ServerID())
	}
}

func TestEmitRefusesWhatCanNeverBeStored(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	large := newEvent(1)
	large.Body = make([]byte, maxPayload)
	if err := s.Emit(testContext(t), large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large event: %v", err)
	}
	unknown := newEvent(1)
	unknown.Type = "callpop.v9"
	if err := s.Emit(testContext(t), unknown); err == nil || !strings.Contains(err.Error(), "callpop.v9") {
		t.Errorf("an unknown type: %v", err)
	}
	nameless := newEvent(1)
	nameless.ID = ""
	if err := s.Emit(testContext(t), nameless); err == nil {
		t.Error("an event without id was stored")
	}
	// The largest that fits is stored and read.
	fits := newEvent(2)
	fits.Body = make([]byte, maxPayload-headerSlack-1024)
	emit(t, s, fits)
	if got := take(t, read(t, s, fits.Type, 0), 1)[0]; len(got.Body) != len(fits.Body) {
		t.Errorf("%d bytes came back, want %d", len(got.Body), len(fits.Body))
	}
}

func TestABatchIsBoundedInBytes(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	const size, n = 400 << 10, 12
	for i := range n {
		e := newEvent(i)
		e.Body = make([]byte, size)
		emit(t, s, e)
	}
	r := read(t, s, schema.TypeCallPop, 0)
	for got := 0; got < n; {
		records, err := r.Next(testContext(t), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if bytes := len(records) * size; bytes > 2*maxBatchBytes+size {
			t.Errorf("a batch of %d bytes", bytes)
		}
		got += len(records)
	}
}

func TestNextGivesUpWithItsContextAndGoesOnLater(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	r := read(t, s, schema.TypeCallPop, 0)
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	if _, err := r.Next(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if _, err := r.Next(testContext(t), 0); err == nil {
		t.Error("a batch of none was accepted")
	}
	want := emitN(t, s, 1)
	if got := idsOf(take(t, r, 1)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCloseEndsAWaitingNext(t *testing.T) {
	for what, end := range map[string]func(*Spool, *Reader){
		"of the reader": func(_ *Spool, r *Reader) { _ = r.Close(); _ = r.Close() },
		"of the spool":  func(s *Spool, _ *Reader) { _ = s.Close(context.Background()); _ = s.Close(context.Background()) },
	} {
		s := openSpool(t, testOptions(t.TempDir()))
		r := read(t, s, schema.TypeCallPop, 0)
		result := make(chan error)
		go func() {
			_, err := r.Next(context.Background(), 1)
			result <- err
		}()
		end(s, r)
		if err := <-result; !errors.Is(err, ErrClosed) {
			t.Errorf("close %s: %v", what, err)
		}
	}
}

func TestCloseEndsANextThatWaitsForARestart(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	r := read(t, s, schema.TypeCallPop, 0)
	emitN(t, s, 1)
	take(t, r, 1)
	e := s.current()
	s.set(nil, Restarting, "the test wants it")
	done := make(chan error)
	go func() {
		_, err := r.Next(context.Background(), 1)
		done <- err
	}()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("error = %v", err)
	}
	s.set(e, Serving, "")
}

func TestAClosedSpoolSaysSo(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	r := read(t, s, schema.TypeCallPop, 0)
	closeSpool(t, s)
	ctx := testContext(t)
	_, nextErr := r.Next(ctx, 1)
	_, _, cursorErr := s.Cursor(ctx, "x", schema.TypeCallPop)
	for what, err := range map[string]error{
		"emit":       s.Emit(ctx, newEvent(1)),
		"next":       nextErr,
		"read":       second(s.Read(ctx, schema.TypeCallPop, 0)),
		"state":      second(s.State(ctx, schema.TypeCallPop)),
		"cursor":     cursorErr,
		"set cursor": s.SetCursor(ctx, "x", schema.TypeCallPop, 1),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := s.Status().Phase; got != Closed {
		t.Errorf("phase = %s", got)
	}
}

func TestTheDirectoryIsPrivateAndMadeWhenMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	openSpool(t, testOptions(dir))
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o700); got != want {
		t.Errorf("mode = %v, want %v", got, want)
	}
}

func TestADirectoryIsOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	_, err := Open(testContext(t), testOptions(dir))
	if err == nil {
		t.Fatal("opened twice")
	}
	if want := fmt.Sprintf("spool directory %s is in use by process %d", dir, os.Getpid()); err.Error() != want {
		t.Errorf("error = %q, want %q", err, want)
	}
	closeSpool(t, s)
	openSpool(t, testOptions(dir))
}

func TestADirectoryThatCannotBeWrittenIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := t.TempDir()
	if err := os.Chmod(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	dirs := []string{file, filepath.Join(file, "below")}
	if os.Geteuid() != 0 { // root may write anywhere
		dirs = append(dirs, readOnly)
	} else if _, err := os.Stat("/proc/self"); err == nil {
		dirs = append(dirs, "/proc/self")
	}
	for _, dir := range dirs {
		_, err := Open(testContext(t), testOptions(dir))
		if err == nil {
			t.Fatalf("%s was accepted", dir)
		}
		if !strings.Contains(err.Error(), "spool directory "+dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error = %q: expected one line that names %s", err, dir)
		}
	}
}

func TestADamagedIDIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, idFile), []byte("../../etc"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(testContext(t), testOptions(dir))
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, idFile)) {
		t.Errorf("error = %v", err)
	}
}

func TestCursors(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	ctx := testContext(t)
	emitN(t, s, 20)
	if _, ok, err := s.Cursor(ctx, "lake", schema.TypeCallPop); ok || err != nil {
		t.Errorf("a new sink has a cursor: %v, %v", ok, err)
	}
	for _, seq := range []uint64{3, 17, 9} {
		if err := s.SetCursor(ctx, "lake", schema.TypeCallPop, seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetCursor(ctx, "events_2-b", schema.TypeDeadLetter, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCursor(ctx, "old", schema.TypeCallPop, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.DeleteCursor(ctx, "old", schema.TypeCallPop); err != nil {
			t.Fatal(err)
		}
	}
	closeSpool(t, s)
	s = openSpool(t, testOptions(dir))
	if seq, ok, err := s.Cursor(ctx, "lake", schema.TypeCallPop); seq != 9 || !ok || err != nil {
		t.Errorf("cursor = %d, %v, %v; want 9", seq, ok, err)
	}
	cursors, err := s.Cursors(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range cursors {
		if age := time.Since(cursors[i].Updated); age < 0 || age > time.Hour {
			t.Errorf("cursor %d was updated %v ago", i, age)
		}
		cursors[i].Updated = time.Time{}
	}
	want := []Cursor{{Sink: "events_2-b", Type: schema.TypeDeadLetter}, {Sink: "lake", Type: schema.TypeCallPop, Sequence: 9}}
	if !slices.Equal(cursors, want) {
		t.Errorf("cursors = %+v, want %+v", cursors, want)
	}
	for _, sink := range []string{"", "a.b", "a b", "*", ">", "ä"} {
		if err := s.SetCursor(ctx, sink, schema.TypeCallPop, 1); err == nil {
			t.Errorf("a sink named %q was accepted", sink)
		}
	}
}

// A loss of power can take a stream's last events and leave the cursor that
// counted them. Were their sequences given again, that sink would pass over events.
func TestNoEventGetsASequenceThatACursorHasPassed(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSpool(t, o)
	ctx := testContext(t)
	emitN(t, s, 5)
	if err := s.SetCursor(ctx, "lake", schema.TypeCallPop, 8); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	var log logLines
	o.Logger = log.logger()
	s = openSpool(t, o)
	if seq, _, err := s.Cursor(ctx, "lake", schema.TypeCallPop); seq != 8 || err != nil {
		t.Errorf("cursor = %d, %v; want 8", seq, err)
	}
	if got := s.Losses(); len(got) != 1 || got[0].From != 6 || got[0].Lost != 3 || len(got[0].Undelivered) != 0 {
		t.Errorf("losses = %+v", got)
	}
	want := emitN(t, s, 1)
	r := read(t, s, schema.TypeCallPop, 8)
	if got := take(t, r, 1)[0]; got.ID != want[0] || got.Sequence <= 8 {
		t.Errorf("got event %s at %d, want %s", got.ID, got.Sequence, want[0])
	}
	if r.Lost() != 0 {
		t.Errorf("lost = %d to a sink that had had them", r.Lost())
	}
	if !strings.Contains(log.String(), "lost to damage") {
		t.Errorf("log = %s", &log)
	}
}
