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
	s := openSpool(t, o)
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
	s := openSpool(t, o)
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
