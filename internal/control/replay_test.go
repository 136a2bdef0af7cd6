package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

func TestAReplaySendsWhatTheFilterMeansOnceMoreAndMarked(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := emitPops(t, s, 3000)
	var memory *sinktest.Memory
	sinks := map[string]sink.Sink{}
	h := hostOf(s, sinks)
	bothWays(t, h, dir, func(t *testing.T, c Client) {
		memory = &sinktest.Memory{}
		sinks["lake"] = memory
		var want []schema.Event
		for _, e := range events[:2500] {
			if e.Agent == "802" {
				want = append(want, e)
			}
		}
		parts := must(t, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops, Agent: "802", Through: 2500}})
		last := parts[len(parts)-1]
		if !last.Done || last.Sent != uint64(len(want)) || last.Refused != 0 || last.Run == "" || last.Sequence != 2500 {
			t.Errorf("the last part is %+v, want %d sent", last, len(want))
		}
		stored := memory.Stored(schema.TypeCallPop)
		delivered(t, want, stored)
		for _, r := range stored {
			if r.Replay != last.Run || r.SpoolSequence != fmt.Sprintf("%s-%020d", s.ID(), r.Sequence) {
				t.Fatalf("record %+v of replay %s", r, last.Run)
			}
		}
		if cursors, err := s.Cursors(patient(t)); err != nil || len(cursors) != 0 {
			t.Errorf("cursors %v, %v", cursors, err)
		}
	})
}

func TestAReplayOfNothingIsDone(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 5)
	h := hostOf(s, map[string]sink.Sink{"lake": &sinktest.Memory{}})
	bothWays(t, h, dir, func(t *testing.T, c Client) {
		for _, f := range []Filter{{Types: pops, Key: "hq/none"}, {Types: pops, After: 5}, {Types: pops, After: 100}, {Types: []schema.Type{schema.TypeDeadLetter}}} {
			parts := must(t, c, Replay, ReplayRequest{Sink: "lake", Filter: f})
			if last := parts[len(parts)-1]; !last.Done || last.Sent != 0 {
				t.Errorf("%+v: %+v", f, last)
			}
		}
		if _, err := all(t, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: []schema.Type{schema.TypeSessionChanged}}}); !IsWrong(err) {
			t.Errorf("a type that the sink does not take: %v", err)
		}
	})
}

func TestAReplayTriesUntilTheSinkTakesIt(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := emitPops(t, s, 400)
	sinks := map[string]sink.Sink{}
	bothWays(t, hostOf(s, sinks), dir, func(t *testing.T, c Client) {
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(1, 2)) // guarded by mu
		var calls atomic.Int64
		memory := &sinktest.Memory{
			Before: func(context.Context, []sink.Record) error {
				if calls.Add(1) <= 2 {
					return errTest
				}
				return nil
			},
			Outcome: func(sink.Record) sinktest.Outcome {
				mu.Lock()
				defer mu.Unlock()
				if random.IntN(100) == 0 {
					return sinktest.Outcome{Err: errTest}
				}
				return sinktest.Outcome{Stored: true}
			},
		}
		sinks["lake"] = memory
		parts := must(t, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}})
		if last := parts[len(parts)-1]; !last.Done || last.Sent != 400 || last.Trouble != "" {
			t.Errorf("the last part is %+v", last)
		}
		delivered(t, events, memory.Stored(schema.TypeCallPop))
	})
}

func TestWhatASinkRefusesIsCountedAndNoDeadLetter(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := emitPops(t, s, 50)
	emit(t, s, letter(1, nil))
	memory := &sinktest.Memory{Outcome: func(r sink.Record) sinktest.Outcome {
		if r.ID == events[7].ID || r.ID == events[8].ID || r.Type == schema.TypeDeadLetter {
			return sinktest.Outcome{Err: sink.Permanent(errors.New("too large for the topic"))}
		}
		return sinktest.Outcome{Stored: true}
	}}
	bothWays(t, hostOf(s, map[string]sink.Sink{"lake": memory}), dir, func(t *testing.T, c Client) {
		parts, err := all(t, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}})
		if err == nil || IsWrong(err) || !strings.Contains(err.Error(), "refused 2 events: too large for the topic") {
			t.Errorf("error %v", err)
		}
		if last := parts[len(parts)-1]; !last.Done || last.Sent != 48 || last.Refused != 2 || last.Refusal == "" {
			t.Errorf("the last part is %+v", last)
		}
		parts, _ = all(t, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: []schema.Type{schema.TypeDeadLetter}}})
		if last := parts[len(parts)-1]; !last.Done || last.Sent != 0 || last.Refused != 1 {
			t.Errorf("dead letters: %+v", last)
		}
		if left := must(t, c, Stat, StatRequest{})[0].Streams[2].Events; left != 1 {
			t.Errorf("%d dead letters in the spool, want the 1 that was there", left)
		}
	})
}

func TestAnInterruptedReplayGoesOnWhereItSaysWithoutALoss(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := emitPops(t, s, 5000)
	sinks := map[string]sink.Sink{}
	bothWays(t, hostOf(s, sinks), dir, func(t *testing.T, c Client) {
		ctx, cancel := context.WithCancel(patient(t))
		entered := make(chan struct{})
		var once sync.Once
		var stored atomic.Int64
		memory := &sinktest.Memory{
			Before: func(ctx context.Context, _ []sink.Record) error {
				if stored.Load() >= 2000 {
					once.Do(func() { close(entered) })
					<-ctx.Done() // stuck, as with a broker that is away
					return context.Cause(ctx)
				}
				return nil
			},
			Outcome: func(sink.Record) sinktest.Outcome {
				stored.Add(1)
				return sinktest.Outcome{Stored: true}
			},
		}
		sinks["lake"] = memory
		var last ReplayProgress
		err := Call(ctx, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}}, func(p ReplayProgress) error {
			last = p
			select {
			case <-entered:
				if p.Sequence >= 1000 { // told after the sink got stuck
					cancel()
				}
			default:
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %v", err)
		}
		if last.Done || last.Sequence < 1000 || last.Sequence > uint64(stored.Load()) {
			t.Errorf("it came to %+v, and %d were stored", last, stored.Load())
		}
		first := memory.Stored(schema.TypeCallPop)
		rest := &sinktest.Memory{}
		sinks["lake"] = rest
		parts := must(t, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops, After: last.Sequence}})
		if p := parts[len(parts)-1]; !p.Done || p.Sent != 5000-last.Sequence {
			t.Errorf("the rest: %+v", p)
		}
		sinktest.CheckDelivered(t, events, sinktest.Messages(append(first, rest.Stored(schema.TypeCallPop)...)))
	})
}

func TestAReplayHoldsABoundedPartInMemory(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 5000)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var largest atomic.Int64
	memory := &sinktest.Memory{Before: func(_ context.Context, records []sink.Record) error {
		once.Do(func() { close(entered); <-leave })
		largest.Store(max(largest.Load(), int64(len(records))))
		return nil
	}}
	c := &Local{Host: hostOf(s, map[string]sink.Sink{"lake": memory})}
	done := make(chan error, 1)
	go func() {
		_, err := CallOne(patient(t), c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}})
		done <- err
	}()
	<-entered // while the sink is stuck, the rest waits in the spool
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := largest.Load(); n > 1024 {
		t.Errorf("%d records at once", n)
	}
}
