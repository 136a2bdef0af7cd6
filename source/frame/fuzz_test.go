package frame

import (
	"slices"
	"testing"
)

// Invariants, for any stream and any way to split it into reads:
//
//  1. Nothing panics, and there is always room to read on.
//  2. The frames are those of the reference, so they do not depend on the split.
//  3. Nothing is lost: the frames' wire bytes and the pending ones are the stream.
//  4. A heartbeat is never delayed (checked in run after every read).
//  5. After any stream, once a frame in it that starts like a pop has got its
//     bytes, one heartbeat puts framing right: the traffic behind it decodes.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(Request+popFrame(example)+Request), []byte{1, 7, 80})
	f.Add([]byte("T"+example+"123456"+Request), []byte{1})
	f.Add([]byte("\x05hello\x05world"+Request+popFrame("2,1")), []byte{3, 200})
	f.Add([]byte("\xff?"+Request+"\x00\x00TTRY_REQ"), []byte{2})
	f.Add([]byte("\x05??TRY_REQ\x01H\x02H=\x09H"), []byte{5})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		i := 0
		cut := func() int {
			if len(cuts) == 0 {
				return Size
			}
			i++
			return int(cuts[i%len(cuts)])
		}
		got, d := run(t, string(stream), cut)
		want, pending, isLost := reference(string(stream))
		if !slices.Equal(got, want) || string(d.Rest()) != pending || d.Lost() != isLost {
			t.Fatalf("got  %v, pending %q, lost %v\nwant %v, pending %q, lost %v", got, d.Rest(), d.Lost(), want, pending, isLost)
		}
		if got, want := join(got)+string(d.Rest()), string(stream); got != want {
			t.Fatalf("bytes: got %q, want %q", got, want)
		}

		got, d = run(t, string(stream)+noise+Request+popFrame(example), cut)
		if !recovered(got, d) {
			t.Fatalf("after good traffic: %v, pending %q, lost %v", got, d.Rest(), d.Lost())
		}
	})
}

// Invariants: a template is refused or renders; what it renders is read back as
// the whole message, with the same values where neither value's text occurs in
// the other parts in a way that could end it sooner; and no prefix of it is
// refused for good.
func FuzzRegistration(f *testing.F) {
	f.Add(`op={{.Agent}},ch={{.Channel}};`, false, "801", "-1")
	f.Add(`02 {{.Agent}} 00 {{.Channel}} 03`, true, "801", "12")
	f.Add(`{{.Agent}}1\x00{{ .Agent }}`, false, "811", "")
	f.Add(`LOGIN {{.Agent}}`, false, "x", "")
	f.Fuzz(func(t *testing.T, template string, hex bool, agent, channel string) {
		if len(agent) == 0 || len(agent) > MaxValue || len(channel) > MaxValue {
			t.Skip()
		}
		parse := ParseRegistration
		if hex {
			parse = ParseRegistrationHex
		}
		r, err := parse(template)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		sent := r.Append(nil, agent, channel)
		for i := 1; i < len(r.parts); i++ {
			if a, b := r.parts[i-1].field, r.parts[i].field; a != 0 && b != 0 && a != b {
				if _, _, _, ok, more := r.Match(sent); ok || more {
					t.Fatal("values that touch were told apart")
				}
				return
			}
		}
		gotAgent, gotChannel, n, ok, _ := r.Match(sent)
		if !ok || n > len(sent) {
			t.Fatalf("%q is not read back: n %d, ok %v", sent, n, ok)
		}
		if again := r.Append(nil, gotAgent, gotChannel); string(again) != string(sent[:n]) {
			t.Fatalf("read back as agent %q, channel %q, which renders %q, not %q", gotAgent, gotChannel, again, sent[:n])
		}
		for i := range sent {
			if _, _, _, ok, more := r.Match(sent[:i]); !ok && !more {
				t.Fatalf("the first %d bytes of %q are refused", i, sent)
			}
		}
	})
}
