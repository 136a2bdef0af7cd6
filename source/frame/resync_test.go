package frame

import (
	"bytes"
	"slices"
	"testing"
)

// feed writes stream in pieces of at most step bytes and returns the frames.
func feed(t *testing.T, d *Decoder, stream string, step int) (frames []wireFrame) {
	t.Helper()
	for stream != "" {
		n := copy(d.Buffer(), stream[:min(step, len(stream))])
		if n == 0 {
			t.Fatal("no room to read into")
		}
		d.Wrote(n)
		stream = stream[n:]
		for f, ok := d.Next(); ok; f, ok = d.Next() {
			frames = append(frames, wireFrame{f.Kind, string(f.Data)})
		}
	}
	return frames
}

func TestAfterResyncEverythingBeforeTheNextHeartbeatIsSkipped(t *testing.T) {
	for step := 1; step <= Size; step++ {
		var d Decoder
		before := feed(t, &d, Request+popFrame("2,1")+popFrame(example)[:20], step)
		if len(before) != 2 || string(d.Rest()) != popFrame(example)[:20] {
			t.Fatalf("in steps of %d: before %v, rest %q", step, before, d.Rest())
		}
		d.Resync()
		if d.Pending() != 0 || !d.Lost() {
			t.Fatalf("in steps of %d: %d pending, lost %v", step, d.Pending(), d.Lost())
		}
		// The end of a pop whose beginning is missing, a whole one, a heartbeat.
		got := feed(t, &d, example[40:]+popFrame("2,2")+Request+popFrame("2,3"), step)
		want := []wireFrame{{Skipped, example[40:] + popFrame("2,2")}, {Heartbeat, ""}, {Pop, "2,3"}}
		if !slices.Equal(got, want) || d.Lost() {
			t.Fatalf("in steps of %d: got %v, want %v", step, got, want)
		}
	}
}

func TestAHeartbeatTornByTheGapIsNotTakenForOne(t *testing.T) {
	var d Decoder
	feed(t, &d, Request[:3], Size)
	d.Resync()
	if got := feed(t, &d, Request[3:]+Request, Size); len(got) != 2 || got[0].kind != Skipped || got[1].kind != Heartbeat {
		t.Errorf("got %v, want what is left of the first one skipped, then the second", got)
	}
}

// Invariants: whatever was written before and comes after a gap, nothing panics,
// the bytes handed out after it are those written after it, and one heartbeat
// puts framing right.
func FuzzResync(f *testing.F) {
	f.Add([]byte(popFrame(example)[:9]), []byte("op=801;"), 3)
	f.Add([]byte("TRY"), []byte("_REQTRY_REQ"), 1)
	f.Add(bytes.Repeat([]byte{255}, 300), bytes.Repeat([]byte("T"), 300), 200)
	f.Fuzz(func(t *testing.T, before, after []byte, step int) {
		step = max(1, min(step, Size))
		var d Decoder
		feed(t, &d, string(before), step)
		d.Resync()
		var got []byte
		frames := feed(t, &d, string(after), step)
		for _, f := range frames {
			switch f.kind {
			case Heartbeat:
				got = append(got, Request...)
			case Pop:
				got = append(append(got, byte(len(f.wire))), f.wire...)
			case Empty:
				got = append(got, 0)
			default:
				got = append(got, f.wire...)
			}
		}
		if got = append(got, d.Rest()...); !bytes.Equal(got, after) {
			t.Fatalf("handed out %q, want %q", got, after)
		}
		if d.Resync(); len(feed(t, &d, Request+popFrame(example), step)) != 2 {
			t.Fatal("a heartbeat did not put framing right")
		}
	})
}
