package spool

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// Whatever a reader takes from memory must be what the log would have given it.
func TestEventsFromMemoryAreThoseOfTheLog(t *testing.T) {
	o := Options{Config: DefaultConfig()}
	o.Config.Dir, o.Config.MinFree = t.TempDir(), 0
	s := openSpool(t, o, func(s *Spool) { s.keepInterval = time.Hour })
	const events = 300
	for n := range events {
		e := newEvent(n)
		e.Time = time.Now() // with this process's clock
		switch n % 50 {
		case 7:
			e.Key = "hq/\xff" // written otherwise in the log
		case 9:
			e.Body = bytes.Repeat([]byte(" "), recentBytes+1)
		}
		if err := s.Emit(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	e := s.current()
	recents := &e.recents[0]
	if got := len(recents.after(0, events, s.sequence)); got != 7 {
		t.Errorf("%d events are in memory before the first that is not, want 7", got)
	}
	remembered := readAll(t, s, events)
	for i := range e.recents {
		e.recents[i].forget(1 << 62)
	}
	if got := len(recents.after(10, events, s.sequence)); got != 0 {
		t.Fatalf("%d events are still in memory", got)
	}
	stored := readAll(t, s, events)
	for i := range stored {
		if !reflect.DeepEqual(remembered[i], stored[i]) {
			t.Fatalf("event %d: from memory %+v, from the log %+v", i, remembered[i], stored[i])
		}
	}
}

func readAll(t *testing.T, s *Spool, n int) []Record {
	t.Helper()
	r, err := s.Read(context.Background(), schema.TypeCallPop, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var all []Record
	for len(all) < n {
		records, err := r.Next(context.Background(), 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, records...)
	}
	if r.Lost() != 0 {
		t.Errorf("%d events were lost", r.Lost())
	}
	return all
}

func TestWhatWasPurgedDoesNotComeFromMemory(t *testing.T) {
	o := Options{Config: DefaultConfig()}
	o.Config.Dir, o.Config.MinFree = t.TempDir(), 0
	s := openSpool(t, o, func(s *Spool) { s.keepInterval = time.Hour })
	for n := range 10 {
		if err := s.Emit(context.Background(), newEvent(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Purge(context.Background(), schema.TypeCallPop, 6); err != nil {
		t.Fatal(err)
	}
	r, err := s.Read(context.Background(), schema.TypeCallPop, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	records, err := r.Next(context.Background(), 64)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 4 || records[0].Sequence != 7 || r.Lost() != 6 {
		t.Errorf("%d records from %d on, %d lost: want 4 from 7 on, 6 lost", len(records), records[0].Sequence, r.Lost())
	}
	// An event whose acknowledgement comes after the purge.
	late := newEvent(3)
	s.current().recents[0].put(4, &late)
	if got := s.current().recents[0].after(3, 1, s.sequence); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNoLongerRecentIsLetGoOf(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), func(s *Spool) { s.keepInterval = time.Hour })
	r := &s.current().recents[0]
	held := func() int { return len(r.after(0, recentEvents, s.sequence)) }
	r.age() // of nothing
	emitN(t, s, 3)
	r.age()
	if held() != 3 {
		t.Errorf("%d of 3 new events are in memory", held())
	}
	emitN(t, s, 2)
	r.age()
	if held() != 0 || len(r.after(3, recentEvents, s.sequence)) != 2 {
		t.Error("not the old ones went, or the new ones too")
	}
	r.age()
	if r.places != nil {
		t.Error("the memory of those that are no longer there is kept")
	}
	want := emitN(t, s, 1)
	if got := r.after(5, recentEvents, s.sequence); len(got) != 1 || got[0].ID != want[0] {
		t.Errorf("after that %v is in memory", got)
	}
}

func TestRecentEventsAgeWhileTheSpoolIsOpen(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), func(s *Spool) { s.keepInterval = time.Millisecond })
	emitN(t, s, 3)
	eventually(t, "the events to leave the memory", func() bool { return len(s.current().recents[0].after(0, 3, s.sequence)) == 0 })
	take(t, read(t, s, schema.TypeCallPop, 0), 3)
}
