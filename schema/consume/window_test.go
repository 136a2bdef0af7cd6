package consume_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

func newMemory(t *testing.T, size int, age time.Duration) *consume.Memory {
	t.Helper()
	m, err := consume.NewMemory(size, age)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnEventIsHandledOnce(t *testing.T) {
	w := newMemory(t, 10, time.Hour)
	d := &consume.Delivery{Event: schema.Event{ID: "a"}}
	handled := 0
	handle := func(context.Context, *consume.Delivery) error { handled++; return nil }
	for i, want := range []consume.Verdict{consume.Fresh, consume.Handled, consume.Handled} {
		if got, err := consume.Once(t.Context(), w, d, handle); got != want || err != nil {
			t.Errorf("delivery %d: got %s, %v, want %s", i, got, err, want)
		}
	}
	if handled != 1 {
		t.Errorf("handled %d times", handled)
	}
	replayed := &consume.Delivery{Event: d.Event, Replay: "r1"}
	for _, want := range []consume.Verdict{consume.Fresh, consume.Handled} {
		if got, err := consume.Once(t.Context(), w, replayed, handle); got != want || err != nil {
			t.Errorf("replayed: got %s, %v, want %s", got, err, want)
		}
	}
	if handled != 2 {
		t.Errorf("handled %d times with the replay, want 2", handled)
	}
}

func TestOfTheCopiesInAnOverlapOneIsHandled(t *testing.T) {
	w := newMemory(t, 10, time.Hour)
	const fingerprint = "09709ed97e43c4775f918bb594808c20"
	var handled []string
	handle := func(_ context.Context, d *consume.Delivery) error { handled = append(handled, d.Event.ID); return nil }
	for _, d := range []consume.Delivery{
		{Event: schema.Event{ID: "a", Overlap: fingerprint}},
		{Event: schema.Event{ID: "b", Overlap: fingerprint}},                               // the copy
		{Event: schema.Event{ID: "a", Overlap: fingerprint}},                               // delivered again
		{Event: schema.Event{ID: "c"}, CallPop: &schema.CallPop{Fingerprint: fingerprint}}, // a re-pop, in no overlap
		{Event: schema.Event{ID: "b", Overlap: fingerprint}, Replay: "r1"},                 // asked for
	} {
		if _, err := consume.Once(t.Context(), w, &d, handle); err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(handled, " "), "a c b"; got != want {
		t.Errorf("handled %q, want %q", got, want)
	}
}

func TestAnEventThatFailedIsHandledAgain(t *testing.T) {
	w := newMemory(t, 10, time.Hour)
	d := &consume.Delivery{Event: schema.Event{ID: "a"}}
	away := errors.New("the database is away")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := consume.Once(ctx, w, d, func(context.Context, *consume.Delivery) error { cancel(); return away }); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	if got, err := consume.Once(t.Context(), w, d, func(context.Context, *consume.Delivery) error { return nil }); got != consume.Fresh || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// broken is a window that fails.
type broken struct{ claim, settle, release error }

func (b broken) Claim(context.Context, string) (consume.Verdict, error) {
	return consume.Fresh, b.claim
}
func (b broken) Settle(context.Context, string) error  { return b.settle }
func (b broken) Release(context.Context, string) error { return b.release }

func TestAWindowThatFailsIsAnErrorOfItsOwn(t *testing.T) {
	away := errors.New("the window is away")
	d := &consume.Delivery{Event: schema.Event{ID: "a"}}
	full := errors.New("the disk is full")
	for _, c := range []struct {
		window broken
		handle error
		ran    bool
		want   string
	}{
		{broken{claim: away}, nil, false, "claim event a: the window is away"},
		{broken{settle: away}, nil, true, "settle event a, which was handled: the window is away"},
		{broken{release: away}, full, true, "the disk is full\nrelease event a: the window is away"},
	} {
		ran := false
		_, err := consume.Once(t.Context(), c.window, d, func(context.Context, *consume.Delivery) error { ran = true; return c.handle })
		if err == nil || err.Error() != c.want || ran != c.ran || !errors.Is(err, away) {
			t.Errorf("got %v, ran %v, want %s, %v", err, ran, c.want, c.ran)
		}
	}
}

func TestOnlyOneOfManyMayHandleAnEvent(t *testing.T) {
	w := newMemory(t, 10, time.Hour)
	var fresh, busy atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			switch verdict, _ := w.Claim(context.Background(), "a"); verdict {
			case consume.Fresh:
				fresh.Add(1)
			case consume.Busy:
				busy.Add(1)
			}
		})
	}
	all.Wait()
	if fresh.Load() != 1 || busy.Load() != 49 {
		t.Errorf("%d may handle it, %d wait", fresh.Load(), busy.Load())
	}
}

func TestTheMemoryForgetsByAgeAndBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMemory(t, 2, time.Minute)
		claim := func(id string, want consume.Verdict) {
			t.Helper()
			if got, err := w.Claim(t.Context(), id); got != want || err != nil {
				t.Errorf("%s: got %s, %v, want %s", id, got, err, want)
			}
		}
		settle := func(id string) {
			t.Helper()
			if err := w.Settle(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		claim("a", consume.Fresh)
		settle("a")
		time.Sleep(time.Minute - 1)
		claim("a", consume.Handled)
		time.Sleep(time.Nanosecond)
		claim("a", consume.Fresh) // too old
		settle("a")
		claim("b", consume.Fresh)
		claim("c", consume.Fresh) // a, the oldest, goes
		claim("b", consume.Busy)
		claim("a", consume.Fresh)
	})
}

func TestAMemoryNeedsSizeAndAge(t *testing.T) {
	for want, make := range map[string]func() (*consume.Memory, error){
		"window's size is 0": func() (*consume.Memory, error) { return consume.NewMemory(0, time.Hour) },
		"window's age is 0s": func() (*consume.Memory, error) { return consume.NewMemory(1, 0) },
	} {
		if _, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
