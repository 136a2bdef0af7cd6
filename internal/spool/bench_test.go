package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

func BenchmarkEmit(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openSpool(b, benchOptions(b))
			emitAll(b, s, callers, b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkEmitAlways is spool.sync always, with rounds that many callers share,
// beside the server's own sync of each single message.
func BenchmarkEmitAlways(b *testing.B) {
	for _, shared := range []bool{true, false} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("shared=%v/callers=%d", shared, callers), func(b *testing.B) {
				o := benchOptions(b)
				o.Config.Sync = SyncAlways
				s := openSpool(b, o, func(s *Spool) { s.syncEach = !shared })
				emitAll(b, s, callers, b.N)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

func emitAll(b *testing.B, s *Spool, callers, n int) {
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := s.Emit(context.Background(), newEvent(int(i))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
}

func BenchmarkReader(b *testing.B) {
	for _, batch := range []int{1, 64, 256, 4096} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			s := openSpool(b, benchOptions(b))
			emitAll(b, s, 64, b.N)
			b.ResetTimer()
			b.StartTimer()
			r, err := s.Read(context.Background(), schema.TypeCallPop, 0)
			if err != nil {
				b.Fatal(err)
			}
			for n := 0; n < b.N; {
				records, err := r.Next(context.Background(), batch)
				if err != nil {
					b.Fatal(err)
				}
				n += len(records)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkHop is one event at a time, from the call of Emit to its Next.
func BenchmarkHop(b *testing.B) {
	s := openSpool(b, benchOptions(b))
	r, err := s.Read(context.Background(), schema.TypeCallPop, 0)
	if err != nil {
		b.Fatal(err)
	}
	var hops []time.Duration
	ctx, stop := context.WithCancel(context.Background())
	got := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			if _, err := r.Next(ctx, 256); err != nil {
				return
			}
			got <- struct{}{}
		}
	})
	for n := 0; b.Loop(); n++ {
		began := time.Now()
		if err := s.Emit(ctx, newEvent(n)); err != nil {
			b.Fatal(err)
		}
		<-got
		hops = append(hops, time.Since(began))
	}
	stop()
	reading.Wait()
	slices.Sort(hops)
	b.ReportMetric(float64(hops[len(hops)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(hops[len(hops)*99/100].Microseconds()), "p99-us")
}

// benchOptions are the defaults, but for what depends on the machine's disk.
func benchOptions(b *testing.B) Options {
	o := Options{Config: DefaultConfig()}
	o.Config.Dir, o.Config.MinFree = b.TempDir(), 0
	return o
}

// BenchmarkOpen opens a log of a million events: after a close in order, and as
// after a kill, when every record is checked by the spool and by the server.
func BenchmarkOpen(b *testing.B) {
	o := benchOptions(b)
	s, err := Open(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	emitAll(b, s, 64, 1_000_000)
	closeSpool(b, s)
	for _, killed := range []bool{false, true} {
		b.Run(fmt.Sprintf("killed=%v", killed), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if killed {
					spoil(b, o.Config.Dir)
				}
				b.StartTimer()
				s, err := Open(context.Background(), o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				closeSpool(b, s)
				b.StartTimer()
			}
		})
	}
}

// spoil has a log look as if it had not been closed.
func spoil(b *testing.B, dir string) {
	b.Helper()
	l, err := readLedger(dir)
	if err != nil {
		b.Fatal(err)
	}
	l.Clean = false
	if err := errors.Join(writeLedger(dir, l), os.Remove(filepath.Join(streamDir(dir, "CALLPOP"), "msgs", "index.db"))); err != nil {
		b.Fatal(err)
	}
}
