package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

const (
	headerLine = `{"callpop_capture":1,"started":"2026-11-23T08:00:00Z","upstream":"10.0.0.6:7628","numbers":"plain"}` + "\n"
	openLine   = `{"connection":1,"at":"2026-11-23T08:00:01Z","event":"open","from":"10.0.0.7:51234"}` + "\n"
	clientLine = `{"connection":1,"at":"2026-11-23T08:00:01Z","event":"client","bytes":"6f703d3830313b"}` + "\n"
)

func TestAWrongTranscriptIsRefusedWithItsLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "line 1: it is empty"},
		{"H=t1v2,ph=1;\n", "line 1: this is no transcript"},
		{`{"callpop_capture":1`, "line 1: this is no header"},
		{`{"callpop_capture":2,"numbers":"plain"}`, "line 1: its version is 2: this program reads up to version 1"},
		{`{"callpop_capture":null,"numbers":"plain"}`, "line 1: the header has no version"},
		{`{"callpop_capture":1,"numbers":"some"}`, `line 1: numbers is "some"`},
		{headerLine + headerLine, "line 2: a second transcript begins here"},
		{headerLine + "\n\n" + clientLine, "line 4: client on connection 1, which is not open"},
		{headerLine + openLine + openLine, "line 3: connection 1 is opened a second time"},
		{headerLine + `{"connection":1,"event":"close"}` + "\n", `line 2: event is "close"`},
		{headerLine + openLine + `{"connection":1,"event":"client","bytes":"6f7"}` + "\n", "line 3: this is no record"},
		{headerLine + openLine + `{"connection":1,"event":"lost","of":"client"}` + "\n", "line 3: lost without a count"},
		{headerLine + openLine + "garbage\n" + clientLine, "line 3: this is no record"},
		{headerLine + `{"event":"full"}` + "\n" + openLine, "line 3: a record after the one"},
		{headerLine + strings.Repeat("x", MaxLine+1), "line 2: it is longer than 131072 bytes"},
		{headerLine + strings.ReplaceAll(openLine, "open", "refused") + clientLine, "line 3: client on connection 1, which is not open"},
	} {
		_, err := Read(strings.NewReader(c.text))
		var wrong *ReadError
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &wrong) {
			t.Errorf("%.120q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func TestATranscriptHasLimits(t *testing.T) {
	small := limits{bytes: 10_000, records: 50, connections: 3}
	var opens strings.Builder
	for i := range 4 {
		opens.WriteString(strings.Replace(openLine, `"connection":1`, fmt.Sprintf(`"connection":%d`, i+1), 1))
	}
	for _, c := range []struct {
		in   io.Reader
		want string
	}{
		{strings.NewReader(headerLine + opens.String()), "line 5: more than 3 connections"},
		{io.MultiReader(strings.NewReader(headerLine+openLine), &repeated{line: []byte(clientLine)}), "line 52: more than 50 records"},
		{io.MultiReader(strings.NewReader(headerLine+openLine), &repeated{line: []byte("\n")}), "more than 10000 bytes"},
	} {
		if _, err := readWithin(c.in, small); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// repeated is one line without end.
type repeated struct {
	line []byte
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		copied := copy(p[n:], r.line[r.at:])
		n, r.at = n+copied, (r.at+copied)%len(r.line)
	}
	return n, nil
}

func TestATranscriptIsKnownByItsBeginning(t *testing.T) {
	if !IsTranscript([]byte(headerLine)) || IsTranscript([]byte("H=t1v2,ph=1;")) || IsTranscript(nil) {
		t.Error("taken for what it is not")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(headerLine + openLine + clientLine))
	f.Add([]byte(headerLine + openLine + clientLine +
		`{"connection":1,"at":"2026-11-23T08:00:02Z","event":"server","bytes":"5452595f5245510e483d743176332c70683d312c6f703d"}` + "\n" +
		`{"connection":1,"at":"2026-11-23T08:00:02Z","event":"client","bytes":"5452595f524550"}` + "\n" +
		`{"connection":1,"at":"2026-11-23T08:00:03Z","event":"lost","of":"server","count":9}` + "\n" +
		`{"connection":1,"at":"2026-11-23T08:00:03Z","event":"server_end","cause":"closed"}` + "\n"))
	f.Add([]byte(headerLine + strings.ReplaceAll(openLine, "open", "refused")))
	// Whatever the file holds: it is read or refused, and what is read can be
	// explained, has events, and writes nothing that a terminal acts on.
	f.Fuzz(func(t *testing.T, data []byte) {
		transcript, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Explain(&out, transcript, ExplainOptions{Hints: Hints{Agents: []string{"801"}}}); err != nil {
			t.Fatal(err)
		}
		for _, c := range out.Bytes() {
			if c < ' ' && c != '\n' || c == 0x7f {
				t.Fatalf("byte %#x is in %q", c, out.String())
			}
		}
		events, err := Events(transcript, EventOptions{Server: "hq"})
		if err != nil {
			t.Fatal(err)
		}
		for e := range events {
			if len(e.Event.Body) == 0 {
				t.Fatal("an event of nothing")
			}
		}
		templates, _ := Infer(transcript, Hints{})
		for i := range templates {
			if _, err := parse(templates[i].parts); err != nil {
				t.Errorf("%s: %v", templates[i].Text, err)
			}
		}
	})
}
