package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
	"github.com/callpop/connector/source/session"
)

// BenchmarkPipeline is a pop's way from the LQ server's socket to the spool, with
// 1,000 sessions that all get pops at once. The server is in the same process, so
// its cost is in the figure.
func BenchmarkPipeline(b *testing.B) {
	const sessions = 1000
	lq, err := lqsim.New(lqsim.Options{})
	if err != nil {
		b.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	options := spool.DefaultConfig()
	options.Dir, options.MinFree = b.TempDir(), 0
	log, err := spool.Open(b.Context(), spool.Options{Config: options, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	var pops, wanted atomic.Int64
	stored := make(chan struct{}, 1)
	in, err := source.NewIntake(source.IntakeOptions{Logger: quiet, Emit: func(ctx context.Context, e schema.Event) error {
		if err := log.Emit(ctx, e); err != nil || e.Type != schema.TypeCallPop {
			return err
		}
		if pops.Add(1) == wanted.Load() {
			stored <- struct{}{}
		}
		return nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	c := session.DefaultConfig()
	c.Name, c.Server, c.Address, c.Registration, c.DialRate = "hq", "hq", lq.Addr().String(), lqsim.DefaultRegistration, 10_000
	if c.Agents, err = source.ParseRoster([]any{fmt.Sprintf("10001-%d", 10000+sessions)}); err != nil {
		b.Fatal(err)
	}
	s, err := session.New(c, session.Options{Intake: in, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = lq.Run(ctx) })
	all.Go(func() { _ = in.Run(ctx) })
	all.Go(func() { _ = s.Run(ctx) })
	defer func() {
		cancel()
		all.Wait()
		if err := log.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	if err := lq.WaitSessions(patient(b), sessions); err != nil {
		b.Fatal(err)
	}
	agents := make([]string, sessions)
	for i := range agents {
		agents[i] = fmt.Sprint(10001 + i)
	}
	sent := 0
	b.ReportAllocs()
	const burst = 1000
	for b.Loop() {
		// One iteration is a burst, so that the pipeline is never empty.
		wanted.Add(burst)
		for range burst {
			sent++
			raw := fmt.Appendf(nil, "H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=%s,sn=%d,da=0,dm=1;", agents[sent%sessions], sent)
			if err := lq.Send(agents[sent%sessions], raw); err != nil {
				b.Fatal(err)
			}
		}
		select {
		case <-stored:
		case <-time.After(patience):
			b.Fatalf("%d of %d stored", pops.Load(), sent)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/pop")
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "pops/s")
}
