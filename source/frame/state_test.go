package frame

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// frames decodes stream, handing it from one decoder to the next at each of cuts.
func frames(t testing.TB, stream []byte, cuts ...int) (all []string) {
	t.Helper()
	d := &Decoder{}
	feed := func(piece []byte) {
		for len(piece) > 0 {
			n := copy(d.Buffer(), piece)
			d.Wrote(n)
			piece = piece[n:]
			for f, ok := d.Next(); ok; f, ok = d.Next() {
				all = append(all, fmt.Sprintf("%v %q", f.Kind, f.Data))
			}
		}
	}
	at := 0
	for _, cut := range cuts {
		feed(stream[at:cut])
		at = cut
		next := &Decoder{}
		if err := next.Restore(d.State()); err != nil {
			t.Fatal(err)
		}
		d = next
	}
	feed(stream[at:])
	return append(all, fmt.Sprintf("rest %q lost %v", d.Rest(), d.Lost()))
}

func TestADecoderGoesOnWhereAnotherStopped(t *testing.T) {
	pop := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	stream := slices.Concat(
		[]byte(Request), pop("H=t1v2,ch=2,ph=86307627,id=1,dm=0;"), []byte{0}, pop("stray"), pop("stray again"),
		bytes.Repeat([]byte("x"), 600), []byte(Request), pop("H=t1v2,ch=2,ph=86307628,id=2,dm=0;"), []byte(Request)[:4],
	)
	want := frames(t, stream)
	for cut := range len(stream) {
		if got := frames(t, stream, cut); !slices.Equal(got, want) {
			t.Fatalf("handed over at byte %d: got %q, want %q", cut, got, want)
		}
	}
}

func TestWhatIsNoDecodersStateIsRefused(t *testing.T) {
	var d Decoder
	for _, from := range [][]byte{nil, {3}, append([]byte{0}, make([]byte, Size+1)...)} {
		if err := d.Restore(from); err == nil {
			t.Errorf("%d bytes beginning with %v are taken", len(from), from[:min(1, len(from))])
		}
	}
}
