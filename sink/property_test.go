package sink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// world is a run of the forwarder among random failures. Everything random comes
// from one seed, so that a failing run can be run again.
type world struct {
	mu   sync.Mutex
	rand *rand.Rand
	// refused are the ids that the broker never takes.
	refused map[string]bool
	// trouble is the chance of each failure, 0 in the end.
	trouble float64
	crashed bool
}

func (w *world) chance(p float64) bool { return w.rand.Float64() < p*w.trouble }

// before fails whole calls: away, or the answer to all of it lost.
func (w *world) before(_ context.Context, _ []sink.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashed || w.chance(0.2) {
		return errAway
	}
	return nil
}

func (w *world) outcome(r sink.Record) sinktest.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.refused[r.ID]:
		return sinktest.Outcome{Err: sink.Permanent(errors.New("refused"))}
	case w.chance(0.15):
		return sinktest.Outcome{Err: errAway}
	case w.chance(0.2):
		return sinktest.Outcome{Stored: true, Err: context.DeadlineExceeded}
	default:
		return sinktest.Outcome{Stored: true}
	}
}

func (w *world) faults() sinktest.Faults {
	fail := func(p float64) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.chance(p) {
			return errors.New("spool restarting")
		}
		return nil
	}
	return sinktest.Faults{
		Read: func(schema.Type) error { return fail(0.1) },
		Emit: func(e schema.Event) error {
			if e.Type == letters {
				return fail(0.3)
			}
			return nil
		},
		SetCursor: func(schema.Type, uint64) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.crashed { // the dead store nothing
				return errors.New("crashed")
			}
			if w.chance(0.2) {
				return errors.New("spool restarting")
			}
			return nil
		},
	}
}

// Through every mix of failures and crashes: what was emitted is delivered or a
// dead letter, first copies of a key are in order, and no copy differs.
func TestNothingIsLostOrReorderedThroughAnyMixOfFailures(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 30
	}
	repeated := 0
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { repeated += oneRun(t, seed) })
		})
	}
	if repeated == 0 {
		t.Error("no event was ever delivered twice: the failures fail nothing")
	}
}

func oneRun(t *testing.T, seed uint64) (duplicates int) {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), refused: make(map[string]bool), trouble: 1}
	spool := sinktest.NewSpool()
	spool.Fail(w.faults())
	broker := &sinktest.Memory{Before: w.before, Outcome: w.outcome}

	keys := 1 + w.rand.IntN(20)
	var good []schema.Event
	var bad []string
	n := 0
	for range 2 + w.rand.IntN(5) { // lives, each ended by a crash or a stop
		w.mu.Lock()
		burst := w.rand.IntN(150)
		w.mu.Unlock()
		r := start(t, spool, broker)
		for range burst {
			w.mu.Lock()
			e := sinktest.Event(pops, n, fmt.Sprintf("hq/%d", w.rand.IntN(keys)), "801")
			n++
			if w.rand.IntN(25) == 0 {
				w.refused[e.ID] = true
				bad = append(bad, e.ID)
			} else {
				good = append(good, e)
			}
			pause := time.Duration(0)
			if w.rand.IntN(3) == 0 {
				pause = time.Duration(w.rand.IntN(300)) * time.Millisecond
			}
			w.mu.Unlock()
			emit(t, spool, e)
			time.Sleep(pause)
		}
		w.mu.Lock()
		w.crashed = w.rand.IntN(2) == 0
		w.mu.Unlock()
		r.cancel()
		if err := <-r.ended; err != nil {
			t.Log(err) // a cursor that could not be stored is part of the game
		}
		w.mu.Lock()
		w.crashed = false
		w.mu.Unlock()
	}

	w.mu.Lock()
	w.trouble = 0
	w.mu.Unlock()
	r := start(t, spool, broker)
	bounded, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := r.WaitDrained(bounded); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	r.stop(t)

	duplicates = sinktest.CheckDelivered(t, good, sinktest.Messages(broker.Stored(pops)))
	lettered := make(map[string]int)
	for _, record := range spool.Records(letters) {
		lettered[headerOf(t, record, "id")]++
	}
	for _, id := range bad {
		if lettered[id] != 1 {
			t.Errorf("seed %d: refused event %s has %d dead letters, want 1", seed, id, lettered[id])
		}
	}
	if len(lettered) != len(bad) {
		t.Errorf("seed %d: %d dead letters, want %d", seed, len(lettered), len(bad))
	}
	if t.Failed() {
		t.Logf("seed %d", seed)
	}
	return duplicates
}
