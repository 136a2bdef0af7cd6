package frame

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// wireFrame is a frame with the bytes it had in the stream.
type wireFrame struct {
	kind Kind
	wire string
}

func (f wireFrame) String() string { return fmt.Sprintf("%v %q", f.kind, f.wire) }

// reference cuts a whole stream the slow and obvious way, with all of it in
// hand. It returns what is left over as the unfinished frame.
func reference(stream string) (frames []wireFrame, pending string, isLost bool) {
	strays := 0
	take := func(k Kind, n int) {
		frames = append(frames, wireFrame{k, stream[:n]})
		stream = stream[n:]
	}
	for stream != "" {
		n := int(stream[0])
		switch {
		case isLost:
			beat := strings.Index(stream, Request)
			switch {
			case beat == 0:
				take(Heartbeat, len(Request))
				isLost, strays = false, 0
			case beat > 0:
				take(Skipped, min(beat, 256))
			case len(stream) >= 256+6:
				take(Skipped, 256)
			default:
				return frames, stream, true
			}
		case n == 0:
			take(Empty, 1)
		case strings.HasPrefix(stream, Request):
			take(Heartbeat, len(Request))
			strays = 0
		case strings.HasPrefix(Request, stream):
			return frames, stream, false
		case len(stream) == 1, len(stream) == 2 && stream[1] == 'H' && n > 1:
			return frames, stream, false // how the payload starts is not known yet
		case stream[1] >= '0' && stream[1] <= '9', n > 1 && strings.HasPrefix(stream[1:], "H="):
			if len(stream) < 1+n {
				return frames, stream, false
			}
			take(Pop, 1+n)
			strays = 0
		default: // a stray
			beat := strings.Index(stream, Request)
			if strays == 1 || beat >= 0 && beat <= n {
				isLost = true
				continue
			}
			if len(stream) < 1+n {
				return frames, stream, false
			}
			for i := 1; i <= n; i++ {
				if strings.HasPrefix(Request, stream[i:]) {
					return frames, stream, false // a heartbeat may begin in it
				}
			}
			take(Pop, 1+n)
			strays = 1
		}
	}
	return frames, "", isLost
}

// wire returns the bytes that f had in the stream.
func wire(t testing.TB, f Frame) string {
	t.Helper()
	switch f.Kind {
	case Heartbeat:
		return Request
	case Empty:
		return "\x00"
	case Pop:
		if len(f.Data) == 0 || len(f.Data) > MaxPop {
			t.Fatalf("a pop of %d bytes", len(f.Data))
		}
		return string(append([]byte{byte(len(f.Data))}, f.Data...))
	case Skipped:
		if len(f.Data) == 0 {
			t.Fatal("a skipped frame without bytes")
		}
		return string(f.Data)
	}
	t.Fatalf("a frame of kind %d", f.Kind)
	return ""
}

// run feeds stream to a decoder in reads of the sizes that cut returns, each at
// least 1, and checks the promises that hold at every step.
func run(t testing.TB, stream string, cut func() int) (frames []wireFrame, d *Decoder) {
	t.Helper()
	d = new(Decoder)
	for rest := stream; rest != ""; {
		space := d.Buffer()
		if len(space) == 0 {
			t.Fatal("no space to read into although Next returned false")
		}
		n := copy(space[:min(len(space), max(1, cut()))], rest)
		d.Wrote(n)
		rest = rest[n:]
		for f, ok := d.Next(); ok; f, ok = d.Next() {
			frames = append(frames, wireFrame{f.Kind, wire(t, f)})
		}
		// A heartbeat is never delayed: the moment its last byte is read, it is
		// handed out, whatever state the stream is in. Only a frame that starts
		// like a pop may hold those seven bytes as its own.
		if r := d.Rest(); bytes.Contains(r, request) && judge(r) != wellFormed {
			t.Fatalf("a whole heartbeat waits in %q", r)
		}
		if got, want := d.Pending(), len(d.Rest()); got != want {
			t.Fatalf("pending: got %d, want %d", got, want)
		}
	}
	return frames, d
}

func join(frames []wireFrame) string {
	var b strings.Builder
	for _, f := range frames {
		b.WriteString(f.wire)
	}
	return b.String()
}
