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
	// roomyShare is by how much, in percent, it may always exceed what is needed:
	// more, and collecting would take too much of the processor's time.
	roomyShare = 50
	// roomyInterval is how often it is looked how much is needed.
	roomyInterval = time.Second
)

// keepMemoryBounded is [boundMemory] until release is called.
func keepMemoryBounded(ctx context.Context) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var bound sync.WaitGroup
	bound.Go(func() { boundMemory(ctx) })
	return func() {
		cancel()
		bound.Wait()
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

// neededMemory is what the newest collection left on the heap, and what is not on it.
func neededMemory() (heap, rest uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	rest = samples[1].Value.Uint64()
	for _, s := range samples[2:] {
		rest -= min(rest, s.Value.Uint64())
	}
	return samples[0].Value.Uint64(), rest
}

// memoryLimit is the limit, in bytes, for so much that is needed.
func memoryLimit(heap, rest uint64) int64 {
	return int64(max(roomyMemory, heap+heap*roomyShare/100+rest)) //nolint:gosec // far from 8 EiB
}
