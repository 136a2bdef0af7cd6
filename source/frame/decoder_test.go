package frame

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// popFrame is a pop on the wire.
func popFrame(s string) string {
	b, err := AppendPop(nil, []byte(s))
	if err != nil {
		panic(err)
	}
	return string(b)
}

const example = "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;"

func TestFramesOfAStream(t *testing.T) {
	pop84 := "H=t1v3,ch=2,ph=013812345678,id=12157703713752,tm=080711175931,op=801,sn=1234567,dm=0;"[:84]
	long := strings.Repeat("x", 255)
	tests := []struct {
		name    string
		stream  string
		want    []wireFrame
		pending string
		lost    bool
	}{
		{name: "nothing"},
		{
			name:   "a heartbeat",
			stream: Request,
			want:   []wireFrame{{Heartbeat, Request}},
		},
		{
			name:   "a pop and a heartbeat in one read",
			stream: popFrame(example) + Request,
			want:   []wireFrame{{Pop, popFrame(example)}, {Heartbeat, Request}},
		},
		{
			name:   "a pop of 84 bytes, whose length is the letter T",
			stream: Request + popFrame(pop84) + Request,
			want:   []wireFrame{{Heartbeat, Request}, {Pop, "T" + pop84}, {Heartbeat, Request}},
		},
		{
			name:   "a pop of the greatest length",
			stream: popFrame("2" + long[1:]),
			want:   []wireFrame{{Pop, "\xff2" + long[1:]}},
		},
		{
			name:   "empty pops",
			stream: "\x00\x00" + Request + "\x00",
			want:   []wireFrame{{Empty, "\x00"}, {Empty, "\x00"}, {Heartbeat, Request}, {Empty, "\x00"}},
		},
		{
			name:    "a part of a heartbeat is not guessed at",
			stream:  "TRY_RE",
			pending: "TRY_RE",
		},
		{
			name:    "a lone T is not guessed at",
			stream:  "T",
			pending: "T",
		},
		{
			name:    "an H that may become H= is not guessed at",
			stream:  "\x01a\x09H",
			want:    []wireFrame{{Pop, "\x01a"}},
			pending: "\x09H",
		},
		{
			name:    "a pop is not cut by the heartbeat it contains",
			stream:  "\x14H=t1v2,da=TRY_REQ,d",
			pending: "\x14H=t1v2,da=TRY_REQ,d",
		},
		{
			name:    "a positional pop is not cut by the heartbeat it contains",
			stream:  "\x0b2,TRY_REQ,",
			pending: "\x0b2,TRY_REQ,",
		},
		{
			name:   "one stray frame is a pop and framing goes on",
			stream: popFrame("hello") + popFrame(example) + popFrame("hello") + Request + popFrame("hello") + popFrame("2,1"),
			want: []wireFrame{
				{Pop, popFrame("hello")}, {Pop, popFrame(example)}, {Pop, popFrame("hello")},
				{Heartbeat, Request}, {Pop, popFrame("hello")}, {Pop, popFrame("2,1")},
			},
		},
		{
			name:   "two stray frames running lose framing until the next heartbeat",
			stream: popFrame("hello") + popFrame("world") + popFrame(example) + Request + popFrame(example),
			want: []wireFrame{
				{Pop, popFrame("hello")}, {Skipped, popFrame("world") + popFrame(example)},
				{Heartbeat, Request}, {Pop, popFrame(example)},
			},
		},
		{
			name:   "an empty pop between two stray frames does not save framing",
			stream: popFrame("hello") + "\x00" + popFrame("world") + Request,
			want: []wireFrame{
				{Pop, popFrame("hello")}, {Empty, "\x00"}, {Skipped, popFrame("world")}, {Heartbeat, Request},
			},
		},
		{
			name:    "the second stray frame is known by its first byte",
			stream:  popFrame("hello") + "\xf0w",
			want:    []wireFrame{{Pop, popFrame("hello")}},
			pending: "\xf0w",
			lost:    true,
		},
		{
			name:   "a stray frame of one H",
			stream: "\x01H\x01H" + Request,
			want:   []wireFrame{{Pop, "\x01H"}, {Skipped, "\x01H"}, {Heartbeat, Request}},
		},
		{
			name:   "a heartbeat in the first stray frame is answered, not swallowed",
			stream: "\xf0?" + Request + popFrame(example),
			want:   []wireFrame{{Skipped, "\xf0?"}, {Heartbeat, Request}, {Pop, popFrame(example)}},
		},
		{
			name:   "a heartbeat that begins in a stray frame and ends beyond it",
			stream: "\x05??TRY_REQ" + Request,
			want:   []wireFrame{{Skipped, "\x05??"}, {Heartbeat, Request}, {Heartbeat, Request}},
		},
		{
			name:    "a stray frame whose end may begin a heartbeat waits",
			stream:  "\x05??TRY_",
			pending: "\x05??TRY_",
		},
		{
			name:   "a stray frame whose end does not begin a heartbeat after all",
			stream: "\x05??TRY_" + "H=" + strings.Repeat("x", '_'-2),
			want:   []wireFrame{{Pop, "\x05??TRY"}, {Pop, "_H=" + strings.Repeat("x", '_'-2)}},
		},
		{
			name:   "one byte too many before a heartbeat",
			stream: "T" + Request + Request,
			want:   []wireFrame{{Skipped, "T"}, {Heartbeat, Request}, {Heartbeat, Request}},
		},
		{
			name:   "a long loss comes in pieces",
			stream: "\x01a" + strings.Repeat("\x01b", 300) + Request,
			want: []wireFrame{
				{Pop, "\x01a"},
				{Skipped, strings.Repeat("\x01b", 128)}, {Skipped, strings.Repeat("\x01b", 128)},
				{Skipped, strings.Repeat("\x01b", 44)}, {Heartbeat, Request},
			},
		},
		{
			name:   "a heartbeat across the end of a piece",
			stream: "\x01a" + strings.Repeat("\x01b", 126) + "xy" + Request,
			want: []wireFrame{
				{Pop, "\x01a"}, {Skipped, strings.Repeat("\x01b", 126) + "xy"}, {Heartbeat, Request},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 100, Size} {
				got, d := run(t, tt.stream, func() int { return size })
				if !slices.Equal(got, tt.want) {
					t.Errorf("reads of %d: got %v, want %v", size, got, tt.want)
				}
				if got, want := string(d.Rest()), tt.pending; got != want {
					t.Errorf("reads of %d: pending: got %q, want %q", size, got, want)
				}
				if got, want := d.Lost(), tt.lost; got != want {
					t.Errorf("reads of %d: lost: got %v, want %v", size, got, want)
				}
			}
		})
	}
}

