package spool

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

// scan goes through a stream and returns its items.
func scan(t *testing.T, s *Spool, typ schema.Type, after, through uint64) []Item {
	t.Helper()
	var items []Item
	for item, err := range s.Scan(testContext(t), typ, after, through) {
		if err != nil {
			t.Fatalf("after %d items: %v", len(items), err)
		}
		items = append(items, item)
	}
	return items
}

func TestAScanGivesWhatIsThereAndEnds(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	if items := scan(t, s, schema.TypeCallPop, 0, 1<<60); len(items) != 0 {
		t.Errorf("an empty stream has %d items", len(items))
	}
	const n = 1000 // several gets
	ids := emitN(t, s, n)
	for _, c := range []struct{ after, through uint64 }{
		{0, 1 << 60}, {0, n}, {0, 1}, {500, 700}, {n - 1, n}, {n, n + 5}, {n + 7, 1 << 60}, {700, 500},
	} {
		items := scan(t, s, schema.TypeCallPop, c.after, c.through)
		from, to := min(c.after, n), min(c.through, n)
		var want []string
		if from < to {
			want = ids[from:to]
		}
		var got []string
		for i, item := range items {
			got = append(got, item.ID)
			if item.Sequence != from+uint64(i)+1 || item.Damage != "" || item.SpoolSequence != s.sequence(item.Sequence) {
				t.Errorf("after %d through %d: item %d is %d, %q", c.after, c.through, i, item.Sequence, item.Damage)
			}
			if item.Stored.Before(item.Time.Truncate(time.Millisecond)) || time.Since(item.Stored) > patience {
				t.Errorf("event of %v stored at %v", item.Time, item.Stored)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %d through %d: %d events, want %d", c.after, c.through, len(got), len(want))
		}
	}
	if items := scan(t, s, schema.TypeDeadLetter, 0, 1<<60); len(items) != 0 {
		t.Errorf("another stream has %d items", len(items))
	}
	seen := 0
	for _, err := range s.Scan(testContext(t), schema.TypeCallPop, 0, n) {
		if seen++; err != nil || seen == 3 {
			break
		}
	}
	if subscriptions := s.current().reads.NumSubscriptions(); subscriptions != 0 {
		t.Errorf("%d subscriptions are left", subscriptions)
	}
}

func TestAScanEndsWithAnError(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	emitN(t, s, 1)
	last := func(ctx context.Context, typ schema.Type) (err error) {
		for _, err = range s.Scan(ctx, typ, 0, 10) {
		}
		return err
	}
	ended, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := last(ended, schema.TypeCallPop); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := last(testContext(t), "callpop.v9"); err == nil {
		t.Error("an unknown type is no error")
	}
	closeSpool(t, s)
	if err := last(testContext(t), schema.TypeCallPop); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestAScanGoesOnAfterARestart(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), quick)
	ids := emitN(t, s, 3*maxGet)
	var got []string
	for item, err := range s.Scan(testContext(t), schema.TypeCallPop, 0, 1<<60) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, item.ID); len(got) == maxGet/2 {
			before := s.current()
			s.fault(before, errors.New("a test"))
			eventually(t, "another engine", func() bool { e := s.current(); return e != nil && e != before })
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("%d events, want %d in their order", len(got), len(ids))
	}
}

func TestAScanShowsDamage(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	ids := emitN(t, s, 100)
	// Something that is no event of ours, as a version to come might write it.
	if _, err := s.current().control.RequestWithContext(testContext(t), "callpop.v1.hq.801", []byte("x")); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	damageFile(t, filepath.Join(dir, "jetstream"), "1.blk", func(d []byte) []byte {
		at := 0
		for range 51 {
			at += bytes.Index(d[at+1:], []byte("callpop.v1.hq.")) + 1
		}
		d[at-122] ^= 4 // in the body of the one before
		return d
	})
	s = openSpool(t, testOptions(dir), quick)
	items := scan(t, s, schema.TypeCallPop, 0, 1<<60)
	if len(items) != 100 {
		t.Fatalf("%d items, want 100", len(items))
	}
	for i, item := range items[:99] {
		sequence := i + 1
		if sequence >= 50 {
			sequence++ // the server passes over what it finds damaged
		}
		if item.Damage != "" || item.Sequence != uint64(sequence) || item.ID != ids[sequence-1] {
			t.Errorf("item %d: sequence %d, event %s, %q", i, item.Sequence, item.ID, item.Damage)
		}
	}
	if last := items[99]; last.Sequence != 101 || last.Damage == "" || string(last.Body) != "x" || last.Stored.IsZero() {
		t.Errorf("the last is %+v", last)
	}
}

