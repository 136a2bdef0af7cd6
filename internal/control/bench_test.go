package control

import (
	"sync"
	"testing"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// benchEvents is how many pops the spool of a benchmark holds.
const benchEvents = 50_000

func benchSpool(b *testing.B) (*spool.Spool, string) {
	b.Helper()
	dir := b.TempDir()
	s := openSpool(b, dir)
	var callers sync.WaitGroup
	for c := range 50 {
		callers.Go(func() {
			for n := range benchEvents / 50 {
				if err := s.Emit(b.Context(), pop(n*50+c)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	callers.Wait()
	return s, dir
}

func report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)*benchEvents/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkSpool is what the operations that go through a whole stream do in a
// second.
func BenchmarkSpool(b *testing.B) {
	s, dir := benchSpool(b)
	memory := &sinktest.Memory{Outcome: func(sink.Record) sinktest.Outcome { return sinktest.Outcome{} }}
	h := hostOf(s, map[string]sink.Sink{"lake": memory})
	for name, c := range map[string]Client{"directly": &Local{Host: h, Dir: dir}, "socket": serve(b, h, dir)} {
		b.Run("count/"+name, func(b *testing.B) {
			for b.Loop() {
				must(b, c, Count, Filter{Types: pops, Key: "hq/none"})
			}
			report(b)
		})
		b.Run("read/"+name, func(b *testing.B) {
			for b.Loop() {
				if err := Call(b.Context(), c, Read, ReadRequest{}, func(Entry) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			report(b)
		})
		b.Run("verify/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Verify(b.Context(), c, pops[0], func(uint64, uint64) {}); err != nil {
					b.Fatal(err)
				}
			}
			report(b)
		})
		b.Run("replay/"+name, func(b *testing.B) {
			for b.Loop() {
				must(b, c, Replay, ReplayRequest{Sink: "lake", Filter: Filter{Types: pops}})
			}
			report(b)
		})
	}
}
