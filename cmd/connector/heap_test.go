package main

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

func TestMemoryIsBoundedByWhatIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name               string
		heap, stacks, rest uint64
		want               int64
	}{
		{"little", 20 << 20, 1 << 20, 15 << 20, 96 << 20},
		{"much", 200 << 20, 20 << 20, 20 << 20, 370 << 20},
	} {
		if got := memoryLimit(c.heap, c.stacks, c.rest); got != c.want {
			t.Errorf("%s: limit %d, want %d", c.name, got, c.want)
		}
	}
	// The measured one grows with what is held.
	held := make([]byte, 128<<20)
	runtime.GC()
	heap, stacks, rest := neededMemory()
	if heap < 128<<20 || stacks == 0 || stacks > 128<<20 || rest == 0 || rest > 128<<20 {
		t.Errorf("needed are %d on the heap, %d of stacks and %d besides, with 128 MiB held", heap, stacks, rest)
	}
	runtime.KeepAlive(held)
}

func TestMemoryIsBoundedWhileTheConnectorRunsUnlessTheOperatorDoes(t *testing.T) {
	unset := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(unset) })
	debug.SetMemoryLimit(math.MaxInt64)
	ctx, cancel := context.WithCancel(t.Context())
	var bound sync.WaitGroup
	bound.Go(func() { boundMemory(ctx) })
	for deadline := time.Now().Add(patience); debug.SetMemoryLimit(-1) == math.MaxInt64; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("no limit was set")
		}
	}
	if got := debug.SetMemoryLimit(-1); got < roomyMemory {
		t.Errorf("limit %d, want %d or more", got, roomyMemory)
	}
	cancel()
	bound.Wait()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("limit %d afterwards, want none", got)
	}

	debug.SetMemoryLimit(1 << 30) // as GOMEMLIMIT would
	boundMemory(t.Context())
	if got := debug.SetMemoryLimit(-1); got != 1<<30 {
		t.Errorf("limit %d, want the operator's", got)
	}
}

func TestMemoryIsCollectedOnceABurstIsOver(t *testing.T) {
	var s settling
	var allocated uint64
	seconds := func(n int, each uint64) (collections int) {
		for range n {
			allocated += each
			if s.due(allocated) {
				collections++
			}
		}
		return collections
	}
	for _, c := range []struct {
		name    string
		seconds int
		each    uint64
		want    int
	}{
		{"calm from the start", 100, 1000, 0},
		{"some work", 100, 2 << 20, 0},
		{"calm after it", 100, 1000, 0},
		{"a burst", 5, 20 << 20, 0},
		{"a short calm", calmTime - 1, 1000, 0},
		{"some more work", 1, 2 << 20, 0},
		{"a short calm again", calmTime - 1, 1000, 0},
		{"its end", 10, 1000, settlings},
		{"long calm", 1000, 1000, 0},
		{"another burst", 1, 20 << 20, 0},
		{"and its end", 1000, 1000, settlings},
	} {
		if got := seconds(c.seconds, c.each); got != c.want {
			t.Errorf("%s: %d collections, want %d", c.name, got, c.want)
		}
	}
}
