package sink_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

func TestAMessageIDIsSharedByRepeatsAndCopiesButNotByAReplay(t *testing.T) {
	r := sink.Record{Event: schema.Event{ID: "an-id"}}
	if got := sink.MessageID(&r); got != "an-id" {
		t.Errorf("first delivery: %q", got)
	}
	r.Overlap = "09709ed97e43c4775f918bb594808c20"
	if got := sink.MessageID(&r); got != "overlap.09709ed97e43c4775f918bb594808c20" {
		t.Errorf("in an overlap: %q", got)
	}
	r.Replay = "0a1b"
	if got := sink.MessageID(&r); got != "an-id.replay.0a1b" {
		t.Errorf("replay: %q", got)
	}
}

func TestCallersOfASharedSinkTakeTurnsForEachType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := map[schema.Type]*atomic.Int64{schema.TypeCallPop: {}, schema.TypeSessionChanged: {}}
		var inner sinktest.Memory
		inner.Before = func(_ context.Context, records []sink.Record) error {
			calls := under[records[0].Type]
			if calls.Add(1) > 1 {
				t.Errorf("two calls for %s overlap", records[0].Type)
			}
			time.Sleep(time.Second)
			calls.Add(-1)
			return nil
		}
		shared := sink.NewShared(&inner)
		began := time.Now()
		done := make(chan error, 6)
		for _, typ := range []schema.Type{schema.TypeCallPop, schema.TypeCallPop, schema.TypeCallPop, schema.TypeSessionChanged} {
			go func() {
				done <- shared.Publish(t.Context(), []sink.Record{sinktest.NewRecord(sinktest.Event(typ, 1, "k", "801"), 1)})
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("three turns of a second took %v", took)
		}
		if err := shared.Publish(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestWhoeverWaitsForATurnMayGiveUp(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var inner sinktest.Memory
	inner.Before = func(context.Context, []sink.Record) error {
		close(entered)
		<-leave
		return nil
	}
	shared := sink.NewShared(&inner)
	records := []sink.Record{sinktest.NewRecord(sinktest.Event(schema.TypeCallPop, 1, "k", "801"), 1)}
	first := make(chan error, 1)
	go func() { first <- shared.Publish(t.Context(), records) }()
	<-entered
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no more patience")
	cancel(why)
	if err := shared.Publish(ctx, records); !errors.Is(err, why) || sink.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	close(leave)
	if err := <-first; err != nil || inner.Calls() != 1 {
		t.Errorf("%v, %d calls", err, inner.Calls())
	}
}

func TestASharedSinkPassesOnWhatItsSinkSays(t *testing.T) {
	refusal := sink.Permanent(errors.New("too large"))
	inner := &counting{Memory: new(sinktest.Memory)}
	inner.duplicates.Store(7)
	inner.Outcome = func(sink.Record) sinktest.Outcome { return sinktest.Outcome{Err: refusal} }
	shared := sink.NewShared(inner)
	err := shared.Publish(t.Context(), []sink.Record{sinktest.NewRecord(sinktest.Event(schema.TypeCallPop, 1, "k", "801"), 1)})
	var each sink.BatchError
	if !errors.As(err, &each) || len(each) != 1 || !sink.IsPermanent(each[0]) {
		t.Errorf("got %v", err)
	}
	if got := shared.Duplicates(pops); got != 7 {
		t.Errorf("%d duplicates, want 7", got)
	}
	if got := sink.NewShared(&sinktest.Memory{}).Duplicates(pops); got != 0 {
		t.Errorf("%d duplicates of a sink that does not count", got)
	}
	if err := shared.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
