package sink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

const (
	pops    = schema.TypeCallPop
	letters = schema.TypeDeadLetter
)

var errAway = errors.New("broker away")

// rig is a forwarder between doubles. What it logs is in log.
type rig struct {
	*sink.Forwarder
	spool  *sinktest.Spool
	sink   *sinktest.Memory
	log    *bytes.Buffer
	cancel context.CancelFunc
	ended  chan error
}

// start makes a rig and runs its forwarder until the test ends or stop is called.
func start(t *testing.T, spool *sinktest.Spool, s *sinktest.Memory, change ...func(*sink.Options)) *rig {
	t.Helper()
	r := &rig{spool: spool, sink: s, log: new(bytes.Buffer), ended: make(chan error, 1)}
	o := sink.Options{
		Name:   "events",
		Sink:   s,
		Types:  []schema.Type{pops, letters},
		Spool:  spool,
		Start:  sink.StartAll,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	f, err := sink.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Forwarder = f
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.ended <- f.Run(ctx) }()
	t.Cleanup(func() { cancel() })
	return r
}

func (r *rig) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func emit(t *testing.T, spool *sinktest.Spool, events ...schema.Event) {
	t.Helper()
	for _, e := range events {
		if err := spool.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// events makes n events whose keys repeat after keys of them.
func events(n, keys int) []schema.Event {
	all := make([]schema.Event, n)
	for i := range all {
		all[i] = sinktest.Event(pops, i, fmt.Sprintf("hq/%d", i%keys), "801")
	}
	return all
}

func line(f *sink.Forwarder, t schema.Type) sink.Status {
	for _, s := range f.Status(context.Background()) {
		if s.Type == t {
			return s
		}
	}
	return sink.Status{}
}

func TestALoneEventIsPublishedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, sinktest.NewSpool(), new(sinktest.Memory))
		synctest.Wait()
		begun := time.Now()
		e := events(1, 1)[0]
		emit(t, r.spool, e)
		synctest.Wait()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("it waited %v", waited)
		}
		stored := r.sink.Stored(pops)
		if len(stored) != 1 || stored[0].ID != e.ID || !bytes.Equal(stored[0].Body, e.Body) {
			t.Errorf("stored %v, want the one event", stored)
		}
		r.stop(t)
	})
}

func TestAnOutageIsProbedAFewEventsAtATimeAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		all := events(3000, 100)
		emit(t, spool, all...)
		var away atomic.Bool
		away.Store(true)
		var sizes []int
		var at []time.Time
		s := &sinktest.Memory{Before: func(_ context.Context, records []sink.Record) error {
			if !away.Load() {
				return nil
			}
			sizes, at = append(sizes, len(records)), append(at, time.Now())
			return errAway
		}}
		r := start(t, spool, s)
		time.Sleep(time.Hour)
		synctest.Wait()

		for i, n := range sizes[1:] {
			if n > 8 {
				t.Fatalf("probe %d had %d records", i+1, n)
			}
		}
		for i := 1; i < len(at); i++ {
			ceiling := min(10*time.Second, 100*time.Millisecond<<min(i-1, 20))
			if pause := at[i].Sub(at[i-1]); pause > ceiling {
				t.Errorf("pause %d was %v, more than %v", i, pause, ceiling)
			}
		}
		// With full jitter up to 10 s an hour has about 720 attempts.
		if n := len(at); n < 500 || n > 1000 {
			t.Errorf("%d attempts in an hour", n)
		}
		if got := line(r.Forwarder, pops); got.State != sink.Retrying || !strings.Contains(got.LastError, "broker away") ||
			!got.OldestUndelivered.Equal(all[0].Time) || *got.Backlog != 3000 || got.Delivered != 0 {
			t.Errorf("status while away: %+v", got)
		}
		if handed := spool.Handed(pops); handed > 2*1024 {
			t.Errorf("%d events are in memory", handed)
		}

		away.Store(false)
		back := time.Now()
		for len(s.Stored(pops)) < len(all) {
			if time.Since(back) > 10*time.Second {
				t.Fatalf("%d of %d delivered 10 s after the broker was back", len(s.Stored(pops)), len(all))
			}
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops))); n != 0 {
			t.Errorf("%d duplicates", n)
		}
		if got := line(r.Forwarder, pops); got.State != sink.Idle || *got.Backlog != 0 || got.Delivered != 3000 || !got.OldestUndelivered.IsZero() {
			t.Errorf("status afterwards: %+v", got)
		}
		r.stop(t)
		if got := strings.Count(r.log.String(), "\n"); got != 2 {
			t.Errorf("%d lines in the log, want one for the trouble and one for its end:\n%s", got, r.log)
		}
		if strings.Contains(r.log.String(), "delivered=0") || strings.Contains(r.log.String(), "retries=0") {
			t.Errorf("the log does not count:\n%s", r.log)
		}
	})
}

func TestAfterAnOutageNoKeyWaitsForABackOffOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		s := new(sinktest.Memory)
		s.Before = func(context.Context, []sink.Record) error {
			if away.Load() {
				return errAway
			}
			return nil
		}
		r := start(t, sinktest.NewSpool(), s, func(o *sink.Options) { o.Types = o.Types[:1] })
		all := events(200, 50)
		emit(t, r.spool, all...)
		time.Sleep(time.Hour)
		begun := line(r.Forwarder, pops).Since
		if waited := time.Since(begun); waited != time.Hour {
			t.Errorf("in trouble for %v, want an hour", waited)
		}
		calls := s.Calls()
		away.Store(false)
		for s.Calls() == calls { // until the next attempt
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if got := len(s.Stored(pops)); got != len(all) {
			t.Errorf("%d of %d events delivered at once", got, len(all))
		}
		r.stop(t)
	})
}

func TestAKeyInTroubleHoldsUpItselfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stuck atomic.Bool
		stuck.Store(true)
		s := &sinktest.Memory{Outcome: func(r sink.Record) sinktest.Outcome {
			if r.Key == "hq/0" && stuck.Load() {
				return sinktest.Outcome{Err: errAway}
			}
			return sinktest.Outcome{Stored: true}
		}}
		r := start(t, sinktest.NewSpool(), s)
		all := events(100, 10)
		emit(t, r.spool, all...)
		synctest.Wait()
		if got := len(s.Stored(pops)); got != 90 {
			t.Fatalf("%d events of other keys delivered at once, want 90", got)
		}
		// The stuck key is retried alone; others must not pay for that.
		for i := range 50 {
			time.Sleep(3 * time.Second)
			e := sinktest.Event(pops, 1000+i, fmt.Sprintf("hq/later-%d", i), "801")
			all = append(all, e)
			emit(t, r.spool, e)
			synctest.Wait()
			if stored := s.Stored(pops); stored[len(stored)-1].ID != e.ID {
				t.Fatalf("event %d of another key waited", i)
			}
		}
		if got := line(r.Forwarder, pops); got.Cursor != 0 || got.State != sink.Retrying {
			t.Errorf("status: %+v, want cursor 0 and retrying", got)
		}
		stuck.Store(false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops))); n != 0 {
			t.Errorf("%d duplicates", n)
		}
		if got := line(r.Forwarder, pops); got.Cursor != 150 || got.State != sink.Idle {
			t.Errorf("status: %+v, want cursor 150 and idle", got)
		}
		r.stop(t)
	})
}

func TestALineThatIsStuckHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sinktest.Memory{Before: func(ctx context.Context, records []sink.Record) error {
			if records[0].Type == pops {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		r := start(t, sinktest.NewSpool(), s)
		emit(t, r.spool, events(5, 5)...)
		emit(t, r.spool, sinktest.Event(letters, 1, "hq", ""))
		synctest.Wait()
		if got := len(s.Stored(letters)); got != 1 {
			t.Errorf("%d dead letters delivered, want 1", got)
		}
		begun := time.Now()
		r.stop(t)
		if got := time.Since(begun); got != time.Second {
			t.Errorf("stopping took %v, want the second that a call has", got)
		}
		if n := len(r.spool.Records(pops)); n != 5 {
			t.Errorf("%d events left in the spool, want 5", n)
		}
	})
}

func TestACallUnderWayIsNotCutShortByStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sinktest.Memory{Before: func(ctx context.Context, _ []sink.Record) error {
			select {
			case <-time.After(500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		spool := sinktest.NewSpool()
		emit(t, spool, events(5, 5)...) // first, so that one call has all of them
		r := start(t, spool, s)
		synctest.Wait()
		r.stop(t)
		if got := len(s.Stored(pops)); got != 5 {
			t.Errorf("%d events stored, want 5", got)
		}
		if cursor, _, _ := r.spool.Cursor(t.Context(), "events", pops); cursor != 5 {
			t.Errorf("cursor %d, want 5", cursor)
		}
		if strings.Contains(r.log.String(), "trouble") {
			t.Errorf("stopping looks like trouble:\n%s", r.log)
		}
	})
}

func TestASinkThatBreaksItsContractLosesNothingAndDoesNotSpin(t *testing.T) {
	for name, answer := range map[string]error{
		"an answer of the wrong length":           sink.BatchError{nil},
		"not attempted without an earlier record": sink.BatchError{sink.ErrNotAttempted, sink.ErrNotAttempted, sink.ErrNotAttempted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				broken.Store(true)
				s := new(sinktest.Memory)
				s.Before = func(context.Context, []sink.Record) error {
					if broken.Load() {
						return answer
					}
					return nil
				}
				spool := sinktest.NewSpool()
				all := events(3, 3)
				emit(t, spool, all...)
				r := start(t, spool, s)
				time.Sleep(time.Minute)
				synctest.Wait()
				if calls := s.Calls(); calls > 100 {
					t.Errorf("%d calls in a minute", calls)
				}
				broken.Store(false)
				time.Sleep(11 * time.Second)
				synctest.Wait()
				sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops)))
				r.stop(t)
			})
		})
	}
}

func TestRunRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, sinktest.NewSpool(), new(sinktest.Memory))
		synctest.Wait()
		if err := r.Run(t.Context()); !errors.Is(err, sink.ErrRunning) {
			t.Errorf("second Run: %v", err)
		}
		r.stop(t)
	})
}

func TestAForwarderNeedsItsParts(t *testing.T) {
	good := sink.Options{Name: "n", Sink: new(sinktest.Memory), Spool: sinktest.NewSpool(), Types: []schema.Type{pops}}
	for name, change := range map[string]func(*sink.Options){
		"no name":    func(o *sink.Options) { o.Name = "" },
		"no sink":    func(o *sink.Options) { o.Sink = nil },
		"no spool":   func(o *sink.Options) { o.Spool = nil },
		"no types":   func(o *sink.Options) { o.Types = nil },
		"twice":      func(o *sink.Options) { o.Types = []schema.Type{pops, pops} },
		"all is set": func(*sink.Options) {},
	} {
		o := good
		change(&o)
		if _, err := sink.New(o); (err == nil) != (name == "all is set") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
