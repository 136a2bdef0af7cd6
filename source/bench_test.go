package source

import (
	"testing"
	"time"

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
		a.describe(o, o.Agent)
		a.event.ReceivedAt = at
		body = a.event.AppendJSON(body[:0])
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
