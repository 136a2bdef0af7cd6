package sink_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// openSpool opens the real spool.
func openSpool(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	config := spool.DefaultConfig()
	config.Dir = dir
	config.MinFree = 0
	s, err := spool.Open(t.Context(), spool.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheRealSpoolIsDeliveredThroughFailuresAndRestarts(t *testing.T) {
	dir := t.TempDir()
	var calls atomic.Int64
	s := &sinktest.Memory{Outcome: func(sink.Record) sinktest.Outcome {
		if calls.Add(1)%50 == 0 {
			return sinktest.Outcome{Stored: calls.Load()%100 == 0, Err: errAway}
		}
		return sinktest.Outcome{Stored: true}
	}}
	var all []schema.Event
	for life := range 3 {
		log := openSpool(t, dir)
		f, err := sink.New(sink.Options{Name: "events", Sink: s, Types: schema.Types[:], Spool: sink.FromSpool(log)})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		for range 300 {
			e := sinktest.Event(pops, len(all), fmt.Sprintf("hq/%d", len(all)%7), "801")
			all = append(all, e)
			if err := log.Emit(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if life == 2 {
			bounded, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := f.WaitDrained(bounded); err != nil {
				t.Error(err)
			}
			cancel()
			for _, status := range f.Status(t.Context()) {
				if status.State != sink.Idle || status.Backlog == nil || *status.Backlog != 0 || status.Lost != 0 {
					t.Errorf("status when drained: %+v", status)
				}
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := log.Close(t.Context()); err != nil {
			t.Errorf("close the spool: %v", err)
		}
	}
	t.Logf("%d duplicates", sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops))))
}
