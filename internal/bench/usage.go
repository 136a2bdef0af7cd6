package bench

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	// CPU is user and system time.
	CPU time.Duration `json:"cpu_ns"`
	// Resident is the memory that it has now, in bytes; 0 where the system does
	// not say.
	Resident int64 `json:"resident_bytes"`
	// Heap is what the collector found alive when it ran last.
	Heap int64 `json:"heap_bytes"`
	// Pauses counts the collector's stops of all goroutines, by the upper bounds of
	// their lengths in seconds.
	Pauses     map[string]uint64 `json:"pauses"`
	Cycles     uint64            `json:"gc_cycles"`
	Goroutines int               `json:"goroutines"`
}

// usage measures this process. tidy has it give back memory that nothing uses
// first, so that two measurements can be subtracted.
func usage(tidy bool) Usage {
	if tidy {
		debug.FreeOSMemory()
	}
	samples := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}, {Name: "/sched/pauses/total/gc:seconds"},
	}
	metrics.Read(samples)
	u := Usage{
		CPU: cpuTime(), Resident: resident(), Goroutines: runtime.NumGoroutine(), Pauses: map[string]uint64{},
		Cycles: samples[0].Value.Uint64(), Heap: int64(samples[1].Value.Uint64()),
	}
	h := samples[2].Value.Float64Histogram()
	for i, count := range h.Counts {
		if count > 0 {
			bound := h.Buckets[i+1]
			if math.IsInf(bound, 0) {
				bound = h.Buckets[i]
			}
			u.Pauses[formatBound(bound)] = count
		}
	}
	return u
}

// UsageNow measures this process, once memory that nothing uses is given back.
func UsageNow() Usage { return usage(true) }
