package sink_test

import (
	"context"
	"errors"
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

func cursorOf(t *testing.T, spool *sinktest.Spool) uint64 {
	t.Helper()
	cursor, ok, err := spool.Cursor(t.Context(), "events", pops)
	if err != nil || !ok {
		t.Fatalf("cursor: %v, %v", ok, err)
	}
	return cursor
}

func only(t schema.Type) func(*sink.Options) {
	return func(o *sink.Options) { o.Types = []schema.Type{t} }
}

func TestTheCursorIsStoredWithinATenthOfASecondAndNotForEachEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, sinktest.NewSpool(), new(sinktest.Memory), only(pops))
		synctest.Wait()
		before := r.spool.CursorWrites()
		for _, e := range events(100, 7) { // one each 10 ms: one second
			emit(t, r.spool, e)
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if writes := r.spool.CursorWrites() - before; writes < 9 || writes > 11 {
			t.Errorf("%d cursors stored in a second, want about 10", writes)
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := cursorOf(t, r.spool); got != 100 {
			t.Errorf("cursor %d, want 100", got)
		}
		writes := r.spool.CursorWrites()
		time.Sleep(time.Hour)
		if again := r.spool.CursorWrites() - writes; again != 0 {
			t.Errorf("an idle line stored its cursor %d times", again)
		}
		r.stop(t)
	})
}

func TestTheCursorIsStoredAfterAThousandEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		emit(t, spool, events(5000, 5000)...)
		r := start(t, spool, new(sinktest.Memory), only(pops))
		synctest.Wait() // no time has passed
		if got := cursorOf(t, r.spool); got < 4000 {
			t.Errorf("cursor %d after 5,000 events, want 4,000 or more", got)
		}
		r.stop(t)
		if got := cursorOf(t, r.spool); got != 5000 {
			t.Errorf("cursor %d after stopping, want 5,000", got)
		}
	})
}

func TestHolesInTheSequenceHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		all := events(3, 3)
		spool.Skip(pops, 10)
		emit(t, spool, all[0])
		spool.Skip(pops, 100)
		emit(t, spool, all[1:]...)
		r := start(t, spool, new(sinktest.Memory), only(pops))
		synctest.Wait()
		r.stop(t)
		if got := cursorOf(t, spool); got != 113 {
			t.Errorf("cursor %d, want 113", got)
		}
		if got := line(r.Forwarder, pops).Lost; got != 0 {
			t.Errorf("%d events lost, want none", got)
		}
	})
}

func TestASinkWithoutACursorStartsWhereItIsTold(t *testing.T) {
	for _, c := range []struct {
		start sink.Start
		want  int
	}{{sink.StartNew, 2}, {"", 2}, {sink.StartAll, 5}} {
		synctest.Test(t, func(t *testing.T) {
			spool := sinktest.NewSpool()
			all := events(5, 5)
			emit(t, spool, all[:3]...)
			s := new(sinktest.Memory)
			f, err := sink.New(sink.Options{Name: "events", Sink: s, Types: []schema.Type{pops}, Spool: spool, Start: c.start})
			if err != nil {
				t.Fatal(err)
			}
			// What is emitted after Prepare is delivered, before Run or not.
			if err := f.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			emit(t, spool, all[3:]...)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- f.Run(ctx) }()
			synctest.Wait()
			if got := len(s.Stored(pops)); got != c.want {
				t.Errorf("start %q: %d events, want %d", c.start, got, c.want)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}

			// With a cursor, start means nothing.
			again := new(sinktest.Memory)
			r := start(t, spool, again, only(pops), func(o *sink.Options) { o.Start = sink.StartAll })
			synctest.Wait()
			if got := len(again.Stored(pops)); got != 0 {
				t.Errorf("start %q: %d events again", c.start, got)
			}
			r.stop(t)
		})
	}
}

func TestACursorBeyondTheEndOfTheSpoolGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		all := events(20, 20)
		emit(t, spool, all[:10]...)
		s := new(sinktest.Memory)
		r := start(t, spool, s, only(pops))
		synctest.Wait()
		r.stop(t)

		spool.Truncate(pops, 7) // power failure: 8 to 10 are gone, their sequences are free
		var log strings.Builder
		f, err := sink.New(sink.Options{
			Name: "events", Sink: s, Types: []schema.Type{pops}, Spool: spool, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		emit(t, spool, all[10:]...) // up to 17, beyond the old cursor
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		synctest.Wait()
		sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops)))
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := cursorOf(t, spool); got != 17 {
			t.Errorf("cursor %d, want 17", got)
		}
		if !strings.Contains(log.String(), "going back") {
			t.Errorf("nothing is said of it:\n%s", log.String())
		}
	})
}

func TestASpoolThatComesBackShorterSkipsNoNewEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		all := events(15, 15)
		emit(t, spool, all[:10]...)
		s := new(sinktest.Memory)
		r := start(t, spool, s, only(pops))
		synctest.Wait()
		down := func(schema.Type) error { return errors.New("spool restarting") }
		spool.Fail(sinktest.Faults{Read: down})
		synctest.Wait()
		spool.Truncate(pops, 7)
		spool.Fail(sinktest.Faults{})
		time.Sleep(10 * time.Second) // it reads again, and finds the end at 7
		emit(t, spool, all[10:]...)  // 8 to 12
		synctest.Wait()
		sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops)))
		r.stop(t)
		if got := cursorOf(t, spool); got != 12 {
			t.Errorf("cursor %d, want 12", got)
		}
	})
}

func TestACursorThatCannotBeStoredHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		spool := sinktest.NewSpool()
		spool.Fail(sinktest.Faults{SetCursor: func(schema.Type, uint64) error {
			if full.Load() {
				return errors.New("no space left")
			}
			return nil
		}})
		s := new(sinktest.Memory)
		r := start(t, spool, s, only(pops))
		synctest.Wait()
		full.Store(true)
		all := events(50, 5)
		for _, e := range all {
			emit(t, spool, e)
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		if got := len(s.Stored(pops)); got != len(all) {
			t.Errorf("%d delivered, want %d", got, len(all))
		}
		if got := line(r.Forwarder, pops); !strings.Contains(got.LastError, "no space left") {
			t.Errorf("status says %q", got.LastError)
		}
		full.Store(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := cursorOf(t, spool); got != 50 {
			t.Errorf("cursor %d, want 50", got)
		}
		r.stop(t)
	})
}

func TestASpoolThatRestartsIsReadOnWithoutLossOrRepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true) // from the beginning
		fault := func(schema.Type) error {
			if down.Load() {
				return errors.New("spool restarting")
			}
			return nil
		}
		spool := sinktest.NewSpool()
		all := events(30, 3)
		emit(t, spool, all[:10]...)
		spool.Fail(sinktest.Faults{Read: fault})
		s := new(sinktest.Memory)
		r := start(t, spool, s, only(pops))
		time.Sleep(time.Minute)
		if got := line(r.Forwarder, pops); got.State != sink.Retrying || !strings.Contains(got.LastError, "spool restarting") || got.Backlog != nil {
			t.Errorf("status: %+v", got)
		}
		for i := range 2 {
			down.Store(false)
			time.Sleep(11 * time.Second)
			synctest.Wait()
			if got := line(r.Forwarder, pops); got.State != sink.Idle {
				t.Errorf("status after the restart: %+v", got)
			}
			down.Store(true)
			spool.Fail(sinktest.Faults{Read: fault}) // wakes the reader into the fault
			emit(t, spool, all[10+i*10:20+i*10]...)
			time.Sleep(time.Minute)
		}
		down.Store(false)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := sinktest.CheckDelivered(t, all, sinktest.Messages(s.Stored(pops))); n != 0 {
			t.Errorf("%d duplicates", n)
		}
		r.stop(t)
	})
}

func TestLossesAreCountedAndSaidOnceAnEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		s := &sinktest.Memory{Before: func(context.Context, []sink.Record) error {
			if away.Load() {
				return errAway
			}
			return nil
		}}
		spool := sinktest.NewSpool()
		all := events(5000, 5000)
		emit(t, spool, all...)
		r := start(t, spool, s, only(pops))
		time.Sleep(time.Second)
		handed := spool.Handed(pops)
		spool.Expire(pops, 4000)
		away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := line(r.Forwarder, pops)
		if want := uint64(4000 - handed); got.Lost != want || got.Delivered != 5000-want {
			t.Errorf("lost %d and delivered %d, want %d and %d", got.Lost, got.Delivered, want, 5000-want)
		}
		r.stop(t)
		if n := strings.Count(r.log.String(), "events left the spool before"); n != 1 {
			t.Errorf("said %d times:\n%s", n, r.log)
		}
	})
}

func TestWhatDamageTookIsToldFromWhatTheLimitsTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		emit(t, spool, events(1000, 1000)...)
		spool.Expire(pops, 10)
		spool.Damage(pops, 500, 504)
		spool.Damage(pops, 600, 600)
		r := start(t, spool, &sinktest.Memory{}, only(pops))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := line(r.Forwarder, pops); got.Lost != 16 || got.Delivered != 984 {
			t.Errorf("lost %d and delivered %d of 1000", got.Lost, got.Delivered)
		}
		r.stop(t)
		for _, said := range []string{
			`"events left the spool before the sink had them: its limits are too small for this backlog" sink=events type=callpop.v1 lost=10`,
			`"events in the spool were damaged before the sink had them: it goes on behind them" sink=events type=callpop.v1 lost=`,
			`"the sink has caught up after losses" sink=events type=callpop.v1 lost=16 damaged=6`,
		} {
			if n := strings.Count(r.log.String(), said); n != 1 {
				t.Errorf("%s was said %d times:\n%s", said, n, r.log)
			}
		}
	})
}

func TestLossesGoOnInOneEpisodeUntilTheSinkHasCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spool := sinktest.NewSpool()
		var away atomic.Bool
		away.Store(true)
		s := &sinktest.Memory{Before: func(_ context.Context, records []sink.Record) error {
			if away.Load() {
				return errAway
			}
			if records[0].Sequence > 2000 {
				spool.Expire(pops, 4000) // the limits go on while the sink catches up
			}
			return nil
		}}
		emit(t, spool, events(5000, 5000)...)
		r := start(t, spool, s, only(pops))
		time.Sleep(time.Second)
		spool.Expire(pops, 2000)
		away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := line(r.Forwarder, pops)
		if got.Lost < 1000 || got.Lost+got.Delivered != 5000 {
			t.Errorf("lost %d and delivered %d of 5000", got.Lost, got.Delivered)
		}
		r.stop(t)
		for said, want := range map[string]int{"events left the spool before": 1, "caught up after losses": 1} {
			if n := strings.Count(r.log.String(), said); n != want {
				t.Errorf("%q was said %d times, want %d:\n%s", said, n, want, r.log)
			}
		}
	})
}
