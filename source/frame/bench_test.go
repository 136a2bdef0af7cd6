package frame

import "testing"

func BenchmarkDecoder(b *testing.B) {
	for _, bench := range []struct{ name, stream string }{
		{"Heartbeat", Request},
		{"Pop78", popFrame(example)},
		{"HeartbeatAndPop", Request + popFrame(example)},
		{"Lost", "\x03abc\x03def" + popFrame(example) + Request},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.stream)))
			stream := []byte(bench.stream)
			var d Decoder
			frames := 0
			for b.Loop() {
				d.Wrote(copy(d.Buffer(), stream))
				for _, ok := d.Next(); ok; _, ok = d.Next() {
					frames++
				}
			}
			if frames == 0 || d.Pending() != 0 {
				b.Fatalf("%d frames, %d bytes pending", frames, d.Pending())
			}
		})
	}
}

func BenchmarkAppendPop(b *testing.B) {
	b.ReportAllocs()
	pop := []byte(example)
	dst := make([]byte, 0, Size)
	for b.Loop() {
		if _, err := AppendPop(dst, pop); err != nil {
			b.Fatal(err)
		}
	}
}