func TestATimeIsFoundWithoutPassingOverAnEvent(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	ctx := testContext(t)
	began := time.Now()
	if after, err := s.Since(ctx, schema.TypeCallPop, began); err != nil || after != 0 {
		t.Errorf("empty: after %d, %v", after, err)
	}
	emitN(t, s, 200)
	items := scan(t, s, schema.TypeCallPop, 0, 200)
	for _, c := range []struct {
		at   time.Time
		want uint64
	}{
		{began.Add(-time.Hour), 0},
		{items[0].Stored.Add(clockSlack), 0},
		{items[99].Stored.Add(clockSlack), 99},
		{items[199].Stored.Add(clockSlack), 199},
		{items[199].Stored.Add(clockSlack + 1), 200},
		{time.Now().Add(time.Hour), 200},
	} {
		if got, err := s.Since(ctx, schema.TypeCallPop, c.at); err != nil || got != c.want {
			t.Errorf("%v: after %d, %v, want %d", c.at, got, err, c.want)
		}
	}
	if _, err := s.Since(ctx, "callpop.v9", began); err == nil {
		t.Error("an unknown type is no error")
	}
}

func TestAPurgeTakesTheOldestAndSaysHowMany(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	ctx := testContext(t)
	emitN(t, s, 100)
	r := read(t, s, schema.TypeCallPop, 0)
	take(t, r, 10)
	for _, c := range []struct{ through, removed, first, last uint64 }{
		{0, 0, 1, 100}, {40, 40, 41, 100}, {40, 0, 41, 100}, {39, 0, 41, 100}, {41, 1, 42, 100}, {1 << 50, 59, 101, 100}, {1 << 50, 0, 101, 100},
	} {
		removed, err := s.Purge(ctx, schema.TypeCallPop, c.through)
		if err != nil || removed != c.removed {
			t.Errorf("through %d: %d removed, %v, want %d", c.through, removed, err, c.removed)
		}
		d, err := s.Details(ctx, schema.TypeCallPop)
		if err != nil || d.First != c.first || d.Last != c.last || d.Missing != 0 || d.Stream != "CALLPOP" {
			t.Errorf("through %d: %+v, %v, want %d to %d", c.through, d, err, c.first, c.last)
		}
		if empty := c.first > c.last; d.LastTime.IsZero() || d.FirstTime.IsZero() != empty || (d.Messages == 0) != empty {
			t.Errorf("through %d: %+v", c.through, d)
		}
	}
	next := newEvent(101)
	emit(t, s, next)
	if got := take(t, r, 1)[0]; got.Sequence != 101 || got.ID != next.ID || r.Lost() != 90 || r.Damaged() != 0 {
		t.Errorf("after the purge: sequence %d, %d lost, %d damaged", got.Sequence, r.Lost(), r.Damaged())
	}
	if _, err := s.Purge(ctx, "callpop.v9", 1); err == nil {
		t.Error("an unknown type is no error")
	}
}

func TestLimitsAreKeptByWhoeverOnlyLooks(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	if _, err := KeepLimits(o.Config); !errors.Is(err, ErrNoSpool) {
		t.Errorf("an empty directory: %v", err)
	}
	o.Config.MaxAge, o.Config.MaxBytes = 500*time.Hour, 8*bytesize.MiB
	s := openSpool(t, o)
	emitN(t, s, 5)
	closeSpool(t, s)
	look := testOptions(dir).Config
	look.MaxAge, look.MaxBytes = time.Minute, bytesize.MiB
	kept, err := KeepLimits(look)
	if err != nil || kept.MaxAge != o.Config.MaxAge || kept.MaxBytes != o.Config.MaxBytes || kept.Dir != dir {
		t.Errorf("kept %+v, %v", kept, err)
	}
	damageFile(t, filepath.Join(dir, "jetstream"), "meta.inf", func(d []byte) []byte { return make([]byte, len(d)) })
	kept, err = KeepLimits(look)
	if err != nil || kept.MaxAge != endlessAge || kept.MaxBytes != endlessBytes {
		t.Errorf("damaged: kept %+v, %v", kept, err)
	}
	s = openSpool(t, Options{Config: kept})
	if items := scan(t, s, schema.TypeCallPop, 0, 10); len(items) != 5 {
		t.Errorf("%d events, want 5", len(items))
	}
}
