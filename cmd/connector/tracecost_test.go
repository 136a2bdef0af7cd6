//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
	"github.com/callpop/connector/source"
)

// BenchmarkTracing is what tracing costs a pop, in one run: off, a hundredth of the
// pops, all of them. The way is from the intake to an acknowledged publish, with a
// log and a sink in memory, so that nothing hides the cost; spans go to an HTTP
// server that takes whatever comes.
func BenchmarkTracing(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer collector.Close()
	for _, c := range []struct {
		name   string
		export func(*telemetry.Export)
	}{
		{"off", func(*telemetry.Export) {}},
		{"sample=0.01", func(e *telemetry.Export) { e.Traces.Exporter, e.Traces.Sample = telemetry.ExporterOTLP, .01 }},
		{"sample=1", func(e *telemetry.Export) { e.Traces.Exporter, e.Traces.Sample = telemetry.ExporterOTLP, 1 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := telemetry.DefaultExport()
			e.OTLP.Endpoint = collector.URL
			c.export(&e)
			tel, err := telemetry.Setup(b.Context(), telemetry.Options{Export: e})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = tel.Shutdown(context.Background()) }()
			benchmarkWay(b, tel.Tracer())
		})
	}
}

// benchmarkWay sends pops in bursts from the intake through a forwarder.
func benchmarkWay(b *testing.B, tracer *tracing.Tracer) {
	quiet := slog.New(slog.DiscardHandler)
	var published, wanted atomic.Int64
	all := make(chan struct{}, 1)
	spool := sinktest.NewSpool()
	forwarder, err := sink.New(sink.Options{
		Name: "events", Types: []schema.Type{schema.TypeCallPop}, Spool: spool, Start: sink.StartAll, Logger: quiet, Tracer: tracer,
		Sink: &counting{of: func(n int) {
			if published.Add(int64(n)) == wanted.Load() {
				all <- struct{}{}
			}
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	in, err := source.NewIntake(source.IntakeOptions{Emit: spool.Emit, Logger: quiet, Tracer: tracer})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	parts.Go(func() { _ = in.Run(ctx) })
	parts.Go(func() { _ = forwarder.Run(ctx) })

	decoding, err := source.NewDecoding("auto", "Asia/Shanghai", "025")
	if err != nil {
		b.Fatal(err)
	}
	origin := &source.Origin{Type: "session", Name: "hq", Server: "hq", Agent: "801", Channel: source.FindChannel, Decoding: decoding}
	b.ReportAllocs()
	const burst = 1000
	sent := 0
	begun := cpuTime(b)
	for b.Loop() {
		wanted.Add(burst)
		for range burst {
			sent++
			in.Pop(origin, time.Now(), fmt.Appendf(nil, "H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=%d,da=0,dm=1;", sent))
		}
		select {
		case <-all:
		case <-time.After(patience):
			b.Fatalf("%d of %d are published: %+v", published.Load(), sent, forwarder.Status(context.Background()))
		}
	}
	// The processor's time and not the clock's: other work on the machine does not
	// count, the exporter's in the background does.
	b.ReportMetric(float64((cpuTime(b)-begun).Microseconds())/float64(sent), "cpu-µs/pop")
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// counting is a sink that takes everything.
type counting struct{ of func(n int) }

func (c *counting) Publish(_ context.Context, records []sink.Record) error {
	c.of(len(records))
	return nil
}

func (*counting) Close(context.Context) error { return nil }
