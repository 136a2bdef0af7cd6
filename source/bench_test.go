package source

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/frame"
)

// benchmarkPop has 81 bytes and becomes 15 fields of JSON besides its id.
const benchmarkPop = "H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=123456,da=0,dm=1;2;3;;"

// BenchmarkCodec is the way from the socket's bytes to JSON, without what makes
// an event of it: frame, parse, encode.
func BenchmarkCodec(b *testing.B) {
	wire, err := frame.AppendPop(nil, []byte(benchmarkPop))
	if err != nil || len(benchmarkPop) != 81 {
		b.Fatal(len(benchmarkPop), err)
	}
	o, a := testOrigin(b, "801"), NewAssembler()
	a.use(o.Decoding)
	at := time.Date(2008, 7, 11, 9, 59, 31, 512345678, time.UTC)
	var d frame.Decoder
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		d.Wrote(copy(d.Buffer(), wire))
		f, ok := d.Next()
		if !ok {
			b.Fatal("no frame")
		}
		if err := a.decoder.Decode(f.Data, &a.pop); err != nil {
			b.Fatal(err)
		}
		e := a.describe(o, o.Agent)
		e.ReceivedAt = at
		body = e.AppendJSON(body[:0])
	}
	if len(body) < 300 {
		b.Fatalf("encoded only %s", body)
	}
}

// BenchmarkEvent is the way from a pop's bytes to an event: with id, fingerprint,
// key and E.164.
func BenchmarkEvent(b *testing.B) {
	o, a, raw := testOrigin(b, "801"), NewAssembler(), []byte(benchmarkPop)
	b.ReportAllocs()
	for b.Loop() {
		if e, _, err := a.Pop(o, time.Now(), raw); err != nil || len(e.Body) < 300 {
			b.Fatal(e, err)
		}
	}
}

// BenchmarkIntake is what a pop costs from the socket's reader to a log that takes
// it at once, measured by the collector of a real meter: sharding, the hand-over to a
// worker, the event, and counting it.
func BenchmarkIntake(b *testing.B) {
	var emitted atomic.Int64
	in, err := NewIntake(IntakeOptions{
		Emit:   func(context.Context, schema.Event) error { emitted.Add(1); return nil },
		Logger: quiet,
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())).Meter("bench"),
	})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- in.Run(b.Context()) }()
	o := testOrigin(b, "801")
	in.Session(o, SessionChange{State: schema.Connected, At: time.Now()})
	var raws [100][]byte // of as many calls
	for i := range raws {
		raws[i] = bytes.Replace([]byte(benchmarkPop), []byte("sn=123456"), fmt.Appendf(nil, "sn=1234%02d", i), 1)
	}
	pops := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		in.Pop(o, time.Now(), raws[pops%int64(len(raws))])
		for pops++; pops-emitted.Load() > 1000; {
			runtime.Gosched()
		}
	}
	in.Close()
	if err := <-done; err != nil || emitted.Load() != pops+1 {
		b.Fatalf("%d of %d events, %v", emitted.Load(), pops+1, err)
	}
}
