package main

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// roomyMemory is what Go's memory may take, in bytes, before it is collected
	// earlier than Go would by itself, which lets it grow to twice what is needed. While
	// a sink catches up, 25 MiB are, and 100 MiB a second pass through: on a machine
	// that has other things to do collecting falls behind, and 140 MiB were seen.
	roomyMemory = 96 << 20
	// roomyShare is by how much, in percent, it may always exceed what is needed on the
	// heap: more, and a sink that catches up would take more than 150 MiB in all.
	roomyShare = 50
	// roomyStacks is the same for stacks. Those are sessions', which have as much on the
	// heap again: for both together Go's own pace is kept, since a connector of 10,000
	// sessions was seen to collect twice as often otherwise, and to hold up pops by it.
	roomyStacks = 150
	// roomyInterval is how often it is looked how much is needed.
	roomyInterval = time.Second
)

// keepMemorySmall looks after this process's memory until release is called.
func keepMemorySmall(ctx context.Context) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { boundMemory(ctx) })
	keeping.Go(func() { settleMemory(ctx) })
	return func() {
		cancel()
		keeping.Wait()
	}
}

// boundMemory keeps Go's memory near roomyMemory while no more than that is needed,
// until ctx is done. Where the operator has set GOMEMLIMIT, it does nothing.
func boundMemory(ctx context.Context) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	defer debug.SetMemoryLimit(math.MaxInt64)
	ticker := time.NewTicker(roomyInterval)
	defer ticker.Stop()
	for {
		debug.SetMemoryLimit(memoryLimit(neededMemory()))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// neededMemory is what the newest collection left on the heap, what stacks take, and
// what else is not on the heap.
func neededMemory() (heap, stacks, rest uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	rest = samples[1].Value.Uint64()
	for _, s := range samples[2:] {
		rest -= min(rest, s.Value.Uint64())
	}
	return samples[0].Value.Uint64(), samples[2].Value.Uint64(), rest
}

// memoryLimit is the limit, in bytes, for so much that is needed.
func memoryLimit(heap, stacks, rest uint64) int64 {
	room := heap*roomyShare/100 + stacks*roomyStacks/100
	return int64(max(roomyMemory, heap+stacks+rest+room)) //nolint:gosec // far from 8 EiB
}

const (
	// burstBytes are allocated in a second only while there is much to do, such as
	// thousands of sessions to open; calmBytes are more than heartbeats take.
	burstBytes = 8 << 20
	calmBytes  = 1 << 20
	// calmTime is how many seconds of calm end a burst: the log then has let go of what
	// it remembers of the newest events, which it does for 20 s.
	calmTime = 25
	// settlings is how many collections follow, one a second: what a cache lets go of
	// with the first goes to a pool, and from there with the third.
	settlings = 3
)

// settleMemory collects after each burst, and gives back to the system what it took,
// until ctx is done. By itself Go collects a process that allocates next to nothing
// every two minutes, and keeps most of what is free then.
func settleMemory(ctx context.Context) {
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for s := (settling{}); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if metrics.Read(allocated); s.due(allocated[0].Value.Uint64()) {
			debug.FreeOSMemory()
		}
	}
}

// settling says when to collect after a burst.
type settling struct {
	allocated uint64
	burst     bool // there was one, and calm counts the seconds of calm since
	calm      int
}

// due is called every second with what the process has allocated so far, and reports
// whether to collect now.
func (s *settling) due(allocated uint64) bool {
	since := allocated - s.allocated
	s.allocated = allocated
	switch {
	case since >= burstBytes:
		s.burst, s.calm = true, 0
	case since >= calmBytes:
		s.calm = 0
	default:
		s.calm++
	}
	if !s.burst || s.calm < calmTime {
		return false
	}
	s.burst = s.calm < calmTime+settlings-1
	return true
}
