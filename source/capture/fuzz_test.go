package capture

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

func streams(f *testing.F) {
	f.Add([]byte("op=801,ch=-1;TRY_REPTRY_REP"), []byte("TRY_REQ\x23"+"2,02586307627,1000,1208674344953,NATRY_REQ\x05hello\x05worldTRY_REQ"), uint8(3))
	f.Add([]byte("TRY_RTRY_REPop=1TRY_REPx"), []byte("\x00\x00\x0bH=t1v3,op=1TRY_REQ\xff0123456789"), uint8(1))
	f.Add([]byte("\x03801\x02-1"), []byte("\x13H=t1v3,ph=1,op=801;\x09H=\x81\x30\x81\x30\x81\x3099"), uint8(200))
}

// frames cuts a stream and returns the kinds and lengths of what is in it.
func frames(stream []byte) (all []byte) {
	var decoder frame.Decoder
	for len(stream) > 0 {
		n := copy(decoder.Buffer(), stream)
		decoder.Wrote(n)
		stream = stream[n:]
		for f, ok := decoder.Next(); ok; f, ok = decoder.Next() {
			all = append(all, byte(f.Kind), byte(len(f.Data)))
		}
	}
	return append(all, byte(decoder.Pending()))
}

// However a stream is cut: masked, it has the same length and the same frames, only
// digits have become stars, and no number is left that could be dialled.
func FuzzMask(f *testing.F) {
	streams(f)
	f.Fuzz(func(t *testing.T, _, stream []byte, size uint8) {
		var m masker
		var masked []byte
		for piece := stream; len(piece) > 0; {
			n := min(len(piece), 1+int(size))
			masked = append(masked, m.take(piece[:n])...)
			piece = piece[n:]
		}
		masked = append(masked, m.rest()...)
		if len(masked) != len(stream) {
			t.Fatalf("%d bytes became %d", len(stream), len(masked))
		}
		for i := range masked {
			if masked[i] != stream[i] && (masked[i] != '*' || stream[i]-'0' > 9) {
				t.Fatalf("byte %d: %q became %q", i, stream[i], masked[i])
			}
		}
		if got, want := frames(masked), frames(stream); !bytes.Equal(got, want) {
			t.Errorf("frames %v became %v: %q", want, got, masked)
		}
	})
}

// Whatever the two sides say, in pieces of any size: it can be explained, its pops
// are those of the stream, and a template that is found makes the registration.
func FuzzDialogue(f *testing.F) {
	streams(f)
	f.Fuzz(func(t *testing.T, client, server []byte, size uint8) {
		c := &Connection{Number: 1, Opened: time.Unix(1, 0)}
		at := time.Unix(2, 0)
		cut := func(data []byte) (piece, rest []byte) {
			n := min(len(data), 1+int(size))
			return data[:n], data[n:]
		}
		for a, b := client, server; len(a)+len(b) > 0; at = at.Add(time.Millisecond) {
			var piece []byte
			if piece, a = cut(a); len(piece) > 0 {
				c.Entries = append(c.Entries, Entry{At: at, Kind: Client, Data: piece})
			}
			if piece, b = cut(b); len(piece) > 0 {
				c.Entries = append(c.Entries, Entry{At: at, Kind: Server, Data: piece})
			}
		}
		transcript := &Transcript{Started: time.Unix(1, 0), Connections: []*Connection{c}}
		for _, masked := range []bool{false, true} {
			if err := Explain(io.Discard, transcript, ExplainOptions{MaskNumbers: masked}); err != nil {
				t.Fatal(err)
			}
		}
		d := takeApart(c)
		said, pops := 0, 0
		for i := range d.steps {
			switch s := &d.steps[i]; s.kind {
			case stepReply:
				said += len(frame.Reply)
			case stepRegistration, stepClient:
				said += len(s.data)
			case stepPop:
				pops++
			}
		}
		if said != len(client) {
			t.Errorf("%d of the client's %d bytes are shown", said, len(client))
		}
		if got, want := pops, bytes.Count(pairs(frames(server)), []byte{byte(frame.Pop)}); got != want {
			t.Errorf("%d pops, want %d", got, want)
		}
		templates, _ := Infer(transcript, Hints{Agents: []string{"801"}})
		for i := range templates {
			found := &templates[i]
			agent, channel, n, ok, _ := found.registration.Match(d.registration)
			if !ok || n != len(d.registration) || !bytes.Equal(found.registration.Append(nil, agent, channel), d.registration) {
				t.Errorf("%s does not make %q", found.Text, d.registration)
			}
			if _, err := lqsim.New(lqsim.Options{Registration: found.Text, Listener: &pipes{closed: make(chan struct{})}}); err != nil {
				t.Errorf("%s: %v", found.Text, err)
			}
		}
	})
}

// pairs leaves the kinds of frames alone.
func pairs(all []byte) (kinds []byte) {
	for i := 0; i+1 < len(all); i += 2 {
		kinds = append(kinds, all[i])
	}
	return kinds
}