// Every cut of a stream into two reads gives the same frames.
func TestEverySplitInTwoGivesTheSameFrames(t *testing.T) {
	stream := Request + popFrame(example) + "\x00" + "T" + example + "123456" + Request +
		"\x03abc" + Request + "\x03abc\x03def" + popFrame(example) + "T" + Request + popFrame("2,02586307627,1000,1208674344953,NA")
	want, _, _ := reference(stream)
	for i := 1; i < len(stream); i++ {
		sizes := []int{i, len(stream)}
		got, _ := run(t, stream, func() int {
			n := sizes[0]
			if len(sizes) > 1 {
				sizes = sizes[1:]
			}
			return n
		})
		if !slices.Equal(got, want) {
			t.Fatalf("cut at %d: got %v, want %v", i, got, want)
		}
	}
}

// Streams of good and bad pieces, in random order and random splits, against the
// reference.
func TestRandomStreamsMatchTheReference(t *testing.T) {
	pieces := []string{
		Request, Request, Request, popFrame(example), popFrame(example), popFrame("2,02586307627,1000,1208674344953,NA"),
		"T" + example + "123456", "\x00", "\x01", "T", "TRY", "TRY_RE", "\xff", "H", "H=", "\x02H=", "\x01H", "\x03H=\x00",
		"\x05hello", "\xffTRY_REQ", "\x09TTTRY_REQ", "RY_REQ", "\x04Q2,1", "Q", strings.Repeat("z", 300),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var b strings.Builder
		for range 1 + r.IntN(12) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		stream := b.String()
		want, pending, isLost := reference(stream)
		got, d := run(t, stream, func() int { return 1 + r.IntN(1+r.IntN(Size)) })
		if !slices.Equal(got, want) || string(d.Rest()) != pending || d.Lost() != isLost {
			t.Fatalf("stream %q\ngot  %v, pending %q, lost %v\nwant %v, pending %q, lost %v",
				stream, got, d.Rest(), d.Lost(), want, pending, isLost)
		}
	}
}

// noise fills up any frame that an earlier byte began and then loses framing: as
// a length its byte is 120, as the start of a payload it is a stray's.
var noise = strings.Repeat("x", MaxPop+121+1)

// recovered reports whether the last frames are one heartbeat and one pop and
// nothing is left over.
func recovered(frames []wireFrame, d *Decoder) bool {
	n := len(frames)
	return n >= 2 && frames[n-2].kind == Heartbeat && frames[n-1] == (wireFrame{Pop, popFrame(example)}) &&
		d.Pending() == 0 && !d.Lost()
}

func TestWellFormedTrafficAfterGarbageIsFoundAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		garbage := make([]byte, r.IntN(600))
		for i := range garbage {
			garbage[i] = byte(r.Uint32())
		}
		got, d := run(t, string(garbage)+noise+Request+popFrame(example), func() int { return 1 + r.IntN(Size) })
		if !recovered(got, d) {
			t.Fatalf("after %q: got %v, pending %q, lost %v", garbage, got, d.Rest(), d.Lost())
		}
	}
}

func TestADecoderIsItsBufferAndFiveBytes(t *testing.T) {
	if got, want := unsafe.Sizeof(Decoder{}), uintptr(Size+5); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}

func TestACountBeyondTheBufferPanics(t *testing.T) {
	for _, n := range []int{-1, Size + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			new(Decoder).Wrote(n)
		})
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	stream := []byte(Request + popFrame(example) + "\x03abc\x03def" + Request)
	var d Decoder
	if got := testing.AllocsPerRun(100, func() {
		d.Wrote(copy(d.Buffer(), stream))
		for _, ok := d.Next(); ok; _, ok = d.Next() {
		}
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k, want := range map[Kind]string{Heartbeat: "heartbeat", Pop: "pop", Empty: "empty", Skipped: "skipped", 0: "unknown"} {
		if got := k.String(); got != want {
			t.Errorf("kind %d: got %q, want %q", k, got, want)
		}
	}
}
