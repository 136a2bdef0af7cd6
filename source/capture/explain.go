package capture

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

// Explain writes a transcript for people: every connection frame by frame, the
// registration's bytes, what the pops say, and the configuration to paste. The error
// is the writer's.
func Explain(w io.Writer, t *Transcript, o ExplainOptions) error {
	decoding, err := o.decoding()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	e := explainer{
		out: out, mask: o.MaskNumbers && !t.Masked, decoding: decoding,
		decoder: pop.Decoder{Charset: decoding.Charset, Location: decoding.Location},
	}
	dialogues := takeAllApart(t)
	if !o.Brief {
		for _, d := range dialogues {
			e.dialogue(d)
		}
	}
	e.summary(summarize(t, dialogues, o.Hints, decoding))
	return out.Flush() // which has the first error of all writes
}

type explainer struct {
	out      *bufio.Writer
	mask     bool
	decoding *source.Decoding
	decoder  pop.Decoder
	pop      pop.Pop
	opened   time.Time
	// beats is a run of heartbeats that is not yet written.
	beats beats
}

type beats struct {
	sent, answered int
	first, last    time.Time
	slowest        time.Duration
}

func (e *explainer) printf(format string, args ...any) { _, _ = fmt.Fprintf(e.out, format, args...) }

// dialogue writes one connection.
func (e *explainer) dialogue(d *dialogue) {
	c := d.connection
	e.opened = c.Opened
	e.printf("connection %d from %s, %s\n", c.Number, escaped([]byte(c.From)), c.Opened.UTC().Format("2006-01-02 15:04:05.000 UTC"))
	if c.Refused != "" {
		e.printf("  the LQ server could not be reached: %s\n\n", escaped([]byte(c.Refused)))
		return
	}
	if len(d.registration) == 0 {
		e.printf("  the client sent no registration\n")
	}
	for i := range d.steps {
		s := &d.steps[i]
		if s.kind == stepHeartbeat || s.kind == stepReply {
			e.beats.add(s)
			continue
		}
		e.flushBeats()
		e.step(s)
	}
	e.flushBeats()
	e.printf("\n")
}

func (b *beats) add(s *step) {
	if b.sent+b.answered == 0 {
		b.first = s.at
	}
	b.last = s.at
	if s.kind == stepReply {
		b.answered++
		b.slowest = max(b.slowest, s.took)
	} else {
		b.sent++
	}
}

func (e *explainer) flushBeats() {
	b := e.beats
	if b.sent+b.answered == 0 {
		return
	}
	e.beats = beats{}
	e.printf("%s heartbeats: %d sent, %d answered", e.at(b.first, "both"), b.sent, b.answered)
	if b.answered > 0 {
		e.printf(", within %v", b.slowest.Round(time.Microsecond))
	}
	if b.last.After(b.first) {
		e.printf(", until %s", offset(b.last.Sub(e.opened)))
	}
	e.printf("\n")
}

func offset(d time.Duration) string { return fmt.Sprintf("+%.3fs", d.Seconds()) }

func (e *explainer) at(at time.Time, who string) string {
	return fmt.Sprintf("  %11s  %-6s", offset(at.Sub(e.opened)), who)
}

const indent = "                       "

func (e *explainer) step(s *step) {
	who := "server"
	if s.ofClient {
		who = "client"
	}
	e.printf("%s ", e.at(s.at, who))
	switch s.kind {
	case stepRegistration:
		e.printf("registration, %s\n", plural(len(s.data), "byte"))
		e.bytes(s.data, true)
	case stepClient:
		e.printf("%s that are neither registration nor TRY_REP\n", plural(len(s.data), "byte"))
		e.bytes(s.data, true)
	case stepPop:
		e.popStep(s.data)
	case stepEmpty:
		e.printf("a pop of no bytes\n")
	case stepSkipped:
		e.printf("%s outside any frame\n", plural(len(s.data), "byte"))
		e.bytes(s.data, false)
	case stepRest:
		e.printf("a frame that is not whole, %s of it\n", plural(len(s.data), "byte"))
		e.bytes(s.data, false)
	case stepLost:
		e.printf("%s were passed on, but not recorded\n", plural(s.lost, "byte"))
	case stepEnd:
		e.printf("ends: %s\n", escaped([]byte(s.cause)))
	}
}

// maxDump bounds how much of one piece is shown, in bytes.
const maxDump = 4096

// bytes shows data as hex digits and, for a client's, as text with its line ends.
// The server's are masked where that is asked for.
func (e *explainer) bytes(data []byte, ofClient bool) {
	if e.mask && !ofClient {
		data = bytes.Clone(data)
		maskRuns(data, someRun)
	}
	rest := 0
	if len(data) > maxDump {
		data, rest = data[:maxDump], len(data)-maxDump
	}
	for l := range strings.Lines(hex.Dump(data)) {
		e.printf("%s%s", indent, l)
	}
	if rest > 0 {
		e.printf("%s… and %s more\n", indent, plural(rest, "byte"))
	}
	if ofClient {
		e.printf("%sas text: %s\n", indent, escaped(data))
		if text, ok := chinese(data); ok {
			e.printf("%sin GB18030: %s\n", indent, text)
		}
	}
}

func (e *explainer) popStep(raw []byte) {
	if e.mask {
		raw = maskPop(raw)
	}
	err := e.decoder.Decode(raw, &e.pop)
	p := &e.pop
	if err != nil {
		e.printf("a pop of %s that cannot be decoded: %v\n", plural(len(raw), "byte"), err)
		e.bytes(raw, false)
		return
	}
	e.printf("pop, %s, %s", plural(len(raw), "byte"), p.Format)
	if p.Declared != "" {
		e.printf(" though it says %s", escaped([]byte(p.Declared)))
	}
	if p.Truncated {
		e.printf(", cut off at %d", maxPop)
	}
	e.printf("\n%s%s\n", indent, escaped([]byte(p.Text)))
	if p.Lossy {
		e.printf("%snot all of its bytes are text\n", indent)
	}
	e.row("customer", p.Number, e.decoding.Numbers.E164(p.Number))
	e.row("agent", p.Agent)
	if p.Mode != 0 {
		mode, direction := schema.ModeOf(p.Mode)
		e.row("kind", fmt.Sprintf("ty %d", p.Mode), string(mode), string(direction))
	}
	e.row("sn", p.SN)
	derived := ""
	if p.IDDerived {
		derived = "(derived from start and line)"
	}
	e.row("id", p.ID, derived)
	e.row("line", p.Line)
	if !p.StartedAt.IsZero() {
		e.row("started", p.StartedAt.Format(time.RFC3339Nano))
	}
	e.row("from", p.From)
	e.row("member", p.Member)
	e.row("data", p.Data)
	for _, f := range p.Fields {
		e.row("  "+escaped([]byte(f.Name)), f.Value)
	}
	e.row("keys", p.Keys)
	e.row("spare", p.Spare)
	for _, f := range p.Extra {
		e.row(escaped([]byte(f.Name)), f.Value)
	}
}

func (e *explainer) row(name string, values ...string) {
	if values[0] == "" {
		return
	}
	e.printf("%s  %-10s", indent, name)
	for _, v := range values {
		if v != "" {
			e.printf(" %s", escaped([]byte(strings.ToValidUTF8(v, string(utf8.RuneError)))))
		}
	}
	e.printf("\n")
}
