package bench

import (
	"fmt"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is the spread of a time, in seconds.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

// The histogram's range and precision: three digits from 1 µs to 10 minutes.
const (
	shortest = int64(time.Microsecond)
	longest  = int64(10 * time.Minute)
	digits   = 3
)

// histogram gathers times.
type histogram struct{ h *hdrhistogram.Histogram }

func newHistogram() histogram { return histogram{hdrhistogram.New(shortest, longest, digits)} }

// add counts a time; clocks that are read in two processes may differ by less than
// the shortest one.
func (h histogram) add(d time.Duration) {
	_ = h.h.RecordValue(min(max(int64(d), shortest), longest)) // within the range, so without error
}

func (h histogram) latency() *Latency {
	if h.h.TotalCount() == 0 {
		return nil
	}
	at := func(percentile float64) float64 {
		return time.Duration(h.h.ValueAtPercentile(percentile)).Seconds()
	}
	return &Latency{
		Count: h.h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: time.Duration(h.h.Max()).Seconds(),
	}
}

// formatBound writes a bound in seconds so that it can be read back.
func formatBound(seconds float64) string { return strconv.FormatFloat(seconds, 'g', -1, 64) }

// pauses is the spread of the collector's pauses between two measurements: each by
// the upper bound of its bucket.
func pauses(before, after Usage) (*Latency, error) {
	h := newHistogram()
	for bound, count := range after.Pauses {
		seconds, err := strconv.ParseFloat(bound, 64)
		if err != nil {
			return nil, fmt.Errorf("read the collector's pauses: %w", err)
		}
		if n := count - before.Pauses[bound]; n > 0 {
			d := min(max(int64(seconds*float64(time.Second)), shortest), longest)
			if err := h.h.RecordValues(d, int64(n)); err != nil {
				return nil, err
			}
		}
	}
	return h.latency(), nil
}
